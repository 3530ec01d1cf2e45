"""What is measured is what the detector computes, on generated scans."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pointad_core.clouds.cloud import make_cloud
from pointad_core.datasets.generator.scans import generate_category
from pointad_core.datasets.registry import LAYOUTS, reader
from pointad_core.datasets.scans import Scan
from pointad_core.detector import STEPS, Detection, Detector
from pointad_core.errors import InputError
from pointad_core.methods.interface import CloudSample
from pointad_core.methods.registry import SYSTEMS, load, plain
from pointad_core.methods.shipped import ORGANISED
from pointad_core.rendering.registry import RENDERERS
from pointad_core.stages.overhead import COLUMNS, measure_overhead
from pointad_core.stages.samples import cloud_sample
from pointad_core.storage.prompt_files import read_prompts, read_provenance, write_prompts

LAYOUT = {"name": "mvtec3d", **vars(LAYOUTS["mvtec3d"])}
MEASURING = {"scans": 2, "warm_up": 1, "repeats": 1, "modality": "3d"}
CLOUDS = {"resolution": 336, "normals": {"radius": 0.1, "neighbours": 30}, "seed": 5, "background": "remove"}
MODEL = {"resolution": 336, "model": "pointad-pocket", "pretrained": "shapes", "vv_blocks": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    generate_category(folder, "mvtec3d", "bagel", range(6), seed=3)
    return folder


@pytest.fixture
def detections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, str, Detection]]:
    """Everything that detectors are given and find from here on."""
    found = []
    score = Detector.score

    def watched(self: Detector, raw: Any, name: str = "object") -> Detection:
        found.append((raw, name, score(self, raw, name)))
        return found[-1][2]

    monkeypatch.setattr(Detector, "score", watched)
    return found


def read_rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        assert tuple(table.fieldnames or ()) == COLUMNS
        return list(table)


def shipped_options() -> tuple[dict[str, Any], dict[str, Any]]:
    """Entry and options of the prompts that come with the package."""
    made = read_provenance(ORGANISED)
    inputs = made["inputs"]
    parts = {"clouds": inputs["clouds"], "renders": inputs["renders"], "aggregation": inputs["aggregation"]}
    return made["system"], {**parts, "settings": made["settings"], "model": made["model"]}


def test_what_is_measured_is_what_the_detector_finds(root: Path, detections, tmp_path: Path) -> None:
    system, options = shipped_options()
    names = {"name": "bagel", "display": "some bagel"}
    measure_overhead(system, ORGANISED, root, LAYOUT, names, tmp_path / "a.csv", options, MEASURING)
    scans = reader("mvtec3d").find_scans(root, "bagel")
    chosen = [scans[1], scans[4]]  # evenly among six
    rows = read_rows(tmp_path / "a.csv")
    assert [row["scan"] for row in rows] == [scan.name for scan in chosen]
    assert len(detections) == 3  # the first one once more, before
    assert {name for _, name, _ in detections} == {"some bagel"}
    for row in rows:
        seconds = {step: float(row[step]) for step in STEPS}
        assert all(value > 0 for value in seconds.values())
        assert sum(seconds.values()) <= float(row["seconds"]) <= 1.1 * sum(seconds.values()) + 0.05
        assert (row["repeat"], row["memory_of"]) == ("1", "process")
        assert float(row["memory_mb"]) > 100
        assert int(row["threads"]) >= 1
        assert row["device"]
        # Those of the shipped prompts' `precision: auto`.
        assert row["precision"] == Detector.load().precision
    measured = detections[1:]
    for scan, (raw, _, found) in zip(chosen, measured, strict=True):
        given = reader("mvtec3d").read(scan, None, None)
        np.testing.assert_array_equal(raw.points, given.points)
        assert raw.rgb is None  # points alone
        assert raw.mask is None
        assert set(found.objects) == {"object_3d"}
        again = Detector.load().score(replace(given, rgb=None, mask=None))
        np.testing.assert_array_equal(found.points, again.points)


def test_a_system_that_learns_nothing_and_photographs(root: Path, detections, tmp_path: Path) -> None:
    entry, found = SYSTEMS["clip_rendering"], RENDERERS["splat"]
    render = {"resolution": 336, "views": {"tilt": 180, "x": [0], "y": []}, "point_size": 8, "window": 336}
    renderer = {"name": "splat", "module": found.module, "options": list(found.options)}
    options = {
        "clouds": CLOUDS,
        "renders": {**render, "visibility": "soft", "renderer": renderer},
        "settings": {"temperature": 0.07, "smoothing_sigma": 4},
        "model": MODEL,
    }
    names = {"name": "bagel", "display": "bagel"}
    measuring = MEASURING | {"scans": 1, "repeats": 2, "warm_up": 0, "modality": "m3d"}
    measure_overhead(plain(entry), None, root, LAYOUT, names, tmp_path / "a.csv", options, measuring)
    rows = read_rows(tmp_path / "a.csv")
    assert [row["repeat"] for row in rows] == ["1", "2"]
    assert {row["aggregation"] for row in rows} == {""}
    assert all(set(found.objects) == {"object_3d", "object_m3d"} for _, _, found in detections)


@pytest.mark.parametrize(
    ("changes", "system", "message"),
    [
        ({"scans": 7}, "clip_rendering", "bagel has 6 scans, 7 are asked for"),
        ({"modality": "m3d"}, "cheraghian", "takes no RGB in"),
    ],
)
def test_what_cannot_be_measured_is_told(root: Path, tmp_path: Path, changes, system, message) -> None:
    entry = SYSTEMS[system]
    entry = plain(entry) | {"trained": False}
    options = {"clouds": CLOUDS, "settings": {}, "model": MODEL}
    output = tmp_path / "a.csv"
    with pytest.raises(InputError, match=message):
        measure_overhead(
            entry, None, root, LAYOUT, {"name": "bagel", "display": ""}, output, options, MEASURING | changes
        )
    assert not output.exists()


def test_a_scan_without_a_photograph_is_named(root: Path, tmp_path: Path) -> None:
    generate_category(tmp_path / "raw", "mvtec3d", "bagel", [0, 1], seed=3)
    for photograph in (tmp_path / "raw").rglob("rgb/*.png"):
        photograph.unlink()
    options = {"clouds": CLOUDS, "settings": {"temperature": 0.07, "smoothing_sigma": 4}, "model": MODEL}
    entry, names = plain(SYSTEMS["clip_rendering"]), {"name": "bagel", "display": "bagel"}
    measuring = MEASURING | {"modality": "m3d", "scans": 1}
    with pytest.raises(InputError, match="has no photograph, as modality m3d needs"):
        measure_overhead(entry, None, tmp_path / "raw", LAYOUT, names, tmp_path / "a.csv", options, measuring)


def test_what_is_measured_of_an_unsupervised_system_is_what_the_scores_stage_does(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry = SYSTEMS["btf"]
    module = load(entry)
    settings = {"coreset": 0.1, "network": None, "smoothing_sigma": 6}
    scans = reader("mvtec3d").find_scans(root, "bagel")
    clouds = {**CLOUDS, "scene": "plane"}

    def sample(scan: Scan, photograph: bool) -> CloudSample:
        raw = reader("mvtec3d").read(scan, None, None)
        return cloud_sample(
            make_cloud(raw if photograph else replace(raw, rgb=None, mask=None), clouds, scan.path), 336
        )

    good = [sample(scan, True) for scan in scans if scan.defect == "good"][:2]
    expert = tmp_path / "expert.safetensors"
    write_prompts(expert, module.learn(good, settings, MODEL, 3, torch.device("cpu")), {})
    found = []
    score = module.score

    def watched(*arguments: Any) -> Any:
        found.append(score(*arguments))
        return found[-1]

    monkeypatch.setattr(module, "score", watched)
    options = {"clouds": CLOUDS, "settings": settings, "model": MODEL}
    names, output = {"name": "bagel", "display": "bagel"}, tmp_path / "a.csv"
    measure_overhead(plain(entry), expert, root, LAYOUT, names, output, options, MEASURING | {"scans": 1})
    (row,) = read_rows(output)
    assert row["scan"] == scans[3].name
    taken = {step for step in STEPS if row[step]}
    assert taken == {"clouds", "scores"}
    assert float(row["clouds"]) + float(row["scores"]) == pytest.approx(float(row["seconds"]), rel=0.05)
    assert [set(scored) for scored in found] == [{"3d"}] * 2  # warmed up once, without a photograph
    state = module.restore(read_prompts(expert), settings, MODEL, torch.device("cpu"))
    again = score(state, sample(scans[3], False), settings)
    np.testing.assert_array_equal(found[1]["3d"].points, again["3d"].points)
    with pytest.raises(InputError, match="what it has learnt of the category is missing"):
        measure_overhead(plain(entry), None, root, LAYOUT, names, output, options, MEASURING)
