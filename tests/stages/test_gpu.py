"""The stages on a GPU give what they give on the CPU, as far as rounding goes, and wait for it only between scans."""

import csv
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from toy import ALPHA, SIZE, scan_arrays, unit, write_toy

from pointad_core.clip.loading import load_model
from pointad_core.clip.tower import encode, encode_each
from pointad_core.methods.aggregation import fused_norms, prepare
from pointad_core.methods.interface import Settings
from pointad_core.methods.neighbours import find_in_cells, find_neighbours
from pointad_core.methods.registry import SYSTEMS, plain
from pointad_core.methods.registry import load as load_system
from pointad_core.methods.segmentation import make_sample, move, pin
from pointad_core.methods.targets import make_targets
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


@contextmanager
def no_waiting():
    """Within it whatever would make the CPU wait for the GPU is an error."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_waiting_is_noticed():
    with pytest.raises(RuntimeError, match="synchronizing"), no_waiting():
        torch.ones(3, device="cuda").sum().item()


@pytest.fixture
def example():
    """A scan with its targets, in memory that a GPU fetches from."""
    cloud, rendered, encoded, prepared = scan_arrays(np.random.default_rng(0), True, 128, True, True)
    seen = rendered["pixels"], rendered["visible"], SIZE
    sample = make_sample(encoded["global"], encoded["patches_vv"], *seen, prepared, ALPHA)
    masks = torch.from_numpy(rendered["masks"]) > 0
    return pin(sample), pin(make_targets(sample, torch.from_numpy(cloud["labels"]), masks, True))


@pytest.mark.parametrize("system", ["pointad", "pointad_plus"])
def test_nothing_waits_within_a_scan(example, system):
    """Scores, and a training step's losses with their gradients."""
    module, device = load_system(SYSTEMS[system]), torch.device("cuda")
    settings = Settings.of({}, SYSTEMS[system].losses)
    texts = unit(np.random.default_rng(1).normal(size=(2, 2, 128)))
    layers = zip(("rendering", "geometry"), torch.tensor(texts, dtype=torch.float32, device=device), strict=True)
    state = {layer: text.requires_grad_() for layer, text in layers}

    def run():
        sample, targets = example[0].on(device), move(example[1], device)
        scores = module.point_scores(state, sample, settings), module.global_score(state, sample, settings)
        terms = module.loss_terms(state, sample, targets, settings)
        torch.stack([term() for term in terms.values()]).sum().backward()
        return scores

    expected = run()  # what is made ready once may wait
    with no_waiting():
        found = run()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_nothing_waits_within_norms(example):
    sample = example[0].on(torch.device("cuda"))
    a = sample.aggregation
    given = a.patch_index, sample.visible, a.neighbours, a.weights, a.alpha
    expected = fused_norms(sample.patches, *given, block=16)
    with no_waiting():
        found = fused_norms(sample.patches, *given)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_scans_share_batches_and_nothing_waits(precision):
    clip = load_model({**MODEL, "precision": precision}, "cuda")
    rng = np.random.default_rng(2)
    shapes = [(3, 336, 336), (1, 336, 336, 3)] * 3
    arrays = [rng.integers(256, size=shape, dtype=np.uint8) for shape in shapes]
    list(encode_each(clip, arrays, ["vv"], 5))
    with no_waiting():
        found = list(encode_each(clip, arrays, ["vv"], 5))
    exact = load_model(MODEL, "cpu")
    bound = {"float32": 2e-3, "bfloat16": 3e-2, "float16": 4e-3}[precision]
    for array, features in zip(arrays, found, strict=True):
        for name, value in encode(exact, array, ["vv"], 1).items():
            assert features[name].dtype == torch.float16
            assert (features[name].cpu().float() - value.float()).norm(dim=-1).max() < bound


@pytest.mark.parametrize("kind", ["surface", "plane", "coinciding"])
def test_neighbours(kind):
    rng = np.random.default_rng(3)
    points = {
        "surface": unit(rng.normal(size=(20000, 3))),
        "plane": np.stack([*np.divmod(np.arange(10000), 100), np.zeros(10000)], axis=1),
        "coinciding": np.concatenate([np.zeros((300, 3)), rng.normal(size=(500, 3))]),
    }[kind].astype(np.float32)
    there = torch.from_numpy(points)
    indices, distances = (part.cpu().numpy() for part in find_in_cells(there.cuda(), 10))
    by_tree, wanted = find_neighbours(points, 10)
    np.testing.assert_array_max_ulp(distances, wanted, 1)
    # Of equally near points the same as with tensors on the CPU.
    np.testing.assert_array_equal(indices, find_in_cells(there, 10)[0])
    if kind == "surface":
        np.testing.assert_array_equal(indices, by_tree)


def test_aggregation_stays_on_the_gpu():
    rng = np.random.default_rng(4)
    patches = torch.from_numpy(unit(rng.normal(size=(3, 36, 128)))).half()
    visible = np.ones((3, 500), bool)
    options = {"neighbours": 6, "kernel_sigma": 0.5, "kernel_units": "spacing", "alpha": 0.4}
    given = rng.normal(size=(500, 3)).astype(np.float32), rng.integers(84, size=(3, 500, 2)).astype(np.int16), visible
    found, expected = (prepare(*given, patches.to(device), 84, options) for device in ("cuda", "cpu"))
    for name, part in found.items():
        assert part.device.type == "cuda"
        torch.testing.assert_close(part.cpu(), expected[name], rtol=1e-5, atol=0)
