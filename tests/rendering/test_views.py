"""Oracles: one point and one view at a time, with trigonometry from the definitions, in Python floats."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from view_oracle import turn_point

from pointad_core.errors import InputError
from pointad_core.rendering.shaded import angles
from pointad_core.rendering.views import footprint, project, rotations

ANGLES = angles({"tilt": 180, "x": [-45, -15, 0, 15, 45], "y": [-30, -15, 15, 30]})


def project_naively(points, turns, window):
    """Column, row and z of each point: the pinhole camera of Open3D's default view, in data units."""
    mean = [sum(float(p[axis]) for p in points) / len(points) for axis in range(3)]
    turned = [turn_point([float(p[axis]) - mean[axis] for axis in range(3)], *turns) for p in points]
    low, high = ([edge(p[axis] for p in turned) for axis in range(3)] for edge in (min, max))
    middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    extent = max(b - a for a, b in zip(low, high, strict=True))
    distance = 0.7 * extent / math.tan(math.radians(30))
    focal = window / 2 / math.tan(math.radians(30))
    eye_z = middle[2] + distance
    return np.array(
        [
            (
                focal * (x - middle[0]) / (eye_z - z) + window / 2 - 0.5,
                -focal * (y - middle[1]) / (eye_z - z) + window / 2 - 0.5,
                (z - middle[2]) / extent,
            )
            for x, y, z in turned
        ]
    )


def draw_cloud(seed, n=60):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=generator) * torch.tensor([1.0, 0.5, 0.3]) + torch.tensor([5.0, -2.0, 0.6])


@pytest.mark.parametrize("window", [64, 1024])
def test_project_agrees_with_a_pinhole_camera_point_by_point(window):
    points = draw_cloud(0)
    projection = project(points, rotations(ANGLES), window)
    for view, turns in enumerate(ANGLES):
        expected = project_naively(points, turns, window)
        found = torch.stack([projection.columns[view], projection.rows[view], projection.points[view, 2]], -1)
        np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-9)


def test_a_tilt_comes_before_the_turn():
    # Tilted by 90 degrees about x, the y axis looks at the camera; turned by 90 about y, it looks to the right.
    turn = rotations([[90, 0, 90]])[0]
    np.testing.assert_allclose(turn @ torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64), [1, 0, 0], atol=1e-15)


@given(st.integers(0, 2**32), st.floats(0.01, 100), st.lists(st.floats(-1000, 1000), min_size=3, max_size=3))
@settings(max_examples=30, deadline=None)
def test_projection_depends_on_neither_scale_nor_place(seed, scale, shift):
    points = draw_cloud(seed).double()
    moved = points * scale + torch.tensor(shift, dtype=torch.float64)
    one, other = (project(p, rotations(ANGLES), 1024) for p in (points, moved))
    np.testing.assert_allclose(one.columns, other.columns, atol=1e-5)
    np.testing.assert_allclose(one.rows, other.rows, atol=1e-5)


@given(st.integers(0, 2**32), st.floats(-180, 180))
@settings(max_examples=30, deadline=None)
def test_a_rotated_cloud_looks_the_same_where_the_views_undo_the_rotation(seed, angle):
    points = draw_cloud(seed).double()
    turn = rotations([[angle, 0, 0]])[0]
    one = project(points, rotations(ANGLES), 1024)
    other = project(points @ turn.T, rotations(ANGLES) @ turn.T, 1024)
    np.testing.assert_allclose(one.columns, other.columns, atol=1e-8)
    np.testing.assert_allclose(one.points, other.points, atol=1e-11)


def test_pixels_are_truncated_and_clipped():
    points = draw_cloud(1, 200) * torch.tensor([1.0, 1.0, 4.0])
    projection = project(points, rotations(ANGLES), 100)
    pixels = projection.pixels(30)
    for view, turns in enumerate(ANGLES):
        for point, (column, row, _) in enumerate(project_naively(points, turns, 100)):
            expected = [min(max(int(value * 30 / 100), 0), 29) for value in (column, row)]
            assert pixels[view, point].tolist() == expected
            inside = -0.5 < column <= 99.5 and -0.5 < row <= 99.5
            assert bool(projection.inside[view, point]) == inside
    assert not projection.inside.all()


def test_levels_follow_the_viewing_axis():
    projection = project(draw_cloud(2), rotations(ANGLES), 100)
    order = projection.points[:, 2].argsort(dim=1)
    assert (projection.levels.gather(1, order).diff(dim=1) >= 0).all()
    assert projection.levels.min() >= 0
    assert projection.levels.max() < 2**22


def test_a_footprint_is_a_length_at_the_middle_of_the_object():
    # The ends of the longest edge lie in the middle plane, 1/1.4 of the window apart.
    points = torch.tensor([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.1, 0]])
    columns = project(points, rotations([[0, 0, 0]]), 1000).columns[0]
    assert footprint(float(columns[1] - columns[0]), 1000) == pytest.approx(1)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.zeros(0, 3), "no points"),
        (torch.ones(4, 3), "coincide"),
        (torch.tensor([[0, 0, 0], [1, 1, float("nan")]]), "not finite"),
        (torch.tensor([[0, 0, 0], [1, 1, float("inf")]]), "not finite"),
    ],
)
def test_a_cloud_without_a_shape_is_refused(points, message):
    with pytest.raises(InputError, match=message):
        project(points, rotations(ANGLES), 1024)
