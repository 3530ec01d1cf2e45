"""The background of organised scans, removed the way the data sets' users remove it, and the grid they are brought to.

A plane that the camera looks at (MVTec 3D-AD) is found by RANSAC (Fischler & Bolles 1981) in the outer ring of pixels,
and the object beside it by DBSCAN; the ground that an object stands on (Eyecandies) is cropped.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pointad_core.clouds.frame import extent_of
from pointad_core.errors import InputError
from pointad_core.imports import import_open3d

# MVTec 3D-AD's customary pre-processing, in pixels and metres, as are the numbers in `crop_plane` and `find_plane`.
RING = 10
RING_POINTS = 50
CLUSTER_RADIUS = 0.006
CLUSTER_POINTS = 30

# Bounds of `check_kept`, far from what scans have: of published and generated ones nothing that is kept reaches into
# the ring, and at most half of it lies as near to a plane. Where two in five points are missing by an unknown mark, as
# many as real scans lack, the plane found among them and the ground leaves a quarter of the ring or more.
SHARE_OF_RING = 0.2
FLAT_POINTS = 0.95
FLAT_EXTENTS = 0.01
MOST_OF_SCAN = 0.5
WAYS_ON = (
    "Where missing points have another value than NaN and zeros, set `missing` to it; for scans whose background is "
    "removed already, set `background: none`"
)


def index_map(shape: tuple[int, ...], resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows [S,1] and columns [1,S] of the pixels that stand for those of an S x S grid: floor(i * side / S)."""
    rows, columns = (np.arange(resolution) * side // resolution for side in shape[:2])
    return rows[:, None], columns[None, :]


def pad_square(array: np.ndarray) -> np.ndarray:
    """An image [H,W,...] amid zeros, as a square whose side is the longer one's next multiple of 100.

    An odd pixel of padding goes to the bottom and to the right.
    """
    side = -(-max(array.shape[:2]) // 100) * 100
    margins = [((side - size) // 2, side - size - (side - size) // 2) for size in array.shape[:2]]
    return np.pad(array, margins + [(0, 0)] * (array.ndim - 2))


def own_pixels(shape: tuple[int, ...], resolution: int, padded: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows [H,1] and columns [1,W] of the S x S grid whose pixels are nearest to those of a scan [H,W].

    It undoes `index_map`, as far as that can be undone, and `pad_square` where the scan was padded.
    """
    whole = pad_square(np.empty(shape[:2], bool)).shape if padded else shape[:2]
    rows, columns = (
        np.abs(index.ravel()[None] - (np.arange(size)[:, None] + (side - size) // 2)).argmin(1)
        for index, size, side in zip(index_map(whole, resolution), shape[:2], whole, strict=True)
    )
    return rows[:, None], columns[None, :]


def crop_plane(points: np.ndarray, valid: np.ndarray, seed: int, path: Path) -> np.ndarray:
    """bool[H,W]: which points [H,W,3] in metres are the object's: the largest part off the plane of the outer ring."""
    from pointad_core.clouds.clusters import largest_cluster

    plane = find_plane(points[outer_ring(valid)], seed, path)
    kept = valid & (np.abs(points @ plane[:3] + plane[3]) >= 0.005)
    off_plane = points[kept]
    kept[kept] = largest_cluster(off_plane, CLUSTER_RADIUS, CLUSTER_POINTS)
    if not kept.any():
        what = f"{len(off_plane)} points off the background plane, no {CLUSTER_POINTS} within {CLUSTER_RADIUS} m"
        raise InputError(f"{path}: no object found; {what} of one another")
    return kept


def outer_ring(valid: np.ndarray) -> np.ndarray:
    """bool[H,W]: which of the valid points are in the outer rows and columns."""
    ring = valid.copy()
    ring[RING:-RING, RING:-RING] = False
    return ring


def check_kept(points: np.ndarray, valid: np.ndarray, kept: np.ndarray, path: Path) -> None:
    """InputError where what is kept of points [H,W,3] is the background, as where its plane was sought in points that
    stand for missing ones: it fills much of the outer ring, or is flat and most of the scan."""
    ring = outer_ring(valid)
    share, in_ring = kept[valid].mean(), kept[ring].mean() if ring.any() else 0.0
    found = []
    if in_ring > SHARE_OF_RING:
        found.append(f"{in_ring:.0%} of the points in the outer {RING} rows and columns")
    if share > MOST_OF_SCAN:
        left = points[kept] - points[kept].mean(axis=0)
        normal = np.linalg.eigh(left.T @ left)[1][:, 0]
        near = np.mean(np.abs(left @ normal) <= FLAT_EXTENTS * extent_of(left))
        if near >= FLAT_POINTS:
            found.append(f"{share:.0%} of the scan, {near:.0%} of it on one plane")
    if found:
        what = f"the background and no object: {', and '.join(found)}"
        raise InputError(f"{path}: what is left after the background's removal is {what}. {WAYS_ON}")


def loses_defect(cloud: Mapping[str, np.ndarray], density: float = 1) -> bool:
    """Whether of an organised scan's cloud (`cloud.make_cloud`) less than one in twenty of the marked pixels of its
    grid, ten at least, have a point; of a cloud that was thinned to a density, of as many as that leaves. Of a defect
    that is cut out of the object, or broken off, that can be right."""
    if "mask" not in cloud:
        return False
    marked = density * np.count_nonzero(cloud["mask"])
    return bool(marked >= 10 and np.count_nonzero(cloud["labels"]) < 0.05 * marked)


def find_plane(points: np.ndarray, seed: int, path: Path) -> np.ndarray:
    """Plane (a, b, c, d), a x + b y + c z + d = 0 with a unit normal, that RANSAC finds in points [n,3] in metres."""
    o3d = import_open3d()

    if len(points) < RING_POINTS:
        raise InputError(
            f"{path}: {len(points)} points in the outer {RING} rows and columns, at least {RING_POINTS} are needed to "
            "find the background plane; set `background: none` for scans whose background is removed already"
        )
    # Open3D has one generator for the whole process: seeded for each scan, so that a scan's plane is its own.
    o3d.utility.random.seed(seed)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
    # Probability 1: all iterations count. Otherwise Open3D's threads, whose number nothing limits, race for the
    # iteration after which to stop, and a ring with a few points off the plane gives now this plane, now that.
    plane, _ = cloud.segment_plane(0.004, RING_POINTS, 1000, probability=1.0)
    length = np.linalg.norm(plane[:3])
    if not (np.isfinite(plane).all() and length > 0):
        raise InputError(f"{path}: the points in the outer {RING} rows and columns lie on no plane")
    return plane / length


def crop_ground(points: np.ndarray, valid: np.ndarray, path: Path) -> np.ndarray:
    """bool[H,W]: which world points [H,W,3] of an Eyecandies sample stand above the ground and near its middle.

    The line on the ground from the middle of the last image row to that of the first is made the z axis by a rotation
    about x, with the origin at its near end; y then points into the ground.
    """
    middle = points.shape[1] // 2
    if not (valid[0, middle] and valid[-1, -middle]):
        raise InputError(f"{path}: no depth in the middle of the first or last image row, where the ground is found")
    from_near = points[..., 1:] - points[-1, -middle, 1:]
    length = np.hypot(*from_near[0, middle])
    if length == 0:
        raise InputError(f"{path}: the middles of the first and the last image row are the same point")
    y, z = from_near[0, middle] / length
    depth, height = from_near @ (y, z), from_near @ (z, -y)
    # The bounds, in metres, with which the data set's users crop.
    return (height <= -0.02) & (depth <= 1.8) & (np.abs(points[..., 0]) <= 1.0)


def upright(points: np.ndarray) -> np.ndarray:
    """World points of Eyecandies [...,3] with the axes and the scale that go with its view set."""
    return points[..., [0, 2, 1]] * (0.1, -0.1, 0.1)
