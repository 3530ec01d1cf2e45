"""A folder of one's own, as `folder` describes it, of scans that are organised: points on a camera's pixels.

Its photographs are read, and its maps are images. Files are tiff, npy, npz, or pcd with a height.
"""

import numpy as np

from pointad_core.datasets.folder import find, find_scans, read_labels, read_points, scale_to
from pointad_core.datasets.images import read_rgb
from pointad_core.datasets.scans import Organised, Scan
from pointad_core.errors import InputError

__all__ = ["find", "find_scans", "read"]


def read(scan: Scan, mark: float | str | None = None, unit: str | float | None = None) -> Organised:
    """Read a scan on its grid, in metres where the file itself says its unit; arguments and errors as in `folder.read`.

    rgb: the photograph beside it, or the colours that the file has of its points; None where there are neither.
    """
    reading, valid, notes = read_points(scan, mark, unit)
    if valid.ndim != 2:
        raise InputError(f"{scan.path}: is a cloud of points and not organised; take the layout `folder`")
    rgb = reading.colours
    if "rgb" in scan.files:
        rgb = read_rgb(scan.files["rgb"], valid.shape, scan.path)
    points = np.where(valid[..., None], reading.points * scale_to("m", reading, unit), 0)
    return Organised(points, valid, rgb, read_labels(scan, reading.points, valid, reading.labels), notes)
