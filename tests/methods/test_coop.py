"""PointAD-CoOp and PointAD+-CoOp: where the category's name stands, in training and in scoring."""

import copy
import json
import math

import cases
import numpy as np
import pytest
import torch
from cases import CPU, MODEL
from safetensors import safe_open
from safetensors.torch import load_file
from toy import write_toy

from pointad_core.clip.loading import load_clip
from pointad_core.errors import InputError
from pointad_core.methods.interface import Settings
from pointad_core.methods.registry import SYSTEMS, load
from pointad_core.methods.scoring import restore
from pointad_core.storage import stores

NAMED = ["pointad_coop", "pointad_plus_coop"]
END = 1023
"""Id of the end token."""


@pytest.fixture(scope="module")
def clip():
    return load_clip("pointad-pocket", 1, random_seed=111)


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toys")
    return {name: write_toy(folder, name, seed=seed, n_scans=4) for seed, name in enumerate(("carrot", "cable_gland"))}


@pytest.fixture(scope="module")
def trained(toys, tmp_path_factory):
    """Prompts files of both systems, trained on the carrot under the name "orange carrot"."""
    folder = tmp_path_factory.mktemp("prompts")
    return {system: train(toys["carrot"], folder / f"{system}.safetensors", system) for system in NAMED}


def train(toy, output, system, display="orange carrot"):
    return cases.learn(system, toy.paths, output, {"epochs": 2, "deep_blocks": 3}, display)[0]


def score(toy, output, system, prompts, display, model=MODEL):
    cases.score(system, prompts, [{**toy.entry, "display": display}], output, model=model)
    with stores.read(output, "scores") as reader:
        return np.stack([reader.load(scan, ["map_3d"])["map_3d"] for scan in reader.scans])


def test_names_stand_in_for_object_and_point_cloud():
    texts = ("cable gland.", "damaged cable gland.")
    assert load(SYSTEMS["pointad_coop"]).templates("cable gland") == {"rendering": texts}
    assert load(SYSTEMS["pointad_plus_coop"]).templates("cable gland") == {"rendering": texts, "geometry": texts}


@pytest.mark.parametrize("system", NAMED)
def test_losses_and_scores_are_those_of_the_system_without_names(system):
    entry, without = SYSTEMS[system], SYSTEMS[system.removesuffix("_coop")]
    own, plain = load(entry), load(without)
    for name in ("loss_terms", "point_scores", "global_score", "object_score"):
        assert getattr(own, name) is getattr(plain, name)
    assert (entry.aggregates, entry.losses) == (without.aggregates, without.losses)


def naive_embedding(clip, words, context, deep):
    """[start] context words [end] padding through the whole text tower in float64, token by token."""
    text = copy.deepcopy(clip.text).double()
    ids = clip.tokenizer([words])[0].tolist()
    words_ids = ids[1 : ids.index(END)]
    layout = [text.token_embedding.weight[ids[0]], *context.double()]
    layout += [text.token_embedding.weight[i] for i in words_ids] + [text.token_embedding.weight[END]]
    end = len(layout) - 1
    assert end == 1 + 12 + len(words_ids)
    layout += [text.token_embedding.weight[0]] * (77 - len(layout))
    x = torch.stack(layout) + text.positional_embedding
    mask = torch.full((77, 77), -math.inf, dtype=torch.float64).triu(1)
    for number, block in enumerate(text.transformer.resblocks, start=1):
        if 2 <= number <= len(deep) + 1:
            for position in range(deep.shape[1]):
                x[1 + position] = deep[number - 2, position].double()
        x = block(x[None], attn_mask=mask)[0]
    feature = text.ln_final(x)[end] @ text.text_projection.double()
    return feature / feature.norm()


@torch.no_grad()
@pytest.mark.parametrize("system", NAMED)
@pytest.mark.parametrize("name", ["orange carrot", "cable gland", "PCB"])
def test_trained_tokens_stand_before_the_name_of_the_category_that_is_scored(system, name, trained, clip):
    tensors = load_file(trained[system])
    state = restore(SYSTEMS[system], trained[system], Settings(), MODEL, CPU)(name)
    assert list(state) == (["rendering", "geometry"] if "plus" in system else ["rendering"])
    for layer, embeddings in state.items():
        for index, (kind, words) in enumerate((("normal", f"{name}."), ("abnormal", f"damaged {name}."))):
            context, deep = tensors[f"{layer}.context_{kind}"], tensors[f"{layer}.deep"]
            wanted = naive_embedding(clip, words, context, deep)
            torch.testing.assert_close(embeddings[index].double(), wanted, rtol=0, atol=1e-5)


def test_the_file_keeps_tokens_and_the_auxiliary_name(trained, clip):
    for system, path in trained.items():
        with safe_open(path, "pt") as file:
            provenance = json.loads(file.metadata()["provenance"])
            names = set(file.keys())
        layers = ["rendering", "geometry"] if "plus" in system else ["rendering"]
        parts = ("context_normal", "context_abnormal", "deep", "embeddings")
        assert names == {f"{layer}.{part}" for layer in layers for part in parts}
        assert provenance["texts"] == {layer: ["orange carrot.", "damaged orange carrot."] for layer in layers}
        tensors = load_file(path)
        assert tensors["rendering.context_normal"].shape == (12, clip.text_width)
        if "plus" in system:
            assert not torch.equal(tensors["rendering.deep"], tensors["geometry.deep"])
            assert not torch.equal(tensors["rendering.embeddings"], tensors["geometry.embeddings"])


def test_the_auxiliary_name_matters_in_training(toys, trained, tmp_path):
    other = train(toys["carrot"], tmp_path / "other.safetensors", "pointad_coop", display="tyre")
    again = train(toys["carrot"], tmp_path / "again.safetensors", "pointad_coop")
    assert again.read_bytes() == trained["pointad_coop"].read_bytes()
    tokens, others = (load_file(path)["rendering.context_normal"] for path in (again, other))
    assert not torch.equal(tokens, others)


def test_the_display_name_matters_in_scoring(toys, trained, tmp_path):
    run = [
        score(toys["cable_gland"], tmp_path / f"{i}.zarr.zip", "pointad_coop", trained["pointad_coop"], name)
        for i, name in enumerate(("cable gland", "cable gland", "rope"))
    ]
    np.testing.assert_array_equal(run[0], run[1])
    assert np.abs(run[0] - run[2]).max() > 1e-6


def test_bad_input_is_refused(toys, trained, tmp_path):
    with pytest.raises(InputError, match="pointad_coop names the category in its prompts; its display name is missing"):
        train(toys["carrot"], tmp_path / "prompts.safetensors", "pointad_coop", display=None)
    with pytest.raises(InputError, match="its prompts are missing"):
        score(toys["carrot"], tmp_path / "s.zarr.zip", "pointad_coop", None, "carrot")
    with pytest.raises(InputError, match=r"pointad_coop.safetensors: has no prompts of the layers \['geometry'\]"):
        score(toys["carrot"], tmp_path / "s.zarr.zip", "pointad_plus_coop", trained["pointad_coop"], "carrot")
    long = "carrot " * 70
    with pytest.raises(InputError, match=r"context_length is 12, but the text tower .* takes 77 tokens"):
        score(toys["carrot"], tmp_path / "s.zarr.zip", "pointad_coop", trained["pointad_coop"], long)
    wide = {**MODEL, "model": "ViT-S-32-alt", "random_seed": 1, "resolution": 224}
    with pytest.raises(InputError, match=r"the prompts' tokens have .* dimensions, the text tower"):
        score(toys["carrot"], tmp_path / "s.zarr.zip", "pointad_coop", trained["pointad_coop"], "carrot", wide)
    assert not list(tmp_path.iterdir())
