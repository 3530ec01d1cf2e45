"""Eyecandies: 16-bit depth, camera pose and ground truth of rendered candies.

    <category>/test_public/data/ID_{image_0.png, depth.png, info_depth.yaml, pose.txt, mask.png, metadata.yaml, ...}
    <category>/train/data/ID_{image_0.png, depth.png, info_depth.yaml, pose.txt, ...}

The depth becomes points with the data set's own intrinsics and its `depth2pc` stage, world = pose inv(K) (u, v, 1,
1/d) d, which is what PointAD's authors used; the other formula in circulation, inv(K pose), is not the same.
"""

import os
from pathlib import Path
from reprlib import Repr

import numpy as np

from pointad_core.datasets.images import describe, read_image, read_mask, read_rgb
from pointad_core.datasets.scans import (
    GOOD,
    TEST,
    TRAIN,
    UNLABELLED,
    Organised,
    Scan,
    category_folder,
    list_folder,
    missing,
    some,
)
from pointad_core.errors import InputError
from pointad_core.storage.shards import WHOLE, holds

# A few lines of YAML can stand for more than memory holds: errors show the beginning.
brief = Repr()
brief.maxlevel = 2

SIZE = 512
FOCAL_LENGTH = 711.11
"""Both in pixels; the principal point is the middle, (256, 256), in indices without a half."""

ITEMS = ("depth.png", "info_depth.yaml", "pose.txt", "image_0.png", "mask.png", "metadata.yaml")
"""Files of a sample that are read, without "<id>_", in upper or lower case. Photographs and masks may be missing of a
whole category, metadata of any sample."""


FOLDERS = {TEST: "test_public", TRAIN: "train"}
"""Of the splits; those of `train` are good, without files that say so."""


def find(root: str | os.PathLike[str], category: str, shard: str = WHOLE, split: str = TEST) -> list[Scan]:
    """Samples of a category. Whether one is good stands in its files: `find_scans` says so, not this."""
    folder = category_folder(root, category) / FOLDERS[split] / "data"
    names: dict[str, str] = {}
    for name in list_folder(folder):
        if (other := names.setdefault(name.lower(), name)) != name:
            raise InputError(f"{folder / other}: the sample has {name} as well; remove one")
    # By the items that are never part of another item's name (`mask.png` ends `bumps_mask.png` as well).
    ends = ("_depth.png", "_image_0.png", "_info_depth.yaml")
    samples = {name.removesuffix(end): names[name][: -len(end)] for name in names for end in ends if name.endswith(end)}
    has = {item: any(f"{sample}_{item}" in names for sample in samples) for item in ITEMS}
    scans = []
    for lower, sample in sorted(samples.items()):
        if not holds(shard, sample):
            continue
        files = {}
        for item in ITEMS:
            if found := names.get(f"{lower}_{item}"):
                files[item] = folder / found
            elif item != "metadata.yaml" and (has[item] or item not in ("image_0.png", "mask.png")):
                raise missing(folder / f"{sample}_{item}", (item,), folder / f"{sample}_depth.png")
        scans.append(Scan(sample, "", files))
    return some(scans, folder, "<id>_depth.png")


def find_scans(root: str | os.PathLike[str], category: str, shard: str = WHOLE, split: str = TEST) -> list[Scan]:
    """Samples of a category, named "good/<id>" or "bad/<id>" by their metadata, else by their mask; without both
    "unlabelled/<id>", or in the split `train` "good/<id>"."""
    scans = []
    for scan in find(root, category, shard, split):
        defect = find_defect(scan)
        if defect == UNLABELLED and split == TRAIN:
            defect = GOOD
        scans.append(Scan(f"{defect}/{scan.name}", defect, scan.files))
    return sorted(scans, key=lambda scan: scan.name)


def find_defect(scan: Scan) -> str:
    path = scan.files.get("metadata.yaml")
    content = read_yaml(path) if path else {}
    if "anomalous" in content:
        if content["anomalous"] not in (0, 1):
            raise InputError(f"{path}: anomalous is {brief.repr(content['anomalous'])}, expected 0 or 1")
        return "bad" if content["anomalous"] else GOOD
    if "mask.png" in scan.files:
        return "bad" if read_mask(scan.files["mask.png"], (SIZE, SIZE), scan.path).any() else GOOD
    return UNLABELLED


def read(scan: Scan, mark: float | str | None = None, unit: str | float | None = None) -> Organised:
    """Read a sample: points f8[512,512,3] in metres in the world's frame; a pixel of no depth is not valid.

    mark: None, or "none" where the value 0 always stands for the nearest depth, as in Eyecandies, and never for a hole
    (`find_holes`); a missing point is marked by nothing else. unit: read without.

    Raises InputError for files that cannot be decoded or hold something else than the layout says.
    """
    path = scan.files["depth.png"]
    if mark not in (None, "none"):
        raise InputError(f"{path}: missing points of this layout have no depth, none of them has the value {mark}")
    pixels = read_image(path)
    # Pillow gives 16-bit grey as uint16 or, from other modes, int32.
    if pixels.ndim != 2 or pixels.dtype == np.uint8 or pixels.dtype.kind not in "iu":
        raise InputError(f"{path}: {describe(pixels)}, expected 16-bit grey")
    if pixels.shape != (SIZE, SIZE):
        raise InputError(f"{path}: {pixels.shape[1]} x {pixels.shape[0]} pixels, expected {SIZE} x {SIZE}")
    low, high = read_range(scan.files["info_depth.yaml"])
    depth = pixels / 65535 * (high - low) + low
    points = unproject(depth, read_pose(scan.files["pose.txt"]))
    valid = depth > 0
    if mark is None:
        valid &= ~find_holes(pixels)
    if not valid.any():
        raise InputError(f"{path}: no pixel has a depth above 0; the scan is empty")
    points[~valid] = 0
    n_missing = valid.size - np.count_nonzero(valid)
    notes = (f"{n_missing} of {valid.size} points are missing (no depth: {n_missing})",) if n_missing else ()
    rgb = read_rgb(scan.files["image_0.png"], depth.shape, path) if "image_0.png" in scan.files else None
    mask = np.zeros(depth.shape, bool) if scan.defect == GOOD else None
    if "mask.png" in scan.files:
        mask = read_mask(scan.files["mask.png"], depth.shape, path)
    return Organised(points, valid, rgb, mask, notes)


def find_holes(pixels: np.ndarray) -> np.ndarray:
    """Pixels, bool[H,W], of the value 0 that stand for no depth and not for the nearest: regions of them amid others.

    Of the nearest points of a scene, which have the value 0 as well, pixels beside them are as near, at an edge on one
    side of it; around a hole nine tenths and more are far, by a hundredth of all depths. Fewer than 10 such pixels are
    none.
    """
    from scipy import ndimage

    if not pixels.any():
        return np.ones(pixels.shape, bool)
    regions, n_regions = ndimage.label(pixels == 0)
    beside, values = [], []
    for axis in (0, 1):
        for one, other in ((regions, pixels), (regions[::-1, ::-1], pixels[::-1, ::-1])):
            region, next_to = (np.moveaxis(array, axis, 0) for array in (one, other))
            border = (region[:-1] > 0) & (next_to[1:] > 0)
            beside.append(region[:-1][border])
            values.append(next_to[1:][border])
    at, far = np.concatenate(beside), np.concatenate(values) > 65535 / 100
    n_beside = np.bincount(at, minlength=n_regions + 1)
    inner = (np.bincount(at, far, minlength=n_regions + 1) >= 0.9 * n_beside) & (n_beside > 0)
    holes = inner[regions]
    return holes if np.count_nonzero(holes) >= 10 else np.zeros_like(holes)


def unproject(depth: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """World points f8[H,W,3] of a depth map [H,W] in metres, seen by a camera with pose [4,4] (camera to world)."""
    height, width = depth.shape
    rows, columns = np.mgrid[:height, :width]
    x = (columns - width / 2) / FOCAL_LENGTH * depth
    y = (rows - height / 2) / FOCAL_LENGTH * depth
    camera = np.stack([x, y, depth], axis=2)
    return camera @ pose[:3, :3].T + pose[:3, 3]


def read_yaml(path: Path) -> dict:
    import yaml

    content = path.read_bytes()
    try:
        content = yaml.safe_load(content)
    except Exception as error:  # the loader raises whatever a damaged file leads it to
        raise InputError(f"{path}: not readable as yaml ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {brief.repr(content)}, expected keys and values")
    return content


def read_range(path: Path) -> tuple[float, float]:
    """Depths in metres that stand for 0 and 65535."""
    content = read_yaml(path)
    try:
        low, high = (float(content["normalization"][key]) for key in ("min", "max"))
    except (KeyError, TypeError, ValueError, OverflowError):
        message = f"{path}: expected `normalization: {{min: ..., max: ...}}`, found {brief.repr(content)}"
        raise InputError(message) from None
    if not (np.isfinite([low, high]).all() and low <= high):
        raise InputError(f"{path}: normalization runs from {low} to {high}, expected min below max")
    return low, high


def read_pose(path: Path) -> np.ndarray:
    """Camera pose f8[4,4]."""
    try:
        pose = np.array([line.split() for line in path.read_text().splitlines() if line], float)
    except ValueError as error:
        raise InputError(f"{path}: not a matrix of numbers ({error})") from error
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise InputError(f"{path}: {describe(pose)}, expected 4 x 4 finite numbers")
    return pose
