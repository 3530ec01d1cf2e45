"""Training of the small CLIP: what a step takes and asks for, and what stays as the teacher has it."""

import csv

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pointad_core.clip.checkpoints import read_checkpoint
from pointad_core.clip.loading import load_clip
from pointad_core.storage import jobs, stores
from pretraining import teacher, training
from pretraining.tokens import FROZEN
from pretraining.training import Batch, Recipe, patch_loss, select
from tests.pretraining.test_teacher import random_weights

RECIPE = Recipe(steps=3, things=1, patches=12, whole=0, warmup=1, word_steps=2, pairs=2)


def write_lot(path, things=3):
    """Things whose damaged patches' tokens differ from the others'."""
    rng = np.random.default_rng(0)
    with stores.write(path, "pretraining tokens", {}) as writer:
        for number in range(things):
            damage = np.zeros((3, 576), np.float32)
            damage[:, 40 + number : 60] = 1
            tokens = rng.standard_normal((3, 577, 384)).astype(np.float16)
            tokens[:, 1:] += (2 * damage[..., None]).astype(np.float16)
            shown = np.zeros((3, 576), np.uint8)
            shown[:, :300] = 1
            arrays = {"tokens": tokens, "damage": damage, "object": shown}
            writer.add(f"{number}", arrays, {"family": "gear", "kinds": ["hole"] if number else ["dent", "bump"]})
    return path


@pytest.fixture
def lot(tmp_path, monkeypatch):
    weights = random_weights(torch.Generator().manual_seed(0), blocks=8)
    monkeypatch.setattr(teacher, "read_teacher", lambda wheel: weights)
    return write_lot(tmp_path / "lot.zarr.zip")


def run(lot, folder, recipe=RECIPE, gpus=0):
    folder.mkdir(exist_ok=True)
    jobs.use(1, gpus=gpus)
    weights = folder / "weights.safetensors"
    training.train([lot], "wheel", weights, folder / "curve.csv", recipe)
    return weights


def test_the_same_seed_gives_the_same_bytes(lot, tmp_path):
    first, again = (run(lot, tmp_path / name) for name in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()
    other = run(lot, tmp_path / "other", Recipe(**{**vars(RECIPE), "seed": 2}))
    assert first.read_bytes() != other.read_bytes()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_takes_the_same_steps(lot, tmp_path):
    on_cpu = run(lot, tmp_path / "cpu")
    on_gpu = run(lot, tmp_path / "gpu", gpus=1)
    for name, value in read_checkpoint(on_cpu).items():
        torch.testing.assert_close(read_checkpoint(on_gpu)[name], value, atol=1e-2, rtol=1e-2, msg=name)


def test_frozen_blocks_stay_the_teachers_and_the_others_learn(lot, tmp_path):
    weights = read_checkpoint(run(lot, tmp_path / "run"))
    before = training.start(RECIPE, "wheel", torch.device("cpu")).model.state_dict()
    assert set(weights) == set(before)
    frozen = [f"visual.transformer.resblocks.{index}." for index in range(FROZEN)]
    made = f"visual.transformer.resblocks.{FROZEN}"
    for name, value in weights.items():
        if name.startswith(("visual.conv1", "visual.class", "visual.positional", f"{made}.attn", *frozen)):
            atol = 5e-3 * float(before[name].abs().max())
            assert torch.allclose(value.float(), before[name], rtol=1e-2, atol=atol), name
    assert not weights[f"{made}.ls_1.gamma"].any(), "its attention adds nothing"
    for name in ("token_embedding.weight", "visual.proj", f"{made}.ln_2.bias"):
        assert not torch.allclose(weights[name].float(), before[name], rtol=0, atol=5e-5), name


def test_weights_are_small_and_the_curve_is_whole(lot, tmp_path):
    path = run(lot, tmp_path / "run")
    assert path.stat().st_size < 24_000_000
    kinds = {value.dtype for name, value in load_file(path).items() if "visual.transformer" in name and value.ndim == 2}
    assert kinds == {torch.int8, torch.float32}, "matrices and their scales"
    with open(tmp_path / "run/curve.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["part"] for row in rows] == ["sight"] * 3 + ["words"] * 2
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 1, 2]
    for row in rows:
        terms = {name: float(row[name]) for name in row.keys() - {"part", "step", "total"} if row[name]}
        weights = training.WEIGHTS if row["part"] == "sight" else {}
        assert float(row["total"]) == pytest.approx(sum(weights.get(name, 1) * terms[name] for name in terms), rel=1e-4)


def test_words_come_to_say_the_directions():
    clip = load_clip("pointad-pocket", 1, random_seed=0)
    meanings = training.Meanings(clip.dim, torch.Generator().manual_seed(1))
    recipe = Recipe(word_steps=40, pairs=3, warmup=2)
    rows = training.fit_words(clip, meanings, recipe)
    assert rows[-1]["total"] < 0.9 * rows[0]["total"]
    normal, damaged = clip.encode_text(["object.", "damaged object."])
    state = meanings.of("state").detach()
    assert (damaged - normal) @ (state[1] - state[0]) > 0


def test_a_batch_has_two_views_of_each_thing(lot):
    with stores.read(lot, "pretraining tokens") as reader:
        batch = training.Views([reader]).batch([2, 0], np.random.default_rng(0))
        assert batch.tokens.shape == (4, 577, 384)
        assert batch.kind.tolist() == [training.KINDS.index("hole")] * 2 + [-1, -1], "two kinds are no one kind"
        kept = torch.tensor([[3, 575]] * 4)
        part = batch.only(kept)
        assert torch.equal(part.tokens, batch.tokens[:, [0, 4, 576]])
        assert torch.equal(part.damage, batch.damage[:, [3, 575]])


# Parts ---------------------------------------------------------------------------------------------------------------


def random_batch(generator, views=3, patches=20):
    damage = (torch.rand(views, patches, generator=generator) - 0.7).clamp(min=0) * 3
    shown = (torch.rand(views, patches, generator=generator) < 0.5) | (damage > 0)
    return Batch(torch.zeros(views, 1, 1), damage, shown, torch.zeros(views).long(), torch.zeros(views).long())


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
