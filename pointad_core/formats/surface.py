"""Points on the surface of a mesh, evenly by area and the same for the same seed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pointad_core.errors import InputError

N_SAMPLES = 200_000
"""Points on a mesh where the caller says no number."""

FEW_VERTICES = 20_000
"""Below so many, a mesh with faces is drawn rather than scanned, and its vertices alone would not show its shape."""


def sample(
    path: Path, corners: np.ndarray, triangles: np.ndarray, n_samples: int | None, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points f8[n,3] on triangles i8[T,3] between corners f8[V,3]; and the triangle i8[n] of each, with its weights
    f8[n,3] there, to draw whatever the corners have besides.

    The area is cut into n parts of one size, and each point stands in a part of its own. Raises InputError where a
    triangle has a corner that there is not, or that is no number, and where all have no area.
    """
    n_samples = N_SAMPLES if n_samples is None else n_samples
    if n_samples < 1:
        raise InputError(f"{path}: {n_samples} points asked for on its surface, expected 1 at least")
    if len(triangles) == 0:
        raise InputError(f"{path}: has no faces, so that there is no surface to draw points from")
    if triangles.min() < 0 or triangles.max() >= len(corners):
        raise InputError(f"{path}: a face has corner {triangles.max()}, but there are {len(corners)} vertices")
    a, b, c = (corners[triangles[:, at]] for at in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    ends = np.cumsum(areas)
    if not np.isfinite(ends[-1]):
        raise InputError(f"{path}: corners of its faces are NaN or infinite")
    if ends[-1] <= 0:
        raise InputError(f"{path}: its {len(triangles)} faces have no area")
    rng = np.random.default_rng(seed)
    places = (np.arange(n_samples) + rng.random(n_samples)) / n_samples * ends[-1]
    chosen = np.minimum(np.searchsorted(ends, places, side="right"), np.flatnonzero(areas)[-1])
    root, share = np.sqrt(rng.random(n_samples)), rng.random(n_samples)
    weights = np.stack([1 - root, root * (1 - share), root * share], axis=1)
    # In this form what all corners of a triangle share, such as a height, stays exactly it.
    points = a[chosen] + weights[:, 1:2] * (b - a)[chosen] + weights[:, 2:] * (c - a)[chosen]
    return points, chosen, weights


def spread(values: np.ndarray, triangles: np.ndarray, chosen: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Colours u1[n,3] at points of `sample`, of those u1[V,3] at the corners."""
    return np.round((values[triangles[chosen]] * weights[..., None]).sum(axis=1)).astype(np.uint8)


def as_triangles(faces: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Triangles i8[T,3] of polygons, each a fan around its first corner; of fewer than three corners there are none."""
    if isinstance(faces, np.ndarray) and faces.shape[1] == 3:
        return faces.astype(np.int64)
    fans = [
        np.stack([np.full(len(face) - 2, face[0]), face[1:-1], face[2:]], axis=1) for face in faces if len(face) >= 3
    ]
    return np.concatenate(fans).astype(np.int64) if fans else np.zeros((0, 3), np.int64)
