"""Orthogonal matching pursuit: vectors as sums of a few of their nearest neighbours in a memory.

As SDM's published implementation has it (scikit-learn's `sparse_encode`): at each step the atom with the largest
absolute product with what is left is taken, atoms as they are and not brought to length 1, and the coefficients of all
atoms so far are solved for anew. Here for many vectors at once, each with a dictionary of its own.
"""

import torch


def approximate(vectors: torch.Tensor, atoms: torch.Tensor, n_atoms: int) -> torch.Tensor:
    """The sums of at most n_atoms of a vector's own atoms that are nearest to it, by the pursuit.

    vectors: float [m, d]; atoms: float [m, k, d]. Returns [m, d] of the vectors' dtype, computed in float64. Atoms
    that are parallel or zero do no harm: the coefficients are the shortest that solve.
    """
    wide, targets = atoms.double(), vectors.double()
    products = torch.einsum("mkd,md->mk", wide, targets)
    gram = wide @ wide.transpose(1, 2)
    rows = torch.arange(len(vectors), device=vectors.device)[:, None]
    chosen = torch.empty(len(vectors), 0, dtype=torch.long, device=vectors.device)
    coefficients, left = products.new_zeros(len(vectors), 0, 1), products
    for _ in range(min(n_atoms, atoms.shape[1])):
        best = left.abs().scatter(1, chosen, -1.0).argmax(1, keepdim=True)
        chosen = torch.cat([chosen, best], dim=1)
        between = gram[rows[..., None], chosen[:, :, None], chosen[:, None, :]]
        coefficients = torch.linalg.pinv(between, hermitian=True) @ products.gather(1, chosen)[..., None]
        left = products - (gram.gather(2, chosen[:, None, :].expand(-1, gram.shape[1], -1)) @ coefficients)[..., 0]
    taken = wide[rows, chosen]
    return torch.einsum("mkd,mk->md", taken, coefficients[..., 0]).to(vectors.dtype)
