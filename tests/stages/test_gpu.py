"""The stages on a GPU give what they give on the CPU, as far as rounding goes."""

import csv

import numpy as np
import pytest
import torch
from toy import write_toy

from pointad_core.methods.registry import SYSTEMS, plain
from pointad_core.rendering.registry import RENDERERS
from pointad_core.stages.aggregation import make_aggregation
from pointad_core.stages.prompts import make_prompts
from pointad_core.stages.renders import make_renders
from pointad_core.stages.scores import make_scores
from pointad_core.storage import stores

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

MODEL = {"model": "pointad-pocket", "random_seed": 111, "vv_blocks": 1, "resolution": 336}
DEVICES = ("cpu", "cuda")


@pytest.fixture
def on(monkeypatch):
    """Have the stages compute on a device."""

    def choose(device):
        monkeypatch.setattr("pointad_core.storage.jobs.pick_device", lambda: torch.device(device))
        return device

    return choose


def load(path, kind):
    with stores.read(path, kind) as store:
        return {scan: (store.load(scan, store.arrays(scan)), store.scan_attributes(scan)) for scan in store.scans}


@pytest.mark.parametrize("system", [name for name, entry in SYSTEMS.items() if entry.trained])
@pytest.mark.parametrize("organised", [True, False])
def test_training_and_scoring(tmp_path, on, system, organised):
    entry = SYSTEMS[system]
    toy = write_toy(tmp_path, n_scans=4, organised=organised, views=1 if entry.renderers == ("depth",) else 3)
    stages = ["clouds", *(["renders", "features"] if entry.stream else []), *(["aggregation"] * entry.aggregates)]
    options = {"epochs": 3, "batch_size": 2, "learning_rate": 1e-4, **({"deep_blocks": 2} if entry.stream else {})}
    inputs = {stage: toy.paths[stage] for stage in stages}
    found = {}
    for device in DEVICES:
        on(device)
        folder = tmp_path / device
        folder.mkdir()
        prompts, curve, scores = folder / "p.safetensors", folder / "p.csv", folder / "s.zarr.zip"
        make_prompts(plain(entry), inputs, prompts, curve, options, MODEL, "toy", 3, {})
        # Both score with what the CPU has learnt.
        learnt = tmp_path / "cpu" / "p.safetensors"
        make_scores(plain(entry), learnt, [{"name": "toy", "display": "toy", **inputs}], scores, {}, MODEL, {})
        with open(curve) as file:
            found[device] = [float(row["total"]) for row in csv.DictReader(file)], load(scores, "scores")
    # The first epoch: a network's steps, divided by the gradient's own size, let rounding grow from one to the next.
    np.testing.assert_allclose(found["cuda"][0][:2], found["cpu"][0][:2], rtol=1e-3)
    np.testing.assert_allclose(found["cuda"][0], found["cpu"][0], rtol=0.1 if entry.stream is None else 5e-3)
    for scan, (arrays, attributes) in found["cpu"][1].items():
        others, about = found["cuda"][1][scan]
        for name, array in arrays.items():
            np.testing.assert_allclose(others[name], array, atol=5e-3, err_msg=f"{scan} {name}")
        for key in ("object_3d", "object_m3d"):
            assert about.get(key, 0) == pytest.approx(attributes.get(key, 0), abs=5e-3)


def test_aggregation(tmp_path, on):
    toy = write_toy(tmp_path, n_scans=2)
    options = {"neighbours": 4, "kernel_sigma": 1.0, "kernel_units": "data", "alpha": 0.3}
    found = {}
    for device in DEVICES:
        on(device)
        output = tmp_path / f"{device}.zarr.zip"
        inputs = {stage: toy.paths[stage] for stage in ("clouds", "renders", "features")}
        make_aggregation(**inputs, output=output, options=options, provenance={})
        found[device] = load(output, "aggregation")
    for scan, (arrays, _) in found["cpu"].items():
        np.testing.assert_array_equal(found["cuda"][scan][0]["neighbours"], arrays["neighbours"])
        np.testing.assert_allclose(found["cuda"][scan][0]["norms"], arrays["norms"], rtol=1e-5)


@pytest.mark.parametrize("renderer", ["splat", "depth", "realistic"])
@pytest.mark.parametrize("organised", [True, False])
def test_renders(tmp_path, on, renderer, organised):
    toy = write_toy(tmp_path, n_scans=2, organised=organised)
    entry = RENDERERS[renderer]
    options = {"resolution": 28, "views": {"tilt": 180, "x": [-30, 0], "y": [20]}, "point_size": 5, "window": 112}
    options |= {"visibility": "soft", "renderer": {"name": renderer, "module": entry.module, "options": entry.options}}
    found = {}
    for device in DEVICES:
        on(device)
        output = tmp_path / f"{device}.zarr.zip"
        make_renders(toy.clouds, output, options, {})
        found[device] = load(output, "renders")
    for scan, (arrays, _) in found["cpu"].items():
        others = found["cuda"][scan][0]
        difference = np.abs(others["images"].astype(int) - arrays["images"].astype(int))
        assert np.mean(difference > 2) < 0.01
        assert np.mean(others["pixels"] != arrays["pixels"]) < 0.01
        assert np.mean(others["visible"] != arrays["visible"]) < 0.02
        assert np.mean(others["masks"] != arrays["masks"]) < 0.02
