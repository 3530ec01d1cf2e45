"""G-aggregation of Sec. 3.4 in float64, loop by loop."""

import numpy as np


def naive_neighbours(points, k):
    """Brute force: sorted distances and, where these are all different, indices."""
    indices, distances = [], []
    for i in range(len(points)):
        found = sorted(
            (float(np.linalg.norm(points[i].astype(float) - points[j])), j) for j in range(len(points)) if j != i
        )
        distances.append([distance for distance, _ in found[:k]])
        indices.append([j for _, j in found[:k]])
    return np.array(indices), np.array(distances)


def naive_fused(cloud, alpha):
    """q^ of every point in full, [n, d] float64, loop by loop from Sec. 3.4."""
    n_views, n_points = cloud["visible"].shape
    q = []
    for j in range(n_points):
        seen = [cloud["patches"][k][cloud["patch_index"][k, j]] for k in range(n_views) if cloud["visible"][k, j]]
        q.append(sum(seen) / len(seen))
    fused = []
    for j in range(n_points):
        from_neighbours = sum(float(w) * q[i] for i, w in zip(cloud["neighbours"][j], cloud["weights"][j], strict=True))
        fused.append(alpha * from_neighbours + (1 - alpha) * q[j])
    return np.array(fused)
