"""Scans, what a layout's module gives of them, and the folders that they are found in.

This module is light (standard library only), since the workflow lists files while it is parsed.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pointad_core.errors import InputError

if TYPE_CHECKING:
    import numpy as np

GOOD = "good"
UNLABELLED = "unlabelled"
TEST, TRAIN = "test", "train"
"""Splits of a data set: scans that systems are tested on, and good ones that unsupervised systems learn from."""
POINTS = {
    *(".pcd", ".ply", ".tif", ".tiff", ".npy", ".npz", ".xyz", ".asc", ".pts"),
    *(".stl", ".obj", ".las", ".laz", ".e57", ".exr", ".gz", ".zip"),
}
"""Endings of files that people keep scans in, whatever a layout reads."""
UNNAMED = "defect"
"""Of a file of labels that does not name its defect."""
LABEL_ROLES = ("gt", "mask.png")
"""Roles of the files that say where a scan is defective. A scan without one is good where it is called so, else
unlabelled: neither good nor defective."""


@dataclass(frozen=True)
class Scan:
    """One scan of a category, by its files.

    name: "<defect>/<id>", unique in its category; files: path by role ("xyz", "rgb", "gt", ...), the first one being
    the file that holds the points; defect: what folder, metadata or file name say it is, "good" for none; known: where
    nobody has marked its defects, `defect` still says whether it has some.
    """

    name: str
    defect: str
    files: dict[str, Path]
    known: bool = False

    @property
    def path(self) -> Path:
        """The file that holds the points."""
        return next(iter(self.files.values()))

    @property
    def has_label_file(self) -> bool:
        """Whether it can have labels; files in a folder of one's own may hold them, which only reading tells."""
        return self.known or any(role in self.files for role in LABEL_ROLES)


@dataclass(frozen=True)
class Organised:
    """A scan on a pixel grid: points f8[H,W,3] (zeros where not valid), valid bool[H,W], rgb u1[H,W,3], None without
    a photograph, and the ground truth mask bool[H,W] on the whole grid, None for a scan that nobody labelled.

    notes: what a log shall say of the scan, such as how many points are missing and by which mark.
    """

    points: np.ndarray
    valid: np.ndarray
    rgb: np.ndarray | None
    mask: np.ndarray | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unorganised:
    """A scan as a set of points: points f8[N,3], labels bool[N], None for a scan that nobody labelled; notes as
    above."""

    points: np.ndarray
    labels: np.ndarray | None
    notes: tuple[str, ...] = ()


def list_folder(path: Path) -> list[str]:
    """Names in a folder, sorted; InputError where there is no such folder, or for a name that cannot be shown.

    Left out is what operating systems leave behind (.DS_Store, ._000.tiff, __MACOSX, @eaDir, Thumbs.db). Names go into
    logs, stores and pictures: control characters, and bytes that are no text, stay outside.
    """
    try:
        names = sorted(name for name in os.listdir(path) if not name.startswith((".", "__", "@")))
        names = [name for name in names if name.lower() not in ("thumbs.db", "desktop.ini")]
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
    real = cache(os.path.realpath)
    for file in files:
        folder, name = os.path.split(file)
        place = real(file) if os.path.islink(file) else os.path.join(real(folder), name)
        if not place.startswith(inside):
            raise InputError(f"{file}: a link leads to {place}, outside of {root}; allow it by `follow_links: true`")


def category_folder(root: str | os.PathLike[str], category: str) -> Path:
    """Folder of a category; InputError for a missing root or category, which names the categories there are."""
    root = Path(root)
    folder = root / category
    # The root is listed for the message alone: for every category of thousands, that would be millions of names.
    if not folder.is_dir():
        folders = [name for name in list_folder(root) if (root / name).is_dir()]
        raise InputError(f"{folder}: no such category; {root} has {', '.join(folders) or 'no folders'}")
    return folder


def subfolders(folder: Path, name: str) -> list[Path]:
    """Folders within `folder` of that name in upper, lower or mixed case: `gt` and `GT` may be there both."""
    return [folder / found for found in list_folder(folder) if found.lower() == name and (folder / found).is_dir()]


def by_stem(folders: Iterable[Path], ends: Sequence[str]) -> dict[str, Path]:
    """Files that end in one of `ends`, in upper or lower case, by what stands before the end.

    InputError for two of one stem, such as `000.tif` beside `000.tiff` or `000.TIFF`, and for points in a file of
    another kind alone: one would be passed over.
    """
    listed = [folder / name for folder in folders for name in list_folder(folder)]
    found: dict[str, Path] = {}
    first: dict[str, Path] = {}
    for end in ends:
        for path in listed:
            if path.name[-len(end) :].lower() == end:
                stem = path.name[: -len(end)]
                if (other := first.setdefault(stem.lower(), path)) != path:
                    second = path.name if path.parent == other.parent else path
                    raise InputError(f"{other}: the scan has {second} as well; remove one")
                found[stem] = path
    for path in listed:
        if path.suffix.lower() in POINTS and path.stem not in found and path not in found.values():
            raise InputError(f"{path}: expected {' or '.join(ends)} here; convert it, or take it away")
    return found


def missing(file: Path, ends: Sequence[str], scan: Path) -> InputError:
    """What to say where a scan lacks a file: the name that it should have, and what stands there instead."""
    names = list_folder(file.parent) if file.parent.is_dir() else []
    instead = [name for name in names if name.rpartition(".")[0] == file.stem]
    hint = f"; {instead[0]} is none of {', '.join(ends)}" if instead else ""
    return InputError(f"{file}: missing, it belongs to {scan}{hint}")


def some(scans: Collection[Scan], folder: Path, kind: str) -> list[Scan]:
    """Scans in the order of their names; InputError where there are none."""
    if not scans:
        raise InputError(f"{folder}: no scans, expected {kind}")
    return sorted(scans, key=lambda scan: scan.name)


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


def parse_real3d(stem: str, category: str | None = None) -> tuple[str, str]:
    """Defect and id in a file name of Real3D-AD, as its reader and the generator know them.

    482_bulge_cut -> (bulge, 482_cut); the word "good" says good, and none that it is a part of, such as "notgood".
    Anomaly-ShapeNet begins with the category's name, or with that without its number, and calls good scans positive:
    ashtray0_bulge3 -> (bulge, 3), desk_bulge3 of desk0 -> (bulge, 3) and ashtray0_positive3 -> (good, 3).
    """
    own_name = "|".join(map(re.escape, filter(None, (category, (category or "").rstrip("0123456789")))))
    if category and (own := re.fullmatch(rf"(?:{own_name})_([A-Za-z]+)(\d+)", stem)):
        return GOOD if own[1].lower() in (GOOD, "positive") else own[1], own[2]
    parts = stem.split("_")
    kinds = [part for part in parts[1:] if not part.isdigit()]
    # The category's own name in front of a defect's says nothing, as in good_12_bulge of a category "good".
    told = stem.removeprefix(f"{category}_") if category and kinds else stem
    words = ["", *re.findall(r"[^\W\d_]+", told.lower())]
    good = any(word == GOOD and before not in ("not", "no", "non") for before, word in pairwise(words))
    kinds = [kind for kind in kinds if kind.lower() != GOOD]
    defect = GOOD if good else kinds[0] if kinds else UNNAMED
    if defect in parts and len(parts) > 1:
        parts.remove(defect)
    return defect, "_".join(parts)
