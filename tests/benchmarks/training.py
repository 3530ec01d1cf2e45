"""One training step of PointAD+ and the scoring of one cloud, from cached features, against the direct form.

The direct form is the paper's text taken literally: a fused feature per point (n x d), from the features of its k
neighbours (n x k x d), two-channel maps and one-hot labels. The package works on scalars instead, with the same
result. Each form runs in a process of its own; its memory is the rise of the peak resident size over that with the
inputs loaded (Linux). The text tower is the same for both and left out: a step is all losses and their gradient
with respect to the text embeddings of both layers.

    python tests/benchmarks/training.py [--points 112896] [--dim 768] [--neighbours 10]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

N_VIEWS, GRID, SIZE, TAU, ALPHA = 9, 24, 336, 0.07, 0.5
LOWEST_RATIO, TOLERANCE = 20, 1e-5


# Inputs ---------------------------------------------------------------------------------------------------------


def make_inputs(path: Path, n: int, dim: int, k: int) -> None:
    """A cloud on an ellipsoid seen from nine sides, with a spot of defective points; features drawn at random."""
    from scipy.spatial import KDTree

    rng = np.random.default_rng(0)
    points = rng.normal(size=(n, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    labels = points @ [0.6, 0.5, 0.62] > 0.97
    pixels, visible = [], []
    for angle in np.linspace(-0.8, 0.8, N_VIEWS):
        x = points[:, 0] * np.cos(angle) + points[:, 2] * np.sin(angle)
        z = points[:, 2] * np.cos(angle) - points[:, 0] * np.sin(angle)
        pixels.append(np.stack([(x / 1.4 + 1), (points[:, 1] / 1.4 + 1)], -1) * SIZE / 2)
        visible.append(z > 0)
    seen = np.stack(visible)
    seen[0, ~seen.any(0)] = True
    positions = np.stack(pixels).astype(np.int16)
    masks = np.zeros((N_VIEWS, SIZE, SIZE), bool)
    for mask, (column, row), view in zip(masks, positions.transpose(0, 2, 1), seen, strict=True):
        mask[row[view & labels], column[view & labels]] = True

    def features(*shape: int) -> np.ndarray:
        values = rng.normal(size=(*shape, dim))
        return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float16)

    distances, neighbours = KDTree(points).query(points, k=k + 1)
    weights = np.exp(-(distances[:, 1:] ** 2) / 2)
    np.savez(
        path,
        views=features(N_VIEWS),
        patches=features(N_VIEWS, GRID * GRID),
        pixels=positions,
        visible=seen,
        neighbours=neighbours[:, 1:].astype(np.int32),
        weights=(weights / weights.sum(1, keepdims=True)).astype(np.float32),
        labels=labels,
        masks=masks,
        grid=np.sort(rng.choice(SIZE * SIZE, n, replace=False)),
        rendering=features(2).astype(np.float32),
        geometry=features(2).astype(np.float32),
    )


# Both forms -----------------------------------------------------------------------------------------------------


def scalar_form(inputs: dict[str, Any]) -> tuple[Callable[[], list], Callable[[], list]]:
    """The package's own: returns a training step and the scoring as functions without arguments."""
    import torch

    from pointad_core.methods import pointad_plus
    from pointad_core.methods.aggregation import fused_norms, patch_indices
    from pointad_core.methods.interface import Settings
    from pointad_core.methods.scoring import ask, score_scan
    from pointad_core.methods.segmentation import Aggregation, Sample
    from pointad_core.methods.targets import make_targets

    t = {name: torch.from_numpy(array) for name, array in inputs.items()}
    index = patch_indices(t["pixels"], SIZE, GRID).int()
    norms = fused_norms(t["patches"], index, t["visible"], t["neighbours"], t["weights"], ALPHA)
    aggregation = Aggregation(index, t["neighbours"], t["weights"], norms, ALPHA)
    sample = Sample(t["views"], t["patches"], t["pixels"], t["visible"], SIZE, aggregation)
    targets = make_targets(sample, t["labels"], t["masks"], True)
    settings = Settings()
    cpu = torch.device("cpu")

    def step() -> list:
        g = {layer: t[layer].clone().requires_grad_() for layer in ("rendering", "geometry")}
        terms = [term() for term in pointad_plus.loss_terms(g, sample.on(cpu), targets, settings).values()]
        torch.stack(terms).sum().backward()
        return [*terms, g["rendering"].grad, g["geometry"].grad]

    def score() -> list:
        g = {layer: t[layer] for layer in ("rendering", "geometry")}
        maps, objects = score_scan(
            ask(pointad_plus, g, sample.on(cpu), SIZE, settings), pointad_plus, {"grid": inputs["grid"]}, SIZE, settings
        )
        return [maps["map_3d"], objects["object_3d"]]

    return step, score


def direct_form(inputs: dict[str, Any]) -> tuple[Callable[[], list], Callable[[], list]]:
    """A feature per point, as the paper writes it; PyTorch only."""
    import torch
    from torch.nn import functional as F

    from pointad_core.methods.smoothing import smooth_map

    t = {name: torch.from_numpy(array) for name, array in inputs.items()}
    visible, pixels = t["visible"], t["pixels"].long()
    cells = pixels * GRID // SIZE

    def probabilities(features: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        return torch.softmax(features @ g.T / TAU, dim=-1)

    def maps(g: torch.Tensor) -> torch.Tensor:
        p = probabilities(t["patches"].float(), g).view(N_VIEWS, GRID, GRID, 2).permute(0, 3, 1, 2)
        return F.interpolate(p, size=SIZE, mode="bilinear", align_corners=False)

    def implicit(s: torch.Tensor) -> torch.Tensor:
        views = torch.arange(N_VIEWS)[:, None]
        values = s[views, :, pixels[..., 1], pixels[..., 0]] * visible[..., None]
        return values.sum(0) / visible.sum(0)[:, None]

    def fused() -> torch.Tensor:
        q = torch.zeros(visible.shape[1], t["patches"].shape[2])
        for view in range(N_VIEWS):
            patches = t["patches"][view].float()
            q += patches[cells[view, :, 1] * GRID + cells[view, :, 0]] * visible[view, :, None]
        q /= visible.sum(0)[:, None]
        q_tilde = torch.bmm(t["weights"][:, None], q[t["neighbours"]])[:, 0]
        return F.normalize(ALPHA * q_tilde + (1 - ALPHA) * q, dim=-1)

    def dice(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (1 - (2 * (p * y).sum(-1) + 1) / (p.sum(-1) + y.sum(-1) + 1)).mean()

    def both(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return dice(p[..., 0], 1 - y) + dice(p[..., 1], y)

    def step() -> list:
        r, g = (t[layer].clone().requires_grad_() for layer in ("rendering", "geometry"))
        y, masks = t["labels"].float(), t["masks"].float()
        views = probabilities(t["views"].float(), r)
        s = maps(r)
        one_hot = torch.stack([1 - masks, masks], dim=1).clamp(1e-5, 1 - 1e-5)
        pt = (one_hot * s).sum(1) + 1e-5
        pairs = s.flatten(2).transpose(1, 2)
        cosines = g @ r.T / TAU
        diagonal = torch.arange(2)
        terms = [
            F.nll_loss(views.mean(0).log()[None], torch.tensor([1])),
            both(implicit(s), y),
            F.nll_loss(views.log(), masks.flatten(1).amax(1).long()),
            (-((1 - pt) ** 2) * pt.log()).mean() + both(pairs, masks.flatten(1)),
            both(probabilities(fused(), g), y),
            2 * F.cross_entropy(cosines, diagonal) + 2 * F.cross_entropy(cosines.T, diagonal),
        ]
        torch.stack(terms).sum().backward()
        return [*terms, r.grad, g.grad]

    @torch.no_grad()
    def score() -> list:
        r, g = t["rendering"], t["geometry"]
        points = 0.5 * implicit(maps(r))[:, 1] + 0.5 * probabilities(fused(), g)[:, 1]
        image = np.zeros(SIZE * SIZE, np.float32)
        image[inputs["grid"]] = points.numpy()
        smoothed = smooth_map(image.reshape(SIZE, SIZE), 4.0)
        probability = probabilities(t["views"].float(), r)[:, 1].mean()
        return [smoothed, 0.5 * float(probability) + 0.5 * float(smoothed.max())]

    return step, score


# Measuring ------------------------------------------------------------------------------------------------------


def resident(key: str) -> int:
    """VmRSS (now) or VmHWM (peak since it was last cleared) of this process, bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(f"{key}:"))


def measure(form: str, task: str, inputs_path: str, output: str) -> None:
    """In a process of its own: memory of the first run, time of the fastest within a second; results to `output`."""
    import torch

    torch.set_num_threads(1)
    with np.load(inputs_path) as file:
        inputs = dict(file)
    functions = {"scalar": scalar_form, "direct": direct_form}[form](inputs)
    run = functions[["step", "score"].index(task)]
    # Libraries set themselves up at their first call: not on a cloud's account.
    warm = torch.ones(64, 64, requires_grad=True)
    torch.log_softmax(warm @ warm, 0).sum().backward()
    # Memory that the set-up freed must not serve the run unseen.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    start = time.perf_counter()
    results = run()
    times = [time.perf_counter() - start]
    peak = resident("VmHWM") - before
    while sum(times) < 1:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    flat = [np.ravel(part.detach().numpy() if isinstance(part, torch.Tensor) else part) for part in results]
    np.save(output, np.concatenate(flat).astype(np.float64))
    print(json.dumps({"peak": peak, "seconds": min(times)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--points", type=int, default=SIZE * SIZE)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--neighbours", type=int, default=10)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        measure(*arguments.child)
        return
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder, "inputs.npz")
        make_inputs(inputs, arguments.points, arguments.dim, arguments.neighbours)
        print(
            f"PointAD+, one cloud: {arguments.points} points, {N_VIEWS} views of {GRID * GRID} patches, "
            f"d = {arguments.dim}, k = {arguments.neighbours}; one thread, float32"
        )
        for task, title in (("step", "training step"), ("score", "scoring")):
            found, results = {}, {}
            for form in ("direct", "scalar"):
                output = Path(folder, f"{form}.npy")
                command = [sys.executable, __file__, "--child", form, task, str(inputs), str(output)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[form], results[form] = json.loads(done.stdout), np.load(output)
            ratio = found["direct"]["peak"] / found["scalar"]["peak"]
            difference = float(np.abs(results["direct"] - results["scalar"]).max())
            passed &= ratio >= LOWEST_RATIO and difference <= TOLERANCE
            print(f"{title:14} {'time':>9} {'peak memory':>13}")
            for form, figures in found.items():
                print(f"  {form:12} {figures['seconds']:7.3f} s {figures['peak'] / 2**20:9.1f} MiB")
            print(
                f"  {'ratio':12} {found['direct']['seconds'] / found['scalar']['seconds']:8.1f} {ratio:10.1f}"
                f"     largest difference {difference:.1e}"
            )
    print(f"at least {LOWEST_RATIO} times less memory, same result to {TOLERANCE}: {'yes' if passed else 'NO'}")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
