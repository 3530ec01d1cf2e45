"""Local patches of a cloud, as SDM and Point-MAE cut it: farthest points and the nearest points around each."""

import numpy as np
import torch

from pointad_core.clouds.sampling import sample_farthest


def cut_patches(points: np.ndarray, n_patches: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Centres int64 [m] and members int64 [m, size] of a cloud's patches: indices into its points float [n, 3].

    m is n_patches, or n where there are fewer points. Members are a centre's nearest points, nearest first, the centre
    among them; a cloud of fewer than `size` points repeats them in turn.
    """
    from scipy.spatial import KDTree

    centres = sample_farthest(points, n_patches, seed)
    near = min(size, len(points))
    members = KDTree(points).query(points[centres], k=range(1, near + 1))[1]
    return centres, np.take(members, np.arange(size) % near, axis=1)


def normalise_patches(patches: torch.Tensor) -> torch.Tensor:
    """Patches float [m, s, 3] about their means, the longest side of each at length 1; a single place at the origin."""
    centred = patches - patches.mean(1, keepdim=True)
    side = (centred.amax(1) - centred.amin(1)).amax(1)
    return centred / side.clamp(min=torch.finfo(patches.dtype).tiny)[:, None, None]


def smallest(values: torch.Tensor, members: torch.Tensor, n: int) -> torch.Tensor:
    """The smallest of the values that patches give a point; values float [m, s], members int64 [m, s] -> [n].

    Infinity for a point that is in no patch.
    """
    lowest = torch.full((n,), torch.inf, dtype=values.dtype, device=values.device)
    return lowest.scatter_reduce(0, members.flatten(), values.flatten(), "amin")
