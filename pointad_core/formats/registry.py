"""The kinds of files by their endings; light, for commands list files by it before anything is read."""

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointad_core.errors import InputError

if TYPE_CHECKING:
    from pointad_core.formats.reading import Reading

MODULES = {
    ".pcd": "pcd",
    ".ply": "ply",
    ".xyz": "text",
    ".xyzrgb": "text",
    ".txt": "text",
    ".csv": "text",
    ".asc": "text",
    ".pts": "text",
    ".stl": "mesh",
    ".obj": "mesh",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".npy": "npy",
    ".npz": "npy",
    ".png": "depth",
    ".e57": "e57",
    ".las": "las",
    ".laz": "las",
}
"""The module of this package that reads an ending."""

ENDINGS = (*MODULES, *(f"{ending}.gz" for ending in MODULES))
"""Endings of files that `read` takes, in lower case; they may be written in any."""


def ending_of(path: str | os.PathLike[str]) -> str | None:
    """The ending of a path that is in ENDINGS, else None."""
    name = Path(path).name.lower()
    return next((ending for ending in reversed(ENDINGS) if name.endswith(ending) and name != ending), None)


def read(path: str | os.PathLike[str], **options: Any) -> "Reading":
    """What a file of any kind holds, by its ending.

    options: `unit`, the name of the file's unit, which files of integers cannot do without; `n_samples` and `seed`
    of a mesh's surface; `intrinsics` (fx, fy, cx, cy) of a depth png; `key` of an npz. Each kind takes those that
    mean something to it and passes over the others.

    Raises InputError, naming the path, for an ending or a content that no module reads.
    """
    ending = ending_of(path)
    if ending is None:
        known = ", ".join(MODULES)
        raise InputError(
            f"{path}: ending {Path(path).suffix or '(none)'!r} is unknown; known are {known}, each also .gz"
        )
    module = importlib.import_module(f"pointad_core.formats.{MODULES[ending.removesuffix('.gz')]}")
    return module.read(Path(path), **options)
