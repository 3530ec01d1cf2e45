"""Every step from a cloud to its scores, and training, at full size on whatever device is there.

The backbone has the paper's size, ViT-L/14 at 336 pixels, and weights drawn at random; the cloud is a generated
surface of 336 x 336 points with a photograph, seen from nine views. Each step stands with its time on the device, the
median of several runs after warm-up with synchronised clocks, and its peak of memory by the device's own counter, and
beside them with a limit: what its matrix products would take at the rate of a large product of the same precision, or
its reads and writes at the rate of a large copy. Features stand in each precision, of one scan and, as the workflow
computes them, of several whose images share batches, with how far they are from those in float32. Without a GPU the
bundled small model stands in, unless --model names another, and fewer scans are trained on.

    python tests/benchmarks/gpu.py [--device cuda] [--model ViT-L-14-336] [--repeats 10] [--scans 130]
        [--precisions float32 bfloat16 float16]
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from pointad_core.clip.loading import load_model
from pointad_core.clip.precision import PRECISIONS
from pointad_core.clip.tower import batch_size, encode_each
from pointad_core.methods import neighbours
from pointad_core.methods.aggregation import find_kernel, fused_norms, patch_indices, prepare
from pointad_core.methods.interface import Settings
from pointad_core.methods.neighbours import find_in_cells
from pointad_core.methods.registry import SYSTEMS, load
from pointad_core.methods.scoring import ask, score_scan
from pointad_core.methods.segmentation import make_sample, pin
from pointad_core.methods.targets import make_targets
from pointad_core.methods.training import train
from pointad_core.rendering import registry as renderers

SIZE = 336
VIEWS = {"tilt": 180, "x": [-45, -15, 0, 15, 45], "y": [-30, -15, 15, 30]}
AGGREGATION: dict[str, Any] = {"neighbours": 10, "kernel_sigma": 1.0, "kernel_units": "data", "alpha": 0.5}


def make_cloud() -> dict[str, np.ndarray]:
    """A wavy sheet of a point a pixel, 10 cm wide, with its normals and a defective spot."""
    v, u = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    z = 0.1 * np.sin(9 * u) * np.cos(7 * v)
    normals = np.stack([-0.9 * np.cos(9 * u) * np.cos(7 * v), 0.7 * np.sin(9 * u) * np.sin(7 * v), np.ones_like(u)], -1)
    mask = np.hypot(u - 0.1, v + 0.2) < 0.06
    return {
        "points": (np.stack([u, v, z], -1).reshape(-1, 3) / 10).astype(np.float32),
        "normals": (normals / np.linalg.norm(normals, axis=-1, keepdims=True)).reshape(-1, 3).astype(np.float32),
        "labels": mask.ravel().astype(np.uint8),
        "grid": np.arange(SIZE * SIZE, dtype=np.int32),
        "rgb": np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
    }


def measure(step: Callable[[], Any], device: torch.device, repeats: int) -> tuple[Any, float, float]:
    """Result, median seconds and peak MiB on the device (0 on the CPU) of a step, after two runs to warm up."""
    cuda = device.type == "cuda"
    times: list[float] = []
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    for run in range(repeats + 2):
        if cuda:
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        result = step()
        if cuda:
            torch.cuda.synchronize(device)
        if run >= 2:
            times.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if cuda else 0.0
    return result, float(np.median(times)), peak


def products(clip: Any, images: int) -> float:
    """Multiplications and additions of the vision tower's matrix products for so many images."""
    width, tokens = clip.visual.transformer.width, clip.grid**2 + 1
    blocks = len(clip.visual.transformer.resblocks)
    # Of a block: queries, keys, values and the projection 4, the MLP 8 products with width x width; attention 2 with
    # its square of tokens. The V-V stream adds a projection and an attention to the last blocks.
    block = 12 * width**2 * tokens + 2 * tokens**2 * width
    vv = width**2 * tokens + 2 * tokens**2 * width
    return 2.0 * images * (blocks * block + clip.vv_blocks * vv)


def product_rate(device: torch.device, kind: torch.dtype) -> float:
    """Operations a second of a large matrix product of these numbers, as PyTorch is set."""
    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    return 2 * side**3 / measure(lambda: a @ b, device, 3)[1]


def copy_rate(device: torch.device) -> float:
    """Bytes a second that a large copy reads and writes."""
    a = torch.zeros(1 << (28 if device.type == "cuda" else 24), device=device)
    b = torch.empty_like(a)
    return 2 * a.nbytes / measure(lambda: b.copy_(a), device, 3)[1]


def count_pairs(points: torch.Tensor, k: int) -> int:
    """Pairs of a point and a candidate whose distance `find_in_cells` takes."""
    counted = 0
    own = neighbours._Cells.nearest

    def nearest(cells: Any, points: torch.Tensor, starts: Any, lengths: Any, width: int, k: int) -> Any:
        nonlocal counted
        counted += len(points) * width
        return own(cells, points, starts, lengths, width, k)

    neighbours._Cells.nearest = nearest  # type: ignore[method-assign]
    try:
        find_in_cells(points, k)
    finally:
        neighbours._Cells.nearest = own  # type: ignore[method-assign]
    return counted


class Table:
    """Rows of steps as they are measured, and what a scan takes in all."""

    def __init__(self, device: torch.device, repeats: int) -> None:
        self.device, self.repeats = device, repeats
        self.seconds = self.peak = 0.0

    def time(
        self, name: str, step: Callable[[], Any], *, limit: float | None = None, counts: bool = True, each: int = 1
    ) -> Any:
        """A step's result; its row is of one of `each` scans. limit: seconds that it cannot be faster than, of a scan;
        counts: it is a part of what a scan takes."""
        result, seconds, peak = measure(step, self.device, self.repeats)
        beside = "" if limit is None else f"{1e3 * limit:10.1f} ms at least"
        print(f"{name:<44}{1e3 * seconds / each:10.1f} ms{peak:10.0f} MiB{beside}", flush=True)
        if counts:
            self.seconds, self.peak = self.seconds + seconds, max(self.peak, peak)
        return result


def time_features(
    table: Table, model: dict[str, Any], precision: str, images: list[np.ndarray], exact: list[Any] | None
) -> list[dict[str, torch.Tensor]]:
    """Features of a scan's renders and its photograph in a precision; those in float32 count to what a scan takes."""
    clip = load_model({**model, "precision": precision}, table.device)
    batch, count = batch_size(clip), sum(map(len, images))
    least = products(clip, count) / product_rate(table.device, PRECISIONS[precision])

    def encode_scans(scans: int) -> list[Any]:
        return list(encode_each(clip, images * scans, ["vv"], batch))

    told = f"features of {count} images, {precision}"
    found = table.time(told, lambda: encode_scans(1), limit=least, counts=exact is None)
    scans = -(-2 * batch // count)
    if batch > 1:
        told = f"the same, {scans} scans {batch} images at a time"
        table.time(told, lambda: encode_scans(scans), limit=least, counts=False, each=scans)
    if exact is not None:
        for part in ("global", "patches_vv"):
            pairs = zip(found, exact, strict=True)
            apart = max(float((a[part].float() - b[part].float()).norm(dim=-1).max()) for a, b in pairs)
            print(f"    {part}: at most {apart:.1e} from those in float32, whose length is 1")
    return found


def time_aggregation(table: Table, cloud: dict[str, np.ndarray], views: Any, patches: torch.Tensor) -> Any:
    """Neighbours and norms apart, and what the stage does with a scan."""
    device, k, rate = table.device, AGGREGATION["neighbours"], copy_rate(table.device)
    points = torch.from_numpy(cloud["points"]).to(device)
    kernel = k, AGGREGATION["kernel_sigma"], AGGREGATION["kernel_units"]
    # Of each pair at least: three coordinates and its place are read, a distance and its place are sorted once.
    least = None if device.type == "cpu" else count_pairs(points, k) * (3 * 8 + 8 + 2 * (8 + 8)) / rate
    near, weights = table.time("  neighbours", lambda: find_kernel(points, *kernel), limit=least, counts=False)
    places, seen = (torch.from_numpy(array).to(device) for array in (views.pixels, views.visible))
    index = patch_indices(places, SIZE, math.isqrt(patches.shape[1]))
    (n_views, n), dims = seen.shape, patches.shape[2]
    # Of each dimension of each point: a patch of every view is read, the mean written, and read with the neighbours'.
    least = 4 * n * dims * (n_views + 2 + k) / rate
    norms = (patches, index, seen, near, weights, AGGREGATION["alpha"])
    table.time("  norms", lambda: fused_norms(*norms), limit=least, counts=False)
    given = cloud["points"], views.pixels, views.visible, patches, SIZE, AGGREGATION
    return table.time("aggregation", lambda: prepare(*given))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", help="ViT-L-14-336 on a GPU, pointad-pocket elsewhere")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--scans", type=int, help="scans of the class that is trained on; 130 on a GPU, 8 elsewhere")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--precisions", nargs="*", choices=list(PRECISIONS), default=list(PRECISIONS))
    given = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device(given.device)
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else "CPU"
    print(f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}")

    chosen = given.model or ("ViT-L-14-336" if cuda else "pointad-pocket")
    n_scans = given.scans or (130 if cuda else 8)
    # V-V attention as in the paper, and as in the embedded default.
    vv_blocks, deep_blocks = (19, 8) if "ViT-L" in chosen else (1, 3)
    model = {"model": chosen, "random_seed": 0, "vv_blocks": vv_blocks, "resolution": SIZE}
    cloud, entry = make_cloud(), SYSTEMS["pointad_plus"]
    renderer = asdict(renderers.RENDERERS["splat"])
    options = {"resolution": SIZE, "views": VIEWS, "point_size": 7, "window": 1000, "visibility": "soft"}
    render = renderers.load(renderer["module"]).render
    table = Table(device, given.repeats)

    views = table.time("renders, 9 views", lambda: render(cloud, options, device))
    images = [views.images, cloud["rgb"][None]]
    found = time_features(table, model, "float32", images, None)
    for precision in given.precisions:
        if precision != "float32":
            time_features(table, model, precision, images, found)
    whole, patches = found[0]["global"], found[0]["patches_vv"]
    prepared = time_aggregation(table, cloud, views, patches)
    seen = views.pixels, views.visible, SIZE, prepared, AGGREGATION["alpha"]
    sample = table.time("a sample on the device", lambda: make_sample(whole, patches, *seen).on(device))
    settings = Settings.of({"deep_blocks": deep_blocks}, entry.losses)
    module = load(entry)
    learner = module.first_weights("", settings, model, torch.Generator().manual_seed(0), device)
    state = {name: part.detach() for name, part in learner.state().items()}
    picture = found[1]["global"][0], found[1]["patches_vv"][0]
    table.time(
        "scores, 3-D and RGB",
        lambda: score_scan(ask(module, state, sample, SIZE, settings, picture), module, cloud, SIZE, settings),
    )
    print(f"{'a scan, renders to scores, float32':<44}{1e3 * table.seconds:10.1f} ms{table.peak:10.0f} MiB")

    arrays = {name: part.cpu().numpy() for name, part in prepared.items()}
    seen = views.pixels, views.visible, SIZE, arrays, AGGREGATION["alpha"]
    cached = make_sample(whole.cpu(), patches.cpu(), *seen)
    targets = make_targets(cached, torch.from_numpy(cloud["labels"]), torch.from_numpy(views.masks) > 0, True)
    example = (pin(cached), pin(targets)) if cuda else (cached, targets)
    settings = Settings.of({**asdict(settings), "epochs": given.epochs}, entry.losses)
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    order = torch.Generator().manual_seed(0)
    steps = train(module, learner, lambda index: example, n_scans, settings, order, device)
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if cuda else 0.0
    told = f"training, {n_scans} cached scans, {given.epochs} epochs, {len(steps)} steps"
    print(f"{told}: {seconds:.1f} s, {1e3 * seconds / len(steps):.0f} ms a step, {peak:.0f} MiB")


if __name__ == "__main__":
    main()
