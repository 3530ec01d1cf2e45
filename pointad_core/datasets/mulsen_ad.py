"""MulSen-AD: meshes of a laser scanner in millimetres, whose corners are the points, and lists of the defective ones.

    <category>/Pointcloud/test/<good or defect>/NUMBER.stl
    <category>/Pointcloud/GT/<defect>/NUMBER.txt       rows `x,y,z`, the defective points, in another order than those
    <category>/Pointcloud/train/NUMBER.stl             good ones
    <category>/RGB/GT/<defect>/data.csv                in which sensor's data an object is defective

Photographs and infrared images show the object from elsewhere, and are not read. Defects that they alone show, such as
a colour, are none of the point cloud: an object of which the table says so is a good one here, as in the data set's own
evaluation of point clouds alone.
"""

import csv
import os
from pathlib import Path

import numpy as np

from pointad_core.datasets.scans import (
    GOOD,
    TEST,
    TRAIN,
    Scan,
    Unorganised,
    by_stem,
    category_folder,
    list_folder,
    missing,
    some,
    subfolders,
)
from pointad_core.errors import InputError
from pointad_core.formats import mesh
from pointad_core.formats.labels import read_places
from pointad_core.formats.missing import check_missing
from pointad_core.formats.reading import shorten
from pointad_core.storage.shards import WHOLE, holds

COLUMNS = ("object", "pointcloud")
"""Those of the table that are read; beside them stand `RGB` and `infrared`."""


def find(root: str | os.PathLike[str], category: str, shard: str = WHOLE, split: str = TEST) -> list[Scan]:
    """Scans of a category. Whether one without a label file is good stands in a table, which `find_scans` reads."""
    folder = clouds_folder(root, category)
    if split == TRAIN:
        good = {f"{GOOD}/{stem}": path for stem, path in by_stem([folder / TRAIN], (".stl",)).items()}
        kept = [Scan(name, GOOD, {"stl": path}) for name, path in good.items() if holds(shard, name)]
        return some(kept, folder / TRAIN, "*.stl")
    test = folder / TEST
    labels = find_labels(folder)
    scans = []
    for defect in [defect for defect in list_folder(test) if (test / defect).is_dir()]:
        table = folder.parent / "RGB" / "GT" / defect / "data.csv"
        for stem, path in by_stem([test / defect], (".stl",)).items():
            name, files = f"{defect}/{stem}", {"stl": path}
            if not holds(shard, name):
                continue
            if label := labels.get(defect, {}).get(stem):
                files["gt"] = label
            if defect.lower() != GOOD and table.exists():
                files["table"] = table
            if labels and defect.lower() != GOOD and len(files) == 1:
                raise InputError(f"{table}: missing; {path} has no label file, and it says whether its points are good")
            scans.append(Scan(name, GOOD if defect.lower() == GOOD else defect, files))
    return some(scans, test, "<good or defect>/*.stl")


def clouds_folder(root: str | os.PathLike[str], category: str) -> Path:
    """Where a category's point clouds are, beside the images."""
    own = category_folder(root, category)
    return next(iter(subfolders(own, "pointcloud")), own / "Pointcloud")


def find_labels(folder: Path) -> dict[str, dict[str, Path]]:
    """Label files of a category by the folder of their defect and their stem, of folders that have some."""
    places = subfolders(folder, "gt")
    defects = sorted({defect for place in places for defect in list_folder(place)})
    found = {
        defect: by_stem([place / defect for place in places if (place / defect).is_dir()], (".txt",))
        for defect in defects
    }
    return {defect: labels for defect, labels in found.items() if labels}


def find_scans(root: str | os.PathLike[str], category: str, shard: str = WHOLE, split: str = TEST) -> list[Scan]:
    """Scans of a category, those good whose points the table of their folder says to be so. InputError for a table that
    cannot be read, and for a scan without a label file that it calls defective, unless none of the category has one."""
    scans = find(root, category, shard, split)
    tables = {path: read_table(path) for path in {scan.files["table"] for scan in scans if "table" in scan.files}}
    folder = clouds_folder(root, category)
    labelled = bool(find_labels(folder))
    told = []
    for scan in scans:
        if "table" not in scan.files:
            told.append(scan)
            continue
        table, number = scan.files["table"], scan.path.stem
        defective = tables[table].get(number)
        if defective is None and "gt" not in scan.files:
            raise InputError(f"{table}: has no row of the object {number}, and {scan.path} has no label file")
        if defective and "gt" not in scan.files and labelled:
            raise missing(folder / "GT" / scan.path.parent.name / f"{number}.txt", (".txt",), scan.path)
        # Without any label file it is known that a scan is defective, and not where.
        known = bool(defective) and "gt" not in scan.files
        told.append(Scan(scan.name, GOOD if defective is False else scan.defect, scan.files, known))
    return told


def read_table(path: Path) -> dict[str, bool]:
    """Whether the points of an object are defective, by its number; InputError for what does not say so."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: not a table that can be read ({error})") from error
    head = [name.strip().lower() for name in rows[0]] if rows else []
    if lacking := [name for name in COLUMNS if name not in head]:
        raise InputError(
            f"{path}: its first line names no column {lacking[0]}; expected object, RGB, infrared, pointcloud"
        )
    at, mark = (head.index(name) for name in COLUMNS)
    table: dict[str, bool] = {}
    for line, row in enumerate(rows[1:], 2):
        if not any(map(str.strip, row)):
            continue
        if len(row) != len(head):
            raise InputError(f"{path}: line {line}: {len(row)} columns, expected {len(head)}")
        if row[mark].strip() not in ("0", "1"):
            raise InputError(f"{path}: line {line}: pointcloud is {shorten(row[mark])}, expected 0 or 1")
        number, defective = Path(row[at].strip()).stem, row[mark].strip() == "1"
        if table.setdefault(number, defective) != defective:
            raise InputError(f"{path}: line {line}: says of the object {number} otherwise than a line above")
    return table


def read(scan: Scan, mark: float | str | None = None, unit: str | float | None = None) -> Unorganised:
    """Read a scan: each corner of its mesh once, in the order in which the file first has it, and which are defective;
    of a good one without a label file none, of any other without one nobody knows.

    mark: the value of missing points, as in `formats.missing`; unit: read without.

    Raises InputError for a file that cannot be decoded, a mesh without corners, and labels that are not of its points.
    """
    path = scan.files["stl"]
    reading = mesh.read_corners(path)
    found = check_missing(path, reading.points, mark)
    points, notes = reading.points[found.valid], reading.notes + found.notes
    if "gt" not in scan.files:
        return Unorganised(points, np.zeros(len(points), bool) if scan.defect == GOOD else None, notes)
    labels, more = mark_points(points, scan.files["gt"], path)
    return Unorganised(points, labels, notes + more)


def mark_points(points: np.ndarray, path: Path, cloud: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels bool[N] of points [N,3]: those nearest to a row of the list at `path` are defective; and notes.

    A row that lies three times as far from any point as these do from each other is of none. InputError, with the line
    of the first, where that is more than one in twenty: it is then another cloud's list.
    """
    from scipy.spatial import KDTree

    places, lines = read_places(path)
    tree = KDTree(points)
    distances, nearest = tree.query(places)
    spacing = float(np.median(tree.query(points, k=2)[0][:, 1]))
    # What a text file rounds counts in numbers far from the origin.
    far = distances > 3 * spacing + 1e-6 * float(np.abs(points).max())
    told = f"line {lines[np.argmax(far)]}: no point of {cloud} is there" if far.any() else ""
    if far.sum() > 0.05 * len(places):
        nearest_at = f"the nearest is {distances[np.argmax(far)]:.3g} away"
        raise InputError(f"{path}: {told}, {nearest_at}; so it is with {far.sum()} of its {len(places)} rows")
    labels = np.zeros(len(points), bool)
    labels[nearest[~far]] = True
    return labels, ((f"{path}: {told}; {far.sum()} of {len(places)} rows are passed over",) if told else ())
