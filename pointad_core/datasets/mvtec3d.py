"""MVTec 3D-AD: organised points as tiff in metres, RGB and ground truth as png on the same pixels.

<category>/test/<good or defect>/{xyz/ID.tiff, rgb/ID.png, gt/ID.png}
"""

import os

import numpy as np

from pointad_core.datasets.images import describe, read_mask, read_rgb
from pointad_core.datasets.scans import Organised, Scan, category_folder, list_folder, partner, some
from pointad_core.errors import InputError
from pointad_core.storage.shards import WHOLE, holds


def find(root: str | os.PathLike[str], category: str, shard: str = WHOLE) -> list[Scan]:
    """Scans of a category; the folders under `test` are its kinds of defects."""
    test = category_folder(root, category) / "test"
    scans = []
    for defect in list_folder(test):
        if not (test / defect).is_dir():
            continue
        folders = {role: test / defect / role for role in ("xyz", "rgb", "gt")}
        # A shard is read while the scans of another, and their folders, may still be being made.
        names = {role: set(list_folder(at)) if at.is_dir() or not shard else set() for role, at in folders.items()}
        # By stem, whatever the role: so a scan is noticed too whose points are gone while its picture is still there.
        ends = {"xyz": (".tiff", ".tif"), "rgb": (".png",), "gt": (".png",)}
        stems = {name.rpartition(".")[0] for role in ends for name in names[role] if name.endswith(ends[role])}
        for stem in sorted(stems):
            if not holds(shard, f"{defect}/{stem}"):
                continue
            points = [folders["xyz"] / f"{stem}{end}" for end in ends["xyz"] if f"{stem}{end}" in names["xyz"]]
            if not points:
                raise InputError(f"{folders['xyz'] / stem}.tiff: missing, though the scan has an rgb or gt")
            if len(points) > 1:
                raise InputError(f"{points[0]}: the scan has {points[1].name} as well; remove one")
            files = {role: partner(folders[role], names[role], f"{stem}.png", points[0]) for role in ("rgb", "gt")}
            scans.append(Scan(f"{defect}/{stem}", defect, {"xyz": points[0], **files}))
    return some(scans, test, "<good or defect>/xyz/*.tiff")


find_scans = find  # Names and defects stand in the files' places.


def read(scan: Scan, missing: str | float = "auto") -> Organised:
    """Read a scan: points in metres in the camera's frame (z away from it), a missing one being exactly (0, 0, 0).

    Raises InputError for a file that cannot be decoded, NaN or infinite coordinates, a scan without any point, and
    an rgb or gt of another size.
    """
    import tifffile

    path = scan.files["xyz"]
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
    valid = (points != 0).any(axis=2)
    if not valid.any():
        raise InputError(f"{path}: all points are (0, 0, 0), which stands for a missing one; the scan is empty")
    rgb = read_rgb(scan.files["rgb"], valid.shape, path)
    return Organised(points.astype(np.float64), valid, rgb, read_mask(scan.files["gt"], valid.shape, path))
