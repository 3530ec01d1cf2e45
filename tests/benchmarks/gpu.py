"""Every step from a cloud to its scores, and training, at full size on whatever device is there.

The backbone has the paper's size, ViT-L/14 at 336 pixels, and weights drawn at random; the cloud is a generated
surface of 336 x 336 points with a photograph, seen from nine views. Each step stands with its time on the device, the
median of several runs after warm-up with synchronised clocks, and its peak of memory by the device's own counter; the
features also with what their matrix products alone would take. Without a GPU the bundled small model stands in, unless
--model names another, and fewer scans are trained on.

    python tests/benchmarks/gpu.py [--device cuda] [--model ViT-L-14-336] [--repeats 10] [--scans 130]
"""

from __future__ import annotations

import argparse
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
from pointad_core.clip.tower import batch_size, encode
from pointad_core.methods.aggregation import prepare
from pointad_core.methods.interface import Settings
from pointad_core.methods.registry import SYSTEMS, load
from pointad_core.methods.scoring import ask, score_scan
from pointad_core.methods.segmentation import make_sample
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


def limit(device: torch.device) -> float:
    """Operations a second of a large float32 matrix product, as PyTorch is set."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(side, side, device=device), torch.randn(side, side, device=device)
    return 2 * side**3 / measure(lambda: a @ b, device, 3)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", help="ViT-L-14-336 on a GPU, pointad-pocket elsewhere")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--scans", type=int, help="scans of the class that is trained on; 130 on a GPU, 8 elsewhere")
    parser.add_argument("--epochs", type=int, default=15)
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
    clip = load_model(model, device)
    cloud, entry = make_cloud(), SYSTEMS["pointad_plus"]
    renderer = asdict(renderers.RENDERERS["splat"])
    options = {"resolution": SIZE, "views": VIEWS, "point_size": 7, "window": 1000, "visibility": "soft"}
    render = renderers.load(renderer["module"]).render
    batch = batch_size(clip)
    rows: list[tuple[str, float, float]] = []

    def timed(name: str, step: Callable[[], Any]) -> Any:
        result, seconds, peak = measure(step, device, given.repeats)
        rows.append((name, seconds, peak))
        print(f"{name:<28}{1e3 * seconds:10.1f} ms{peak:10.0f} MiB", flush=True)
        return result

    views = timed("renders, 9 views", lambda: render(cloud, options, device))
    found = timed("features of 9 views", lambda: encode(clip, views.images, ["vv"], batch))
    photograph = timed("features of a photograph", lambda: encode(clip, cloud["rgb"][None], ["vv"], batch))
    whole, patches = found["global"], found["patches_vv"]
    prepared = timed(
        "aggregation",
        lambda: prepare(cloud["points"], views.pixels, views.visible, patches, SIZE, AGGREGATION),
    )
    sample = timed(
        "a sample on the device",
        lambda: make_sample(
            whole.cpu().numpy(),
            patches.cpu().numpy(),
            views.pixels,
            views.visible,
            SIZE,
            prepared,
            AGGREGATION["alpha"],
        ).on(device),
    )
    settings = Settings.of({"deep_blocks": deep_blocks}, entry.losses)
    module = load(entry)
    learner = module.first_weights("", settings, model, torch.Generator().manual_seed(0), device)
    state = {name: part.detach() for name, part in learner.state().items()}
    picture = photograph["global"][0], photograph["patches_vv"][0]
    timed(
        "scores, 3-D and RGB",
        lambda: score_scan(ask(module, state, sample, SIZE, settings, picture), module, cloud, SIZE, settings),
    )
    seconds, peak = sum(row[1] for row in rows), max(row[2] for row in rows)
    print(f"{'a scan, renders to scores':<28}{1e3 * seconds:10.1f} ms{peak:10.0f} MiB")
    reached, needed = limit(device), products(clip, 9)
    told = f"at the {reached / 1e12:.1f} TFLOP/s of a large product {1e3 * needed / reached:.1f} ms"
    print(f"9 views are {needed / 1e12:.2f} TFLOP, {told}")

    cached = make_sample(
        whole.cpu().numpy(), patches.cpu().numpy(), views.pixels, views.visible, SIZE, prepared, AGGREGATION["alpha"]
    )
    targets = make_targets(cached, torch.from_numpy(cloud["labels"]), torch.from_numpy(views.masks) > 0, True)
    settings = Settings.of({**asdict(settings), "epochs": given.epochs}, entry.losses)
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    steps = train(
        module,
        learner,
        lambda index: (cached, targets),
        n_scans,
        settings,
        torch.Generator().manual_seed(0),
        device,
    )
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if cuda else 0.0
    told = f"training, {n_scans} cached scans, {given.epochs} epochs, {len(steps)} steps"
    print(f"{told}: {seconds:.1f} s, {1e3 * seconds / len(steps):.0f} ms a step, {peak:.0f} MiB")


if __name__ == "__main__":
    main()
