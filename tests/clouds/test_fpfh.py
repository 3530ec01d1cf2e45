"""FPFH against a naive version of its definition."""

import numpy as np
import pytest

from pointad_core.clouds.fpfh import LENGTH, compute_fpfh
from pointad_core.clouds.normals import estimate_normals


def pair(p, n, q, m):
    """The three angles between two points with normals, or None where they are undefined."""
    line = (q - p) / np.linalg.norm(q - p)
    one, other = n @ line, m @ line
    first, second, phi = n, m, one
    if np.arccos(abs(one)) > np.arccos(abs(other)):
        first, second, line, phi = m, n, -line, -other
    v = np.cross(line, first)
    if not np.linalg.norm(v):
        return None
    v /= np.linalg.norm(v)
    return np.arctan2(np.cross(first, v) @ second, first @ second) / np.pi, v @ second, phi


def naive(points, normals, radius, neighbours):
    points, normals, n = points.astype(np.float64), normals.astype(np.float64), len(points)
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    around = []
    for i in range(n):
        order = [j for j in np.argsort(apart[i], kind="stable")[:neighbours] if apart[i, j] <= radius]
        around.append([j for j in order if j != i])
    simple = np.zeros((n, 3, 11))
    for i in range(n):
        for j in around[i]:
            angles = pair(points[i], normals[i], points[j], normals[j]) or (0, 0, 0)
            for kind, angle in enumerate(angles):
                simple[i, kind, min(10, max(0, int(np.floor(11 * (angle + 1) / 2))))] += 100 / len(around[i])
    found = np.zeros((n, 3, 11))
    for i in range(n):
        weighted = sum(simple[j] / apart[i, j] ** 2 for j in around[i])
        if around[i]:
            found[i] = simple[i] + 100 * weighted / weighted.sum(1, keepdims=True)
    return found.reshape(n, LENGTH)


@pytest.mark.parametrize(("radius", "neighbours"), [(0.5, 12), (0.22, 100)])
def test_fpfh_is_that_of_the_definition(radius, neighbours):
    rng = np.random.default_rng()
    x, y = rng.random((2, 150))
    points = np.stack([x, y, 0.2 * np.sin(6 * x) + 0.01 * rng.random(150)], axis=1).astype(np.float32)
    found = compute_fpfh(points, 1.0, 10, radius, neighbours)
    expected = naive(points, estimate_normals(points, 1.0, 10), radius, neighbours)
    # An angle at the border of two bins falls into either.
    close = np.isclose(found, expected, atol=1e-2).all(axis=1)
    assert close.mean() > 0.9
    np.testing.assert_allclose(found.reshape(-1, 3, 11).sum(2), expected.reshape(-1, 3, 11).sum(2), atol=1e-2)


def test_a_point_without_neighbours_has_none():
    points = np.array([[0.0, 0, 0], [9, 0, 0], [0, 9, 0]])
    assert not compute_fpfh(points, 1.0, 10, 1.0, 10).any()
    assert compute_fpfh(np.zeros((0, 3)), 1.0, 10, 1.0, 10).shape == (0, LENGTH)
