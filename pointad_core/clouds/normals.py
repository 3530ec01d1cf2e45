"""Normals of points, from the planes through their neighbours."""

import numpy as np

from pointad_core.imports import import_open3d


def estimate_normals(points: np.ndarray, radius: float, neighbours: int) -> np.ndarray:
    """Unit normals f4[n,3] of points [n,3]: least variance among up to `neighbours` points within `radius`.

    Their sign is arbitrary, as the renderer turns them toward its camera; so is the normal of a point with too few
    neighbours for a plane.
    """
    o3d = import_open3d()

    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.astype(np.float64)))
    search = o3d.geometry.KDTreeSearchParamHybrid(radius, neighbours)
    # The iterative solver: the closed form that Open3D prefers loses all digits on flat neighbourhoods.
    cloud.estimate_normals(search, fast_normal_computation=False)
    return np.asarray(cloud.normals).astype(np.float32)
