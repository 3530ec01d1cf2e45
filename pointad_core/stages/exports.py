"""Scores as files that others' evaluations read: a store in, a folder out.

mvtec    <out>/<object>/test/<defect>/<id>.tiff    float32 [H, W] at the scan's own image size, as the evaluation of
                                                   MVTec 3D-AD takes them; of organised scans
real3d   <out>/<category>/<file's stem>.txt        a row `x y z score` for each point of the file, in its order, as
                                                   Real3D-AD's label files are; of unorganised scans, in
                                                   <category>/<defect> where each defect has a folder of its own
objects  <out>, a CSV                              a row for each scan: its object scores, and what they are made of
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pointad_core.clouds.background import own_pixels
from pointad_core.datasets.registry import LAYOUTS, reader
from pointad_core.datasets.scans import Organised, Scan, Unorganised
from pointad_core.errors import InputError
from pointad_core.storage import files, jobs, stores

FORMATS = {"mvtec": Organised, "real3d": Unorganised}
"""Kind of scan that each is for."""


def export_scores(
    scores: str | Path, root: str | Path, layout: str, form: str, output: str | Path, modality: str = "3d"
) -> int:
    """Write the scores of a store into a new folder, a file a scan; returns how many.

    scores: store of kind "scores"; root: the data set's own folder, which alone knows the image size or the points of
    its scans; layout: how that is laid out, one of LAYOUTS; form: one of FORMATS; output: a folder that is not there
    yet, or empty; modality: "3d", or "m3d" for scores with RGB. The folder is there as a whole or not at all.

    Raises InputError for scores that are not of these scans, or are not of this modality, and for a form that is not
    theirs.
    """
    if form not in FORMATS:
        raise InputError(f"format {form!r} is unknown; known are {', '.join(FORMATS)}")
    module, scene = reader(layout), LAYOUTS[layout].scene
    scans: dict[str, dict[str, Scan]] = {}
    with stores.read(scores, "scores") as store, _new_folder(Path(output)) as folder:
        if not store.scans:
            raise InputError(f"{scores}: holds no scan")
        for name in jobs.progress(store.scans, "export"):
            category, _, own_name = name.partition("/")
            if category not in scans:
                scans[category] = {scan.name: scan for scan in module.find_scans(root, category)}
            if own_name not in scans[category]:
                raise InputError(f"{root}: has no scan {name!r}, whose scores are in {scores}")
            scan = scans[category][own_name]
            raw: Organised | Unorganised = module.read(scan)
            if not isinstance(raw, FORMATS[form]):
                allowed = next(other for other, kind in FORMATS.items() if isinstance(raw, kind))
                what = "organised" if allowed == "mvtec" else "a cloud of points"
                raise InputError(f"{scan.path}: is {what}, which format {form!r} is not for; take {allowed!r}")
            found = _load(store, name, f"{'map' if form == 'mvtec' else 'original'}_{modality}")
            if isinstance(raw, Organised):
                path = folder / category / "test" / f"{own_name}.tiff"
                rows, columns = own_pixels(raw.valid.shape, len(found), padded=scene == "plane")
                _write_tiff(path, found[rows, columns])
            else:
                if len(found) != len(raw.points):
                    told = f"{len(raw.points)} points, {scores} has scores of {len(found)}"
                    raise InputError(f"{scan.path}: {told}; is this the folder they were made from?")
                _write_rows(folder / category / _place(scan), raw.points, found)
        return len(store.scans)


def export_objects(scores: str | Path, output: str | Path) -> int:
    """Write the object scores of a store as CSV, a row a scan; returns how many.

    Columns: category, scan, defective (empty where nobody knows), and each score and part of one that any scan has, see
    `methods.parts.object_parts`; empty where a scan has none.
    """
    with stores.read(scores, "scores") as store:
        rows = [store.scan_attributes(name) for name in store.scans]
    if not rows:
        raise InputError(f"{scores}: holds no scan")
    known = dict.fromkeys(key for row in rows for key, value in row.items() if isinstance(value, float))
    head = ["category", "scan", "defective", *sorted(known, key=lambda key: (not key.startswith("object_"), key))]
    with files.replacing(output) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        for row in rows:
            label = {None: "", False: 0, True: 1}[row["defective"]]
            writer.writerow([row["category"], row["scan"], label, *(row.get(key, "") for key in head[3:])])
    return len(rows)


def _place(scan: Scan) -> Path:
    """Path of a scan's rows within its category: the file's stem, with the folder of its defect where it has one."""
    name, defect = f"{scan.path.name.partition('.')[0]}.txt", scan.name.partition("/")[0]
    return Path(defect, name) if scan.path.parent.name.lower() == defect.lower() else Path(name)


def _load(store: stores.StoreReader, name: str, array: str) -> np.ndarray:
    if array not in store.arrays(name):
        raise InputError(f"{store.path}: scan {name!r} has no {array}, it has {', '.join(store.arrays(name))}")
    return store.load(name, [array])[array]


def _write_tiff(path: Path, image: np.ndarray) -> None:
    """A score map, float32 [H, W], as one uncompressed page without a date or a program's name."""
    import tifffile

    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, image, photometric="minisblack", metadata=None, software=False)


def _write_rows(path: Path, points: np.ndarray, scores: np.ndarray) -> None:
    """Rows `x y z score` of points [N, 3] and scores [N], in as many digits as bring them back to the bit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digits = 9 if np.array_equal(points, points.astype(np.float32)) else 17
    np.savetxt(path, np.column_stack([points, scores]), fmt=f"%.{digits}g %.{digits}g %.{digits}g %.9g")


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A folder to write to beside `path`, which it becomes when the block ends without an error."""
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise InputError(f"{path}: is there already; give a folder that is not, or delete it")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{path.name}.", suffix=".partial", dir=path.parent) as place:
        # A folder within, which others may look into as into any new one.
        partial = Path(place) / path.name
        partial.mkdir()
        yield partial
        os.replace(partial, path)
