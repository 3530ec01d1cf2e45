"""Reader of MVTec 3D-AD: organised points as tiff in metres, RGB and ground truth as png on the same pixels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import tifffile

from pointad_core.datasets import Organised, Scan, find_mvtec3d
from pointad_core.datasets.images import describe, read_mask, read_rgb
from pointad_core.errors import InputError
from pointad_core.shards import WHOLE


def find_scans(root: str | os.PathLike[str], category: str, shard: str = WHOLE) -> list[Scan]:
    """Scans of a category's test split, named "<folder>/<id>"."""
    return find_mvtec3d(root, category, shard)


def read(scan: Scan) -> Organised:
    """Read a scan: points in metres in the camera's frame (z away from it), a missing one being exactly (0, 0, 0).

    Raises InputError for a file that cannot be decoded, NaN or infinite coordinates, a scan without any point, and
    an rgb or gt of another size.
    """
    path = scan.files["xyz"]
    points = read_points(path)
    shape = points.shape[0], points.shape[1]
    valid = (points != 0).any(axis=2)
    if not valid.any():
        raise InputError(f"{path}: all points are (0, 0, 0), which stands for a missing one; the scan is empty")
    rgb = read_rgb(scan.files["rgb"], shape, path)
    return Organised(points, valid, rgb, read_mask(scan.files["gt"], shape, path))


def read_points(path: Path) -> np.ndarray:
    """Points f8[H,W,3] of a tiff."""
    try:
        with tifffile.TiffFile(path) as file:
            if not file.pages:
                raise EOFError("it ends before its directory, cut short")
            points = file.pages.first.asarray()
    except Exception as error:
        # A damaged tiff makes the decoder fail in any way, from struct.error to a division by zero.
        raise InputError(f"{path}: not a readable tiff ({type(error).__name__}: {error})") from error
    if points.ndim != 3 or points.shape[2] != 3 or points.dtype.kind != "f":
        raise InputError(f"{path}: {describe(points)}, expected height x width x 3 floats")
    bad = np.count_nonzero(~np.isfinite(points).all(axis=2))
    if bad:
        raise InputError(f"{path}: {bad} points are NaN or infinite; a missing point is written as (0, 0, 0)")
    return points.astype(np.float64)
