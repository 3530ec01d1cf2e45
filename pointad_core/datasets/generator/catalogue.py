"""What the generator can make, and the names of its files; light, for the workflow reads it while it is parsed."""

from collections import defaultdict
from itertools import count

from pointad_core.datasets.scans import GOOD, parse_real3d
from pointad_core.errors import InputError
from pointad_core.storage.shards import WHOLE, holds

KINDS = ("dent", "bump", "hole", "crack", "cut", "contamination", "stain")
"""Kinds of generated defects; a stain changes the colour alone, so that clouds without colour have none."""

EYECANDIES_ITEMS = (
    *(f"image_{light}.png" for light in range(6)),
    *("depth.png", "info_depth.yaml", "normals.png", "pose.txt", "metadata.yaml"),
    *("bumps_mask.png", "dents_mask.png", "colors_mask.png", "normals_mask.png", "mask.png", "obj_params.yaml"),
)
"""The 17 files of a sample in Eyecandies' labelled splits, without "<id>_"."""

CATEGORIES = {
    "mvtec3d": ("bagel", "cable_gland", "carrot", "cookie"),
    "eyecandies": ("ChocolateCookie", "Confetto", "LicoriceSandwich", "PeppermintCandy"),
    "real3d": ("diamond", "shell", "starfish", "toffees"),
}
"""Categories that the generator can make, by layout."""


def generated_defects(layout: str, category: str, scans: int) -> list[str]:
    """Kind of defect of each generated scan, "good" for every second one: by index, so that more scans only append."""
    if layout not in CATEGORIES:
        raise InputError(f"layout {layout!r} is unknown to the generator; known are {', '.join(CATEGORIES)}")
    categories, kinds = CATEGORIES[layout], KINDS[:-1] if layout == "real3d" else KINDS
    if category not in categories:
        raise InputError(f"category {category!r} cannot be generated in layout {layout}, only {', '.join(categories)}")
    # Every category starts with another kind, so that few scans a category still show all kinds.
    start = 2 * categories.index(category)
    return [kinds[(start + index // 2) % len(kinds)] if index % 2 else GOOD for index in range(scans)]


def generated_scans(layout: str, category: str, scans: int) -> dict[str, dict[str, str]]:
    """Files of each generated scan by role, relative to the data set's root; scans by name, in their order."""
    files: dict[str, dict[str, str]] = {}
    numbers: defaultdict[str, count[int]] = defaultdict(count)
    for index, defect in enumerate(generated_defects(layout, category, scans)):
        if layout == "mvtec3d":
            folder, number = f"{category}/test/{defect}", f"{next(numbers[defect]):03d}"
            ends = {"xyz": "tiff", "rgb": "png", "gt": "png"}
            files[f"{defect}/{number}"] = {role: f"{folder}/{role}/{number}.{end}" for role, end in ends.items()}
        elif layout == "eyecandies":
            sample = f"{index:02d}"
            files[sample] = {item: f"{category}/test_public/data/{sample}_{item}" for item in EYECANDIES_ITEMS}
        else:
            # The published names know what bulges and what sinks in, and the suffix of scans that were cut.
            words = {GOOD: GOOD, "bump": "bulge", "contamination": "bulge", "cut": "sink_cut"}
            stem = f"{index:03d}_{words.get(defect, 'sink')}"
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
    stem = name.rpartition(".")[0]
    if name.endswith(".partial"):
        return None
    if layout == "eyecandies":
        return name.partition("_")[0]
    if layout == "mvtec3d":
        return f"{folder.split('/')[1]}/{stem}" if folder.startswith("test/") else None
    return "/".join(parse_real3d(stem)) if folder in ("test", "gt") else None


def generated_extra(layout: str, category: str) -> dict[str, str]:
    """Files of a generated category that belong to no scan, by role; no stage reads them."""
    if layout == "mvtec3d":
        return {"calibration": f"{category}/calibration/camera_parameters.json"}
    return {"template": f"{category}/train/000_template.pcd"} if layout == "real3d" else {}
