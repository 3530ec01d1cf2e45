"""Time of rendering a cloud of 112,896 points from 9 views, by `splat` and by Open3D, in one run.

    python tests/benchmarks/renders.py [--threads 1] [--repetitions 5]

Both make the same: images, ground truth, pixels and visibility of every view, with the same point size, window and
camera; pixels and visibility come from the same code. Normals are given to both, as the clouds stage computes them
once; their time is printed by itself. Two clouds: a relief, seen from one side as the organised scans are, and a
closed surface, half of which no view of this set shows.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

SIDE = 336
VIEW_SET: dict[str, Any] = {"tilt": 180, "x": [-45, -15, 0, 15, 45], "y": [-30, -15, 15, 30]}
OPTIONS: dict[str, Any] = {
    "resolution": SIDE,
    "views": VIEW_SET,
    "point_size": 8,
    "visibility": "soft",
    "window": 1024,
}


def relief() -> np.ndarray:
    """A domed, wavy plate with a dent on a grid of 336 x 336 points; z grows away from the sensor."""
    y, x = np.meshgrid(*[np.linspace(-0.05, 0.05, SIDE)] * 2, indexing="ij")
    z = 0.6 + 4 * (x**2 + y**2) + 0.002 * np.sin(300 * x) * np.sin(260 * y)
    z += 0.006 * np.exp(-((x - 0.02) ** 2 + (y - 0.01) ** 2) / 2e-5)
    return np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)


def closed() -> np.ndarray:
    """A three-axial ellipsoid, its points spread evenly along a spiral of the golden angle."""
    i = np.arange(SIDE * SIDE) + 0.5
    z, turn = 1 - 2 * i / (SIDE * SIDE), i * np.pi * (3 - 5**0.5)
    around = np.sqrt(1 - z**2)
    return (np.stack([around * np.cos(turn), around * np.sin(turn), z], -1) * [0.05, 0.03, 0.02]).astype(np.float32)


def estimate_normals(points: np.ndarray) -> np.ndarray:
    import open3d as o3d

    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.astype(np.float64)))
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(radius=0.1, max_nn=50))
    return np.asarray(cloud.normals, np.float32)


def visibility_by_loops(pixels: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """The paper's one winner per pixel by plain Python loops, for reference."""
    visible = np.zeros(pixels.shape[:2], bool)
    for view in range(len(pixels)):
        best: dict[tuple[int, int], int] = {}
        for point in range(pixels.shape[1]):
            key = (int(pixels[view, point, 0]), int(pixels[view, point, 1]))
            if key not in best or depths[view, point] > depths[view, best[key]]:
                best[key] = point
        visible[view, list(best.values())] = True
    return visible


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="of torch and of Mesa's rasteriser")
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    # Read when the libraries are loaded.
    for variable in ("OMP_NUM_THREADS", "LP_NUM_THREADS"):
        os.environ[variable] = str(arguments.threads)
    import torch

    from pointad_core.rendering.registry import RENDERERS, load
    from pointad_core.rendering.shaded import angles
    from pointad_core.rendering.views import project, rotations

    torch.set_num_threads(arguments.threads)
    rows = angles(VIEW_SET)
    for make in (relief, closed):
        points = make()
        labels = points[:, 0] > 0.02
        start = time.perf_counter()
        normals = estimate_normals(points)
        print(f"{make.__name__}: {len(points):,} points, {len(rows)} views, {arguments.threads} thread(s)")
        cloud = {"points": points, "normals": normals, "labels": labels}
        print(f"  normals, once, given to both   {time.perf_counter() - start:8.3f} s")
        renders = {}
        times: dict[str, list[float]] = {"splat": [], "open3d": []}
        # The first round warms caches and is not counted; the renderers take turns, so that a busy machine hits both.
        for repetition in range(arguments.repetitions + 1):
            for renderer in times:
                start = time.perf_counter()
                renders[renderer] = load(RENDERERS[renderer].module).render(cloud, OPTIONS)
                if repetition:
                    times[renderer].append(time.perf_counter() - start)
        median = {renderer: statistics.median(values) for renderer, values in times.items()}
        for renderer, value in median.items():
            spread = f"{min(times[renderer]):.3f} to {max(times[renderer]):.3f}"
            print(f"  {renderer:<30} {value:8.3f} s  ({spread}), {len(rows) / value:6.1f} views/s")
        print(f"  open3d / splat                 {median['open3d'] / median['splat']:8.1f}")
        projection = project(torch.from_numpy(points), rotations(rows), OPTIONS["window"])
        pixels, depths = projection.pixels(SIDE).numpy(), projection.points[:, 2].numpy()
        start = time.perf_counter()
        visibility_by_loops(pixels, depths)
        print(
            f"  visibility by Python loops     {time.perf_counter() - start:8.3f} s  "
            "(one winner per pixel; part of neither time)"
        )
        splat, other = renders["splat"], renders["open3d"]
        covered = (splat.images < 250) & (other.images < 250)
        difference = np.abs(splat.images.astype(int) - other.images)[covered] / 255
        overlap = (splat.masks & other.masks).sum() / (splat.masks | other.masks).sum()
        print(
            f"  grey levels differ by          {np.median(difference):8.4f}    (median; 99th percentile "
            f"{np.percentile(difference, 99):.4f}); IoU of ground truths {overlap:.4f}"
        )
        print(f"  unseen points                  {splat.unseen:8,d}")


if __name__ == "__main__":
    main()
