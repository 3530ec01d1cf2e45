"""Generated scans of the layouts of point clouds: Real3D-AD, Anomaly-ShapeNet, and MulSen-AD, whose points are corners
of meshes.

What is odd about the label files of the published data sets is so here: rows in another order than the points, a row
too many, and rows for the defective points alone.
"""

import numpy as np
from scipy.spatial import Delaunay

from pointad_core.datasets.generator.camera import sample_surface
from pointad_core.datasets.generator.defects import make_scanned
from pointad_core.datasets.generator.files import as_file, pcd, stl
from pointad_core.datasets.generator.shapes import Random, Shape, make_shape

TOWARD = np.array([0.0, 0.0, 1.0])
"""Where the scanner is."""

NOISE = 0.0008
"""Of every coordinate, in units of a shape."""


def small_turn(rng: Random) -> np.ndarray:
    """A rotation f8[3,3] by up to eight degrees about x and y."""
    (cos_a, cos_b), (sin_a, sin_b) = (function(np.radians(rng.uniform(-8, 8, 2))) for function in (np.cos, np.sin))
    about_x = np.array([[1, 0, 0], [0, cos_a, -sin_a], [0, sin_a, cos_a]])
    about_y = np.array([[cos_b, 0, sin_b], [0, 1, 0], [-sin_b, 0, cos_b]])
    return about_x @ about_y


def closed_surface(shape: Shape, n_top: int, n_bottom: int, rng: Random) -> tuple[np.ndarray, np.ndarray]:
    """Points f8[n,3] of a shape that its flat underside closes, and labels bool[n]; no defect is below."""
    top, labels = sample_surface(shape, n_top, rng)
    bottom, _ = sample_surface(shape, n_bottom, rng)
    return np.concatenate([top, bottom * (1, 1, 0)]), np.concatenate([labels, np.zeros(n_bottom, bool)])


# Real3D-AD -----------------------------------------------------------------------------------------------------------

REAL3D_UNIT = 15.0
"""Millimetres that the unit of a shape stands for."""


def real3d_scan(category: str, defect: str, rng: Random) -> dict[str, bytes]:
    """Files pcd and, for a defect, gt of a scan from one side, the scanner looking along z."""
    shape = make_scanned(category, defect, TOWARD, rng)
    points, labels = sample_surface(shape, int(rng.integers(22_000, 30_000)), rng)
    points += NOISE * rng.standard_normal(points.shape)
    points = (points @ small_turn(rng).T * REAL3D_UNIT).astype(np.float32)
    return {"pcd": pcd(points), "gt": as_file(np.savetxt, np.c_[points, labels], "%.6f %.6f %.6f %d")}


def real3d_template(category: str, rng: Random) -> bytes:
    """A prototype without defect, closed by its flat underside."""
    points, _ = closed_surface(make_shape(category, rng), 5000, 3000, rng)
    return pcd((points * REAL3D_UNIT).astype(np.float32))


def real3d_prototype(category: str, defect: str, rng: Random) -> dict[str, bytes]:
    """File pcd of a good object as the scanner sees it from all sides: both of its scans, put together."""
    points, _ = closed_surface(make_scanned(category, defect, TOWARD, rng), 26_000, 22_000, rng)
    points += NOISE * rng.standard_normal(points.shape)
    return {"pcd": pcd((points @ small_turn(rng).T * REAL3D_UNIT).astype(np.float32))}


# Anomaly-ShapeNet ----------------------------------------------------------------------------------------------------


def anomaly_shapenet_scan(category: str, defect: str, rng: Random) -> dict[str, bytes]:
    """Files pcd and, for a defect, gt of a closed cloud, normalised into the unit ball: its unit stands for nothing."""
    points, labels = closed_surface(make_scanned(category, defect, TOWARD, rng), 24_000, 16_000, rng)
    points += NOISE * rng.standard_normal(points.shape)
    points = points @ small_turn(rng).T
    points -= points.mean(axis=0)
    points = (points / np.linalg.norm(points, axis=1).max()).astype(np.float32)
    rows = rng.permutation(len(points))
    # Some label files have a point that is not in the cloud.
    kept = len(points) - int(rng.integers(2))
    gt = as_file(np.savetxt, np.c_[points, labels][rows], "%.8f,%.8f,%.8f,%.1f")
    return {"pcd": pcd(points[:kept]), "gt": gt}


# MulSen-AD -----------------------------------------------------------------------------------------------------------

MULSEN_UNIT = 12.0
"""Millimetres that the unit of a shape stands for."""

LONGEST_EDGE = 0.08
"""Of the mesh's triangles as the scanner sees them, in units of a shape; longer ones would close gaps."""


def mulsen_ad_scan(category: str, defect: str, rng: Random) -> dict[str, bytes]:
    """Files stl and gt of the mesh that a scanner makes of what it sees; gt lists the defective points, none of the
    others."""
    shape = make_scanned(category, defect, TOWARD, rng)
    points, labels = sample_surface(shape, int(rng.integers(22_000, 30_000)), rng)
    triangles = Delaunay(points[:, :2]).simplices
    seen = points[:, :2][triangles]
    edges = np.linalg.norm(seen - np.roll(seen, 1, axis=1), axis=2)
    triangles = triangles[edges.max(axis=1) < LONGEST_EDGE]
    points += NOISE * rng.standard_normal(points.shape)
    points = (points @ small_turn(rng).T * MULSEN_UNIT).astype(np.float32)
    # A point that no triangle has is not in the file.
    labels &= np.isin(np.arange(len(points)), triangles)
    gt = as_file(np.savetxt, rng.permutation(points[labels]), "%.6f", delimiter=",")
    return {"stl": stl(points, triangles), "gt": gt}


def mulsen_ad_table(count: int, defective: bool, on_points: bool) -> bytes:
    """The table of the objects 0, 1, ... in a folder: which sensors' data show that they are defective."""
    marks = f"{defective:d},{on_points:d},{on_points:d}"
    return "".join(["object,RGB,infrared,pointcloud\n", *(f"{number},{marks}\n" for number in range(count))]).encode()
