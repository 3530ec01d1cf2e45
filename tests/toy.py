"""A toy category as stores: features in which defects point in a direction of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pointad_core.storage import stores

N_VIEWS, GRID, SIZE = 3, 4, 28
"""Views, patches a side, pixels a side (7 pixels a patch)."""
ALPHA = 0.5
STAGES = ("clouds", "renders", "features", "aggregation")


@dataclass(frozen=True)
class Toy:
    """Paths of the stores of one category."""

    name: str
    clouds: Path
    renders: Path
    features: Path
    aggregation: Path

    @property
    def paths(self) -> dict[str, Path]:
        return {stage: getattr(self, stage) for stage in STAGES}

    @property
    def entry(self) -> dict[str, str]:
        """As in the categories of the scores stage."""
        return {"name": self.name, "display": self.name, **{key: str(path) for key, path in self.paths.items()}}


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def scan_arrays(rng, defective, dim, organised, rgb, streams=("vv", "plain"), views=N_VIEWS):
    """Arrays of one scan's cloud, renders, features and aggregation."""
    if organised:
        grid = np.sort(rng.choice(SIZE * SIZE, 350, replace=False)).astype(np.int32)
    else:
        grid = rng.integers(0, SIZE * SIZE, 300).astype(np.int32)
    n = len(grid)
    rows, columns = np.divmod(grid, SIZE)
    points = np.stack([columns, rows, rng.random(n)], axis=1).astype(np.float32)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    if defective:
        top, left = rng.integers(2, 14, 2)
        mask[top : top + 10, left : left + 10] = 1
    labels = mask.ravel()[grid]

    # Views are shifted by a pixel or two, and each hides some of the points.
    shifts = rng.integers(-2, 3, (views, 2))
    pixels = np.clip(np.stack([columns, rows], -1) + shifts[:, None], 0, SIZE - 1).astype(np.int16)
    visible = rng.random((views, n)) < 0.6
    visible[0, ~visible.any(0)] = True
    masks = np.stack([np.roll(mask, (dy, dx), (0, 1)) for dx, dy in shifts])

    normal, abnormal = unit(np.random.default_rng(7).normal(size=(2, dim)))

    def features(view_masks):
        cells = view_masks.reshape(-1, GRID, SIZE // GRID, GRID, SIZE // GRID).mean((2, 4)).reshape(-1, GRID * GRID, 1)
        patches = unit(normal + cells * (abnormal - normal) + 0.3 * unit(rng.normal(size=(*cells.shape[:2], dim))))
        seen = view_masks.any((1, 2))[:, None]
        whole = unit(np.where(seen, abnormal, normal) + 0.3 * unit(rng.normal(size=(len(view_masks), dim))))
        return whole.astype(np.float16), patches.astype(np.float16)

    whole, patches = features(masks)
    encoded = {"global": whole, **{f"patches_{stream}": patches for stream in streams}}
    cloud = {"points": points, "normals": np.tile(np.float32([0, 0, 1]), (n, 1)), "labels": labels}
    if organised:
        cloud |= {"grid": grid, "mask": mask}
        if rgb:
            rgb_whole, rgb_patches = features(mask[None])
            cloud["rgb"] = rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
            encoded |= {"rgb_global": rgb_whole[0], **{f"rgb_patches_{stream}": rgb_patches[0] for stream in streams}}
    else:
        nearest = rng.integers(0, n, 2 * n).astype(np.int32)
        cloud |= {"nearest": nearest, "original_labels": labels[nearest]}

    # G-aggregation, the slow and obvious way.
    distances = np.linalg.norm(points[:, None].astype(float) - points[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    neighbours = np.argsort(distances, axis=1, kind="stable")[:, :4]
    weights = np.exp(-(np.take_along_axis(distances, neighbours, 1) ** 2) / 2)
    weights /= weights.sum(1, keepdims=True)
    fused = fused_features(patches.astype(float), pixels, visible, neighbours, weights, ALPHA)
    prepared = {
        "neighbours": neighbours.astype(np.int32),
        "weights": weights.astype(np.float32),
        "norms": np.linalg.norm(fused, axis=1).astype(np.float32),
    }
    renders = {
        "images": rng.integers(0, 256, (views, SIZE, SIZE)).astype(np.uint8),
        "masks": masks,
        "pixels": pixels,
        "visible": visible,
    }
    return cloud, renders, encoded, prepared


def fused_features(patches, pixels, visible, neighbours, weights, alpha):
    """q^ of Sec. 3.4, float [n, d]: a feature per point, as the paper writes it."""
    n_views, n = visible.shape
    q = np.zeros((n, patches.shape[2]))
    for k in range(n_views):
        column, row = pixels[k].T.astype(int) * GRID // SIZE
        q += patches[k][row * GRID + column] * visible[k][:, None]
    q /= visible.sum(0)[:, None]
    q_tilde = (weights[:, :, None] * q[neighbours]).sum(1)
    return alpha * q_tilde + (1 - alpha) * q


def write_toy(
    folder: Path,
    name: str = "toy",
    seed: int = 0,
    dim: int = 128,
    n_scans: int = 6,
    organised: bool = True,
    rgb: bool = True,
    defective: tuple[bool, ...] | None = None,
    views: int = N_VIEWS,
) -> Toy:
    """Write the stores of a category, half of whose scans (or as `defective` says) have a defect."""
    rng = np.random.default_rng(seed)
    toy = Toy(name, *(folder / f"{name}_{stage}.zarr.zip" for stage in STAGES))
    flags = defective if defective is not None else tuple(i % 2 == 0 for i in range(n_scans))
    attributes = {
        "dataset": "toys",
        "category": name,
        "layout": "mvtec3d" if organised else "real3d",
        "organised": organised,
        "resolution": SIZE,
    }
    encoder = {"model": "pointad-pocket", "dim": dim, "grid": GRID, "streams": ["vv", "plain"]}
    with (
        stores.write(toy.clouds, "clouds", {}, attributes) as clouds,
        stores.write(toy.renders, "renders", {}, {"resolution": SIZE, "views": [[0, 0, 0]] * views}) as renders,
        stores.write(toy.features, "features", {}, encoder) as features,
        stores.write(toy.aggregation, "aggregation", {}, {"alpha": ALPHA}) as aggregation,
    ):
        for index, flag in enumerate(flags):
            scan = f"{'bent' if flag else 'good'}/{index:03d}"
            cloud, render, encoded, prepared = scan_arrays(rng, flag, dim, organised, rgb, views=views)
            where = {"defective": bool(flag), "defect": "bent" if flag else "good", "n_original": len(cloud["points"])}
            clouds.add(scan, cloud, where)
            renders.add(scan, render, {"unseen": 0})
            features.add(scan, encoded)
            aggregation.add(scan, prepared)
    return toy
