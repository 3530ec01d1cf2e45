"""Fast point feature histograms: how the normals around a point turn, in 33 numbers."""

import numpy as np

from pointad_core.clouds.normals import estimate_normals
from pointad_core.imports import import_open3d

LENGTH = 33


def compute_fpfh(
    points: np.ndarray, normal_radius: float, normal_neighbours: int, radius: float, neighbours: int
) -> np.ndarray:
    """FPFH f4[n,33] of points [n,3]: three histograms of 11 bins, each of which sums up to 200, or to 0 for a point
    without neighbours.

    Normals are those of the plane through at most `normal_neighbours` points within `normal_radius`, with an arbitrary
    sign; histograms are over at most `neighbours` points within `radius`, in the data's units.
    """
    o3d = import_open3d()

    if not len(points):
        return np.zeros((0, LENGTH), np.float32)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.astype(np.float64)))
    normals = estimate_normals(points, normal_radius, normal_neighbours)
    cloud.normals = o3d.utility.Vector3dVector(normals.astype(np.float64))
    search = o3d.geometry.KDTreeSearchParamHybrid(radius, neighbours)
    found = o3d.pipelines.registration.compute_fpfh_feature(cloud, search).data.T
    return np.ascontiguousarray(np.nan_to_num(found, nan=0.0), dtype=np.float32)
