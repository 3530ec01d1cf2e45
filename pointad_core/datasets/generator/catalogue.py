"""What the generator can make, and the names of its files; light, for the workflow reads it while it is parsed."""

from collections import defaultdict
from itertools import count

from pointad_core.datasets.scans import GOOD, TEST, TRAIN, parse_real3d
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

FOLDERS = {
    ("mvtec3d", TEST): ("test/",),
    ("mvtec3d", TRAIN): ("train/",),
    ("eyecandies", TEST): ("test_public/",),
    ("eyecandies", TRAIN): ("train/",),
    ("real3d", TEST): ("test/", "gt/"),
    ("real3d", TRAIN): ("train/",),
}
"""Folders of a category in which the scans of a split lie."""

CATEGORIES = {
    "mvtec3d": ("bagel", "cable_gland", "carrot", "cookie"),
    "eyecandies": ("ChocolateCookie", "Confetto", "LicoriceSandwich", "PeppermintCandy"),
    "real3d": ("diamond", "shell", "starfish", "toffees"),
}
"""Categories that the generator can make, by layout."""


def generated_defects(layout: str, category: str, scans: int, split: str = TEST) -> list[str]:
    """Kind of defect of each generated scan, "good" for every second one, or for all of the split `train`: by index, so
    that more scans only append."""
    if layout not in CATEGORIES:
        raise InputError(f"layout {layout!r} is unknown to the generator; known are {', '.join(CATEGORIES)}")
    categories, kinds = CATEGORIES[layout], KINDS[:-1] if layout == "real3d" else KINDS
    if category not in categories:
        raise InputError(f"category {category!r} cannot be generated in layout {layout}, only {', '.join(categories)}")
    if split == TRAIN:
        return [GOOD] * scans
    # Every category starts with another kind, so that few scans a category still show all kinds.
    start = 2 * categories.index(category)
    return [kinds[(start + index // 2) % len(kinds)] if index % 2 else GOOD for index in range(scans)]


def generated_scans(layout: str, category: str, scans: int, split: str = TEST) -> dict[str, dict[str, str]]:
    """Files of each generated scan by role, relative to the data set's root; scans by name, in their order."""
    files: dict[str, dict[str, str]] = {}
    if split == TRAIN:
        good = generated_defects(layout, category, scans, split)
        return dict(_good_scan(layout, category, index) for index in range(len(good)))
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


def _good_scan(layout: str, category: str, index: int) -> tuple[str, dict[str, str]]:
    """Name and files of a scan of the split `train`, which has no ground truth."""
    number = f"{index:03d}"
    if layout == "mvtec3d":
        folder = f"{category}/train/good"
        return f"good/{number}", {"xyz": f"{folder}/xyz/{number}.tiff", "rgb": f"{folder}/rgb/{number}.png"}
    if layout == "eyecandies":
        unmarked = [item for item in EYECANDIES_ITEMS if "mask" not in item and item != "metadata.yaml"]
        return number, {item: f"{category}/train/data/{number}_{item}" for item in unmarked}
    return f"good/{number}_template", {"pcd": f"{category}/train/{number}_template.pcd"}


def generated_files(layout: str, category: str, scans: int, shard: str = WHOLE, split: str = TEST) -> list[str]:
    """Every file that the generator writes for a category or a shard of it, relative to the data set's root, sorted.

    What belongs to no scan comes with the first one of the test split; so does a prototype, the first of `train`.
    """
    by_scan = generated_scans(layout, category, scans, split)
    files = [path for name, roles in by_scan.items() if holds(shard, name) for path in roles.values()]
    extra = generated_extra(layout, category).values()
    if split == TRAIN:
        return sorted(path for path in files if path not in extra)
    return sorted([*files, *(extra if holds(shard, next(iter(by_scan))) else ())])


def generated_name(layout: str, file: str, split: str = TEST) -> str | None:
    """Name of the scan that a generated file of a split belongs to, by its path in the category's folder; None for the
    others, one that is being written among them."""
    folder, _, name = file.rpartition("/")
    stem = name.rpartition(".")[0]
    if name.endswith(".partial") or not f"{folder}/".startswith(FOLDERS[layout, split]):
        return None
    if layout == "eyecandies":
        return name.partition("_")[0]
    if layout == "mvtec3d":
        kind = folder.partition("/")[2].partition("/")[0]
        return f"{kind}/{stem}" if kind else None
    return f"good/{stem}" if split == TRAIN else "/".join(parse_real3d(stem))


def generated_extra(layout: str, category: str) -> dict[str, str]:
    """Files of a generated category that belong to no scan, by role; no stage reads them."""
    if layout == "mvtec3d":
        return {"calibration": f"{category}/calibration/camera_parameters.json"}
    return {"template": f"{category}/train/000_template.pcd"} if layout == "real3d" else {}
