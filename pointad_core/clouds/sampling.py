"""Subsets of a point cloud that cover it evenly (Sec. 4.1)."""

import math

import numpy as np

from pointad_core.errors import InputError

MOST_MARKED = 1 << 24
"""Voxels of a box that are marked one by one, a byte each; of more, the numbers of those with points are sorted."""


def sample_farthest(points: np.ndarray, n_points: int, seed: int) -> np.ndarray:
    """Ascending indices of at most n_points of the points [N,3] by farthest-point sampling from a seeded start."""
    import fpsample

    if len(points) <= n_points:
        return np.arange(len(points))
    # The number counts the library's own order of the points, which depends on the height of its tree; the same seed
    # still picks the same point, and from there on the sampling is exact.
    start = int(np.random.default_rng(seed).integers(len(points)))
    height = min(7 if len(points) < 100_000 else 9, len(points).bit_length() - 1)
    chosen = fpsample.bucket_fps_kdline_sampling(points.astype(np.float32), n_points, h=height, start_idx=start)
    # Once every place is taken, sampling repeats itself.
    return np.unique(chosen.astype(np.int64))


def sample_share(points: np.ndarray, density: float, seed: int) -> np.ndarray:
    """Ascending indices of a share, 0 < density <= 1, of the points [N,3] by farthest-point sampling (Table 9); one at
    least. Raises InputError for any other share."""
    if not 0 < density <= 1:
        raise InputError(f"density is {density}, expected a share above 0, at most 1")
    return sample_farthest(points, max(1, round(density * len(points))), seed)


def sample_voxels(points: np.ndarray, n_points: int, seed: int = 0) -> np.ndarray:
    """Ascending indices of at most n_points of the points [N,3]: in each voxel the point nearest to its centre.

    The voxels are the smallest, to one part in a thousand, that are few enough. Nothing is random in it; `seed` is
    there for the samplings to be called alike.
    """
    if len(points) <= n_points:
        return np.arange(len(points))
    points = points - points.min(axis=0)
    # The whole cloud in one voxel is few enough; an edge a millionth of it, which keys can still number, is as small
    # as any that is needed.
    large = float(np.ptp(points, axis=0).max()) * 1.001 or 1.0
    small = large * 1e-6
    while large - small > 1e-3 * large:
        edge = (small * large) ** 0.5
        few = count_voxels(points, edge, n_points) <= n_points
        large, small = (edge, small) if few else (large, edge)
    off_centre = np.sum((points / large - np.floor(points / large) - 0.5) ** 2, axis=1)
    keys = voxel_keys(points, large)
    order = np.lexsort((off_centre, keys))
    return np.sort(order[np.unique(keys[order], return_index=True)[1]])


def count_voxels(points: np.ndarray, edge: float, enough: int) -> int:
    """How many voxels of this edge hold any of the points [N,3], with coordinates from 0 on; where the box itself has
    no more than `enough`, how many it has."""
    shape = tuple(int(number) + 1 for number in np.floor(points.max(axis=0) / edge))
    if math.prod(shape) <= enough:
        return math.prod(shape)
    if math.prod(shape) > MOST_MARKED:
        return len(np.unique(voxel_keys(points, edge)))
    held = np.zeros(shape, bool)
    held[tuple(np.floor(points / edge).astype(np.int64).T)] = True
    return int(np.count_nonzero(held))


def voxel_keys(points: np.ndarray, edge: float) -> np.ndarray:
    """A number for the voxel of each point [N,3] with coordinates from 0 on."""
    x, y, z = np.floor(points / edge).astype(np.int64).T
    return (x << 42) | (y << 21) | z
