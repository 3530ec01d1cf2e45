"""Clouds: raw scans of a category without their background, on one grid, with labels and normals.

Organised scans (MVTec 3D-AD, Eyecandies) lose their background the way the data sets' users remove it and are then
brought to `resolution` x `resolution` pixels. One nearest-neighbour index map does that for points, validity, ground
truth and RGB alike: resampled each in its own way, they would disagree by a pixel at every border. Unorganised ones
(Real3D-AD) are sampled to a number of points, with the map back to all original points (Sec. 4.1).

Points keep the units and the orientation of the data; tilting them before the camera is the renderer's business.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pointad_core import jobs, stores
from pointad_core.datasets import GOOD, Organised, Scan, Unorganised, reader
from pointad_core.errors import InputError
from pointad_core.shards import WHOLE

T = TypeVar("T")

logger = logging.getLogger(__name__)

# MVTec 3D-AD: constants of the data set's customary pre-processing, in pixels and metres.
RING = 10
RING_POINTS = 50
PLANE_THRESHOLD = 0.004
PLANE_ITERATIONS = 1000
PLANE_DISTANCE = 0.005
CLUSTER_RADIUS = 0.006
CLUSTER_POINTS = 30
PADDED_STEP = 100

# Eyecandies: bounds of the crop in metres, in the frame of `crop_ground`.
GROUND_HEIGHT = -0.02
GROUND_DEPTH = 1.8
GROUND_WIDTH = 1.0
CANDY_SCALE = 0.1


def make_clouds(
    root: str | os.PathLike[str],
    output: str | os.PathLike[str],
    dataset: str,
    layout: str,
    category: str,
    options: Mapping[str, Any],
    provenance: Mapping[str, Any],
    shard: str = WHOLE,
) -> None:
    """Read every test scan of a category, or of a shard of it, and write its clouds to the store `output`.

    root: folder of the data set, only read; layout: "mvtec3d", "eyecandies" or "real3d"; options: resolution,
    normals (radius in data units, neighbours), seed (of plane search and sampling), background ("remove", or "none"
    for scans that come without one), and for unorganised clouds n_points and sampling ("farthest" or "voxel").

    The store has per scan the attributes name, defective, defect, n_original and the arrays points f4[n,3], normals
    f4[n,3], labels u1[n]; of organised scans grid i4[n] (flat index into the S x S grid, ascending), mask u1[S,S]
    (also where no point is), rgb u1[S,S,3]; of unorganised ones nearest i4[N] (index of the kept point nearest to
    each original one), original_labels u1[N].

    Raises InputError for scans that cannot be read or used; the message names the file, and no store is written.
    """
    module = reader(layout)
    scans = module.find_scans(root, category, shard)
    attributes = {
        "dataset": dataset,
        "category": category,
        "layout": layout,
        "organised": layout != "real3d",
        "resolution": options["resolution"],
    }
    with stores.write(output, "clouds", provenance, attributes) as store:
        for scan in jobs.progress(scans, f"clouds {dataset}/{category}"):
            raw = module.read(scan)
            if isinstance(raw, Organised):
                arrays = organised_cloud(raw, layout, options, scan.path)
                labels, original = raw.mask, int(np.count_nonzero(raw.valid))
            else:
                arrays = unorganised_cloud(raw, options)
                labels, original = raw.labels, len(raw.points)
            normals = options["normals"]
            arrays["normals"] = estimate_normals(arrays["points"], normals["radius"], normals["neighbours"])
            about = {"defective": is_defective(scan, labels), "defect": scan.defect, "n_original": original}
            store.add(scan.name, arrays, about)


def is_defective(scan: Scan, labels: np.ndarray) -> bool:
    """Label of a scan: that of its ground truth (max y), whatever its folder, name or metadata say."""
    defective = bool(labels.any())
    if defective != (scan.defect != GOOD):
        logger.warning(
            "%s: called %r, but its ground truth has %s anomalous point; the ground truth counts",
            scan.path,
            scan.defect,
            "an" if defective else "no",
        )
    return defective


def choose(key: str, found: str, choices: Mapping[str, T]) -> T:
    if found not in choices:
        raise InputError(f"{key} is {found!r}, expected one of {', '.join(choices)}")
    return choices[found]


# Organised scans -----------------------------------------------------------------------------------------------------


def organised_cloud(raw: Organised, layout: str, options: Mapping[str, Any], path: Path) -> dict[str, np.ndarray]:
    """Arrays of an organised scan without its background, on the S x S grid; all but the normals."""
    points, valid, rgb, mask = raw.points, raw.valid, raw.rgb, raw.mask
    remove = choose("background", options.get("background", "remove"), {"remove": True, "none": False})
    if layout == "eyecandies":
        kept = valid & crop_ground(points, valid, path) if remove else valid
        points = upright(points)
    elif remove:
        plane = find_plane(points[valid & border_ring(valid.shape)], options["seed"], path)
        kept = valid & (np.abs(points @ plane[:3] + plane[3]) >= PLANE_DISTANCE)
        kept[kept] = main_part(points[kept], path)
        # What is removed is black in the picture too; pixels that never had a point stay as they are.
        rgb = np.where((valid & ~kept)[..., None], 0, rgb).astype(np.uint8)
    else:
        kept = valid
    if layout == "mvtec3d":
        points, kept, rgb, mask = (pad_square(array) for array in (points, kept, rgb, mask))
    index = index_map(mask.shape, options["resolution"])
    points, kept, rgb, mask = (array[index] for array in (points, kept, rgb, mask))
    grid = np.flatnonzero(kept)
    if len(grid) == 0:
        raise InputError(f"{path}: no point is left after the background's removal")
    return {
        "points": points[kept].astype(np.float32),
        "labels": mask[kept].astype(np.uint8),
        "grid": grid.astype(np.int32),
        "mask": mask.astype(np.uint8),
        "rgb": rgb,
    }


def index_map(shape: tuple[int, ...], resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows [S,1] and columns [1,S] of the pixels that stand for those of an S x S grid: floor(i * side / S)."""
    rows, columns = (np.arange(resolution) * side // resolution for side in shape[:2])
    return rows[:, None], columns[None, :]


def pad_square(array: np.ndarray) -> np.ndarray:
    """An image [H,W,...] amid zeros, as a square whose side is the longer one's next multiple of 100.

    An odd pixel of padding goes to the bottom and to the right.
    """
    side = -(-max(array.shape[:2]) // PADDED_STEP) * PADDED_STEP
    margins = [((side - size) // 2, side - size - (side - size) // 2) for size in array.shape[:2]]
    return np.pad(array, margins + [(0, 0)] * (array.ndim - 2))


def border_ring(shape: tuple[int, ...]) -> np.ndarray:
    """bool[H,W]: the outer RING rows and columns, where a scan shows nothing but its background."""
    ring = np.ones(shape, bool)
    ring[RING:-RING, RING:-RING] = False
    return ring


def find_plane(points: np.ndarray, seed: int, path: Path) -> np.ndarray:
    """Plane (a, b, c, d), a x + b y + c z + d = 0 with a unit normal, that RANSAC finds in points [n,3] in metres."""
    import open3d as o3d

    if len(points) < RING_POINTS:
        raise InputError(
            f"{path}: {len(points)} points in the outer {RING} rows and columns, at least {RING_POINTS} are needed to "
            "find the background plane; set `background: none` for scans whose background is removed already"
        )
    # Open3D has one generator for the whole process: seeded for each scan, so that a scan's plane is its own.
    o3d.utility.random.seed(seed)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
    try:
        # Probability 1: all iterations count. Otherwise Open3D's threads, whose number nothing limits, race for the
        # iteration after which to stop, and a ring with a few points off the plane gives now this plane, now that.
        plane, _ = cloud.segment_plane(PLANE_THRESHOLD, RING_POINTS, PLANE_ITERATIONS, probability=1.0)
    except RuntimeError as error:
        raise InputError(f"{path}: no background plane found in the outer {RING} rows and columns ({error})") from error
    plane = np.asarray(plane)
    length = np.linalg.norm(plane[:3])
    if not (np.isfinite(plane).all() and length > 0):
        raise InputError(f"{path}: the points in the outer {RING} rows and columns lie on no plane")
    return plane / length


def main_part(points: np.ndarray, path: Path) -> np.ndarray:
    """bool[n]: points [n,3] in metres of the largest connected part, which is the object; never the noise."""
    from pointad_core.clusters import largest_cluster

    part = largest_cluster(points, CLUSTER_RADIUS, CLUSTER_POINTS)
    if not part.any():
        raise InputError(
            f"{path}: no object found; of the {len(points)} points off the background plane, no {CLUSTER_POINTS} lie "
            f"within {CLUSTER_RADIUS} m of one another"
        )
    return part


def crop_ground(points: np.ndarray, valid: np.ndarray, path: Path) -> np.ndarray:
    """bool[H,W]: which world points [H,W,3] of an Eyecandies sample stand above the ground and near its middle.

    The line on the ground from the middle of the last image row to that of the first is made the z axis by a rotation
    about x, with the origin at its near end; y then points into the ground.
    """
    flat = points.reshape(-1, 3)
    middle = points.shape[1] // 2
    if not (valid.reshape(-1)[middle] and valid.reshape(-1)[-middle]):
        raise InputError(f"{path}: no depth in the middle of the first or last image row, where the ground is found")
    near = flat[-middle]
    y, z = flat[middle, 1:] - near[1:]
    length = np.hypot(y, z)
    if length == 0:
        raise InputError(f"{path}: the middles of the first and the last image row are the same point")
    y, z = y / length, z / length
    depth = (points[..., 1:] - near[1:]) @ (y, z)
    height = (points[..., 1:] - near[1:]) @ (z, -y)
    return (height <= GROUND_HEIGHT) & (depth <= GROUND_DEPTH) & (np.abs(points[..., 0]) <= GROUND_WIDTH)


def upright(points: np.ndarray) -> np.ndarray:
    """World points of Eyecandies [...,3] with the axes and the scale that go with its view set."""
    return points[..., [0, 2, 1]] * (CANDY_SCALE, -CANDY_SCALE, CANDY_SCALE)


# Unorganised scans ---------------------------------------------------------------------------------------------------


def unorganised_cloud(raw: Unorganised, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of an unorganised scan, sampled to at most n_points points; all but the normals."""
    from scipy.spatial import KDTree

    sample = choose("sampling", options["sampling"], {"farthest": sample_farthest, "voxel": sample_voxels})
    kept = sample(raw.points, options["n_points"], options["seed"])
    if len(kept) == len(raw.points):
        nearest = np.arange(len(kept))
    else:
        _, nearest = KDTree(raw.points[kept]).query(raw.points)
        # Of several points in one place the tree may name any: a kept point stands for itself.
        nearest[kept] = np.arange(len(kept))
    return {
        "points": raw.points[kept].astype(np.float32),
        "labels": raw.labels[kept].astype(np.uint8),
        "nearest": nearest.astype(np.int32),
        "original_labels": raw.labels.astype(np.uint8),
    }


def sample_farthest(points: np.ndarray, n_points: int, seed: int) -> np.ndarray:
    """Ascending indices of at most n_points of the points [N,3] by farthest-point sampling from a seeded start."""
    import fpsample

    if len(points) <= n_points:
        return np.arange(len(points))
    # The number counts the library's own order of the points, which depends on the height of its tree; the same seed
    # still picks the same point, and from there on the sampling is exact.
    start = int(np.random.default_rng(seed).integers(len(points)))
    height = 7 if len(points) < 100_000 else 9
    chosen = fpsample.bucket_fps_kdline_sampling(points.astype(np.float32), n_points, h=height, start_idx=start)
    # Once every place is taken, sampling repeats itself.
    return np.unique(chosen.astype(np.int64))


def sample_voxels(points: np.ndarray, n_points: int, seed: int = 0) -> np.ndarray:
    """Ascending indices of at most n_points of the points [N,3]: in each voxel the point nearest to its centre.

    The voxels are the smallest, to one part in a thousand, that are few enough. Nothing is random in it; `seed` is
    there for the samplings to be called alike.
    """
    if len(points) <= n_points:
        return np.arange(len(points))
    low = points.min(axis=0)
    # The whole cloud in one voxel is few enough; an edge a millionth of it, which keys can still number, is as small
    # as any that is needed.
    large = float(np.ptp(points, axis=0).max()) * 1.001 or 1.0
    small = large * 1e-6
    while large - small > 1e-3 * large:
        edge = (small * large) ** 0.5
        if len(np.unique(voxel_keys(points - low, edge))) <= n_points:
            large = edge
        else:
            small = edge
    cells = np.floor((points - low) / large)
    off_centre = np.sum(((points - low) / large - cells - 0.5) ** 2, axis=1)
    keys = voxel_keys(points - low, large)
    order = np.lexsort((off_centre, keys))
    first = np.r_[True, keys[order][1:] != keys[order][:-1]]
    return np.sort(order[first])


def voxel_keys(points: np.ndarray, edge: float) -> np.ndarray:
    """A number for the voxel of each point [N,3] with coordinates from 0 on."""
    x, y, z = np.floor(points / edge).astype(np.int64).T
    return (x << 42) | (y << 21) | z


# Normals -------------------------------------------------------------------------------------------------------------


def estimate_normals(points: np.ndarray, radius: float, neighbours: int) -> np.ndarray:
    """Unit normals f4[n,3] of points [n,3]: least variance among up to `neighbours` points within `radius`.

    Their sign is arbitrary, as the renderer turns them toward its camera; so is the normal of a point with too few
    neighbours for a plane.
    """
    import open3d as o3d

    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.astype(np.float64)))
    search = o3d.geometry.KDTreeSearchParamHybrid(radius, neighbours)
    # The iterative solver: the closed form that Open3D prefers loses all digits on flat neighbourhoods.
    cloud.estimate_normals(search, fast_normal_computation=False)
    return np.asarray(cloud.normals).astype(np.float32)
