"""MVTec 3D-AD: organised points as tiff in metres, RGB and ground truth as png on the same pixels.

    <category>/test/<good or defect>/{xyz/ID.tiff, rgb/ID.png, gt/ID.png}
    <category>/train/good/{xyz/ID.tiff, rgb/ID.png}

A category of one's own may go without `rgb`, or without `gt`: its scans are then unlabelled, but those in `good`.
"""

import os

import numpy as np

from pointad_core.datasets.images import read_mask, read_rgb
from pointad_core.datasets.scans import (
    GOOD,
    TEST,
    Organised,
    Scan,
    by_stem,
    category_folder,
    list_folder,
    missing,
    some,
    subfolders,
)
from pointad_core.errors import InputError
from pointad_core.formats import tiff
from pointad_core.formats.missing import check_missing
from pointad_core.storage.shards import WHOLE, holds

ENDS = {"xyz": (".tiff", ".tif"), "rgb": (".png", ".jpg", ".jpeg", ".bmp"), "gt": (".png", ".bmp")}
"""Endings of the files in each folder, in upper or lower case."""


def find(root: str | os.PathLike[str], category: str, shard: str = WHOLE, split: str = TEST) -> list[Scan]:
    """Scans of a category; the folders under `test` are its kinds of defects, under `train` there is `good` alone."""
    test = category_folder(root, category) / split
    defects = [defect for defect in list_folder(test) if (test / defect).is_dir()]
    folders = {defect: {role: subfolders(test / defect, role) for role in ENDS} for defect in defects}
    # What one scan has, each of them needs.
    has = {
        role: any(list_folder(folder) for roles in folders.values() for folder in roles[role]) for role in ("rgb", "gt")
    }
    scans = []
    for defect, roles in folders.items():
        # A shard is read while the scans of another, and their folders, may still be being made.
        if not roles["xyz"] and not shard:
            raise InputError(f"{test / defect / 'xyz'}: no such folder")
        found = {role: by_stem(roles[role], ends) for role, ends in ENDS.items()}
        good = defect.lower() == GOOD
        # By stem, whatever the role: so a scan is noticed too whose points are gone while its picture is still there.
        for stem in sorted({stem for files in found.values() for stem in files}):
            if not holds(shard, f"{defect}/{stem}"):
                continue
            if stem not in found["xyz"]:
                raise InputError(f"{test / defect / 'xyz' / stem}.tiff: missing, though the scan has an rgb or gt")
            files = {"xyz": found["xyz"][stem]}
            for role in ("rgb", "gt"):
                if stem in found[role]:
                    files[role] = found[role][stem]
                # Good scans, of which nothing is to be marked, may go without the folder.
                elif has[role] and (role == "rgb" or roles["gt"] or not good):
                    folder = roles[role][0] if roles[role] else test / defect / role
                    raise missing(folder / f"{stem}.png", ENDS[role], files["xyz"])
            scans.append(Scan(f"{defect}/{stem}", GOOD if good else defect, files))
    return some(scans, test, "<good or defect>/xyz/*.tiff")


find_scans = find  # Names and defects stand in the files' places.


def read(scan: Scan, mark: float | str | None = None, unit: str | float | None = None) -> Organised:
    """Read a scan: points as they stand in the file, in the camera's frame (z away from it); in MVTec 3D-AD in metres,
    a missing one being exactly (0, 0, 0).

    mark: the value of missing points, as in `formats.missing`; unit: what the file's numbers count, which points as
    integers cannot do without.

    Raises InputError for a file that cannot be decoded, a scan without any point, and an rgb or gt of another size.
    """
    path = scan.files["xyz"]
    reading = tiff.read(path, unit)
    missing = check_missing(path, reading.points, mark)
    points = np.where(missing.valid[..., None], reading.points, 0)
    shape = missing.valid.shape
    rgb = read_rgb(scan.files["rgb"], shape, path) if "rgb" in scan.files else None
    mask = np.zeros(shape, bool) if scan.defect == GOOD else None
    if "gt" in scan.files:
        mask = read_mask(scan.files["gt"], shape, path)
    return Organised(points, missing.valid, rgb, mask, reading.notes + missing.notes)
