"""Orthogonal matching pursuit: against scikit-learn's, one vector after the other, and against exact cases."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import sparse_encode

from pointad_core.methods.pursuit import approximate


@pytest.mark.parametrize("n_atoms", [1, 3])
@pytest.mark.parametrize(("k", "d"), [(10, 128), (5, 40), (6, 4)])
def test_the_sums_are_scikit_learns(n_atoms, k, d):
    rng = np.random.default_rng(k + d + n_atoms)
    vectors = rng.normal(size=(40, d))
    atoms = vectors[:, None] + rng.normal(size=(40, k, d)) * rng.uniform(0.2, 2, size=(40, k, 1))
    found = approximate(torch.from_numpy(vectors), torch.from_numpy(atoms), n_atoms)
    for vector, own, sum_ in zip(vectors, atoms, found.numpy(), strict=True):
        code = sparse_encode(vector[None], own, algorithm="omp", n_nonzero_coefs=n_atoms, alpha=1e-10)
        np.testing.assert_allclose(sum_, (code @ own)[0], rtol=1e-7, atol=1e-9)


def test_a_vector_that_is_a_sum_of_two_atoms_is_found():
    generator = torch.Generator().manual_seed(0)
    atoms = torch.eye(6)[None] * torch.tensor([3.0, 2, 1, 1, 1, 1])[:, None]
    weights = torch.tensor([[0.0, 0.5, 0, 0, -2, 0]])
    vector = weights @ atoms[0]
    torch.testing.assert_close(approximate(vector, atoms, 2), vector)
    noisy = vector + 0.01 * torch.randn(1, 6, generator=generator)
    assert 0 < (approximate(noisy, atoms, 2) - noisy).norm() < 0.1


def test_equal_and_zero_atoms():
    """A memory holds the same code twice wherever two scans look alike."""
    vector = torch.tensor([[1.0, 2, 0]])
    atom = torch.tensor([1.0, 1, 0])
    for atoms in (atom.expand(1, 4, 3), torch.cat([atom[None], torch.zeros(3, 3)])[None]):
        torch.testing.assert_close(approximate(vector, atoms, 3), 1.5 * atom[None])
    assert not approximate(vector, torch.zeros(1, 2, 3), 3).any()


def test_more_atoms_are_no_worse():
    generator = torch.Generator().manual_seed(1)
    vectors, atoms = torch.randn(30, 20, generator=generator), torch.randn(30, 8, 20, generator=generator)
    errors = torch.stack([(approximate(vectors, atoms, n) - vectors).norm(dim=1) for n in range(1, 9)])
    assert (errors.diff(dim=0) <= 1e-6).all()
