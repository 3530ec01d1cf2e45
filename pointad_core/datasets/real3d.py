"""Real3D-AD (and Anomaly-ShapeNet): point clouds as pcd, labels as text with a row `x y z label` a point.

    <category>/test/NUMBER_<good or defect>[_SUFFIX].pcd, <category>/gt/<same stem>.txt for defects

Rows of the label file may stand in another order than the points, and some files have a row more or less, so that
each point takes the label of the row nearest to it.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

import numpy as np

from pointad_core.datasets.scans import GOOD, Scan, Unorganised, category_folder, list_folder, parse_real3d, some
from pointad_core.errors import InputError
from pointad_core.storage.shards import WHOLE, holds

TOLERANCE = 1e-3
"""A point and its row lie within this part of the cloud's diagonal: far below the spacing of scanned points, far
above what a text file's rounding moves them."""

MATCHED = 0.95
"""Part of the points that must find a row; the rest covers what was cut or doubled after labelling."""


def find(root: str | os.PathLike[str], category: str, shard: str = WHOLE) -> list[Scan]:
    """Test scans of a category; Anomaly-ShapeNet's label folder is `GT`."""
    folder = category_folder(root, category)
    test = folder / "test"
    found = [name for name in list_folder(folder) if name in ("gt", "GT")]
    labels = folder / (found[0] if found else "gt")
    texts = {name for name in list_folder(labels) if name.endswith(".txt")} if labels.is_dir() else set()
    stems = [name[:-4] for name in list_folder(test) if name.endswith(".pcd")]
    # Prototypes belong to training, wherever they lie.
    stems = [stem for stem in stems if not re.search(r"(^|_)(temp|template|prototype)\d*(_|$)", stem, re.IGNORECASE)]
    scans = []
    for stem in stems:
        defect, label = parse_real3d(stem)
        if not holds(shard, f"{defect}/{label}"):
            continue
        files = {"pcd": test / f"{stem}.pcd"}
        # A label file may go without the suffix of its cloud, or the other way round; another scan's never counts,
        # and the reader holds its points against the cloud's.
        base = stem.removesuffix("_cut").removesuffix("_copy")
        others = [name for name in (f"{base}_cut", base) if name != stem and name not in stems]
        for name in (stem, *others):
            if f"{name}.txt" in texts:
                files["gt"] = labels / f"{name}.txt"
                break
        if "gt" not in files and defect != GOOD:
            raise InputError(f"{labels / stem}.txt: missing, it belongs to {files['pcd']}")
        scans.append(Scan(f"{defect}/{label}", defect, files))
    taken: dict[str, Path] = {}
    for scan in scans:
        if taken.setdefault(scan.name, scan.path) != scan.path:
            raise InputError(f"{scan.path}: would be called {scan.name} like {taken[scan.name]}; rename one")
    return some(scans, test, "*.pcd")


find_scans = find
"""Names and defects stand in the files' names."""


def read(scan: Scan) -> Unorganised:
    """Read a scan: points in the data's units (about a millimetre) and their labels; a good one needs no label file.

    Raises InputError for a file that cannot be decoded, a cloud without points or with NaN, and labels that do not
    match their cloud.
    """
    points = read_points(scan.files["pcd"])
    if "gt" not in scan.files:
        return Unorganised(points, np.zeros(len(points), bool))
    return Unorganised(points, match_labels(points, *read_labels(scan.files["gt"]), scan.files["gt"], scan.path))


def read_points(path: Path) -> np.ndarray:
    """Points f8[N,3] of a pcd, ASCII or binary."""
    import open3d as o3d

    check_size(path)
    # Open3D prints a warning and returns an empty cloud where it cannot read; the error below says so instead.
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        points = np.asarray(o3d.io.read_point_cloud(path, format="pcd").points)
    if len(points) == 0:
        raise InputError(f"{path}: no points could be read; the file is empty, cut short or no pcd")
    check_rows(path, len(points))
    bad = np.count_nonzero(~np.isfinite(points).all(axis=1))
    if bad:
        raise InputError(f"{path}: {bad} of {len(points)} points are NaN or infinite")
    return points


def check_size(path: Path) -> None:
    """InputError where a pcd's header says more points than the file can hold: Open3D takes the memory for them all."""
    size = path.stat().st_size
    counts = {}
    with open(path, "rb") as file:
        for line in file:
            words = line.split()
            if words[:1] in ([b"WIDTH"], [b"HEIGHT"], [b"POINTS"]):
                if len(words) != 2 or not words[1].isdigit():
                    raise InputError(
                        f"{path}: the header says {line[:80].decode(errors='replace')!r}, expected a count"
                    )
                counts[words[0]] = int(words[1])
            if words[:1] == [b"DATA"]:
                break
    # Without POINTS, Open3D takes WIDTH times HEIGHT.
    announced = max(counts.get(b"POINTS", 0), counts.get(b"WIDTH", 0) * counts.get(b"HEIGHT", 1))
    # Even compressed, a point takes more than a hundredth of a byte.
    if announced > 100 * size:
        raise InputError(f"{path}: the header says {announced} points, but the file has {size} bytes")


def check_rows(path: Path, count: int) -> None:
    """InputError where an ASCII pcd has not as many rows as its header says points, `count` of them.

    Open3D makes a point for each that the header announces, and leaves those without a row as memory happens to be.
    """
    with open(path, "rb") as file:
        width = 0
        for line in file:
            words = line.split()
            if words[:1] in ([b"FIELDS"], [b"COLUMNS"]):
                width = len(words) - 1
            elif words[:1] == [b"COUNT"]:
                width = sum(int(word) for word in words[1:] if word.isdigit())
            elif words[:1] == [b"DATA"]:
                if words[1:] != [b"ascii"]:
                    return
                break
        rows = sum(len(line.split()) >= width for line in file)
    if rows != count:
        raise InputError(f"{path}: the header says {count} points, but {rows} whole rows follow")


def read_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points f8[M,3] and labels bool[M] of a label file, its columns apart by blanks or commas."""
    try:
        with open(path) as file:
            delimiter = "," if "," in file.readline() else None
        with warnings.catch_warnings():
            # An empty file is an error below, not a warning.
            warnings.simplefilter("ignore")
            rows = np.loadtxt(path, delimiter=delimiter, ndmin=2)
    except ValueError as error:
        raise InputError(f"{path}: not a table of numbers ({error})") from error
    if len(rows) == 0 or rows.shape[1] != 4:
        raise InputError(f"{path}: {len(rows)} rows of {rows.shape[1]} columns, expected rows `x y z label`")
    if not np.isfinite(rows).all():
        raise InputError(f"{path}: NaN or infinite numbers, expected rows `x y z label`")
    if not np.isin(rows[:, 3], (0, 1)).all():
        raise InputError(f"{path}: labels are {np.unique(rows[:, 3])[:5].tolist()}, expected 0 and 1")
    return rows[:, :3], rows[:, 3] > 0


def match_labels(points: np.ndarray, places: np.ndarray, labels: np.ndarray, path: Path, cloud: Path) -> np.ndarray:
    """Label bool[N] of each point [N,3]: that of the row, among places [M,3] with labels [M], nearest to it.

    Raises InputError where more than a few points have no row near them: it is then another cloud's label file.
    """
    from scipy.spatial import KDTree

    distances, rows = KDTree(places).query(points)
    diagonal = np.linalg.norm(np.ptp(points, axis=0))
    matched = float(np.mean(distances <= TOLERANCE * diagonal))
    if matched < MATCHED:
        raise InputError(
            f"{path}: does not match {cloud}; of its {len(points)} points {matched:.1%} lie at one of the "
            f"{len(places)} rows, at least {MATCHED:.0%} must"
        )
    return labels[rows]
