"""A system in a file of the user's own, the documented example (tests/systems/toy_system.py), through both stages."""

import csv
import json
import sys
from pathlib import Path

import cases
import numpy as np
import pytest
import torch
from cases import CPU, MODEL, TAU, Case, mean_over_views, values
from safetensors import safe_open
from scipy.ndimage import gaussian_filter
from toy import GRID, SIZE, unit, write_toy

from pointad_core.errors import InputError
from pointad_core.methods.interface import Settings
from pointad_core.methods.registry import System, load
from pointad_core.methods.scoring import restore
from pointad_core.storage import stores
from pointad_core.storage.prompt_files import read_prompts, write_prompts

FILE = Path(__file__).parents[1] / "systems" / "toy_system.py"
ENTRY = System(module=str(FILE), stream="vv", losses={"points": 1.0, "images": 0.5})


@pytest.fixture(scope="module", autouse=True)
def path():
    """What `load` puts on the path is taken off again."""
    before = [*sys.path]
    yield
    sys.path[:] = before


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Prompts learnt on one toy, scores of another."""
    folder = tmp_path_factory.mktemp("own")
    carrot, bagel = write_toy(folder, "carrot", n_scans=4), write_toy(folder, "bagel", seed=4, n_scans=2)
    prompts, curve = cases.learn(ENTRY, carrot.paths, folder / "prompts.safetensors", {"epochs": 12})
    cases.score(ENTRY, prompts, [bagel.entry], folder / "scores.zarr.zip")
    return carrot, bagel, prompts, curve, folder / "scores.zarr.zip"


def test_the_example_is_short_and_stands_by_itself():
    lines = FILE.read_text().splitlines()
    imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported <= {"__future__", "collections", "typing", "torch", "numpy", "pointad_core"}
    assert len(lines) < 90


def naive_probabilities(features, vectors):
    """Two distances a feature, float64: features [..., d] -> [...]."""
    likelihoods = [np.exp(-((features - v) ** 2).sum(-1) / (2 * TAU)) for v in vectors]
    return likelihoods[1] / (likelihoods[0] + likelihoods[1])


def up(probabilities):
    maps = torch.from_numpy(probabilities).reshape(-1, 1, GRID, GRID)
    return torch.nn.functional.interpolate(maps, SIZE, mode="bilinear")[:, 0]


def test_losses_are_those_it_describes():
    case, module = Case(3), load(ENTRY)
    vectors = case.embeddings["rendering"].detach()
    state = {"rendering": vectors.float()}
    terms = values(module.loss_terms(state, case.sample.on(CPU), case.targets, Settings()))
    assert list(terms) == list(ENTRY.losses)
    maps = up(naive_probabilities(case.features["patches_vv"].astype(float), vectors.numpy()))
    p = mean_over_views(maps, case.renders["pixels"], case.renders["visible"])
    y = torch.from_numpy(case.cloud["labels"].astype(float))
    assert terms["points"].item() == pytest.approx((cases.dice(1 - p, 1 - y) + cases.dice(p, y)).item(), rel=1e-5)
    images = naive_probabilities(case.features["global"].astype(float), vectors.numpy())
    shown = case.renders["masks"].any((1, 2))
    assert terms["images"].item() == pytest.approx(-np.log(np.where(shown, images, 1 - images)).mean(), rel=1e-5)


def test_it_learns_and_writes_down_what_it_learnt(run):
    _, _, prompts, curve, _ = run
    with open(curve) as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "step", "points", "images", "total"]
    total = [float(row["total"]) for row in rows]
    np.testing.assert_allclose(total, [float(r["points"]) + 0.5 * float(r["images"]) for r in rows], rtol=1e-5)
    assert np.mean(total[-3:]) < 0.9 * np.mean(total[:3])
    assert {name: part.shape for name, part in read_prompts(prompts).items()} == {"vectors": (2, 128)}
    with safe_open(prompts, framework="np") as file:
        provenance = json.loads(file.metadata()["provenance"])
    assert provenance["system"]["module"] == str(FILE)
    assert (provenance["start"], provenance["settings"]["loss_weights"]) == (
        "random, from the seed",
        dict(ENTRY.losses),
    )


def test_the_same_seed_gives_the_same_bytes(run, tmp_path):
    carrot, bagel, prompts, _, scores = run
    again, _ = cases.learn(ENTRY, carrot.paths, tmp_path / "prompts.safetensors", {"epochs": 12})
    assert again.read_bytes() == prompts.read_bytes()
    assert cases.score(ENTRY, again, [bagel.entry], tmp_path / "s.zarr.zip").read_bytes() == scores.read_bytes()


def test_scores_are_those_it_describes(run):
    _, bagel, prompts, _, path = run
    vectors = unit(read_prompts(prompts)["vectors"].numpy().astype(float))
    sigma = 4 * SIZE / 336
    with (
        stores.read(path, "scores") as scores,
        stores.read(bagel.clouds, "clouds") as clouds,
        stores.read(bagel.renders, "renders") as renders,
        stores.read(bagel.features, "features") as features,
    ):
        assert scores.attributes["system"] == str(FILE)
        for scan in clouds.scans:
            grid = clouds.load(scan, ["grid"])["grid"]
            encoded, maps = features.load(scan, features.arrays(scan)), renders.load(scan, ["pixels", "visible"])
            patches = naive_probabilities(encoded["patches_vv"].astype(float), vectors)
            image, photograph = np.zeros((2, SIZE * SIZE))
            image[grid] = mean_over_views(up(patches), maps["pixels"], maps["visible"])
            whole = naive_probabilities(encoded["rgb_patches_vv"].astype(float), vectors)
            photograph[grid] = up(whole)[0].numpy().ravel()[grid]
            a_m, rgb = (gaussian_filter(a.reshape(SIZE, SIZE), sigma, mode="reflect") for a in (image, photograph))
            found = scores.load(f"bagel/{scan}", ["map_3d", "map_m3d"])
            np.testing.assert_allclose(found["map_3d"], a_m, atol=1e-5)
            fused = gaussian_filter(0.5 * a_m + 0.5 * rgb, sigma, mode="reflect")
            # The photograph is scored by cosines: the same but for features of float16, whose length is not quite 1.
            np.testing.assert_allclose(found["map_m3d"], fused, atol=1e-3)
            probability = naive_probabilities(encoded["global"].astype(float), vectors).mean()
            object_3d = scores.scan_attributes(f"bagel/{scan}")["object_3d"]
            assert object_3d == pytest.approx(0.5 * probability + 0.5 * a_m.max(), abs=1e-5)


def test_prompts_of_another_system_are_refused_by_their_file(tmp_path):
    path = tmp_path / "prompts.safetensors"
    write_prompts(path, {"rendering.embeddings": torch.zeros(2, 128)}, {})
    with pytest.raises(InputError, match=r"prompts\.safetensors: has no vectors, only \['rendering.embeddings'\]"):
        restore(ENTRY, path, Settings(), MODEL, CPU)


def test_a_loss_without_weight_is_left_out(tmp_path):
    toy = write_toy(tmp_path, n_scans=2)
    options = {"epochs": 1, "loss_weights": {"images": 0}}
    _, curve = cases.learn(ENTRY, toy.paths, tmp_path / "p.safetensors", options)
    assert curve.read_text().splitlines()[0] == "epoch,step,points,total"
