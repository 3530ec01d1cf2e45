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
    ("anomaly_shapenet", TEST): ("test/", "GT/"),
    ("anomaly_shapenet", TRAIN): ("train/",),
    ("mulsen_ad", TEST): ("Pointcloud/test/", "Pointcloud/GT/"),
    ("mulsen_ad", TRAIN): ("Pointcloud/train/",),
}
"""Folders of a category in which the scans of a split lie."""

CATEGORIES = {
    "mvtec3d": ("bagel", "cable_gland", "carrot", "cookie"),
    "eyecandies": ("ChocolateCookie", "Confetto", "LicoriceSandwich", "PeppermintCandy"),
    "real3d": ("diamond", "shell", "starfish", "toffees"),
    "anomaly_shapenet": ("ashtray0", "helmet0"),
    "mulsen_ad": ("capsule", "nut"),
}
"""Categories that the generator can make, by layout."""

WORDS = {
    # What bulges and what sinks in, and the suffix of scans that were cut.
    "real3d": {GOOD: GOOD, "bump": "bulge", "contamination": "bulge", "cut": "sink_cut"}
    | dict.fromkeys(("dent", "hole", "crack"), "sink"),
    "anomaly_shapenet": {GOOD: "positive", "dent": "concavity", "hole": "hole", "crack": "crack", "cut": "scratch"}
    | dict.fromkeys(("bump", "contamination"), "bulge"),
    "mulsen_ad": {
        **{GOOD: GOOD, "dent": "squeeze", "bump": "substandard", "hole": "hole", "crack": "crack", "cut": "scratch"},
        **{"contamination": "foreign_body", "stain": "color"},
    },
}
"""What the published names call the generator's kinds; in a layout that calls a kind nothing, it does not occur."""


def generated_defects(layout: str, category: str, scans: int, split: str = TEST) -> list[str]:
    """Kind of defect of each generated scan, "good" for every second one, or for all of the split `train`: by index, so
    that more scans only append."""
    if layout not in CATEGORIES:
        raise InputError(f"layout {layout!r} is unknown to the generator; known are {', '.join(CATEGORIES)}")
    categories, kinds = CATEGORIES[layout], [kind for kind in KINDS if kind in WORDS.get(layout, KINDS)]
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
        word = WORDS.get(layout, {}).get(defect, defect)
        if layout == "mvtec3d":
            folder, number = f"{category}/test/{defect}", f"{next(numbers[defect]):03d}"
            ends = {"xyz": "tiff", "rgb": "png", "gt": "png"}
            files[f"{defect}/{number}"] = {role: f"{folder}/{role}/{number}.{end}" for role, end in ends.items()}
        elif layout == "eyecandies":
            sample = f"{index:02d}"
            files[sample] = {item: f"{category}/test_public/data/{sample}_{item}" for item in EYECANDIES_ITEMS}
        elif layout == "mulsen_ad":
            scan = f"{word}/{next(numbers[word])}"
            files[scan] = {"stl": f"{category}/Pointcloud/test/{scan}.stl"}
            if defect not in (GOOD, "stain"):
                files[scan]["gt"] = f"{category}/Pointcloud/GT/{scan}.txt"
            if defect != GOOD:
                files[scan]["table"] = table_of(category, word)
        else:
            stem, gt = f"{index:03d}_{word}", "gt"
            if layout == "anomaly_shapenet":
                stem, gt = f"{category}_{word}{next(numbers[word])}", "GT"
            label = {} if defect == GOOD else {"gt": f"{category}/{gt}/{stem}.txt"}
            files["/".join(parse_real3d(stem, category))] = {"pcd": f"{category}/test/{stem}.pcd", **label}
    return files


def table_of(category: str, folder: str) -> str:
    """MulSen-AD's table of the objects in a folder of its test split."""
    return f"{category}/RGB/GT/{folder}/data.csv"


def _good_scan(layout: str, category: str, index: int) -> tuple[str, dict[str, str]]:
    """Name and files of a scan of the split `train`, which has no ground truth."""
    number = f"{index:03d}"
    if layout == "mvtec3d":
        folder = f"{category}/train/good"
        return f"good/{number}", {"xyz": f"{folder}/xyz/{number}.tiff", "rgb": f"{folder}/rgb/{number}.png"}
    if layout == "eyecandies":
        unmarked = [item for item in EYECANDIES_ITEMS if "mask" not in item and item != "metadata.yaml"]
        return number, {item: f"{category}/train/data/{number}_{item}" for item in unmarked}
    if layout == "mulsen_ad":
        return f"good/{index}", {"stl": f"{category}/Pointcloud/train/{index}.stl"}
    if layout == "anomaly_shapenet":
        return f"good/{category}_template{index}", {"pcd": f"{category}/train/{category}_template{index}.pcd"}
    return f"good/{number}_template", {"pcd": f"{category}/train/{number}_template.pcd"}


def generated_files(layout: str, category: str, scans: int, shard: str = WHOLE, split: str = TEST) -> list[str]:
    """Every file that the generator writes for a category or a shard of it, relative to the data set's root, sorted.

    What belongs to no scan comes with the first one of the test split; so does a prototype, the first of `train`.
    """
    by_scan = generated_scans(layout, category, scans, split)
    extra = set(generated_extra(layout, category, scans if split == TEST else 0).values())
    files = {path for name, roles in by_scan.items() if holds(shard, name) for path in roles.values()} - extra
    return sorted(files | (extra if split == TEST and holds(shard, next(iter(by_scan))) else set()))


def generated_name(layout: str, file: str, split: str = TEST) -> str | None:
    """Name of the scan that a generated file of a split belongs to, by its path in the category's folder; None for the
    others, one that is being written among them."""
    folder, _, name = file.rpartition("/")
    stem = name.rpartition(".")[0]
    if name.endswith(".partial") or not f"{folder}/".startswith(FOLDERS[layout, split]):
        return None
    if layout == "eyecandies":
        return name.partition("_")[0]
    if layout == "mulsen_ad":
        return f"good/{stem}" if split == TRAIN else f"{folder.rpartition('/')[2]}/{stem}"
    if layout == "mvtec3d":
        kind = folder.partition("/")[2].partition("/")[0]
        return f"{kind}/{stem}" if kind else None
    # In Anomaly-ShapeNet the category's name stands before the last word.
    category = stem.rpartition("_")[0] if layout == "anomaly_shapenet" else None
    return f"good/{stem}" if split == TRAIN else "/".join(parse_real3d(stem, category))


def generated_extra(layout: str, category: str, scans: int) -> dict[str, str]:
    """Files of a generated category that belong to no single one of its test scans, by role."""
    if layout == "mulsen_ad":
        words = {WORDS[layout][defect] for defect in generated_defects(layout, category, scans)}
        return {word: table_of(category, word) for word in sorted(words)}
    if layout == "mvtec3d":
        return {"calibration": f"{category}/calibration/camera_parameters.json"}
    return {"template": f"{category}/train/000_template.pcd"} if layout == "real3d" else {}
