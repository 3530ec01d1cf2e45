"""What the generator can make, and the names of its files; light, for the workflow reads it while it is parsed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pointad_core.datasets.scans import GOOD, parse_real3d
from pointad_core.errors import InputError
from pointad_core.storage.shards import WHOLE, holds

Files = dict[str, dict[str, str]]
"""Path of each file by role, of each scan by name."""

KINDS = ("dent", "bump", "hole", "crack", "cut", "contamination", "stain")
"""Kinds of generated defects; a stain changes the colour alone, so that clouds without colour have none."""

EYECANDIES_ITEMS = (
    *(f"image_{light}.png" for light in range(6)),
    *("depth.png", "info_depth.yaml", "normals.png", "pose.txt", "metadata.yaml"),
    *("bumps_mask.png", "dents_mask.png", "colors_mask.png", "normals_mask.png", "mask.png", "obj_params.yaml"),
)
"""The 17 files of a sample in Eyecandies' labelled splits, without "<id>_"."""


@dataclass(frozen=True)
class Generated:
    """What can be made in a layout; paths are relative to the category's folder."""

    categories: tuple[str, ...]
    files: Callable[[Sequence[str]], Files]
    """Files of scans with these defects."""
    name: Callable[[str, str], str | None]
    """(folder, file name) -> name of the scan that the file belongs to, or None."""
    kinds: tuple[str, ...] = KINDS
    extra: dict[str, str] = field(default_factory=dict)
    """Files that belong to no scan, by role."""


def mvtec3d_files(defects: Sequence[str]) -> Files:
    ends = {"xyz": "tiff", "rgb": "png", "gt": "png"}
    files: Files = {}
    counts: Counter[str] = Counter()
    for defect in defects:
        number = f"{counts[defect]:03d}"
        counts[defect] += 1
        files[f"{defect}/{number}"] = {role: f"test/{defect}/{role}/{number}.{end}" for role, end in ends.items()}
    return files


def mvtec3d_name(folder: str, file: str) -> str | None:
    return f"{folder.split('/')[1]}/{file.rpartition('.')[0]}" if folder.startswith("test/") else None


def eyecandies_files(defects: Sequence[str]) -> Files:
    samples = [f"{index:02d}" for index in range(len(defects))]
    return {sample: {item: f"test_public/data/{sample}_{item}" for item in EYECANDIES_ITEMS} for sample in samples}


def eyecandies_name(folder: str, file: str) -> str:
    return file.partition("_")[0]


def real3d_files(defects: Sequence[str]) -> Files:
    # The published names know what bulges and what sinks in, and the suffix of scans that were cut.
    kinds = {GOOD: GOOD, "bump": "bulge", "contamination": "bulge", "cut": "sink_cut"}
    files: Files = {}
    for index, defect in enumerate(defects):
        stem = f"{index:03d}_{kinds.get(defect, 'sink')}"
        gt = {} if defect == GOOD else {"gt": f"gt/{stem}.txt"}
        files["/".join(parse_real3d(stem))] = {"pcd": f"test/{stem}.pcd", **gt}
    return files


def real3d_name(folder: str, file: str) -> str | None:
    return "/".join(parse_real3d(file.rpartition(".")[0])) if folder in ("test", "gt") else None


GENERATED = {
    "mvtec3d": Generated(
        ("bagel", "cable_gland", "carrot", "cookie"),
        mvtec3d_files,
        mvtec3d_name,
        extra={"calibration": "calibration/camera_parameters.json"},
    ),
    "eyecandies": Generated(
        ("ChocolateCookie", "Confetto", "LicoriceSandwich", "PeppermintCandy"), eyecandies_files, eyecandies_name
    ),
    "real3d": Generated(
        ("diamond", "shell", "starfish", "toffees"),
        real3d_files,
        real3d_name,
        kinds=KINDS[:-1],
        extra={"template": "train/000_template.pcd"},
    ),
}

CATEGORIES = {layout: generated.categories for layout, generated in GENERATED.items()}
"""Categories that the generator can make, by layout."""


def generated_defects(layout: str, category: str, scans: int) -> list[str]:
    """Kind of defect of each generated scan, "good" for every second one: by index, so that more scans only append."""
    if layout not in GENERATED:
        raise InputError(f"layout {layout!r} is unknown to the generator; known are {', '.join(GENERATED)}")
    categories, kinds = GENERATED[layout].categories, GENERATED[layout].kinds
    if category not in categories:
        raise InputError(f"category {category!r} cannot be generated in layout {layout}, only {', '.join(categories)}")
    # Every category starts with another kind, so that few scans a category still show all kinds.
    start = 2 * categories.index(category)
    return [kinds[(start + index // 2) % len(kinds)] if index % 2 else GOOD for index in range(scans)]


def generated_scans(layout: str, category: str, scans: int) -> Files:
    """Files of each generated scan by role, relative to the data set's root; scans by name, in their order."""
    defects = generated_defects(layout, category, scans)
    by_scan = GENERATED[layout].files(defects)
    return {name: {role: f"{category}/{path}" for role, path in files.items()} for name, files in by_scan.items()}


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
    return None if name.endswith(".partial") else GENERATED[layout].name(folder, name)


def generated_extra(layout: str, category: str) -> dict[str, str]:
    """Files of a generated category that belong to no scan, by role; no stage reads them."""
    return {role: f"{category}/{path}" for role, path in GENERATED[layout].extra.items()}
