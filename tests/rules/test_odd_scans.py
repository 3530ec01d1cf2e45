"""Scans as people have them through the workflow: the same metrics as of the published form, or a refusal in words."""

import copy
import csv
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from miniature import CONFIG, Miniature, snakemake

Change = Callable[[np.ndarray], np.ndarray]

LIMIT = 0.02
"""What rounding in another unit, or another place, may move a metric."""


def organised(source: Path, target: Path, change: Change) -> None:
    """A category of the MVTec layout whose points are changed; written by another library than the generator uses."""
    shutil.copytree(source, target)
    for path in target.rglob("*.tiff"):
        tifffile.imwrite(path, change(tifffile.imread(path).astype(np.float64)), photometric="minisblack")


def unorganised(source: Path, target: Path, change: Change) -> None:
    """A category of the Real3D layout whose points are changed, as pcd with 8 bytes a number."""
    shutil.copytree(source, target)
    for path in target.rglob("*.pcd"):
        header, _, body = path.read_bytes().partition(b"DATA binary\n")
        points = np.frombuffer(body, "<f4").reshape(-1, 3).astype(np.float64)
        changed = change(points)
        header = header.replace(b"SIZE 4 4 4", b"SIZE 8 8 8").replace(b" %d\n" % len(points), b" %d\n" % len(changed))
        path.write_bytes(header + b"DATA binary\n" + struct.pack(f"<{changed.size}d", *changed.ravel()))
    for path in target.glob("gt/*.txt"):
        rows = np.loadtxt(path)
        rows[:, :3] = change(rows[:, :3])[: len(rows)]
        np.savetxt(path, rows, fmt="%.9f")


def marked(value: float) -> Change:
    return lambda points: np.where(points.any(axis=2, keepdims=True), points, value)


def z_zero(points: np.ndarray) -> np.ndarray:
    """Missing points keep x and y, and have z = 0."""
    height, width = points.shape[:2]
    x, y = np.meshgrid(np.linspace(-0.07, 0.07, width), np.linspace(-0.07, 0.07, height))
    return np.where(points.any(axis=2, keepdims=True), points, np.stack([x, y, 0 * x], axis=2))


def moved(points: np.ndarray) -> np.ndarray:
    """To a place in UTM coordinates."""
    there = points.any(axis=-1, keepdims=True)
    return np.where(there, points + np.array([500000, 4649776.25, 120]), points)


def strayed(points: np.ndarray) -> np.ndarray:
    return np.r_[points, [[2000.0, 0, 0], [0, 0, -3000]]]


def one_without_height(points: np.ndarray) -> np.ndarray:
    return np.r_[points, [[0.0, 0, 65535]]]


CASES: dict[str, tuple[str, Change, dict[str, Any]]] = {
    "minus_one": ("mvtec3d", marked(-1), {}),
    "far_constant": ("mvtec3d", marked(1e4), {}),
    "z_zero": ("mvtec3d", z_zero, {}),
    "not_a_number": ("mvtec3d", marked(np.nan), {}),
    "millimetres": ("mvtec3d", lambda points: 1000 * points, {"unit": "mm"}),
    "utm": ("mvtec3d", moved, {}),
    "metres": ("real3d", lambda points: points / 1000, {"unit": "m"}),
    "utm_cloud": ("real3d", moved, {}),
    "strays": ("real3d", strayed, {"outliers": "remove"}),
    "one_mark": ("real3d", one_without_height, {}),
}
CATEGORY = {"mvtec3d": "bagel", "real3d": "diamond"}


def prepare(miniature: Miniature, folder: Path, names: list[str], **changes: Any) -> Path:
    """Data sets of changed scans, in a config beside those that they are made of."""
    config = copy.deepcopy(CONFIG)
    for name in names:
        layout, change, settings = CASES[name]
        category = CATEGORY[layout]
        source = miniature.directory / "results/generated" / layout / category
        write = organised if layout == "mvtec3d" else unorganised
        write(source, folder / "data" / name / category, change)
        entry = {
            key: value for key, value in CONFIG["datasets"][layout].items() if key not in ("generated", "auxiliary")
        }
        own = {"root": str(folder / "data" / name), "categories": {category: None}}
        config["datasets"][name] = {**entry, **own, **settings, **changes}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def metrics(folder: Path, dataset: str, category: str) -> dict[str, list[float]]:
    """Metrics of a category by modality."""
    path = folder / f"results/metrics/clip_rendering/none/none/0/{dataset}.csv"
    with open(path, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] == category]
    names = [name for name in rows[0] if name.startswith(("i_auroc", "ap", "p_auroc", "aupro"))]
    return {row["modality"]: [float(row[name] or "nan") for name in names] for row in rows}


def test_odd_scans_have_the_metrics_of_the_published_form(miniature: Miniature, tmp_path: Path) -> None:
    path = prepare(miniature, tmp_path, list(CASES))
    targets = [f"results/metrics/clip_rendering/none/none/0/{name}.csv" for name in CASES]
    result = snakemake(*targets, "--configfile", path, snakefile=miniature.snakefile, directory=tmp_path, cores=4)
    assert result.code == 0, result.text
    for name, (layout, _, _) in CASES.items():
        category = CATEGORY[layout]
        expected = metrics(miniature.directory, layout, category)
        found = metrics(tmp_path, name, category)
        assert found.keys() == expected.keys()
        for modality, values in expected.items():
            assert np.isfinite(values).any()
            np.testing.assert_allclose(found[modality], values, atol=LIMIT, err_msg=f"{name} {modality}")
        log = (tmp_path / f"logs/clouds/{name}/{category}.log").read_text()
        if name in ("minus_one", "far_constant", "z_zero", "not_a_number", "one_mark"):
            assert "points are missing" in log
        elif name == "strays":
            assert "2 of " in log
            assert "points lie far away" in log
        else:
            assert ("moved to the origin" if "utm" in name else "by `unit: m") in log


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("minus_one", {"missing": "none"}, "`missing`"),
        ("millimetres", {"unit": "m"}, "`unit: mm`, which makes it"),
        ("metres", {"unit": "mm"}, "`unit: m`, which makes it"),
    ],
)
def test_what_would_be_wrong_is_refused(
    miniature: Miniature, tmp_path: Path, name: str, changes: dict[str, Any], told: str
) -> None:
    path = prepare(miniature, tmp_path, [name], **changes)
    target = f"results/clouds/{name}/{CATEGORY[CASES[name][0]]}.zarr.zip"
    result = snakemake(target, "--configfile", path, snakefile=miniature.snakefile, directory=tmp_path)
    assert result.code != 0
    (line,) = {line for line in result.text.splitlines() if line.startswith("Error: ")}
    assert str(tmp_path / "data" / name) in line
    assert told in line
    assert not [file for file in (tmp_path / "results").rglob("*") if file.is_file()]
