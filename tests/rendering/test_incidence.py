"""Angles of incidence against trigonometry, a point and a view at a time."""

import math

import numpy as np
import pytest
from view_oracle import turn_point

from pointad_core.errors import InputError
from pointad_core.rendering.incidence import incidence

VIEWS = [[180, x, 0] for x in (-45, -15, 0, 15, 45)] + [[180, 0, y] for y in (-30, 30)]


def naive(points, normals, turns):
    """The cosine for each point: the eye is 0.7 / tan 30 box edges before the middle of the turned cloud's box."""
    turned = [turn_point(point, *turns) for point in points]
    low, high = ([edge(p[axis] for p in turned) for axis in range(3)] for edge in (min, max))
    middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    extent = max(b - a for a, b in zip(low, high, strict=True))
    eye = (middle[0], middle[1], middle[2] + 0.7 * extent / math.tan(math.radians(30)))
    cosines = []
    for point, normal in zip(turned, normals, strict=True):
        way = [e - p for e, p in zip(eye, point, strict=True)]
        across = sum(a * b for a, b in zip(turn_point(normal, *turns), way, strict=True))
        cosines.append(abs(across) / math.hypot(*way))
    return cosines


def cloud(seed, n=50):
    rng = np.random.default_rng(seed)
    points, normals = rng.normal(size=(n, 3)) * (1, 0.5, 0.3) + (5, -2, 0.6), rng.normal(size=(n, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return points.astype(np.float32), normals.astype(np.float32)


def test_cosines_point_by_point():
    points, normals = cloud(0)
    found = incidence(points, normals, VIEWS, "splat")
    assert (found.dtype, found.shape) == (np.float32, (len(VIEWS), 50))
    for view, turns in enumerate(VIEWS):
        np.testing.assert_allclose(found[view], naive(points, normals, turns), atol=1e-5)


def test_neither_a_normals_sign_nor_the_scale_plays_a_part():
    points, normals = cloud(1)
    found = incidence(points, normals, VIEWS, "open3d")
    np.testing.assert_array_equal(found, incidence(points, -normals, VIEWS, "open3d"))
    np.testing.assert_allclose(found, incidence(1000 * points, normals, VIEWS, "open3d"), atol=1e-6)


def test_a_sheet_is_met_head_on_by_the_view_from_its_front_and_at_a_slant_by_others():
    points = np.float32([[x, y, 0] for x in (-1, 0, 1) for y in (-1, 0, 1)])
    normals = np.tile(np.float32([0, 0, 1]), (9, 1))
    front, slanted = incidence(points, normals, [[0, 0, 0], [0, 60, 0]], "splat")
    assert front[4] == pytest.approx(1)
    assert slanted[4] == pytest.approx(0.5)


@pytest.mark.parametrize("renderer", ["realistic", "depth"])
def test_other_views_than_shaded_ones_are_refused(renderer):
    with pytest.raises(InputError, match=f"for views of the renderer '{renderer}'; it takes shaded views"):
        incidence(*cloud(2), [[0, 0, 0]], renderer)
