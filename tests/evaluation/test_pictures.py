"""Pictures: values of points carried to an image."""

import numpy as np

from pointad_core.evaluation.pictures import carry_to_image, find_frontal, name_views


def test_the_frontal_view_is_the_unrotated_one():
    assert find_frontal([[180, -45, 0], [180, 0, -30], [180, 0, 0], [180, 15, 0]]) == 2
    assert find_frontal([[45, -30, 0], [45, 10, 0], [45, 0, 15]]) == 1


def test_a_depth_image_is_not_called_as_the_view_that_it_is_of():
    views = [[180, 0, -30], [180, 15.5, 0]]
    turns = ["0°, -30°", "15.5°, 0°"]
    assert name_views({"renderer": "splat", "views": 2 * views}) == 2 * turns
    depth = ["0°, -30°, depth", "15.5°, 0°, depth"]
    assert name_views({"renderer": "splat_depth", "views": 2 * views}) == turns + depth


def test_the_greatest_value_is_shown_and_fills_gaps_inside_the_silhouette():
    silhouette = np.zeros((20, 20), dtype=bool)
    silhouette[2:18, 2:10] = True
    pixels = np.array([[3, 4], [3, 4], [15, 15], [8, 4]])
    image = carry_to_image(np.array([1.0, 5.0, 7.0, 9.0]), pixels, np.array([True, True, True, False]), silhouette)
    assert image[4, 3] == 5, "column 3, row 4; the greatest of two"
    assert image[15, 15] == 7, "a shown point is shown, inside or not"
    assert image[5, 4] == 5
    assert np.isnan(image[4, 1]), "outside the silhouette"
    assert np.isnan(image[4, 9]), "too far, and the hidden point does not count"
    assert np.isnan(image[15, 3])


def test_a_cloud_without_visible_points_gives_an_empty_map():
    image = carry_to_image(
        np.ones(2), np.zeros((2, 2), dtype=int), np.zeros(2, dtype=bool), np.ones((9, 9), dtype=bool)
    )
    assert np.isnan(image).all()
