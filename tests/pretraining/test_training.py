"""Training of the small CLIP: what a step takes and asks for, and that a run that was cut off goes on."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pointad_core.clip.checkpoints import read_checkpoint
from pointad_core.clip.loading import load_clip
from pointad_core.errors import InputError
from pointad_core.storage import jobs, stores
from pretraining import teacher, training
from pretraining.training import Batch, Recipe, patch_loss, patch_means, select
from tests.pretraining.test_teacher import random_weights

RECIPE = Recipe(steps=(2, 2), things=1, pairs=2, patches=12, whole=0, warmup=1, save_every=2)
SIDE = 336


def write_lot(path, things=3):
    """Things with a grey disc each, of which a square is damaged and black; every other one has a photograph."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    disc = np.hypot(rows - 168, columns - 168) < 100
    with stores.write(path, "pretraining views", {}) as writer:
        for number in range(things):
            mask = np.zeros((SIDE, SIDE), bool)
            mask[126 : 126 + 42, 140 + 14 * number : 182 + 14 * number] = True
            image = np.where(mask, 0, np.where(disc, 150, 255)).astype(np.uint8)
            arrays = {"images": np.stack([image] * 3), "masks": np.packbits(np.stack([mask.reshape(-1)] * 3), axis=1)}
            if number % 2:
                arrays |= {
                    "photograph": np.full((SIDE, SIDE, 3), 90, np.uint8),
                    "photograph_mask": np.packbits(mask.reshape(-1)),
                }
            writer.add(f"{number}", arrays, {"family": "gear", "kinds": ["stain" if number == 2 else "hole"]})
    return path


@pytest.fixture
def lot(tmp_path, monkeypatch):
    weights = random_weights(torch.Generator().manual_seed(0), blocks=5)
    monkeypatch.setattr(teacher, "read_teacher", lambda wheel: weights)
    return write_lot(tmp_path / "lot.zarr.zip")


def run(lot, folder, recipe=RECIPE, code="", gpus=0):
    folder.mkdir(exist_ok=True)
    jobs.use(1, gpus=gpus)
    weights = folder / "weights.safetensors"
    training.train([lot], "wheel", weights, folder / "curve.csv", recipe, folder / "state.pt", code)
    return weights


@pytest.fixture
def cut_off(lot, tmp_path, monkeypatch):
    """The folder of a run that was cut off in its last step, and a list that grows with every further step."""
    real, steps = training.losses, []

    def counted(*args):
        steps.append(1)
        return real(*args)

    def failing(*args):
        if len(steps) == 3:
            raise KeyboardInterrupt
        return counted(*args)

    monkeypatch.setattr(training, "losses", failing)
    with pytest.raises(KeyboardInterrupt):
        run(lot, tmp_path / "cut")
    assert (tmp_path / "cut/state.pt").exists()
    assert not (tmp_path / "cut/weights.safetensors").exists()
    monkeypatch.setattr(training, "losses", counted)
    steps.clear()
    return tmp_path / "cut", steps


def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(lot, cut_off, tmp_path):
    folder, steps = cut_off
    resumed = run(lot, folder)
    assert len(steps) == 2, "two of the four steps were saved"
    whole = run(lot, tmp_path / "whole")
    assert resumed.read_bytes() == whole.read_bytes()
    assert (folder / "curve.csv").read_text() == (tmp_path / "whole/curve.csv").read_text()
    assert not (folder / "state.pt").exists(), "what is done is not gone on with"


@pytest.mark.parametrize("what", ["recipe", "views", "code"])
def test_what_was_saved_of_another_training_is_no_beginning(lot, cut_off, what):
    folder, steps = cut_off
    if what == "views":
        write_lot(lot, things=2)
    recipe = replace(RECIPE, seed=2, steps=(2, 1)) if what == "recipe" else RECIPE
    run(lot, folder, recipe, code="other" if what == "code" else "")
    assert len(steps) == sum(recipe.steps)


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_state_is_named(lot, tmp_path, damage):
    state = tmp_path / "state.pt"
    torch.save({"model": {}}, state)
    if damage == "cut":
        state.write_bytes(state.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"state\.pt: .*delete it and run again"):
        run(lot, tmp_path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_takes_the_same_steps(lot, tmp_path):
    on_cpu = run(lot, tmp_path / "cpu")
    on_gpu = run(lot, tmp_path / "gpu", gpus=1)
    for name, value in read_checkpoint(on_cpu).items():
        torch.testing.assert_close(read_checkpoint(on_gpu)[name], value, atol=1e-2, rtol=1e-2, msg=name)


def test_frozen_blocks_stay_the_teachers_and_the_others_learn(lot, tmp_path):
    weights = read_checkpoint(run(lot, tmp_path / "run"))
    clip = training.start(RECIPE, "wheel", torch.device("cpu"))
    before = clip.model.state_dict()
    assert set(weights) == set(before)
    for name, value in weights.items():
        moved = not torch.allclose(value.float(), before[name], rtol=1e-2, atol=5e-3 * float(before[name].abs().max()))
        block = name.split("resblocks.")[1].split(".")[0] if "visual.transformer" in name else None
        if name.startswith(("visual.conv1", "visual.class", "visual.positional")) or block in ("0", "1"):
            assert not moved, name
    assert not torch.allclose(weights["token_embedding.weight"].float(), before["token_embedding.weight"], atol=1e-4)
    assert not torch.allclose(weights["visual.proj"].float(), before["visual.proj"], atol=1e-4)


def test_weights_are_small_and_the_curve_is_whole(lot, tmp_path):
    path = run(lot, tmp_path / "run")
    assert path.stat().st_size < 16_000_000
    kinds = {value.dtype for name, value in load_file(path).items() if "visual.transformer" in name and value.ndim == 2}
    assert kinds == {torch.int8, torch.float32}, "matrices and their scales"
    with open(tmp_path / "run/curve.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    for row in rows:
        total = sum(weight * float(row[name]) for name, weight in training.WEIGHTS.items())
        assert float(row["total"]) == pytest.approx(total, rel=1e-4)


# Parts ---------------------------------------------------------------------------------------------------------------


def test_patch_means_are_means():
    array = np.random.default_rng().random((12, 12), np.float32)
    found = patch_means(array, 4)
    naive = [
        array[3 * row : 3 * row + 3, 3 * column : 3 * column + 3].mean() for row in range(4) for column in range(4)
    ]
    np.testing.assert_allclose(found, naive, rtol=1e-5)


def random_batch(generator, views=3, patches=20):
    damage = (torch.rand(views, patches, generator=generator) - 0.7).clamp(min=0) * 3
    shown = (torch.rand(views, patches, generator=generator) < 0.5) | (damage > 0)
    return Batch(torch.zeros(views, 3, 1, 1), damage, shown, torch.zeros(views).long(), torch.zeros(views).long())


def test_damaged_patches_are_seen_first_then_the_objects():
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    batch = random_batch(generator)
    for count in (1, 5, 12, 20):
        chosen = select(batch, count, generator)
        for row, damage, shown in zip(chosen, batch.damage, batch.object, strict=True):
            assert len(set(row.tolist())) == count
            assert (damage[row] > 0).sum() == min(count, int((damage > 0).sum()))
            assert shown[row].sum() == min(count, int(shown.sum()))


def test_patch_loss_is_weighted_cross_entropy_and_dice():
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    batch = random_batch(generator)
    logits = torch.randn(2, 3, 20, generator=generator) * 3
    found = patch_loss(logits, batch, positive_weight=4.0, background_weight=0.3).item()
    total = 0.0
    for pair in range(2):
        entropy, weights, dice = 0.0, 0.0, 0.0
        for view in range(3):
            overlap, predicted, labelled = 0.0, 0.0, 0.0
            for patch in range(20):
                p = 1 / (1 + np.exp(-float(logits[pair, view, patch])))
                y = min(2 * float(batch.damage[view, patch]), 1)
                w = (1 if batch.object[view, patch] else 0.3) * (1 + 3 * y)
                entropy -= w * (y * np.log(p) + (1 - y) * np.log(1 - p))
                weights += w
                overlap, predicted, labelled = overlap + p * y, predicted + p, labelled + y
            dice += (1 - (2 * overlap + 1) / (predicted + labelled + 1)) / 3
        total += (entropy / weights + 0.5 * dice) / 2
    assert found == pytest.approx(total, rel=1e-4)


def test_a_stain_counts_in_the_photograph_alone(tmp_path):
    with stores.read(write_lot(tmp_path / "lot.zarr.zip", 4), "pretraining views") as reader:
        views = training.Views([reader])
        rng = np.random.default_rng(0)
        assert (views.batch([2], 24, 0.0, rng).damage == 0).all(), "a stained thing's renders"
        assert (views.batch([0], 24, 0.0, rng).damage > 0).any(1).all()
        assert (views.batch([1], 24, 1.0, rng).object).all(), "a photograph"


def test_random_tokens_before_the_words_leave_gradients_to_the_tower():
    clip = load_clip("pointad-pocket", 1, random_seed=0)
    clip.model.requires_grad_(True)
    generator = torch.Generator().manual_seed(0)
    plain = training.encode(clip, ["damaged object."], 0, generator)
    assert torch.equal(plain, training.encode(clip, ["damaged object."], 0, generator))
    torch.testing.assert_close(plain.detach(), clip.encode_text(["damaged object."]))
    noisy = training.encode(clip, ["damaged object."], 8, generator)
    assert not torch.equal(noisy, training.encode(clip, ["damaged object."], 8, generator))
    noisy.sum().backward()
    assert clip.text.transformer.resblocks[0].attn.in_proj_weight.grad.abs().sum() > 0
