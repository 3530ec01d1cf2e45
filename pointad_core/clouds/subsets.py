"""Some points of a cloud for all of them: which ones, and which of them is nearest to each of the others."""

import torch


def random_subset(n: int, count: int) -> torch.Tensor:
    """Indices i8[min(n, count)] of random ones of n points, ascending; the same for the same two numbers."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(0))[:count].sort().values


def nearest(queries: torch.Tensor, points: torch.Tensor, chunk: int = 1 << 26) -> torch.Tensor:
    """Index i8[m] of the point [n,3] nearest to each query [m,3].

    A closed object leaves half its points unseen: all distances to them are quick on a GPU, where `chunk` of them
    are held at once, and far too slow on a CPU, where a KD-tree finds the same neighbours.
    """
    if queries.device.type == "cpu":
        from scipy.spatial import KDTree  # imported at the first unseen point: a GPU machine does without it

        # Cells as they are split, not shrunk to their points: for a hidden back, all of whose nearest points lie on a
        # rim at about one distance, the search is ten times faster.
        tree = KDTree(points.numpy(), compact_nodes=False, balanced_tree=False)
        return torch.from_numpy(tree.query(queries.numpy())[1])
    # Differences, not the expansion with a matrix product, which cancels for neighbours far from the origin.
    parts = queries.split(max(1, chunk // len(points)))
    return torch.cat([torch.cdist(q, points, compute_mode="donot_use_mm_for_euclid_dist").argmin(1) for q in parts])
