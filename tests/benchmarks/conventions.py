"""What each numeric convention of the published code changes, on generated scans or a folder of one's own.

    python tests/benchmarks/conventions.py                                                      # generated scans
    python tests/benchmarks/conventions.py --root /data/mvtec --category cable_gland --point-size 12

The numbers of docs/conventions.md. A folder is one of the layout `mvtec3d`. Nothing is scored: how prompts learn with
`dice`, `global_3d`, `deep_precision` and `cross_loss` and what they then find, a config with a method for each says.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

SIDE = 336
SETS = {  # view set and normals by layout, and the generated categories with their point size
    "mvtec3d": ({"tilt": 180, "x": [-45, -15, 0, 15, 45], "y": [-30, -15, 15, 30]}, {"cable_gland": 12, "carrot": 7}),
    "eyecandies": ({"tilt": 45, "x": [-30, -15, 0, 10, 20], "y": [-30, -15, 15, 30]}, {"Confetto": 10}),
    "real3d": ({"tilt": 180, "x": list(range(-144, 145, 36)), "y": []}, {"shell": 12}),
}


def share(part: np.ndarray) -> float:
    return 100 * float(np.mean(part))


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union."""
    return float((one & other).sum() / (one | other).sum())


def of_pictures(raw: Any, options: dict[str, Any], path: Path) -> Iterator[tuple[str, float]]:
    """Photographs, masks and surroundings of an organised scan."""
    from pointad_core.clouds.background import pad_square
    from pointad_core.clouds.cloud import make_cloud
    from pointad_core.datasets.images import shrink

    ours = make_cloud(raw, options, path)
    published = make_cloud(raw, {**options, "photographs": "bicubic", "masks": "bilinear"}, path)
    object_ = np.zeros((SIDE, SIDE), bool)
    object_.ravel()[ours["grid"]] = True
    if "rgb" in ours:
        difference = np.abs(ours["rgb"].astype(int) - published["rgb"])[object_]
        yield "photographs: grey levels apart, on the object", float(difference.mean())
        yield "surroundings: % of pixels without a point that are not black", share(ours["rgb"][~object_].any(1))
    if ours["mask"].any():
        bilinear = published["mask"] > 0
        yield "masks: IoU of nearest and bilinear", overlap(ours["mask"] > 0, bilinear)
        whole = raw.mask if options["scene"] == "ground" else pad_square(raw.mask)
        bicubic = shrink(whole.astype(np.uint8) * 255, SIDE, "bicubic") > 127
        yield "masks: IoU of bilinear and bicubic, of which the published views are drawn", overlap(bicubic, bilinear)


def of_views(cloud: dict[str, np.ndarray], options: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Visibility, windows and the views' ground truth."""
    from pointad_core.rendering import splat

    ours = splat.render(cloud, options)
    strict = splat.render(cloud, {**options, "visibility": "strict", "masks": {"point_size": 6, "window": 1036}})
    yield "visibility: % of flags that differ", share(ours.visible != strict.visible)
    yield "visibility: % of points that a view shows, soft", share(ours.visible)
    yield "visibility: % of points that a view shows, strict", share(strict.visible)
    yield "visibility: % of points that no view shows, strict", 100 * strict.unseen / len(cloud["points"])
    wide = splat.render(cloud, {**options, "window": 1036})
    on = (ours.images < 255) | (wide.images < 255)
    yield "window: grey levels apart, on the object", float(np.abs(ours.images.astype(int) - wide.images)[on].mean())
    yield "window: % of points that fall on another pixel", share((ours.pixels != wide.pixels).any(2))
    if ours.masks.any():
        yield (
            "masks of views: area with 6 px of 1036 to that with the class's of 1024",
            strict.masks.sum() / ours.masks.sum(),
        )


def of_smoothing(cloud: dict[str, np.ndarray], rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    """What the filter leaves of a constant score at the object's border; of an unorganised scan, what it leaves of
    scores that tell defects, over neighbours and in the order in which points are stored."""
    from scipy.ndimage import binary_erosion
    from sklearn.metrics import roc_auc_score

    from pointad_core.methods.smoothing import smooth_map, smooth_points

    if "grid" in cloud:
        exists = np.zeros((SIDE, SIDE), np.float32)
        exists.ravel()[cloud["grid"]] = 1
        border = (exists > 0) & ~binary_erosion(exists, iterations=3)
        yield (
            "smoothing: % of a constant score that is left in the outer 3 pixels",
            share(smooth_map(exists, 4)[border]),
        )
    elif cloud["labels"].any():
        scores = cloud["labels"] + rng.normal(size=len(cloud["labels"]))
        side = int(np.sqrt(len(scores)))
        order = rng.permutation(len(scores))[: side * side]  # as farthest-point sampling leaves them
        stored = smooth_map(scores[order].reshape(side, side), 4).ravel()
        for how, values, labels in (
            ("none", scores, cloud["labels"]),
            ("over neighbours", smooth_points(scores, cloud["points"], 4), cloud["labels"]),
            ("in stored order", stored, cloud["labels"][order]),
        ):
            yield f"smoothing: AUROC of labels with noise, {how}", float(roc_auc_score(labels, values))


def measure(root: Path, layout: str, category: str, point_size: int, scans: int) -> dict[str, list[float]]:
    """Every measured number of some scans of a category, by what it is."""
    from pointad_core.clouds.cloud import make_cloud
    from pointad_core.clouds.frame import to_unit
    from pointad_core.datasets.registry import LAYOUTS, reader

    entry, rng = LAYOUTS[layout], np.random.default_rng(0)
    organised = entry.scene is not None
    normals = {"radius": 0.1, "neighbours": 50} if organised else {"radius": 0.8, "neighbours": 30}
    options = {"resolution": SIDE, "seed": 111, "scene": entry.scene, "normals": normals}
    options |= {} if organised else {"n_points": 16384, "sampling": "farthest"}
    render = {"resolution": SIDE, "views": SETS[layout][0], "point_size": point_size, "window": 1024}
    found: dict[str, list[float]] = {}
    chosen = reader(layout).find_scans(root, category)
    for scan in chosen[:: max(1, len(chosen) // scans)][:scans]:
        raw = to_unit(reader(layout).read(scan), None, entry.unit, entry.extents, scan.path)
        cloud = make_cloud(raw, options, scan.path)
        numbers = [*of_views(cloud, {**render, "visibility": "soft"}), *of_smoothing(cloud, rng)]
        numbers += of_pictures(raw, options, scan.path) if organised else []
        for what, number in numbers:
            found.setdefault(what, []).append(number)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder of a data set in the layout mvtec3d")
    parser.add_argument("--category")
    parser.add_argument("--point-size", type=int, default=8)
    parser.add_argument("--scans", type=int, default=4)
    arguments = parser.parse_args()
    if (arguments.root is None) != (arguments.category is None):
        parser.error("--root and --category go together")

    from pointad_core.datasets.generator.scans import generate_category

    with tempfile.TemporaryDirectory() as folder:
        asked = [(arguments.root, "mvtec3d", arguments.category, arguments.point_size)]
        if arguments.root is None:
            asked = [(Path(folder), layout, *pair) for layout, (_, sizes) in SETS.items() for pair in sizes.items()]
        for root, layout, category, point_size in asked:
            if arguments.root is None:
                generate_category(root, layout, category, range(arguments.scans), seed=1)
            print(f"{layout}/{category}, {arguments.scans} scans")
            for what, numbers in measure(root, layout, category, point_size, arguments.scans).items():
                print(f"  {what}: {np.mean(numbers):.3g} ({min(numbers):.3g} to {max(numbers):.3g})")


if __name__ == "__main__":
    main()
