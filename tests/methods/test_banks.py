"""Memory banks against naive versions: projection, farthest-first traversal, nearest entries, PatchCore's score."""

import math

import numpy as np
import pytest
import torch

from pointad_core.methods import banks
from pointad_core.methods.banks import coreset, farthest_first, nearest, project, reweighted

CPU = torch.device("cpu")


def naive_farthest(points: np.ndarray, count: int) -> list[int]:
    """Each time the point whose nearest chosen one is farthest, from the definition, in float64."""
    points, chosen = points.astype(np.float64), [0]
    while len(chosen) < count:
        apart = np.linalg.norm(points[:, None] - points[chosen], axis=2).min(1)
        apart[chosen] = -1
        chosen.append(int(apart.argmax()))
    return chosen


@pytest.mark.parametrize("spread", [(1, 1, 1, 1, 1), (9, 1, 0.3, 0.1, 0)])
def test_farthest_first_is_the_naive_one(spread):
    points = np.random.default_rng().normal(size=(300, 5)) * spread
    points -= points.mean(0)
    # In float64, for of two that are as far but for rounding either may come first.
    assert farthest_first(torch.from_numpy(points), 150).tolist() == naive_farthest(points, 150)


def test_in_float32_each_is_the_farthest_but_for_rounding():
    points = np.random.default_rng().normal(size=(400, 40)).astype(np.float32)
    chosen = farthest_first(torch.from_numpy(points), 100).tolist()
    assert len(set(chosen)) == 100
    for count in range(1, 100):
        apart = np.linalg.norm(points[:, None].astype(np.float64) - points[chosen[:count]], axis=2).min(1)
        assert apart[chosen[count]] > (1 - 1e-5) * apart.max()


def test_points_in_one_place_are_taken_once_while_others_are_left():
    points = torch.tensor([[0.0, 0], [0, 0], [1, 0], [0, 0], [5, 5], [1, 0]])
    places = {tuple(points[index].tolist()) for index in farthest_first(points, 3)}
    assert places == {(0, 0), (5, 5), (1, 0)}
    assert sorted(farthest_first(points, 6).tolist()) == [0, 1, 2, 3, 4, 5]


def test_a_coreset_of_few_dimensions_is_not_projected_and_covers_all(monkeypatch):
    points = np.random.default_rng(3).normal(100, 1, (300, 4)).astype(np.float32)
    found = coreset(torch.from_numpy(points), 0.1, seed=1, device=CPU)
    assert sorted(naive_farthest(points, 30)) == found.tolist()
    parts = [torch.from_numpy(points[:, :1].copy()), torch.from_numpy(points[:, 1:].copy())]
    monkeypatch.setattr(banks, "BLOCK", 16)
    assert torch.equal(coreset(parts, 0.1, seed=1, device=CPU), found)
    assert coreset(parts, 0.001, seed=1, device=CPU).tolist() == [0]
    assert coreset(parts, 1.0, seed=1, device=CPU).tolist() == list(range(300))


def test_a_projection_keeps_distances():
    points = torch.randn(150, 3000)
    projected = project([points[:, :1000], points[:, 1000:]], 3, CPU)
    assert projected.shape == (150, int(4 * math.log(150) / (0.9**2 / 2 - 0.9**3 / 3)))
    ratios = torch.pdist(projected).square() / torch.pdist(points).square()
    assert ratios.min() > 0.1
    assert ratios.max() < 1.9
    assert abs(ratios.mean() - 1) < 0.1
    assert torch.equal(projected, project([points], 3, CPU))
    assert not torch.equal(projected, project([points], 4, CPU))


@pytest.mark.parametrize("k", [1, 3, 50])
@pytest.mark.parametrize("block", [7, 1 << 20])
def test_nearest_entries_are_those_of_all_distances(monkeypatch, k, block):
    monkeypatch.setattr(banks, "BLOCK", block * 11)
    queries, bank = torch.randn(11, 6) + 30, torch.randn(40, 6) + 30
    distances, index = nearest(queries, bank, k)
    apart = np.linalg.norm(queries.double().numpy()[:, None] - bank.double().numpy(), axis=2)
    order = apart.argsort(1)[:, :k]
    assert index.tolist() == order.tolist()
    np.testing.assert_allclose(distances, np.take_along_axis(apart, order, 1), rtol=1e-5)


def test_what_is_in_the_bank_is_at_distance_0():
    bank = torch.randn(500, 64) * 100
    distances, index = nearest(bank[:9], bank)
    assert distances.abs().max() == 0
    assert index[:, 0].tolist() == list(range(9))


def test_the_object_score_is_patchcores():
    queries, bank = torch.randn(20, 6), torch.randn(30, 6)
    q, b = queries.double().numpy(), bank.double().numpy()
    apart = np.linalg.norm(q[:, None] - b, axis=2)
    worst = int(apart.min(1).argmax())
    star, own = apart.min(1).max(), int(apart[worst].argmin())
    around = [i for i in np.linalg.norm(b - b[own], axis=1).argsort() if i != own][:2]
    others = np.exp(np.linalg.norm(q[worst] - b[around], axis=1) / np.sqrt(6)).sum()
    expected = (1 - np.exp(star / np.sqrt(6)) / others) * star
    found = reweighted(nearest(queries, bank)[0][:, 0], queries, bank)
    assert found == pytest.approx(expected, rel=1e-5)
    assert reweighted(nearest(queries, bank[:1])[0][:, 0], queries, bank[:1]) == pytest.approx(
        apart[:, 0].max(), rel=1e-5
    )


def test_large_distances_do_not_overflow():
    queries, bank = torch.randn(5, 2) * 1e4, torch.randn(9, 2) * 1e4
    assert math.isfinite(reweighted(nearest(queries, bank)[0][:, 0], queries, bank))
