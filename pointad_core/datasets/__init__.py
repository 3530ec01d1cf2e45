"""Data sets on disk: which files belong to a category, in the three published layouts.

    mvtec3d      <category>/test/<good or defect>/{xyz/ID.tiff, rgb/ID.png, gt/ID.png}
    eyecandies   <category>/test_public/data/ID_{image_0.png, depth.png, info_depth.yaml, pose.txt, mask.png, ...}
    real3d       <category>/test/NUMBER_<good or defect>[_SUFFIX].pcd, <category>/gt/<same stem>.txt for defects

Only test splits are read: PointAD trains on the test split of one category and is tested on others. This module is
light (standard library only), since the workflow lists files while it is parsed; the readers are modules of their
own, imported by `reader` when a scan is read.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pointad_core.errors import InputError
from pointad_core.shards import WHOLE, holds

if TYPE_CHECKING:
    import numpy as np

LAYOUTS = ("mvtec3d", "eyecandies", "real3d")
GOOD = "good"


@dataclass(frozen=True)
class Scan:
    """One scan of a category, by its files.

    name: "<defect>/<id>", unique in its category; files: path by role ("xyz", "rgb", "gt", ...), the first one being
    the file that holds the points; defect: what folder, metadata or file name say it is, "good" for none.
    """

    name: str
    defect: str
    files: dict[str, Path]

    @property
    def path(self) -> Path:
        """The file that holds the points."""
        return next(iter(self.files.values()))


@dataclass(frozen=True)
class Organised:
    """A scan on a pixel grid: points f8[H,W,3] (zeros where not valid), valid bool[H,W], rgb u1[H,W,3], and the
    ground truth mask bool[H,W] on the whole grid."""

    points: np.ndarray
    valid: np.ndarray
    rgb: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Unorganised:
    """A scan as a set of points: points f8[N,3], labels bool[N]."""

    points: np.ndarray
    labels: np.ndarray


class Reader(Protocol):
    """What a reader module has: the scans of a category or of a shard of it, in the order of their names, and the
    content of one."""

    def find_scans(self, root: str | os.PathLike[str], category: str, shard: str = WHOLE) -> list[Scan]: ...

    def read(self, scan: Scan) -> Organised | Unorganised: ...


def reader(layout: str) -> Reader:
    """The reader module of a layout."""
    check_layout(layout)
    module: Reader = importlib.import_module(f"{__name__}.{layout}")
    return module


def check_layout(layout: str) -> None:
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r} is unknown; known are {', '.join(LAYOUTS)}")


# Folders -------------------------------------------------------------------------------------------------------------


def visible(names: Iterable[str]) -> list[str]:
    """Sorted names without what operating systems leave behind (.DS_Store, ._000.tiff, __MACOSX, @eaDir)."""
    return sorted(name for name in names if not name.startswith((".", "__", "@")))


def list_folder(path: Path) -> list[str]:
    """Visible names in a folder, sorted; InputError where there is no such folder, or for a name that cannot be shown.

    Names go into logs, stores and pictures: control characters, and bytes that are no text, stay outside.
    """
    try:
        names = visible(os.listdir(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such folder") from None
    except NotADirectoryError:
        raise InputError(f"{path}: is a file, expected a folder") from None
    for name in names:
        if not name.isprintable():
            raise InputError(f"{path}: holds {name!r}, a name with characters that cannot be shown; rename it")
    return names


def refuse_links(root: str | os.PathLike[str], files: Iterable[str]) -> None:
    """InputError for a file that a link leads out of the data set's folder to; that folder may be a link itself."""
    inside = os.path.join(os.path.realpath(root), "")
    folders: dict[str, str] = {}
    for file in files:
        folder, name = os.path.split(file)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        place = os.path.realpath(file) if os.path.islink(file) else os.path.join(folders[folder], name)
        if not place.startswith(inside):
            raise InputError(
                f"{file}: a link leads to {place}, outside of {root}; where that is meant, set `follow_links: true`"
            )


def category_folder(root: str | os.PathLike[str], category: str) -> Path:
    """Folder of a category; InputError for a missing root or category, which names the categories there are."""
    root = Path(root)
    folder = root / category
    # The root is listed for the message alone: for every category of thousands, that would be millions of names.
    if not folder.is_dir():
        folders = [name for name in list_folder(root) if (root / name).is_dir()]
        raise InputError(f"{folder}: no such category; {root} has {', '.join(folders) or 'no folders'}")
    return folder


def partner(folder: Path, names: set[str], name: str, scan: Path) -> Path:
    """Path of a file that a scan cannot do without; `names` are those in the folder."""
    if name not in names:
        raise InputError(f"{folder / name}: missing, it belongs to {scan}")
    return folder / name


def some(scans: list[Scan], folder: Path, kind: str) -> list[Scan]:
    """Scans in the order of their names; InputError where there are none."""
    if not scans:
        raise InputError(f"{folder}: no scans, expected {kind}")
    return sorted(scans, key=lambda scan: scan.name)


# Files by scan -------------------------------------------------------------------------------------------------------
#
# A shard's scans are found by their names before anything else is asked of them: those of another shard may be just
# about to be written.


def find_mvtec3d(root: str | os.PathLike[str], category: str, shard: str = WHOLE) -> list[Scan]:
    """Scans of an MVTec 3D-AD category; the folders under `test` are its kinds of defects."""
    test = category_folder(root, category) / "test"
    scans = []
    for defect in list_folder(test):
        if not (test / defect).is_dir():
            continue
        folders = {role: test / defect / role for role in ("xyz", "rgb", "gt")}
        # A shard is read while the scans of another, and their folders, may still be being made.
        names = {
            role: set(list_folder(path)) if path.is_dir() or not shard else set() for role, path in folders.items()
        }
        # By stem, whatever the role: so a scan is noticed too whose points are gone while its picture is still there.
        points: dict[str, str] = {}
        for name in sorted(names["xyz"]):
            if name.endswith((".tiff", ".tif")):
                other = points.setdefault(name.rpartition(".")[0], name)
                if other != name:
                    raise InputError(f"{folders['xyz'] / name}: the scan has {other} as well; remove one")
        pictures = {name[:-4] for role in ("rgb", "gt") for name in names[role] if name.endswith(".png")}
        for stem in sorted(points.keys() | pictures):
            if not holds(shard, f"{defect}/{stem}"):
                continue
            xyz = folders["xyz"] / points.get(stem, f"{stem}.tiff")
            if stem not in points:
                raise InputError(f"{xyz}: missing, though the scan has an rgb or gt")
            files = {role: partner(folders[role], names[role], f"{stem}.png", xyz) for role in ("rgb", "gt")}
            scans.append(Scan(f"{defect}/{stem}", defect, {"xyz": xyz, **files}))
    return some(scans, test, "<good or defect>/xyz/*.tiff")


EYECANDIES = {
    "depth": "depth.png",
    "info": "info_depth.yaml",
    "pose": "pose.txt",
    "rgb": "image_0.png",
    "mask": "mask.png",
    "metadata": "metadata.yaml",
}
"""Files of an Eyecandies sample that are read, by role, without "<id>_"; the metadata may be missing."""


def find_eyecandies(root: str | os.PathLike[str], category: str, shard: str = WHOLE) -> list[Scan]:
    """Samples of an Eyecandies category. Whether one is good stands in its files: the reader says so, not this."""
    folder = category_folder(root, category) / "test_public" / "data"
    names = set(list_folder(folder))
    # By the items that are never part of another item's name (`mask.png` ends `bumps_mask.png` as well).
    ends = tuple("_" + EYECANDIES[role] for role in ("depth", "rgb", "info"))
    samples = {name.removesuffix(end) for name in names for end in ends if name.endswith(end)}
    scans = []
    for sample in sorted(sample for sample in samples if holds(shard, sample)):
        depth = folder / f"{sample}_{EYECANDIES['depth']}"
        files = {}
        for role, item in EYECANDIES.items():
            if role != "metadata" or f"{sample}_{item}" in names:
                files[role] = partner(folder, names, f"{sample}_{item}", depth)
        scans.append(Scan(sample, "", files))
    return some(scans, folder, "<id>_depth.png")


def find_real3d(root: str | os.PathLike[str], category: str, shard: str = WHOLE) -> list[Scan]:
    """Test scans of a Real3D-AD category; also Anomaly-ShapeNet's, whose label folder is `GT`."""
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


def parse_real3d(stem: str) -> tuple[str, str]:
    """Defect and id in a file name: 482_bulge_cut -> (bulge, 482_cut); "good" anywhere in it says good."""
    parts = stem.split("_")
    kinds = [part for part in parts[1:] if not part.isdigit()]
    defect = GOOD if "good" in stem else kinds[0] if kinds else "defect"
    if defect in parts and len(parts) > 1:
        parts.remove(defect)
    return defect, "_".join(parts)


FIND = {"mvtec3d": find_mvtec3d, "eyecandies": find_eyecandies, "real3d": find_real3d}


def list_scans(layout: str, root: str | os.PathLike[str], category: str) -> dict[str, list[str]]:
    """The raw files that the reader of a layout needs for each scan of a category, by the name that shards go by.

    Raises InputError for a missing root, category or partner file (gt, rgb, ...); the message names its path.
    """
    check_layout(layout)
    return {scan.name: [str(path) for path in scan.files.values()] for scan in FIND[layout](root, category)}


def hash_content(root: str | os.PathLike[str], files: Iterable[str]) -> str:
    """A hash over files' names from `root` on, sizes and dates in seconds: the same wherever the folder lies.

    Contents are not read, which for a data set of its usual size takes minutes. Raises InputError for what is no file.
    """
    digest = hashlib.sha256()
    for file in sorted(files):
        try:
            status = os.stat(file)
        except OSError as error:
            what = "a link that leads nowhere" if os.path.islink(file) else error.strerror
            raise InputError(f"{file}: {what}") from None
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{file}: is no file that could be read, as a pipe or a folder is none")
        digest.update(f"{os.path.relpath(file, root)}\0{status.st_size}\0{int(status.st_mtime)}\0".encode())
    return digest.hexdigest()[:16]


# Generated data sets -------------------------------------------------------------------------------------------------

CATEGORIES = {
    "mvtec3d": ("bagel", "cable_gland", "carrot", "cookie"),
    "eyecandies": ("ChocolateCookie", "Confetto", "LicoriceSandwich", "PeppermintCandy"),
    "real3d": ("diamond", "shell", "starfish", "toffees"),
}
"""Categories that the generator can make, by layout."""

KINDS = ("dent", "bump", "hole", "crack", "cut", "contamination", "stain")
"""Kinds of generated defects; a stain changes the colour alone, so that clouds without colour have none."""

EYECANDIES_ITEMS = (
    *(f"image_{light}.png" for light in range(6)),
    *("depth.png", "info_depth.yaml", "normals.png", "pose.txt", "metadata.yaml"),
    *("bumps_mask.png", "dents_mask.png", "colors_mask.png", "normals_mask.png", "mask.png", "obj_params.yaml"),
)
"""The 17 files of a sample in Eyecandies' labelled splits, without "<id>_"."""


def generated_defects(layout: str, category: str, scans: int) -> list[str]:
    """Kind of defect of each generated scan, "good" for every second one: by index, so that more scans only append."""
    check_layout(layout)
    if category not in CATEGORIES[layout]:
        raise InputError(
            f"category {category!r} cannot be generated in layout {layout}, only {', '.join(CATEGORIES[layout])}"
        )
    kinds = KINDS if layout != "real3d" else KINDS[:-1]
    # Every category starts with another kind, so that few scans a category still show all kinds.
    start = 2 * CATEGORIES[layout].index(category)
    return [kinds[(start + index // 2) % len(kinds)] if index % 2 else GOOD for index in range(scans)]


def generated_scans(layout: str, category: str, scans: int) -> dict[str, dict[str, str]]:
    """Files of each generated scan by role, relative to the data set's root; scans by name, in their order."""
    defects = generated_defects(layout, category, scans)
    files: dict[str, dict[str, str]] = {}
    counts: Counter[str] = Counter()
    for index, defect in enumerate(defects):
        if layout == "mvtec3d":
            number = f"{counts[defect]:03d}"
            counts[defect] += 1
            folder = f"{category}/test/{defect}"
            roles = {"xyz": "tiff", "rgb": "png", "gt": "png"}
            files[f"{defect}/{number}"] = {role: f"{folder}/{role}/{number}.{end}" for role, end in roles.items()}
        elif layout == "eyecandies":
            sample = f"{index:02d}"
            files[sample] = {item: f"{category}/test_public/data/{sample}_{item}" for item in EYECANDIES_ITEMS}
        else:
            # The published names know what bulges and what sinks in, and the suffix of scans that were cut.
            kinds = {GOOD: GOOD, "bump": "bulge", "contamination": "bulge", "cut": "sink_cut"}
            stem = f"{index:03d}_{kinds.get(defect, 'sink')}"
            gt = {} if defect == GOOD else {"gt": f"{category}/gt/{stem}.txt"}
            files["/".join(parse_real3d(stem))] = {"pcd": f"{category}/test/{stem}.pcd", **gt}
    return files


def generated_files(layout: str, category: str, scans: int, shard: str = WHOLE) -> list[str]:
    """Every file that the generator writes for a category or a shard of it, relative to the data set's root, sorted.

    What belongs to no scan comes with the first one.
    """
    by_scan = generated_scans(layout, category, scans)
    files = [path for name, roles in by_scan.items() if holds(shard, name) for path in roles.values()]
    extra = generated_extra(layout, category).values() if holds(shard, next(iter(by_scan))) else ()
    return sorted([*files, *extra])


def generated_name(layout: str, file: str) -> str | None:
    """Name of the scan that a generated file belongs to, by its path in the category's folder; None for the others,
    one that is being written among them."""
    folder, _, name = file.rpartition("/")
    stem, _, end = name.rpartition(".")
    if end == "partial":
        return None
    if layout == "mvtec3d":
        return f"{folder.split('/')[1]}/{stem}" if folder.startswith("test/") else None
    if layout == "eyecandies":
        return name.partition("_")[0]
    return "/".join(parse_real3d(stem)) if folder in ("test", "gt") else None


def generated_extra(layout: str, category: str) -> dict[str, str]:
    """Files of a generated category that belong to no scan, by role; no stage reads them."""
    if layout == "mvtec3d":
        return {"calibration": f"{category}/calibration/camera_parameters.json"}
    if layout == "real3d":
        return {"template": f"{category}/train/000_template.pcd"}
    return {}
