"""The layouts by their names in the config; light, for the workflow reads it while it is parsed.

A layout is a module of this room with the functions of a `Reader`, and its entry here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from pointad_core.datasets.scans import Reader, load_reader
from pointad_core.errors import InputError


@dataclass(frozen=True)
class Layout:
    """What the workflow and the clouds stage must know of a layout."""

    module: str
    """Its `Reader`, as a module of this package."""
    scene: Literal["plane", "ground"] | None
    """Of organised scans what lies behind the object: a plane that the camera looks at, or the ground that it stands
    on. None for unorganised clouds."""


LAYOUTS = {
    "mvtec3d": Layout("datasets.mvtec3d", scene="plane"),
    "eyecandies": Layout("datasets.eyecandies", scene="ground"),
    "real3d": Layout("datasets.real3d", scene=None),
}


def find_layout(layout: str) -> Layout:
    """The entry of a layout; raises InputError for an unknown name."""
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r} is unknown; known are {', '.join(LAYOUTS)}")
    return LAYOUTS[layout]


def reader(layout: str) -> Reader:
    """The module of a layout, imported."""
    return load_reader(find_layout(layout).module)


def list_scans(layout: str, root: str | os.PathLike[str], category: str) -> dict[str, list[str]]:
    """The raw files that the reader of a layout needs for each scan of a category, by the name that shards go by.

    Raises InputError as `Reader.find` does.
    """
    return {scan.name: [str(path) for path in scan.files.values()] for scan in reader(layout).find(root, category)}
