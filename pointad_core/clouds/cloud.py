"""A cloud from one raw scan (Sec. 4.1): without its background, on one grid or sampled, with labels and normals.

Organised scans are brought to `resolution` x `resolution` pixels. One nearest-neighbour index map does that for points,
validity, ground truth and RGB alike: resampled each in its own way, they disagree by a pixel at every border, as they
do in the published code, to which the options photographs and masks lead back.
Unorganised ones are sampled to a number of points, with the map back to all original points.

Points keep the units and the orientation of the data; tilting them before the camera is the renderer's business. Only
a scan that lies far from the origin is moved to it (`frame.to_origin`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.clouds.background import check_kept, crop_ground, crop_plane, index_map, pad_square, upright
from pointad_core.clouds.frame import to_origin
from pointad_core.clouds.normals import estimate_normals
from pointad_core.clouds.outliers import report_stray
from pointad_core.clouds.sampling import sample_farthest, sample_share, sample_voxels
from pointad_core.datasets.images import shrink
from pointad_core.datasets.scans import Organised, Unorganised
from pointad_core.errors import InputError, printed


def make_cloud(raw: Organised | Unorganised, options: Mapping[str, Any], path: Path) -> dict[str, np.ndarray]:
    """The cloud of a raw scan: points f4[n,3], normals f4[n,3], labels u1[n], and what leads back to the scan.

    Of an organised scan grid i4[n] (flat index into the S x S grid, ascending), mask u1[S,S] (also where no point is)
    and rgb u1[S,S,3]; of an unorganised one nearest i4[N] (index of the kept point nearest to each original one) and
    original_labels u1[N]. A scan that nobody labelled has no labels, mask or original_labels, one without a photograph
    no rgb.

    options: normals (radius in data units, neighbours), seed (of plane search and sampling), outliers ("none", or
    "remove" for stray points, see `outliers`) and density (the share of its points that the cloud keeps, by
    farthest-point sampling; all where it is absent); for an organised scan resolution, scene
    (`datasets.registry.Layout.scene`), background ("remove", or "none" for scans that come without one), how
    photographs and masks are reduced ("nearest"; "bicubic" photographs, "bilinear" masks) and what photographs show of
    the surroundings ("keep", or "black" wherever the object has no point); for an unorganised one n_points and sampling
    ("farthest" or "voxel"). path: the scan's file, for messages.

    A stray point that is removed from an organised scan counts as its background does; one of an unorganised scan
    stays among its original points, for which the nearest kept point speaks. A density takes points and nothing else:
    pictures, the mask and the original points stay whole.

    Raises InputError for a scan in which no background or no object is found, and for an unknown option.
    """
    raw = to_origin(raw, path)
    with printed(path):
        if isinstance(raw, Organised):
            cloud = organised_cloud(raw, options, path)
        else:
            cloud = unorganised_cloud(raw, options, path)
        return cloud | {"normals": estimate_normals(cloud["points"], **options["normals"])}


def organised_cloud(raw: Organised, options: Mapping[str, Any], path: Path) -> dict[str, np.ndarray]:
    """Arrays of an organised scan without its background, on the S x S grid; all but the normals."""
    points, valid = raw.points, raw.valid
    images = {name: image for name, image in (("mask", raw.mask), ("rgb", raw.rgb)) if image is not None}
    remove = lookup("background", options.get("background", "remove"), {"remove": True, "none": False})
    ground, kept = lookup("scene", options["scene"], {"plane": False, "ground": True}), valid
    if remove:
        cropped = crop_ground(points, valid, path) if ground else crop_plane(points, valid, options["seed"], path)
        kept = valid & cropped
        check_kept(points, valid, kept, path)
    kept = without_stray(points, kept, options, path)
    # Kept, the surroundings are as the data sets' users leave them: what is removed with a plane is black in pictures
    # too, pixels that never had a point stay as they are.
    black = {"keep": valid & ~kept & (not ground), "black": ~kept}
    dark = lookup("surroundings", options.get("surroundings", "keep"), black)
    if raw.rgb is not None:
        images["rgb"] = np.where(dark[..., None], 0, raw.rgb)
    if ground:
        points = upright(points)
    else:
        points, kept = pad_square(points), pad_square(kept)
        images = {name: pad_square(image) for name, image in images.items()}
    index = index_map(kept.shape, options["resolution"])
    points, kept = points[index], kept[index]
    images = {name: reduce_image(name, image.astype(np.uint8), index, options) for name, image in images.items()}
    if not kept.any():
        raise InputError(f"{path}: no point is left after the background's removal")
    left = sample_share(points[kept], options.get("density", 1), options["seed"])
    kept.ravel()[np.delete(np.flatnonzero(kept), left)] = False
    return {
        "points": points[kept].astype(np.float32),
        "grid": np.flatnonzero(kept).astype(np.int32),
        **images,
        **({"labels": images["mask"][kept]} if "mask" in images else {}),
    }


def reduce_image(
    name: str, image: np.ndarray, index: tuple[np.ndarray, np.ndarray], options: Mapping[str, Any]
) -> np.ndarray:
    """A photograph ("rgb", u1[H,W,3]) or ground truth ("mask", u1[H,W] of 0 and 1) at S x S pixels, by the index map
    unless the options say otherwise."""
    key, kernel = {"rgb": ("photographs", "bicubic"), "mask": ("masks", "bilinear")}[name]
    if not lookup(key, options.get(key, "nearest"), {"nearest": False, kernel: True}):
        return image[index]
    if name == "rgb":
        return shrink(image, options["resolution"], "bicubic")
    return (shrink(image * 255, options["resolution"], "bilinear") > 127).astype(np.uint8)


def unorganised_cloud(raw: Unorganised, options: Mapping[str, Any], path: Path) -> dict[str, np.ndarray]:
    """Arrays of an unorganised scan, sampled to at most n_points points; all but the normals."""
    from scipy.spatial import KDTree

    sample = lookup("sampling", options["sampling"], {"farthest": sample_farthest, "voxel": sample_voxels})
    near = np.flatnonzero(without_stray(raw.points, np.ones(len(raw.points), bool), options, path))
    kept = near[sample(raw.points[near], options["n_points"], options["seed"])]
    kept = kept[sample_share(raw.points[kept], options.get("density", 1), options["seed"])]
    _, nearest = KDTree(raw.points[kept]).query(raw.points)
    # Of several points in one place the tree may name any: a kept point stands for itself.
    nearest[kept] = np.arange(len(kept))
    cloud = {"points": raw.points[kept].astype(np.float32), "nearest": nearest.astype(np.int32)}
    if raw.labels is not None:
        cloud |= {"labels": raw.labels[kept].astype(np.uint8), "original_labels": raw.labels.astype(np.uint8)}
    return cloud


def without_stray(points: np.ndarray, kept: np.ndarray, options: Mapping[str, Any], path: Path) -> np.ndarray:
    """The kept ones of the points [...,3], bool[...], but stray ones among them where they are to be removed."""
    remove = lookup("outliers", options.get("outliers", "none"), {"none": False, "remove": True})
    kept = kept.copy()
    kept[kept] = ~report_stray(points[kept], remove, path)
    return kept


def lookup(key: str, found: str, choices: Mapping[str, Any]) -> Any:
    """What an option's value stands for; InputError for another than the choices."""
    if found not in choices:
        raise InputError(f"{key} is {found!r}, expected one of {', '.join(choices)}")
    return choices[found]
