"""Real3D-AD and Anomaly-ShapeNet: point clouds as pcd, labels as text with a row `x y z label` a point.

    <category>/test/NUMBER_<good or defect>[_SUFFIX].pcd, <category>/gt/<same stem>.txt for defects
    <category>/test/<category>_<positive or defect>NUMBER.pcd, <category>/GT/<same stem>.txt in Anomaly-ShapeNet, where
    rows are `x,y,z,label`
    <category>/train/*.pcd, good ones: in Real3D-AD four prototypes, closed clouds of the object from all sides, while
    its test scans show one. They are taken whole: what systems learn of the other sides is good all the same.

Rows of the label file may stand in another order than the points, and some files have a row more or less, so that
each point takes the label of the row nearest to it. Without any label file, scans that are not called good are
unlabelled.
"""

import os
import re

import numpy as np

from pointad_core.datasets.scans import (
    GOOD,
    TEST,
    TRAIN,
    UNLABELLED,
    UNNAMED,
    Scan,
    Unorganised,
    by_stem,
    category_folder,
    list_folder,
    missing,
    parse_real3d,
    some,
    subfolders,
)
from pointad_core.errors import InputError
from pointad_core.formats import pcd
from pointad_core.formats.labels import label_points
from pointad_core.formats.missing import check_missing
from pointad_core.storage.shards import WHOLE, holds


def find(root: str | os.PathLike[str], category: str, shard: str = WHOLE, split: str = TEST) -> list[Scan]:
    """Scans of a category; label files of the split `test` may lie in `gt` or `GT`, or in both, that of `train` needs
    none."""
    folder = category_folder(root, category)
    if split == TRAIN:
        good = {f"{GOOD}/{stem}": path for stem, path in by_stem([folder / TRAIN], (".pcd",)).items()}
        kept = [Scan(name, GOOD, {"pcd": path}) for name, path in good.items() if holds(shard, name)]
        return some(kept, folder / TRAIN, "*.pcd")
    test, places = folder / "test", subfolders(folder, "gt")
    texts, clouds = by_stem(places, (".txt",)), by_stem([test], (".pcd",))
    # What one defective scan has, each of them needs.
    labelled = any(list_folder(place) for place in places)
    # Prototypes belong to training, wherever they lie.
    prototype = re.compile(r"(^|_)(temp|template|prototype)\d*(_|$)", re.IGNORECASE)
    scans: dict[str, Scan] = {}
    for stem, path in clouds.items():
        if prototype.search(stem):
            continue
        # A label file may go without the suffix of its cloud, or the other way round; another scan's never counts,
        # and the reader holds its points against the cloud's.
        base = stem.removesuffix("_cut").removesuffix("_copy")
        stems = (stem, *(other for other in (f"{base}_cut", base) if other not in clouds))
        label = next((texts[label] for label in stems if label in texts), None)
        files = {"pcd": path, **({} if label is None else {"gt": label})}
        defect, number = parse_real3d(stem, category)
        if defect == UNNAMED and "gt" not in files:
            defect = UNLABELLED
        name = f"{defect}/{number}"
        if not holds(shard, name):
            continue
        if "gt" not in files and defect != GOOD and labelled:
            raise missing(places[0] / f"{stem}.txt", (".txt",), path)
        if name in scans:
            raise InputError(f"{path}: would be called {name} like {scans[name].path}; rename one")
        scans[name] = Scan(name, defect, files)
    return some(scans.values(), test, "*.pcd")


find_scans = find  # Names and defects stand in the files' names.


def read(scan: Scan, mark: float | str | None = None, unit: str | float | None = None) -> Unorganised:
    """Read a scan: the points that are there, in the data's units (about a millimetre), and their labels; a good one
    needs no label file, and any other without one is unlabelled.

    mark: the value of missing points, as in `formats.missing`; unit: read without.

    Raises InputError for a file that cannot be decoded, a cloud without any point, and labels that do not match their
    cloud.
    """
    path = scan.files["pcd"]
    reading = pcd.read(path)
    missing = check_missing(path, reading.points, mark)
    points, notes = reading.points[missing.valid], reading.notes + missing.notes
    if "gt" not in scan.files:
        return Unorganised(points, np.zeros(len(points), bool) if scan.defect == GOOD else None, notes)
    labels = label_points(scan.files["gt"], reading.points, missing.valid, path)
    return Unorganised(points, labels[missing.valid], notes)
