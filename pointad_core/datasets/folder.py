"""A folder of one's own: scans in files of any kind that `formats` reads, sorted by what is known of them.

    <category>/good/NAME.ply          without defect
    <category>/<defect>/NAME.ply      with one: `bad`, or whatever it is called, each kind in a folder of its own
    <category>/<defect>/NAME.label.txt, or NAME.label.png    where it is defective, if anybody has marked it
    <category>/<defect>/NAME.png      a photograph of the pixels of an organised scan, or NAME.jpg
    <category>/train/good/NAME.ply    without defect, for systems that learn the category itself from good scans

A label text has a row `x y z label` a point, in any order: each point takes the label of the row nearest to it. A label
png marks pixels of an organised scan by any value above 0. A file can also hold its labels itself, in a column or
property of that name. A defective scan without any of these is known to be defective, but not where.
"""

import os
from pathlib import Path

import numpy as np

from pointad_core.datasets.images import read_mask
from pointad_core.datasets.scans import GOOD, TEST, TRAIN, Scan, Unorganised, category_folder, list_folder, some
from pointad_core.errors import InputError
from pointad_core.formats import registry as formats
from pointad_core.formats.labels import label_points
from pointad_core.formats.missing import check_missing
from pointad_core.formats.reading import Reading
from pointad_core.formats.unit import metres_of
from pointad_core.storage.shards import WHOLE, holds

COMPANIONS = {".label.txt": "gt", ".label.png": "gt", ".png": "rgb", ".jpg": "rgb", ".jpeg": "rgb"}
"""Roles of files beside a scan, by their endings."""


def find(root: str | os.PathLike[str], category: str, shard: str = WHOLE, split: str = TEST) -> list[Scan]:
    """Scans of a category, which may be any folder, with `root` above it; the folders in it say what they are."""
    folder = category_folder(root, category)
    if split == TRAIN:
        return some(find_in(folder / TRAIN / GOOD, GOOD, shard), folder / TRAIN, "good/* with a scan's ending")
    scans: dict[str, Scan] = {}
    for kind in list_folder(folder):
        if (at := folder / kind).is_dir():
            for scan in find_in(at, GOOD if kind.lower() == GOOD else kind, shard):
                if scan.name in scans:
                    raise InputError(
                        f"{scan.path}: would be called {scan.name} like {scans[scan.name].path}; rename one"
                    )
                scans[scan.name] = scan
    endings = ", ".join(formats.MODULES)
    return some(scans.values(), folder, f"good/* or <defect>/* with one of the endings {endings}")


find_scans = find  # Names and defects stand in the folders' and the files' names.


def find_in(folder: Path, defect: str, shard: str = WHOLE) -> list[Scan]:
    """Scans of one folder, each with what lies beside it."""
    points: list[tuple[str, Path]] = []
    beside: dict[str, dict[str, Path]] = {}
    for name in list_folder(folder):
        path = folder / name
        companion = next((ending for ending in COMPANIONS if name.lower().endswith(ending)), None)
        ending = companion or formats.ending_of(name)
        if ending is None or not path.is_file():
            continue
        stem = name[: -len(ending)]
        if companion is None:
            points.append((stem, path))
        elif (other := beside.setdefault(stem, {}).setdefault(COMPANIONS[companion], path)) != path:
            raise InputError(f"{other}: the scan has {name} as well; remove one")
    stems = {stem for stem, _ in points}
    if lost := sorted(stem for stem in beside if stem not in stems):
        path = next(iter(beside[lost[0]].values()))
        raise InputError(f"{path}: belongs to no scan; one of its name, {lost[0]}.ply or the like, is missing")
    return [
        Scan(f"{defect}/{stem}", defect, {"points": path, **beside.get(stem, {})}, known=True)
        for stem, path in points
        if holds(shard, f"{defect}/{stem}")
    ]


def read(scan: Scan, mark: float | str | None = None, unit: str | float | None = None) -> Unorganised:
    """Read a scan as points, of an organised one those that are not missing: as they stand in the file, but in
    millimetres where the file itself says its unit.

    mark: of missing points, as in `formats.missing.find_missing`; unit: of the file, where the caller knows it. Labels
    are None of a scan in another folder than `good` that nobody has labelled. Raises InputError for a file that cannot
    be read or has no point, and labels that are not of this scan.
    """
    reading, valid, notes = read_points(scan, mark, unit)
    labels = read_labels(scan, reading.points, valid, reading.labels)
    points = reading.points[valid] * scale_to("mm", reading, unit)
    return Unorganised(points, labels if labels is None else labels[valid], notes)


def scale_to(own: str, reading: Reading, unit: str | float | None) -> float:
    """What brings points to a layout's own unit where their file says theirs, and the caller none."""
    return metres_of(reading.unit) / metres_of(own) if unit is None and reading.unit else 1.0


def read_points(
    scan: Scan, mark: float | str | None, unit: str | float | None
) -> tuple[Reading, np.ndarray, tuple[str, ...]]:
    """What a scan's file holds, which of its points are there, bool [N] or [H, W], and what a log should say of it."""
    # Depths in whole numbers are read only where somebody says of what.
    reading = formats.read(scan.path, **({} if unit is None else {"unit": unit}))
    found = check_missing(scan.path, reading.points, mark)
    return reading, found.valid, (*reading.notes, *found.notes)


def read_labels(scan: Scan, points: np.ndarray, valid: np.ndarray, own: np.ndarray | None) -> np.ndarray | None:
    """Labels bool [N] or [H, W] from what lies beside a scan or its file; None where there are none.

    points: f8 [N, 3] or [H, W, 3] as they stand in the file; valid: those that are not missing; own: labels that the
    file itself has.
    """
    if "gt" not in scan.files:
        if own is not None:
            return own
        return np.zeros(valid.shape, bool) if scan.defect == GOOD else None
    path = scan.files["gt"]
    if path.suffix.lower() == ".png":
        if valid.ndim != 2:
            raise InputError(f"{path}: marks pixels, but {scan.path} is a cloud without any; give a .label.txt")
        return read_mask(path, valid.shape, scan.path)
    return label_points(path, points, valid, scan.path)
