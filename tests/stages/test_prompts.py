"""Prompts: their layout in the text tower, training on a toy category, and the files."""

import copy
import csv
import json
import logging
import math
import re
import resource
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from pointad_core.clip.loading import load_clip
from pointad_core.errors import InputError
from pointad_core.methods.interface import LossWeights, Settings
from pointad_core.methods.registry import load_trained
from pointad_core.methods.prompts import PromptLearner, Prompts
from pointad_core.methods.targets import cloud_label, make_targets
from pointad_core.methods.training import Adam, batches, cached, n_bytes, train, train_step
from pointad_core.stages.prompts import make_prompts
from pointad_core.storage.prompt_files import read_prompts, write_prompts
from pointad_core.methods.segmentation import Sample, implicit_scores, upsample
from tests.toy import GRID, N_VIEWS, SIZE, write_toy

MODEL = {"model": "pointad-pocket", "random_seed": 111, "vv_blocks": 1, "alpha": 0.5, "resolution": 336}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clip():
    return load_clip("pointad-pocket", 1, random_seed=111)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("toy"))


def learner(clip, texts=("object.", "damaged object."), seed=0, **settings):
    return PromptLearner.draw(
        clip, texts, Settings(**{"deep_blocks": 3} | settings), torch.Generator().manual_seed(seed)
    )


def make(toy, folder, system="pointad", seed=3, **options):
    output, curve = folder / "prompts.safetensors", folder / "prompts.csv"
    make_prompts(
        system=system,
        output=output,
        curve=curve,
        options={"system": system, "epochs": 3, "deep_blocks": 3, **options},
        model=MODEL,
        display=None,
        seed=seed,
        provenance={"code": "abc"},
        **toy.paths,
    )
    return output, curve


# Layout ---------------------------------------------------------------------------------------------------------


def naive_embeddings(clip, texts, context, deep):
    """Text tower on all 77 tokens, float64, with placeholders replaced; written from the description."""
    text = copy.deepcopy(clip.text).double()
    features = []
    for words, learnt in zip(texts, context, strict=True):
        ids = clip.tokenizer([" ".join(["X"] * len(learnt)) + " " + words])[0]
        x = text.token_embedding.weight.double()[ids]
        x = torch.cat([x[:1], learnt, x[1 + len(learnt) :]]) + text.positional_embedding.double()
        mask = torch.full((len(ids), len(ids)), -math.inf, dtype=torch.float64).triu(1)
        for number, block in enumerate(text.transformer.resblocks, start=1):
            if 2 <= number <= len(deep) + 1:
                tokens = deep[number - 2]
                x = torch.cat([x[:1], tokens, x[1 + len(tokens) :]])
            h = torch.nn.functional.layer_norm(x, x.shape[-1:], *(p.double() for p in block.ln_1.parameters()))
            attention = block.attn
            width, heads = x.shape[-1], attention.num_heads
            q, k, v = (h @ attention.in_proj_weight.double().T + attention.in_proj_bias.double()).split(width, -1)
            q, k, v = (part.view(len(ids), heads, -1).transpose(0, 1) for part in (q, k, v))
            shares = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(width // heads) + mask, -1)
            x = x + attention.out_proj((shares @ v).transpose(0, 1).reshape(len(ids), width))
            x = x + block.mlp(block.ln_2(x))
        feature = text.ln_final(x)[ids.argmax()] @ text.text_projection.double()
        features.append(feature / feature.norm())
    return torch.stack(features)


@pytest.mark.parametrize("texts", [("object.", "damaged object."), ("point cloud.", "damaged point cloud.")])
def test_embeddings_and_their_gradients_are_those_of_the_whole_prompt(clip, texts):
    pair = learner(clip, texts)
    # Larger tokens than at the start, so that they matter.
    with torch.no_grad():
        pair.context.mul_(20)
        pair.deep.mul_(20)
    context, deep = (part.detach().double().requires_grad_() for part in (pair.context, pair.deep))
    wanted = naive_embeddings(clip, texts, context, deep)
    got = pair.embeddings()
    torch.testing.assert_close(got.double(), wanted, rtol=0, atol=1e-5)
    direction = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    naive = torch.autograd.grad((wanted * direction).sum(), (context, deep))
    for a, b in zip(torch.autograd.grad((got * direction).sum(), (pair.context, pair.deep)), naive, strict=True):
        assert b.abs().max() > 1e-4
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("texts", "ends"),
    [(("object.", "damaged object."), (15, 16)), (("point cloud.", "damaged point cloud."), (16, 17))],
)
def test_end_tokens_stand_where_the_papers_prompts_end(clip, texts, ends):
    whole = clip.tokenizer([" ".join(["X"] * 12) + " " + text for text in texts])
    assert tuple(whole.argmax(1).tolist()) == ends
    assert tuple(learner(clip, texts)._ends.tolist()) == ends


def test_tokens_are_drawn_from_the_seed_with_deviation_002(clip):
    one, again, other = (learner(clip, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.context, again.context)
    assert torch.equal(one.deep, again.deep)
    assert not torch.equal(one.context, other.context)
    assert one.context.shape == (2, 12, clip.text_width)
    assert one.deep.shape == (3, 4, clip.text_width)
    values = torch.cat([one.context.flatten(), one.deep.flatten()]).detach()
    assert abs(values.mean()) < 1e-3
    assert values.std().item() == pytest.approx(0.02, rel=0.05)


def test_prompts_that_do_not_fit_are_refused(clip):
    with pytest.raises(InputError, match="deep_length is 4, it can be at most context_length"):
        learner(clip, context_length=3)
    with pytest.raises(InputError, match=r"context_length is 73, but the text tower .* takes 77 tokens"):
        learner(clip, context_length=73)
    learner(clip, context_length=72).embeddings()
    with pytest.raises(InputError, match="deep_blocks is 9"):
        learner(clip, deep_blocks=9).embeddings()


# Targets --------------------------------------------------------------------------------------------------------


def random_scan(seed, n=200, dim=8):
    rng = torch.Generator().manual_seed(seed)
    sample = Sample(
        torch.rand(N_VIEWS, dim, generator=rng),
        torch.rand(N_VIEWS, GRID**2, dim, generator=rng),
        torch.randint(0, SIZE, (N_VIEWS, n, 2), generator=rng).short(),
        torch.rand(N_VIEWS, n, generator=rng) < 0.7,
        SIZE,
        None,
    )
    masks = torch.rand(N_VIEWS, SIZE, SIZE, generator=rng) < 0.2
    masks[1] = False
    return sample, (torch.rand(n, generator=rng) < 0.2), masks


def test_dice_sums_are_sums_over_maps_and_points():
    sample, labels, masks = random_scan(0)
    targets = make_targets(sample, labels, masks, True)
    p = torch.rand(N_VIEWS, GRID**2, generator=torch.Generator().manual_seed(9))
    maps, scores = upsample(p, SIZE), implicit_scores(p, sample.pixels, sample.visible, SIZE)
    for sums, values, truth, patches in (
        (targets.pixels, maps.flatten(1), masks.flatten(1), p),
        (targets.points, scores, labels, p.flatten()),
    ):
        torch.testing.assert_close((sums.predicted * patches).sum(-1), values.sum(-1), rtol=1e-5, atol=1e-4)
        torch.testing.assert_close((sums.overlap * patches).sum(-1), (values * truth).sum(-1), rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(sums.labelled, truth.sum(-1).float())
        assert sums.count == values.shape[-1]
    assert targets.defective_views.tolist() == [True, False, True]


def test_the_label_of_a_cloud(caplog):
    some, none = np.array([0, 1, 0]), np.zeros(3)
    assert cloud_label(some, True, "bent/000")
    assert not cloud_label(none, False, "good/000")
    assert not caplog.records
    assert cloud_label(some, False, "good/001")
    assert cloud_label(none, True, "bent/001")
    assert ["good/001" in caplog.messages[0], "bent/001" in caplog.messages[1]] == [True, True]


# Training -------------------------------------------------------------------------------------------------------


def test_batches_visit_every_scan_once_an_epoch():
    steps = batches(10, Settings(epochs=3, batch_size=4), torch.Generator().manual_seed(0))
    assert [epoch for epoch, _ in steps] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [len(batch) for _, batch in steps] == [4, 4, 2] * 3
    orders = [[index for number, batch in steps if number == epoch for index in batch] for epoch in (1, 2, 3)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1]


def test_adam_is_torchs_own():
    draw = [torch.randn(shape, generator=torch.Generator().manual_seed(3)) for shape in ((7,), (0, 4, 5), (9,), (2, 3))]
    ours, theirs = ([part.clone().requires_grad_() for part in draw] for _ in range(2))
    adam, expected = Adam(ours, 0.01, (0.5, 0.999)), torch.optim.Adam(theirs, lr=0.01, betas=(0.5, 0.999))
    for _ in range(5):
        for optimizer, parts in ((adam, ours), (expected, theirs)):
            optimizer.zero_grad()
            # One without elements, and one without a gradient: deep tokens that are switched off.
            torch.stack([(part.sin() * part * part).sum() for part in (*parts[:2], parts[3])]).sum().backward()
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert [torch.equal(a, b) for a, b in zip(ours, draw, strict=True)] == [False, True, True, False]


def test_a_step_follows_the_gradient_of_the_whole_batch(clip):
    """Clouds one after the other, text tower once: the same gradient as all at once."""
    scans = [(sample, make_targets(sample, labels, masks, True)) for sample, labels, masks in map(random_batch, (1, 2))]
    method, settings = load_trained("pointad"), Settings(loss_weights=LossWeights(local_2d=0.5, global_2d=2))
    pair = learner(clip)

    class Still(Adam):
        def step(self):
            pass

    row = train_step(
        method,
        Prompts({"rendering": pair}),
        Still([pair.context, pair.deep], 0.1, (0.5, 0.999)),
        scans,
        2,
        settings,
        CPU,
    )
    got = pair.context.grad, pair.deep.grad
    embeddings = {"rendering": pair.embeddings()}
    total = 0.0
    for sample, targets in scans:
        terms = method.loss_terms(embeddings, sample.on(CPU), targets, settings)
        total += (terms["global_3d"] + terms["local_3d"] + 2 * terms["global_2d"] + 0.5 * terms["local_2d"]) / 2
    for a, b in zip(got, torch.autograd.grad(total, (pair.context, pair.deep)), strict=True):
        assert b.abs().max() > 1e-3
        torch.testing.assert_close(a, b, rtol=1e-3, atol=5e-6)
    assert row["total"] == pytest.approx(total.item(), rel=1e-5)
    assert list(row) == ["global_3d", "local_3d", "global_2d", "local_2d", "total"]


def random_batch(seed):
    sample, labels, masks = random_scan(seed, dim=128)
    return replace(sample, views=unit(sample.views - 0.5), patches=unit(sample.patches - 0.5)), labels, masks


def unit(x):
    return torch.nn.functional.normalize(x, dim=-1)


def test_training_stops_at_a_loss_that_is_not_finite(clip):
    sample, labels, masks = random_batch(0)
    scans = [(sample, make_targets(sample, labels, masks, True))] * 5

    def loss_terms(embeddings, sample, targets, settings):
        seen.append(1)
        return {"global_2d": embeddings["rendering"].sum() * (math.nan if len(seen) == 4 else 1.0)}

    seen: list[int] = []
    with pytest.raises(InputError, match=r"not finite at step 2 \(epoch 2\)"):
        train(
            SimpleNamespace(loss_terms=loss_terms),
            Prompts({"rendering": learner(clip)}),
            scans.__getitem__,
            2,
            Settings(epochs=5),
            torch.Generator(),
            CPU,
        )


def test_the_cache_keeps_to_its_budget():
    reads = Counter()
    sample, labels, masks = random_scan(0)
    item = sample, make_targets(sample, labels, masks, True)
    size = sum(map(n_bytes, item))
    assert size > sample.patches.nbytes + masks.nbytes

    def load(index):
        reads[index] += 1
        return item

    get = cached(load, budget=2 * size + size // 2)
    for _ in range(3):
        for index in range(4):
            assert get(index) is item
    assert reads == {0: 1, 1: 1, 2: 3, 3: 3}


# Stage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", ["pointad", "pointad_plus"])
def test_training_learns_a_separable_toy_and_writes_it_down(toy, tmp_path, system, clip):
    output, curve = make(toy, tmp_path, system, epochs=12)
    with open(curve) as file:
        rows = list(csv.DictReader(file))
    terms = ["global_3d", "local_3d", "global_2d", "local_2d"]
    terms += ["geometry", "cross"] if system == "pointad_plus" else []
    assert list(rows[0]) == ["epoch", "step", *terms, "total"]
    assert [(row["epoch"], row["step"]) for row in rows[:3]] == [("1", "1"), ("1", "2"), ("2", "3")]
    assert len(rows) == 12 * 2  # 6 scans in batches of 4 and 2
    total = [float(row["total"]) for row in rows]
    np.testing.assert_allclose(total, [sum(float(row[term]) for term in terms) for row in rows], rtol=1e-5)
    assert np.mean(total[-2:]) < 0.8 * np.mean(total[:2])

    layers = ["rendering", "geometry"] if system == "pointad_plus" else ["rendering"]
    with safe_open(output, framework="np") as file:
        shapes = {name: file.get_tensor(name).shape for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    width, dim = clip.text_width, clip.dim
    assert shapes == {
        f"{layer}.{name}": shape
        for layer in layers
        for name, shape in {
            "context_normal": (12, width),
            "context_abnormal": (12, width),
            "deep": (3, 4, width),
            "embeddings": (2, dim),
        }.items()
    }
    provenance = json.loads(metadata["provenance"])
    assert provenance["code"] == "abc"
    assert (provenance["category"], provenance["seed"], provenance["settings"]["epochs"]) == ("toy", 3, 12)
    assert provenance["texts"]["rendering"] == ["object.", "damaged object."]

    tensors = read_prompts(output, layers)
    for layer in layers:
        torch.testing.assert_close(tensors[f"{layer}.embeddings"].norm(dim=1), torch.ones(2))


def test_the_same_seed_gives_the_same_bytes(toy, tmp_path):
    files = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        (tmp_path / name).mkdir()
        files.append([path.read_bytes() for path in make(toy, tmp_path / name, "pointad_plus", seed, epochs=1)])
    assert files[0] == files[1]
    assert files[0][0] != files[2][0]
    assert files[0][1] != files[2][1]


def test_stored_embeddings_are_those_of_the_stored_tokens(toy, tmp_path, clip):
    output, _ = make(toy, tmp_path, epochs=1)
    with safe_open(output, framework="pt") as file:
        parts = {name: file.get_tensor(f"rendering.{name}") for name in ("context_normal", "context_abnormal", "deep")}
    pair = learner(clip)
    pair.context = torch.stack([parts["context_normal"], parts["context_abnormal"]])
    pair.deep = parts["deep"]
    torch.testing.assert_close(pair.embeddings(), read_prompts(output)["rendering.embeddings"])


def test_a_category_without_defects_is_refused_and_nothing_is_written(tmp_path):
    toy = write_toy(tmp_path, "peach", defective=(False, False))
    with pytest.raises(InputError, match="category 'peach' has no defective scan"):
        make(toy, tmp_path)
    assert not list(tmp_path.glob("prompts*"))


def test_a_category_without_good_scans_is_warned_about(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        make(write_toy(tmp_path, "peach", defective=(True, True)), tmp_path, epochs=1)
    assert any("peach has no good scan" in message for message in caplog.messages)


def test_features_of_another_model_are_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"model 'pointad-pocket': text embeddings have \[128\] dimensions, .*toy_features.* has 64"
    ):
        make(write_toy(tmp_path, dim=64, n_scans=2), tmp_path)


def test_stores_of_other_scans_are_refused(tmp_path, toy):
    other = write_toy(tmp_path, "other", n_scans=4)
    with pytest.raises(InputError, match="its scans are not those of"):
        make(replace(toy, renders=other.renders), tmp_path)


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path):
    path = tmp_path / "prompts.safetensors"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A limit on the size of files stands for the disk's end.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=re.escape(str(path))):
            write_prompts(path, {"rendering.embeddings": torch.zeros(2, 1000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_damaged_prompts_are_refused(toy, tmp_path):
    output, _ = make(toy, tmp_path, epochs=1)
    with pytest.raises(InputError, match="no prompts of the layers"):
        read_prompts(output, ["rendering", "geometry"])
    content = output.read_bytes()
    rng = np.random.default_rng(1)
    cuts = [content[:length] for length in rng.integers(0, len(content), 20)]
    flips = [
        content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in (*rng.integers(0, len(content), 50), -2)
    ]
    for damaged in (b"", *cuts, *flips):
        output.write_bytes(damaged)
        with pytest.raises(InputError, match=r"prompts\.safetensors: the prompts are damaged"):
            read_prompts(output, ["rendering"])
    with pytest.raises(InputError, match="no such prompts"):
        read_prompts(tmp_path / "none", ["rendering"])
