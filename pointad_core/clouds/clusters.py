"""The largest cluster of a point cloud by DBSCAN (Ester et al. 1996), in memory linear in the points.

A scan has over a thousand points within the radius of each point, and libraries list all of them: seconds and
gigabytes a scan. Here a grid does the same: its cells are so small that all points in one are neighbours, so a cell
with enough points needs no search at all, and clusters are found among cells, not points.
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist


def largest_cluster(points: np.ndarray, radius: float, min_points: int) -> np.ndarray:
    """Which of the points [n,3] belong to the largest DBSCAN cluster, bool[n]; none where all are noise.

    A core point has at least `min_points` points, itself included, within `radius`; a cluster are core points linked
    by steps of at most `radius`, with the points that near to one of them (a point near two clusters belongs to that
    of its nearest core point). Of equally large clusters the one with the first point counts.
    """
    # The diagonal of a cell is the radius, a little less against rounding.
    side = radius / np.sqrt(3) * (1 - 1e-6)
    places = np.floor(points / side).astype(np.int64)
    # One number for each cell: its rank along each axis, so that far outliers cannot make the numbers overflow.
    ranks = [np.unique(axis, return_inverse=True)[1] for axis in places.T]
    keys = np.ravel_multi_index(tuple(ranks), tuple(rank.max(initial=0) + 1 for rank in ranks))
    _, first_of, cell_of, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    core = counts[cell_of] >= min_points
    if not core.all():
        core[~core] = KDTree(points).query_ball_point(points[~core], radius, return_length=True) >= min_points
    if not core.any():
        return core

    core_cells, core_cell_of = np.unique(cell_of[core], return_inverse=True)
    cluster = np.full(len(points), -1)
    cluster[core] = link_cells(points[core], core_cell_of, places[first_of][core_cells], radius)[core_cell_of]
    distances, nearest = KDTree(points[core]).query(points[~core])
    cluster[~core] = np.where(distances <= radius, cluster[core][nearest], -1)
    # The first point of a largest cluster: of -1, which stands for noise, none counts.
    sizes = np.bincount(cluster[cluster >= 0])
    return cluster == cluster[np.where(cluster < 0, 0, sizes[cluster]).argmax()]


def link_cells(points: np.ndarray, cell_of: np.ndarray, cells: np.ndarray, radius: float) -> np.ndarray:
    """Component i[c] of each grid cell [c,3]; cells with points within `radius` of each other are linked.

    points [n,3]; cell_of i[n]: the cell of each point.
    """
    # Two points within the radius, less than two cells apart along an axis, lie in cells at most two apart.
    pairs = KDTree(cells).query_pairs(2, p=np.inf, output_type="ndarray")
    order = np.argsort(cell_of, kind="stable")
    starts = np.searchsorted(cell_of[order], np.arange(len(cells) + 1))
    # One point of each cell already links most of them; only pairs that are still apart need all their points.
    sample = points[order[(starts[:-1] + starts[1:]) // 2]]
    close = np.linalg.norm(sample[pairs[:, 0]] - sample[pairs[:, 1]], axis=1) <= radius
    while True:
        links = coo_array((np.ones(close.sum()), tuple(pairs[close].T)), shape=(len(cells), len(cells)))
        _, component = connected_components(links, directed=False)
        apart = np.flatnonzero(component[pairs[:, 0]] != component[pairs[:, 1]])
        # Until a new link is found, every pair that is apart is looked at once.
        for pair in apart:
            members = [points[order[starts[cell] : starts[cell + 1]]] for cell in pairs[pair]]
            close[pair] = cdist(*members).min() <= radius
        if not close[apart].any():
            return component
