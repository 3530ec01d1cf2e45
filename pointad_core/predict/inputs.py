"""Which scans files and folders hold, what each is called, and the photograph that belongs to it; light."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pointad_core.errors import InputError
from pointad_core.formats.registry import MODULES, ending_of

IMAGES = (".png", ".jpg", ".jpeg")
NO_SCANS = {"gt", "rgb", "ground_truth", "labels", "masks"}
"""Folders that go with scans and hold none, in lower case."""
OVERVIEW, PAGE = "summary.csv", "index.html"
"""What an earlier run has written of several scans together."""
LONGEST = 220
"""Bytes of a name at most: a file's has 255, and results, while they are written, some more than their scan's."""
TEXTS = (".txt", ".csv", ".asc")
"""Endings that other texts have as well: in a folder they count where no file has any other."""


@dataclass(frozen=True)
class Input:
    """A scan's file; name: where its results go, a relative path; photograph: a picture of its pixels, if any."""

    path: Path
    name: str
    photograph: Path | None


def find_inputs(words: Sequence[str | os.PathLike[str]], out: Path, depth_images: bool = False) -> list[Input]:
    """The scans of files, and of folders and those below them, each once, in the order of words and names.

    out: results of earlier runs are no scans; depth_images: a png in a folder is a scan and no photograph. Raises
    InputError for a path that is not there and a folder without scans.
    """
    named: dict[Path, str] = {}
    seen: set[Path] = set()
    for word in words:
        if not os.fspath(word):
            raise InputError("an empty name was given for a scan (a variable that is not set?); . is this folder")
        path = Path(word)
        if path.is_dir():
            given = {file: _stem(file.relative_to(path)) for file in _list(path, out, depth_images)}
        elif path.exists() or path.is_symlink():
            given = {path: _stem(Path(path.name))}
        else:
            raise InputError(f"{path}: no such file or folder")
        for file, name in given.items():
            # However its folder is written: with .. in it, from the root, or by way of a link.
            place = file.parent.resolve() / file.name
            if place not in seen:
                seen.add(place)
                named[file] = name
    names = _tell_apart(named)
    for path, name in names.items():
        if not name.isprintable():
            raise InputError(f"{path!s}: its name has characters that cannot be shown; rename it")
        if (own := Path(name).name) in ("", ".."):
            raise InputError(
                f"{path!s}: has no name before its ending, by which its results could be called; rename it"
            )
        if len(os.fsencode(own)) > LONGEST:
            raise InputError(f"{path!s}: its name is longer than {LONGEST} bytes, with more for results; rename it")
    return [Input(path, name, None if depth_images else find_photograph(path)) for path, name in names.items()]


def _stem(path: Path) -> str:
    """A path without the ending that says what kind of file it is."""
    ending = ending_of(path) or path.suffix
    return path.as_posix()[: -len(ending)] if ending else path.as_posix()


def _list(folder: Path, out: Path, depth_images: bool) -> list[Path]:
    """Files below a folder that can be scans, sorted; InputError where there are none."""

    def refuse(error: OSError) -> None:
        raise error

    results = out.resolve()
    files = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        at = Path(place)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith((".", "__", "@"))
            and name.lower() not in NO_SCANS
            and (at / name).resolve() != results
            and not is_result(at / name)
        )
        # NAME.label.txt and the like say of another file where it is defective; an overview is of an earlier run.
        left_out = {OVERVIEW} if {OVERVIEW, PAGE} <= set(names) else set()
        files += [
            at / name
            for name in sorted(set(names) - left_out)
            if ending_of(name) and not name.startswith(".") and not is_label(name)
        ]
    if not depth_images:
        files = [file for file in files if not str(ending_of(file)).startswith(".png")]
    sure = [file for file in files if not str(ending_of(file)).startswith(TEXTS)]
    if not (sure or files):
        raise InputError(f"{folder}: holds no scans; known endings are {', '.join(MODULES)}, each also .gz")
    return sure or files


def check_out(inputs: Sequence[Input], out: Path) -> None:
    """InputError where results would go into a folder in which scans lie, over them or their pictures; the next run
    would take it for results, and pass over the scans in it."""
    homes = {(out / scan.name).resolve(): scan.path for scan in inputs}
    for scan in inputs:
        if (folder := scan.path.parent.resolve()) in homes:
            told = f"results of {homes[folder]} would go to {folder}, where it lies"
            raise InputError(f"{scan.path}: {told}; name another folder by --out")


def is_result(folder: Path) -> bool:
    """Whether a folder is what an earlier run wrote of one scan, wherever that was told to write."""
    # Path.exists would raise, by the name of such a file, where the folder may not be looked into.
    return all(os.path.exists(folder / f"{folder.name}{ending}") for ending in (".html", ".ply", ".npz", ".json"))


def is_label(name: str) -> bool:
    """Whether a file's name is that of labels of another file, NAME.label.txt or NAME.label.png."""
    return name.lower().endswith((".label.txt", ".label.png"))


def _tell_apart(named: dict[Path, str]) -> dict[Path, str]:
    """Names that are different from one another: with the ending, or the folder before, where they would not be."""
    longer = [lambda path, name: name, lambda path, name: f"{name}{ending_of(path) or path.suffix}"]
    longer.append(lambda path, name: f"{path.absolute().parent.name}/{name}{ending_of(path) or path.suffix}")
    chosen: dict[Path, str] = dict(named)
    for rename in longer:
        # Two names that differ in case alone are one file on some systems.
        counts = Counter(name.lower() for name in chosen.values())
        chosen = {
            path: rename(path, named[path]) if counts[name.lower()] > 1 else name for path, name in chosen.items()
        }
    counts = Counter(name.lower() for name in chosen.values())
    for path, name in chosen.items():
        if counts[name.lower()] > 1:
            raise InputError(f"{path}: its results would be called {name} like those of another scan; rename one")
    return chosen


def find_photograph(scan: Path) -> Path | None:
    """The picture of a scan's name beside it, or in a folder `rgb` there or beside its folder."""
    stem = Path(_stem(Path(scan.name))).name
    for folder in (scan.parent, scan.parent / "rgb", scan.parent.parent / "rgb"):
        for name in _names(folder):
            path = Path(name)
            if path.suffix.lower() in IMAGES and path.stem == stem and name != scan.name:
                return folder / name
    return None


def _names(folder: Path) -> Iterable[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return ()
