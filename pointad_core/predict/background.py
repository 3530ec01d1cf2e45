"""The plane that a scan of one's own stands on or lies before, found where there is one, and what is left without it.

What is left is the largest part off the plane, as for the data sets (`clouds.background`), with lengths by the scan's
own size where that is not one that these are made for. A part's own flat side is no background: a background is the
whole rim of the scan, and what stands off it does so on one side, and by more than a twentieth of the scan.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pointad_core.clouds.background import RING, RING_POINTS, crop_plane, find_plane
from pointad_core.errors import InputError
from pointad_core.imports import import_open3d

USUAL_EXTENTS = 0.03, 1.0
"""Metres across of a scan with its background that the lengths in `clouds.background` are for."""
USUAL = 0.15
"""What any other scan is scaled to, for its background's removal alone."""
NEAR = 0.02
"""How far from a plane its points lie, in extents of a scan in no order."""
SHARE = 0.4
"""Least share of a scan that a plane fills which is taken for its background unasked."""
RIM = 0.8
"""Least share of the scan's rim that such a plane has."""
HEIGHT = 0.05
"""Least height above it of what stands on it, in extents."""
FEW = 30000
"""Points that a plane is sought in."""


def find_background(
    points: np.ndarray, valid: np.ndarray, metres: float | None, mode: str, seed: int, path: Path
) -> tuple[np.ndarray, str]:
    """Which points are background, bool as `valid`, and a line that says so, "" where none is.

    points: f8[N,3] or [H,W,3] on a grid; valid: those that are there; metres: of the points' unit, where it is known;
    mode: "auto", "remove" or "none". Raises InputError where none is found though it shall be removed.
    """
    none = np.zeros(valid.shape, bool)
    if mode == "none" or not valid.any():
        return none, ""
    extent = float(np.ptp(points[valid], axis=0).max())
    if mode == "auto":
        share = _share_on_grid(points, valid, extent, seed, path) if points.ndim == 3 else _share(points[valid], seed)
        if share < SHARE:
            return none, ""
        said = f"a plane fills {share:.0%} of the scan and was left out as its background"
    else:
        said = "the background was left out, as was asked"
    try:
        if points.ndim == 3:
            scale = _usual_scale(extent, metres)
            kept = crop_plane(np.where(valid[..., None], points * scale, 0.0), valid, seed, path)
        else:
            kept = np.zeros(len(points), bool)
            kept[valid] = _off_plane(points[valid], extent, seed, path)
    except InputError:
        if mode == "remove":
            raise
        return none, f"a plane fills {share:.0%} of the scan, but no part can be told from it; nothing was left out"
    removed = int(np.count_nonzero(valid & ~kept))
    keeps = "; --background none keeps it" if mode == "auto" else ""
    return valid & ~kept, f"{said} ({removed} of {np.count_nonzero(valid)} points{keeps})"


def _usual_scale(extent: float, metres: float | None) -> float:
    if metres is not None and USUAL_EXTENTS[0] <= extent * metres <= USUAL_EXTENTS[1]:
        return metres
    return USUAL / extent


def _share_on_grid(points: np.ndarray, valid: np.ndarray, extent: float, seed: int, path: Path) -> float:
    """Share of the points on the plane of the outer ring of pixels; 0 where it is no background."""
    ring = valid.copy()
    ring[RING:-RING, RING:-RING] = False
    if np.count_nonzero(ring) < max(RING_POINTS, 0.3 * ring.size * (1 - _inner(valid.shape))):
        return 0.0
    scale = USUAL / extent
    plane = find_plane(points[ring] * scale, seed, path)
    distances = points @ plane[:3] * scale + plane[3]
    return _judge(distances[valid] / USUAL, np.abs(distances[ring]) / USUAL <= 1.5 * NEAR)


def _inner(shape: tuple[int, ...]) -> float:
    """Share of the pixels that are not in the ring."""
    return max(0, shape[0] - 2 * RING) * max(0, shape[1] - 2 * RING) / (shape[0] * shape[1])


def _judge(distances: np.ndarray, on_rim: np.ndarray) -> float:
    """The share of the plane, from the distances [n] in extents of all points and which of those at the rim are on it;
    0 of what is no background by what the module says."""
    near = np.abs(distances) <= 1.5 * NEAR
    off = distances[~near]
    if len(off) < RING_POINTS or on_rim.mean() < RIM:
        return 0.0
    above = off * np.sign(np.median(off))
    if np.mean(above > 0) < 0.9 or np.percentile(above, 95) < HEIGHT:
        return 0.0
    return float(near.mean())


def _fit_plane(points: np.ndarray, extent: float, seed: int) -> np.ndarray:
    """Distances [n] in extents of points [n,3] from the plane that has the most of them."""
    o3d = import_open3d()

    from pointad_core.clouds.subsets import random_subset

    middle = points.mean(axis=0)
    unit = (points - middle) / extent
    sample = unit[random_subset(len(unit), FEW).numpy()]
    o3d.utility.random.seed(seed)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(sample))
    plane, _ = cloud.segment_plane(NEAR / 2, 3, 300, probability=1.0)
    length = float(np.linalg.norm(plane[:3])) or 1.0
    distances: np.ndarray = (unit @ plane[:3] + plane[3]) / length
    return distances


def _share(points: np.ndarray, seed: int) -> float:
    """As `_share_on_grid`, of points [n,3] in no order, whose rim is that of their box along the plane's axes."""
    if len(points) < 10 * RING_POINTS:
        return 0.0
    extent = float(np.ptp(points, axis=0).max())
    distances = _fit_plane(points, extent, seed)
    near = np.abs(distances) <= NEAR
    if near.mean() < SHARE:
        return 0.0
    on_plane = points[near] - points[near].mean(axis=0)
    _, axes = np.linalg.eigh(on_plane.T @ on_plane)
    flat = (points - points[near].mean(axis=0)) @ axes[:, 1:]
    low, high = flat.min(axis=0), flat.max(axis=0)
    # A disc has no corners: its rim is what is far out in any of several directions.
    angles = np.linspace(0, np.pi, 8, endpoint=False)
    out = ((flat - (low + high) / 2) @ np.stack([np.cos(angles), np.sin(angles)])).T
    half = np.abs(out).max(axis=1, keepdims=True)
    rim = (np.abs(out) > 0.93 * half).any(axis=0)
    return _judge(distances, near[rim])


def _off_plane(points: np.ndarray, extent: float, seed: int, path: Path) -> np.ndarray:
    """bool[n]: the largest part of points [n,3] off the plane that has the most of them."""
    from pointad_core.clouds.clusters import largest_cluster

    kept = np.abs(_fit_plane(points, extent, seed)) > NEAR
    kept[kept] = largest_cluster(points[kept] / extent, 2 * NEAR, 10)
    if not kept.any():
        raise InputError(f"{path}: no object is left without the plane that has the most points; --background none")
    return kept
