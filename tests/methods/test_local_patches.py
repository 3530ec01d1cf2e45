"""Local patches: neighbours by brute force, sides and means, and the smallest of several values."""

import numpy as np
import pytest
import torch

from pointad_core.methods.local_patches import cut_patches, normalise_patches, smallest


def test_members_are_the_nearest_points():
    points = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    centres, members = cut_patches(points, 20, 30, seed=3)
    assert centres.shape == (20,)
    assert members.shape == (20, 30)
    distances = np.linalg.norm(points[:, None].astype(np.float64) - points[None], axis=2)
    for centre, own in zip(centres, members, strict=True):
        assert own[0] == centre
        assert set(own) == set(np.argsort(distances[centre])[:30])
        assert (np.diff(distances[centre, own]) >= -1e-7).all()


def test_farthest_points_cover_the_cloud():
    """Each point lies nearer to some centre than the two nearest centres to each other."""
    points = np.random.default_rng(1).uniform(size=(500, 3)).astype(np.float32)
    centres, _ = cut_patches(points, 25, 10)
    between = np.linalg.norm(points[centres, None] - points[None, centres], axis=2)
    spacing = between[~np.eye(25, dtype=bool)].min()
    assert np.linalg.norm(points[:, None] - points[None, centres], axis=2).min(1).max() <= spacing + 1e-6


@pytest.mark.parametrize("n", [1, 2, 7])
def test_small_clouds_repeat_their_points(n):
    points = np.random.default_rng(2).normal(size=(n, 3)).astype(np.float32)
    centres, members = cut_patches(points, 10, 12)
    assert len(centres) == n
    for own in members:
        assert sorted(set(own)) == list(range(n))
        assert np.ptp(np.bincount(own)) <= 1


def test_patches_are_brought_to_one_size():
    patches = torch.randn(5, 40, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 1, 0.1]) + 7
    found = normalise_patches(patches)
    for patch, own in zip(patches.double(), found, strict=True):
        side = max(float(axis.max() - axis.min()) for axis in patch.T)
        torch.testing.assert_close(own.double(), (patch - patch.mean(0)) / side, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(normalise_patches(patches * 1e-3 - 2), found, rtol=1e-3, atol=1e-3)
    assert not normalise_patches(torch.ones(1, 4, 3)).any()


def test_the_smallest_value_counts():
    members = torch.tensor([[0, 1, 2], [2, 1, 4]])
    values = torch.tensor([[0.5, 0.2, 0.9], [0.3, 0.4, 0.1]])
    assert smallest(values, members, 5).tolist() == pytest.approx([0.5, 0.2, 0.3, np.inf, 0.1])
