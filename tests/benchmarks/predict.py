"""How long `pointad predict` takes on scans of 100,000 points: from the shell, after its start, and step by step.

    python tests/benchmarks/predict.py [--device cpu|cuda] [--points N]

The shell's times are a user's: start, reading, scoring and all files. Peak memory is that of the whole process. Steps
are timed in this process on the second scan, with the device synchronised.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import own_scans as shapes

from pointad_core.detector import Detector

START = """
import time
start = time.perf_counter()
from pointad_core.imports import import_open3d, import_torch
import_torch()
from pointad_core.predict import batch
from pointad_core.predict.predictor import Predictor
import_open3d()
Predictor.load(device={device!r}).detector(True)._clip
print(time.perf_counter() - start)
"""


def run_shell(words: list[str]) -> float:
    """Wall-clock seconds of a command that must succeed."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pointad_core.cli.main", *words], check=True, capture_output=True)
    return time.perf_counter() - start


def time_steps(path: Path, device: str) -> dict[str, float]:
    """Seconds of each step of one scan, after one to warm up."""
    import torch

    from pointad_core.clouds.cloud import make_cloud
    from pointad_core.predict import outputs
    from pointad_core.predict.orientation import face
    from pointad_core.predict.predictor import Predictor, with_point_size
    from pointad_core.predict.scan import prepare, read_scan
    from pointad_core.rendering import registry

    seconds: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds[name] = time.perf_counter() - start

    predictor = Predictor.load(device=device)
    for _ in range(2):
        with step("reading; missing, stray, background"):
            scan = read_scan(path)
        with step("front"):
            facing = face(scan.points[scan.kept], None)
        with step("size of points"):
            detector = with_point_size(predictor.detector(facing.around), scan)
        raw = prepare(scan, facing, 180, detector.extent)
        with step("cloud: thinning, normals"):
            cloud = make_cloud(raw, detector.clouds, path)
        with step("renders"):
            renderer = registry.load(detector.renders["renderer"]["module"])
            views = renderer.render(cloud, detector.renders, detector.device)
        with step("features"):
            detector._encode(views.images)
        with step("renders, features and aggregation"):
            detector._render(cloud)
        seen = detector.look(raw)
        with step("scores"):
            found = detector.judge(seen)
        with step("branches and maps of views"):
            detector.branches(seen, found)
            detector.view_maps(seen)
        whole = predictor(scan)
        with tempfile.TemporaryDirectory() as folder, step("all files"):
            outputs.write_all(whole, "part", Path(folder) / "part")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--points", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(10):
            points = shapes.tube(arguments.points, np.random.default_rng(number))
            shapes.write_ply(folder / f"scans/{number}.ply", points)
        one, out = str(folder / "scans/0.ply"), ["--out", str(folder / "out"), "--device", arguments.device]
        start = subprocess.run(
            [sys.executable, "-c", START.format(device=arguments.device)], check=True, capture_output=True, text=True
        )
        first = run_shell(["predict", one, *out])
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        ten = run_shell(["predict", str(folder / "scans"), *out])
        print(f"{arguments.points} points, {Detector.load(device=arguments.device).precision} on {arguments.device}")
        print(f"start (imports, weights)       {float(start.stdout):6.2f} s")
        print(f"one scan, from the shell       {first:6.2f} s, {peak:.0f} MB at most")
        print(f"each of nine more              {(ten - first) / 9:6.2f} s")
        for step, seconds in time_steps(Path(one), arguments.device).items():
            print(f"  {step:34s} {seconds:6.3f} s")


if __name__ == "__main__":
    main()
