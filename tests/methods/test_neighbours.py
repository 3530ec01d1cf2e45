"""Nearest neighbours by the tree and by cells: both exact, both the same but among equally near ones."""

import aggregation_oracle as oracle
import numpy as np
import pytest
import torch

from pointad_core.methods import neighbours
from pointad_core.methods.neighbours import find_in_cells, find_neighbours


def by_cells(points, k):
    """What a GPU computes, here with tensors on the CPU."""
    indices, distances = find_in_cells(torch.from_numpy(points), k)
    return indices.numpy(), distances.numpy()


both = pytest.mark.parametrize("find", [find_neighbours, by_cells])


@both
def test_neighbours_are_the_nearest_others(find):
    points = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
    indices, distances = find(points, 7)
    expected_indices, expected_distances = oracle.naive_neighbours(points, 7)
    assert (indices.dtype, distances.dtype) == (np.int32, np.float64)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-12)


@both
@pytest.mark.parametrize("k", [1, 3, 8])
def test_a_point_is_never_its_own_neighbour_even_among_duplicates(find, k):
    rng = np.random.default_rng(2)
    points = rng.normal(size=(30, 3)).astype(np.float32)
    points[5:17] = points[5]  # more coinciding points than neighbours
    points[20:22] = points[20]
    indices, distances = find(points, k)
    assert (indices != np.arange(30)[:, None]).all()
    assert all(len(set(row)) == k for row in indices.tolist())
    _, expected = oracle.naive_neighbours(points, k)
    np.testing.assert_allclose(distances, expected, atol=1e-12)


@both
def test_more_neighbours_than_points_are_refused(find):
    with pytest.raises(ValueError, match="5 neighbours asked for, 5 points allow 1 to 4"):
        find(np.zeros((5, 3)), 5)
    with pytest.raises(ValueError, match="0 neighbours"):
        find(np.zeros((5, 3)), 0)


def sphere(rng, n):
    points = rng.normal(size=(n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


CLOUDS = {
    "surface": lambda rng: sphere(rng, 4000),
    "volume": lambda rng: rng.normal(size=(1500, 3)),
    # Sizes that differ by ten thousand, a far point, and a far pair.
    "scales": lambda rng: np.concatenate([sphere(rng, 400) * 1e-3, sphere(rng, 400) * 10, [[90, 0, 0], [0, 90, 90]]]),
    "coinciding": lambda rng: np.concatenate([np.zeros((300, 3)), sphere(rng, 500)]),
    "line": lambda rng: np.linspace(0, 1, 700)[:, None] * [1, 0, 0],
    "plane": lambda rng: np.stack([*np.divmod(np.arange(900), 30), np.zeros(900)], axis=1),
    "far off": lambda rng: sphere(rng, 500) + np.array([1e4, -1e4, 1e4]),
    "few": lambda rng: rng.normal(size=(11, 3)),
    "one place": lambda rng: np.ones((40, 3)),
}


@pytest.mark.parametrize("pairs", [1 << 21, 500])
@pytest.mark.parametrize("name", CLOUDS)
def test_cells_give_what_the_tree_gives(monkeypatch, name, pairs):
    """The pairs that are held at once make no difference."""
    monkeypatch.setattr(neighbours, "MOST_PAIRS", pairs)
    points = CLOUDS[name](np.random.default_rng(3)).astype(np.float32)
    expected, wanted = find_neighbours(points, 10)
    indices, distances = by_cells(points, 10)
    # PyTorch's square root on a CPU may be one step off; the sums below it are the same.
    np.testing.assert_array_max_ulp(distances, wanted, 1)
    assert (indices != np.arange(len(points))[:, None]).all()
    assert all(len(set(row)) == 10 for row in indices.tolist())
    # Others than the tree's are as near as these.
    places = points.astype(np.float64)
    again = np.linalg.norm(places[indices] - places[:, None], axis=2)
    np.testing.assert_allclose(again, wanted, rtol=1e-14)
    tied = np.isclose(wanted[:, 1:], wanted[:, :-1], rtol=1e-14, atol=0)
    clear = ~tied.any(axis=1) & (indices != expected).any(axis=1)
    # A tie of the last place is with a point that is not among the ten.
    apart = np.sort(np.linalg.norm(places[:, None] - places[clear][None], axis=2), axis=0)
    np.testing.assert_allclose(apart[10], apart[11] if len(points) > 11 else apart[10], rtol=1e-14)


def test_cells_find_the_same_twice_and_in_any_order():
    rng = np.random.default_rng(4)
    points = sphere(rng, 1000).astype(np.float32)
    indices, distances = by_cells(points, 6)
    again, _ = by_cells(points, 6)
    np.testing.assert_array_equal(indices, again)
    order = rng.permutation(1000)
    moved, apart = by_cells(points[order], 6)
    np.testing.assert_array_equal(order[moved], indices[order])
    np.testing.assert_array_equal(apart, distances[order])


def test_few_pairs_are_looked_at():
    """What makes it fast: some tens of candidates for each point of a surface, and not all other points."""
    points = torch.from_numpy(sphere(np.random.default_rng(5), 6000).astype(np.float32))
    counted = []
    own = neighbours._Cells.nearest

    class Counted(neighbours._Cells):
        def nearest(self, points, starts, lengths, width, k):
            counted.append(len(points) * width)
            return own(self, points, starts, lengths, width, k)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_Cells", Counted)
        find_in_cells(points, 10)
    assert 10 * 6000 < sum(counted) < 200 * 6000
