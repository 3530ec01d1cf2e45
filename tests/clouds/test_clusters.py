"""The largest cluster against DBSCAN itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN

from pointad_core.clouds.clusters import largest_cluster


def check(points: np.ndarray, radius: float, min_points: int) -> None:
    reference = DBSCAN(eps=radius, min_samples=min_points).fit(points)
    found = largest_cluster(points, radius, min_points)
    core = np.zeros(len(points), dtype=bool)
    core[reference.core_sample_indices_] = True
    if not core.any():
        assert not found.any()
        return
    # Core points have one cluster each; of which of two clusters an outer point is part, DBSCAN leaves open.
    label = set(reference.labels_[core & found])
    assert len(label) == 1
    np.testing.assert_array_equal(found[core], reference.labels_[core] == label.pop())
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    near = (distance[:, core & found] <= radius).any(axis=1)
    nearest = np.where(core[None], distance, np.inf).argmin(axis=1)
    outer = ~core
    np.testing.assert_array_equal(found[outer], near[outer] & found[nearest[outer]])
    # And no other cluster is larger, wherever the outer points are counted.
    sizes = np.bincount(reference.labels_[reference.labels_ >= 0])
    assert found.sum() + (~core & ~found & near).sum() >= sizes.max() - outer.sum()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("radius", "min_points"), [(0.08, 3), (0.12, 8), (0.3, 30), (0.02, 2)])
def test_random_clouds(seed, radius, min_points):
    rng = np.random.default_rng(seed)
    blobs = [rng.normal(rng.uniform(-1, 1, 3), rng.uniform(0.02, 0.2), (rng.integers(5, 200), 3)) for _ in range(6)]
    check(np.concatenate([*blobs, rng.uniform(-1.5, 1.5, (100, 3))]), radius, min_points)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.05, 0.5), st.integers(1, 12), st.integers(1, 80))
def test_any_cloud(seed, radius, min_points, n):
    rng = np.random.default_rng(seed)
    check(rng.uniform(0, 1, (n, 3)).round(1), radius, min_points)  # Rounded: many exact distances and doubles.


def test_two_sheets_closer_than_the_radius_are_one():
    grid = np.stack(np.meshgrid(np.arange(0, 1, 0.05), np.arange(0, 1, 0.05)), -1).reshape(-1, 2)
    lower = np.c_[grid, np.zeros(len(grid))]
    for gap, joined in ((0.099, True), (0.101, False)):
        both = np.concatenate([lower, np.add(lower, (0, 0, gap))[:-1]])
        found = largest_cluster(both, 0.1, 4)
        assert found[: len(lower)].all()
        assert found[len(lower) :].all() == joined
        assert found[len(lower) :].any() == joined


def test_no_points_and_no_cluster():
    assert largest_cluster(np.zeros((0, 3)), 0.1, 3).shape == (0,)
    assert not largest_cluster(np.arange(12.0).reshape(4, 3), 0.1, 2).any()


def test_of_equal_clusters_the_first_is_taken():
    cluster = np.zeros((5, 3))
    found = largest_cluster(np.concatenate([cluster + 1, cluster]), 0.1, 3)
    np.testing.assert_array_equal(found, [True] * 5 + [False] * 5)
