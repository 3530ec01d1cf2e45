"""The splatter's views and their depth images, against loops over points and pixels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pointad_core.errors import InputError
from pointad_core.rendering import splat
from pointad_core.rendering.shaded import shrink
from pointad_core.rendering.splat_depth import angles, draw, render
from pointad_core.rendering.views import project, rotations

SIZE, POINT = 20, 3
VIEWS = {"tilt": 180, "x": [-40, 0], "y": [30]}
OPTIONS = {"resolution": SIZE, "views": VIEWS, "point_size": POINT, "visibility": "soft", "window": SIZE}


def draw_cloud(seed, n=400):
    """A ball with a bump in front."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    normals = points.copy()
    points[points[:, 2] < -0.8] *= 1.3
    return {"points": points, "normals": normals, "labels": (points[:, 2] < -0.9).astype(np.uint8)}


def turn(axis, degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array({"x": [[1, 0, 0], [0, c, -s], [0, s, c]], "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]]}[axis])


def naive_image(points, about_x, about_y):
    """Every pixel's nearest square: the camera's formulas, point by point."""
    middle = (points.min(0).astype(float) + points.max(0)) / 2
    x = (points - middle) @ (turn("y", about_y) @ turn("x", about_x) @ turn("x", VIEWS["tilt"])).T
    low, high = x.min(0), x.max(0)
    x = (x - (low + high) / 2) / (high - low).max()
    scale = SIZE / 2 / np.tan(np.pi / 6) / (0.7 / np.tan(np.pi / 6) - x[:, 2])
    columns, rows = SIZE / 2 - 0.5 + x[:, 0] * scale, SIZE / 2 - 0.5 - x[:, 1] * scale
    depth = np.full((SIZE, SIZE), np.nan)
    for row in range(SIZE):
        for column in range(SIZE):
            covers = (np.abs(columns - column) <= POINT / 2) & (np.abs(rows - row) <= POINT / 2)
            if covers.any():
                depth[row, column] = x[covers, 2].max()
    span = np.nanmax(depth) - np.nanmin(depth)
    return np.nan_to_num(255 - 255 * (depth - np.nanmin(depth)) / span, nan=255)


@pytest.mark.parametrize("seed", range(2))
def test_behind_the_shaded_views_stands_the_depth_image_of_each(seed):
    cloud = draw_cloud(seed)
    shaded, found = splat.render(cloud, OPTIONS), render(cloud, OPTIONS)
    assert found.images.shape == (6, SIZE, SIZE)
    for name in ("images", "masks", "pixels", "visible"):
        np.testing.assert_array_equal(getattr(found, name)[:3], getattr(shaded, name))
    for name in ("masks", "pixels", "visible"):
        np.testing.assert_array_equal(getattr(found, name)[3:], getattr(shaded, name))
    assert found.unseen == shaded.unseen
    for image, (_, about_x, about_y) in zip(found.images[3:], angles(VIEWS)[3:], strict=True):
        wanted = naive_image(cloud["points"], about_x, about_y)
        assert 0.3 < (wanted < 255).mean() < 0.95
        # Depths are compared in steps of a four-millionth: grey levels may differ by one at an exact half.
        assert np.abs(image - wanted).max() <= 0.51


def test_the_views_are_those_of_the_set_twice():
    assert angles(VIEWS) == [[180, -40, 0], [180, 0, 0], [180, 0, 30]] * 2


def test_light_changes_the_shaded_views_alone():
    cloud = draw_cloud(1)
    bright, dark = (render(cloud, OPTIONS | {"light": light}).images for light in ("original", "--"))
    assert (bright[:3] != dark[:3]).any()
    np.testing.assert_array_equal(bright[3:], dark[3:])


def test_a_window_is_shrunk_as_that_of_the_shaded_views_is():
    cloud, large = draw_cloud(2), OPTIONS | {"window": 4 * SIZE, "point_size": 4 * POINT}
    whole = torch.from_numpy(render(cloud, large | {"resolution": 4 * SIZE}).images[3:, None])
    np.testing.assert_array_equal(render(cloud, large).images[3:], shrink(whole, SIZE)[:, 0])


def test_a_view_that_shows_no_point_is_white():
    shown = project(torch.from_numpy(draw_cloud(0)["points"]), rotations([[0.0, 0.0, 0.0]]), SIZE)
    assert (draw(shown, POINT, SIZE) < 255).any()
    assert (draw(replace(shown, columns=shown.columns + 1000), POINT, SIZE) == 255).all()


def test_what_the_splatter_refuses_is_refused():
    with pytest.raises(InputError, match="visibility: 'none' is not one of soft, strict"):
        render(draw_cloud(0), OPTIONS | {"visibility": "none"})
