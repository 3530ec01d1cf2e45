"""Real3D-AD and Anomaly-ShapeNet: point clouds as pcd, labels as text with a row `x y z label` a point.

    <category>/test/NUMBER_<good or defect>[_SUFFIX].pcd, <category>/gt/<same stem>.txt for defects
    <category>/test/<category>_<positive or defect>NUMBER.pcd, <category>/GT/<same stem>.txt in Anomaly-ShapeNet

Rows of the label file may stand in another order than the points, and some files have a row more or less, so that
each point takes the label of the row nearest to it. Without any label file, scans that are not called good are
unlabelled.
"""

import os
import re
import warnings
from pathlib import Path

import numpy as np

from pointad_core.datasets.scans import (
    GOOD,
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
from pointad_core.storage.shards import WHOLE, holds


def find(root: str | os.PathLike[str], category: str, shard: str = WHOLE) -> list[Scan]:
    """Test scans of a category; label files may lie in `gt` or `GT`, or in both."""
    folder = category_folder(root, category)
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


def read(scan: Scan) -> Unorganised:
    """Read a scan: points in the data's units (about a millimetre) and their labels; a good one needs no label file,
    and any other without one is unlabelled.

    Raises InputError for a file that cannot be decoded, a cloud without points or with NaN, and labels that do not
    match their cloud.
    """
    points = read_points(scan.files["pcd"])
    if "gt" not in scan.files:
        return Unorganised(points, np.zeros(len(points), bool) if scan.defect == GOOD else None)
    return Unorganised(points, match_labels(points, *read_labels(scan.files["gt"]), scan.files["gt"], scan.path))


def read_points(path: Path) -> np.ndarray:
    """Points f8[N,3] of a pcd, ASCII or binary."""
    import open3d as o3d

    rows = count_rows(path)
    # Open3D prints a warning and returns an empty cloud where it cannot read; the error below says so instead.
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        points = np.asarray(o3d.io.read_point_cloud(path, format="pcd").points)
    if len(points) == 0:
        raise InputError(f"{path}: no points could be read; the file is empty, cut short or no pcd")
    # Open3D makes a point for each that the header announces, and leaves those without a row as memory happens to be.
    if rows not in (None, len(points)):
        raise InputError(f"{path}: the header says {len(points)} points, but {rows} whole rows follow")
    bad = np.count_nonzero(~np.isfinite(points).all(axis=1))
    if bad:
        raise InputError(f"{path}: {bad} of {len(points)} points are NaN or infinite")
    return points


def count_rows(path: Path) -> int | None:
    """Whole rows that follow the header of an ASCII pcd; None for a binary one.

    InputError where the header says more points than the file can hold: Open3D takes the memory for them all.
    """
    counts: dict[bytes, int] = {}
    width, words = 0, [b""]
    with open(path, "rb") as file:
        for line in file:
            key, *words = line.split() or [b""]
            if key in (b"WIDTH", b"HEIGHT", b"POINTS"):
                if len(words) != 1 or not words[0].isdigit():
                    found = line[:80].decode(errors="replace")
                    raise InputError(f"{path}: the header says {found!r}, expected a count")
                counts[key] = int(words[0])
            elif key in (b"FIELDS", b"COLUMNS"):
                width = len(words)
            elif key == b"COUNT":
                width = sum(int(word) for word in words if word.isdigit())
            elif key == b"DATA":
                break
        # Without POINTS, Open3D takes WIDTH times HEIGHT.
        announced = max(counts.get(b"POINTS", 0), counts.get(b"WIDTH", 0) * counts.get(b"HEIGHT", 1))
        # Even compressed, a point takes more than a hundredth of a byte.
        size = path.stat().st_size
        if announced > 100 * size:
            raise InputError(f"{path}: the header says {announced} points, but the file has {size} bytes")
        return sum(len(line.split()) >= width for line in file) if words == [b"ascii"] else None


def read_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points f8[M,3] and labels bool[M] of a label file, its columns apart by blanks or commas."""
    try:
        with open(path) as file, warnings.catch_warnings():
            # An empty file is an error below, not a warning.
            warnings.simplefilter("ignore")
            rows = np.loadtxt((line.replace(",", " ") for line in file), ndmin=2)
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
    # Far below the spacing of scanned points, far above what a text file's rounding moves them.
    tolerance = 1e-3 * np.linalg.norm(np.ptp(points, axis=0))
    matched = float(np.mean(distances <= tolerance))
    # The rest covers what was cut or doubled after labelling.
    if matched < 0.95:
        raise InputError(
            f"{path}: does not match {cloud}; of its {len(points)} points {matched:.1%} lie at one of the "
            f"{len(places)} rows, at least 95% must"
        )
    return labels[rows]
