"""Samplings against naive versions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointad_core.clouds import sampling
from pointad_core.clouds.sampling import count_voxels, sample_farthest, sample_voxels


@pytest.mark.parametrize("n", [70, 500, 3000])
def test_farthest_points_are_the_farthest(n):
    points = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
    kept = sample_farthest(points.astype(float), 60, 5)
    assert len(kept) == 60

    def farthest(start):
        chosen = [start]
        distance = np.full(n, np.inf)
        for _ in range(59):
            distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1, dtype=np.float64))
            chosen.append(int(distance.argmax()))
        return sorted(chosen)

    # Which point it starts from is the seed's affair; one of those kept it must be.
    assert any(farthest(start) == kept.tolist() for start in kept)


def test_the_seed_chooses_the_start():
    points = np.random.default_rng(0).normal(size=(400, 3))
    first, again, other = (sample_farthest(points, 30, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_places_that_repeat_are_taken_once():
    points = np.repeat(np.random.default_rng(0).normal(size=(40, 3)), 10, axis=0)
    kept = sample_farthest(points, 60, 0)
    assert len(kept) == len(set(kept.tolist()))
    assert len(np.unique(points[kept], axis=0)) == 40
    assert len(sample_voxels(np.zeros((50, 3)), 10)) == 1


def naive_voxels(points: np.ndarray, edge: float) -> list[int]:
    best: dict[tuple, tuple] = {}
    low = points.min(axis=0)
    for index, point in enumerate(points):
        cell = tuple(int(number) for number in (point - low) // edge)
        centre = low + (np.array(cell) + 0.5) * edge
        found = (float(np.sum((point - centre) ** 2)), index)
        best[cell] = min(best.get(cell, found), found)
    return sorted(index for _, index in best.values())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(20, 200), st.integers(1, 60))
def test_voxels_keep_the_point_nearest_to_each_centre(seed, n, n_points):
    points = np.random.default_rng(seed).uniform(-3, 5, (n, 3)) * (1, 1, 0.05)
    kept = sample_voxels(points, n_points)
    if n <= n_points:
        np.testing.assert_array_equal(kept, np.arange(n))
        return
    # The same search for the edge, with the naive version in place of numbers for voxels.
    large = np.ptp(points, axis=0).max() * 1.001
    small = large * 1e-6
    while large - small > 1e-3 * large:
        edge = np.sqrt(small * large)
        large, small = (edge, small) if len(naive_voxels(points, edge)) <= n_points else (large, edge)
    assert kept.tolist() == naive_voxels(points, large)
    assert 1 <= len(kept) <= n_points


@pytest.mark.parametrize("marked", [0, 10**9], ids=["sorted", "marked"])
@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 200), st.sampled_from([0.01, 0.1, 0.7, 3.0]))
def test_voxels_are_counted_as_their_numbers_are(marked, seed, n, edge):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (n, 3)) * (1, 1, 0.05)
    points[: n // 2] = rng.integers(0, 10, (n // 2, 3)) * edge  # on the borders between voxels
    expected = len({tuple(cell) for cell in np.floor(points / edge).astype(int).tolist()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "MOST_MARKED", marked)
        found = count_voxels(points, edge, 0)
        assert found == expected
        # What is few enough whatever the points need not be counted.
        assert (count_voxels(points, edge, 50) <= 50) == (expected <= 50)
