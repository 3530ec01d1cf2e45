"""The layouts by their names in the config; light, for the workflow reads it while it is parsed.

A layout is its entry here and a module of this room, its reader, which imports what decodes a file where one is read;
two that differ in names alone have one reader.
The test split is what PointAD trains on, of one category, and is tested on, of others; `train`, good scans alone, is
for systems that learn the tested category itself. A reader has

* find(root, category, shard, split): the `Scan`s of a category, or of a shard of it, by their files alone, under the
  names that shards go by. Names come first: the files of another shard's scans may be just about to be written.
  InputError for a missing root, category or partner file (gt, rgb, ...) where another scan of the category has one; the
  message names its path. Without any the category has no labels or no photographs;
* find_scans(root, category, shard, split): the same with the names and defects that they have in results, sorted by
  name;
* read(scan, mark, unit): its content, `Organised` or `Unorganised`, in the numbers of its files; mark: what stands for
  a missing point (`formats.missing`), unit: what the numbers are, for files that cannot be read without; InputError,
  with the file's name, where it is anything else.
"""

import importlib
import os
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

from pointad_core.datasets.scans import TEST
from pointad_core.errors import InputError


@dataclass(frozen=True)
class Layout:
    """What the workflow and the clouds stage must know of a layout."""

    module: str
    """Its reader, as a module of this package."""
    scene: Literal["plane", "ground"] | None
    """Of organised scans what lies behind the object: a plane that the camera looks at, or the ground that it stands
    on. None for unorganised clouds."""
    unit: str = "m"
    """Unit of its coordinates, by its name in `formats.unit`."""
    extents: tuple[float, float] = (0.003, 1)
    """Least and greatest extent that a scan can have in that unit: any other, and the file is in another unit."""


# Of published scans the extents are 0.09 to 0.2 m, some 2 m (the ground with it) and 21 to 38 mm; of Anomaly-ShapeNet,
# whose clouds are normalised and have no unit (the config takes it for 20 mm), 1 to 2. None of the published scans, nor
# a part of 3 to 8 cm without its background, is within the bounds in inches or centimetres.
LAYOUTS = {
    "mvtec3d": Layout("datasets.mvtec3d", scene="plane"),
    "eyecandies": Layout("datasets.eyecandies", scene="ground", extents=(0.05, 50)),
    "real3d": Layout("datasets.real3d", scene=None, unit="mm", extents=(5, 1000)),
    "anomaly_shapenet": Layout("datasets.real3d", scene=None, unit="mm", extents=(5, 1000)),
    "mulsen_ad": Layout("datasets.mulsen_ad", scene=None, unit="mm", extents=(5, 1000)),
    "folder": Layout("datasets.folder", scene=None, unit="mm", extents=(5, 1000)),
    "folder_organised": Layout("datasets.folder_organised", scene="plane"),
}


def reader(layout: str) -> ModuleType:
    """The module of a layout, imported; raises InputError for an unknown name."""
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r} is unknown; known are {', '.join(LAYOUTS)}")
    return importlib.import_module(f"pointad_core.{LAYOUTS[layout].module}")


def has_label_files(layout: str, root: str | os.PathLike[str], category: str) -> bool:
    """Whether anybody has labelled a scan of a category, so that there is something to learn; errors are `find`'s."""
    return any(scan.has_label_file for scan in reader(layout).find(root, category))


def list_scans(layout: str, root: str | os.PathLike[str], category: str, split: str = TEST) -> dict[str, list[str]]:
    """The raw files that the reader of a layout needs for each scan of a category; names and errors are `find`'s."""
    scans = reader(layout).find(root, category, split=split)
    return {scan.name: [str(path) for path in scan.files.values()] for scan in scans}
