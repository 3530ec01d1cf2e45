"""AnomalyCLIP on depth maps: its losses against a float64 version, its scores, a run through the stages."""

import csv

import numpy as np
import pytest
import torch
from cases import TAU, learn, score, values
from scipy.ndimage import gaussian_filter
from toy import GRID, SIZE, unit, write_toy

from pointad_core.methods import anomalyclip
from pointad_core.methods.interface import Settings
from pointad_core.methods.registry import SYSTEMS
from pointad_core.methods.segmentation import Sample
from pointad_core.methods.targets import make_targets
from pointad_core.storage import stores
from pointad_core.storage.prompt_files import read_prompts

DIM = 16


def random_image(seed, n=150):
    """One depth image's features, the points on it, their labels and its ground truth."""
    rng = np.random.default_rng(seed)
    grid = np.sort(rng.choice(SIZE * SIZE, n, replace=False))
    labels = rng.random(n) < 0.3
    mask = np.zeros(SIZE * SIZE, bool)
    mask[grid] = labels
    sample = Sample(
        torch.from_numpy(unit(rng.normal(size=(1, DIM))).astype(np.float32)),
        torch.from_numpy(unit(rng.normal(size=(1, GRID * GRID, DIM))).astype(np.float32)),
        torch.from_numpy(np.stack([grid % SIZE, grid // SIZE], -1)[None].astype(np.int16)),
        torch.ones((1, n), dtype=torch.bool),
        SIZE,
        None,
    )
    g = torch.from_numpy(unit(rng.normal(size=(2, DIM))))
    return sample, labels, mask.reshape(1, SIZE, SIZE), g


def maps_of(features, g):
    """Softmax over both classes on the patch grid, then bilinear to the image: float64 [2, S, S]."""
    p = torch.softmax(features.double() @ g.T / TAU, dim=-1)[0].T.reshape(1, 2, GRID, GRID)
    return torch.nn.functional.interpolate(p, SIZE, mode="bilinear", align_corners=False)[0]


def naive_losses(sample, mask, defective, g):
    """From the description, weighted: cross entropy of the global, focal and twice Dice of the map, fourfold."""
    logits = sample.views.double() @ g.T / TAU
    cross_entropy = torch.nn.functional.cross_entropy(logits, torch.tensor([int(defective)]))
    p, y = maps_of(sample.patches, g), torch.from_numpy(mask[0]).double()
    focal = 0.0
    for row in range(SIZE):
        for column in range(SIZE):
            truth = int(mask[0, row, column])
            one_hot = [1e-5, 1e-5]
            one_hot[truth] = 1 - 1e-5
            pt = one_hot[0] * p[0, row, column] + one_hot[1] * p[1, row, column] + 1e-5
            focal = focal - (1 - pt) ** 2 * pt.log() / SIZE**2

    def dice(a, b):
        return 1 - (2 * (a * b).sum() + 1) / (a.sum() + b.sum() + 1)

    return cross_entropy, 4 * (focal + dice(p[1], y) + dice(p[0], 1 - y))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("defective", [True, False])
def test_losses_and_gradients_are_anomalyclips(seed, defective):
    sample, labels, mask, g = random_image(seed)
    labels, mask = labels & defective, mask & defective
    targets = make_targets(sample, torch.from_numpy(labels), torch.from_numpy(mask), defective)
    state = {"rendering": g.float().requires_grad_()}
    terms = values(anomalyclip.loss_terms(state, sample, targets, Settings()))
    weights = SYSTEMS["anomalyclip"].losses
    g.requires_grad_()
    wanted = naive_losses(sample, mask, defective, g)
    assert list(terms) == ["global_2d", "local_2d"]
    for name, naive in zip(terms, wanted, strict=True):
        term = weights[name] * terms[name]
        assert term.item() == pytest.approx(naive.item(), rel=1e-5)
        (got,) = torch.autograd.grad(term, [state["rendering"]], retain_graph=True)
        (gradient,) = torch.autograd.grad(naive, [g], retain_graph=True)
        torch.testing.assert_close(got.double(), gradient, rtol=1e-4, atol=1e-5)


def test_the_label_is_the_clouds_not_the_images():
    """A defect of which no point is left still makes the scan a defective one."""
    sample, labels, mask, g = random_image(5)
    targets = make_targets(sample, torch.from_numpy(labels & False), torch.from_numpy(mask & False), True)
    terms = values(anomalyclip.loss_terms({"rendering": g.float()}, sample, targets, Settings()))
    logits = sample.views.double() @ g.T / TAU
    assert terms["global_2d"].item() == pytest.approx(-torch.log_softmax(logits, 1)[0, 1].item(), rel=1e-5)


def test_prompts_are_object_agnostic():
    assert anomalyclip.templates("rope") == {"rendering": ("object.", "damaged object.")}
    assert SYSTEMS["anomalyclip"].renderers == ("depth",)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Prompts learnt on one toy, scores of another."""
    folder = tmp_path_factory.mktemp("run")
    carrot = write_toy(folder, "carrot", n_scans=4, views=1)
    bagel = write_toy(folder, "bagel", seed=4, n_scans=2, views=1)
    prompts, _ = learn("anomalyclip", carrot.paths, folder / "prompts.safetensors", {"epochs": 8, "deep_blocks": 3})
    score("anomalyclip", prompts, [bagel.entry], folder / "scores.zarr.zip")
    return folder, bagel


def test_training_learns_a_separable_toy(run):
    with open(run[0] / "prompts.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "step", "global_2d", "local_2d", "total"]
    total = [float(row["total"]) for row in rows]
    np.testing.assert_allclose(total, [float(r["global_2d"]) + 4 * float(r["local_2d"]) for r in rows], rtol=1e-5)
    assert total[-1] < 0.9 * total[0]


def test_scores_are_its_map_and_its_global_probability(run):
    folder, bagel = run
    g = read_prompts(folder / "prompts.safetensors")["rendering.embeddings"].double()
    with (
        stores.read(folder / "scores.zarr.zip", "scores") as scores,
        stores.read(bagel.features, "features") as features,
        stores.read(bagel.clouds, "clouds") as clouds,
        stores.read(bagel.renders, "renders") as renders,
    ):
        for scan in clouds.scans:
            encoded = features.load(scan, features.arrays(scan))
            grid = clouds.load(scan, ["grid"])["grid"]
            column, row = renders.load(scan, ["pixels"])["pixels"][0].T
            depth, photograph = np.zeros((2, SIZE * SIZE))
            depth[grid] = maps_of(torch.from_numpy(encoded["patches_vv"]), g)[1].numpy()[row, column]
            photograph[grid] = maps_of(torch.from_numpy(encoded["rgb_patches_vv"])[None], g)[1].numpy().ravel()[grid]
            smooth = [
                gaussian_filter(a.reshape(SIZE, SIZE), 4 * SIZE / 336, mode="reflect") for a in (depth, photograph)
            ]
            fused = gaussian_filter(0.5 * smooth[0] + 0.5 * smooth[1], 4 * SIZE / 336, mode="reflect")
            p3d, prgb = (
                torch.softmax(torch.from_numpy(encoded[name].ravel()).double() @ g.T / TAU, 0)[1].item()
                for name in ("global", "rgb_global")
            )
            arrays = scores.load(f"bagel/{scan}", ["map_3d", "map_m3d"])
            np.testing.assert_allclose(arrays["map_3d"], smooth[0], atol=1e-5)
            np.testing.assert_allclose(arrays["map_m3d"], fused, atol=1e-5)
            found = scores.scan_attributes(f"bagel/{scan}")
            assert found["object_3d"] == pytest.approx(p3d, abs=1e-5)
            assert found["object_m3d"] == pytest.approx(0.5 * p3d + 0.5 * prgb, abs=1e-5)
