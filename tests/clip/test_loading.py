"""Every way of loading weights, and what is refused."""

import io
import logging
import os
import pickle
import warnings
import zipfile

import clip_oracle as oracle
import numpy as np
import pytest
import torch
from clip_oracle import TEXTS, draw_images, shake
from safetensors.torch import save_file

from pointad_core.clip.loading import import_models, load_clip
from pointad_core.errors import InputError

open_clip = import_models()


def state(clip):
    return clip.model.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_random_weights_come_from_the_seed_alone(models):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = load_clip("tiny", 2, random_seed=111)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(state(first), state(load_clip("tiny", 2, random_seed=111)))
    assert not same(state(first), state(load_clip("tiny", 2, random_seed=112)))


def test_loading_leaves_the_root_logger_alone(models, monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])  # as in a job; pytest has its own there
    level = root.level
    load_clip("tiny", 2, random_seed=1)
    assert (root.handlers, root.level) == ([], level)


def test_the_pocket_model_is_what_the_default_needs():
    clip = load_clip("pointad-pocket", 1, random_seed=111, resolution=336)
    assert (clip.resolution, clip.grid, clip.context_length) == (336, 24, 77)
    assert (clip.dim, clip.text_width, clip.text_blocks) == (128, 64, 4)
    image = torch.ones(1, 3, 336, 336)
    image[..., 100:200, 100:200] = torch.rand(100, 100, generator=torch.Generator().manual_seed(0))
    features = clip.encode_images(image)["patches_vv"][0]
    assert features.shape == (576, 128)
    # Random weights still tell an object from the background.
    cosines = features @ features.T
    background, middle = 0, 10 * 24 + 10
    assert cosines[background, 1] > cosines[background, middle] + 0.05


class AsOpenAI(torch.nn.Module):
    """OpenAI's archives carry three numbers beside the weights, and masks as TorchScript keeps them."""

    def __init__(self, model):
        super().__init__()
        for name, child in model.named_children():
            setattr(self, name, child)
        for name, parameter in model.named_parameters(recurse=False):
            setattr(self, name, parameter)
        self.register_buffer("attn_mask", model.attn_mask)
        for name, value in (("input_resolution", 42), ("context_length", 24), ("vocab_size", 49408)):
            self.register_buffer(name, torch.tensor(value))

    def forward(self, image):
        return self.visual(image)


def save_archive(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; OpenAI's files stay what they are
        torch.jit.save(torch.jit.trace(module, torch.zeros(1, 3, 42, 42)), path)


@pytest.fixture(scope="module")
def trained(models):
    return shake(load_clip("tiny", 2, random_seed=3), 4)


@pytest.mark.parametrize("form", ["pt", "bin", "training", "distributed", "safetensors", "archive"])
def test_every_kind_of_checkpoint_gives_the_same_weights(trained, tmp_path, form):
    path = tmp_path / "weights.pt"
    if form in ("pt", "bin"):
        path = tmp_path / f"weights.{form}"
        torch.save(state(trained), path)
    elif form == "training":
        torch.save({"epoch": 3, "state_dict": dict(state(trained))}, path)
    elif form == "distributed":
        torch.save({f"module.{name}": tensor for name, tensor in state(trained).items()}, path)
    elif form == "safetensors":
        path = tmp_path / "weights.safetensors"
        save_file(state(trained), path)
    else:
        save_archive(trained.model.visual, path)  # a part only: the rest is told to be missing
        with pytest.raises(InputError, match=r"weights\.pt.*does not fit model 'tiny'.*missing"):
            load_clip("tiny", 2, checkpoint=path, quick_gelu=False)
        save_archive(AsOpenAI(trained.model), path)
    loaded = load_clip("tiny", 2, checkpoint=path, quick_gelu=form == "archive")
    assert same(state(loaded), state(trained))


def test_half_precision_weights_become_float32(trained, tmp_path):
    half = {name: tensor.half() for name, tensor in state(trained).items()}
    torch.save(half, tmp_path / "half.pt")
    loaded = state(load_clip("tiny", 2, checkpoint=tmp_path / "half.pt", quick_gelu=False))
    assert same(loaded, {name: tensor.float() for name, tensor in half.items()})


def test_weights_of_the_older_layout_fit_a_custom_text_model(trained, tmp_path):
    torch.save(state(trained), tmp_path / "old.pt")
    loaded = load_clip("tiny-custom-text", 2, checkpoint=tmp_path / "old.pt")
    torch.testing.assert_close(loaded.encode_text(TEXTS), trained.encode_text(TEXTS))


def test_an_archive_of_openais_is_built_with_quick_gelu(trained, tmp_path):
    save_archive(AsOpenAI(trained.model), tmp_path / "openai.pt")
    torch.save(state(trained), tmp_path / "plain.pt")
    images = torch.from_numpy(draw_images(1))
    archive = load_clip("tiny", 2, checkpoint=tmp_path / "openai.pt").encode_images(images)["global"]
    quick = load_clip("tiny-quickgelu", 2, checkpoint=tmp_path / "plain.pt").encode_images(images)["global"]
    plain = load_clip("tiny", 2, checkpoint=tmp_path / "plain.pt", quick_gelu=False).encode_images(images)["global"]
    assert torch.equal(archive, quick)
    assert not torch.allclose(archive, plain, atol=1e-4)


def test_weights_that_say_nothing_of_their_activation_are_refused_where_a_model_exists_both_ways(trained, tmp_path):
    save_file(state(trained), tmp_path / "new.safetensors")
    torch.save(state(trained), tmp_path / "new.pt")
    images = torch.from_numpy(draw_images(1))
    weights = oracle.weights_of(trained.model)
    for name in ("new.safetensors", "new.pt"):
        with pytest.raises(InputError, match=rf"{name} does not say whether .* `quick_gelu: true` or"):
            load_clip("tiny", 2, checkpoint=tmp_path / name)
        for quick in (True, False):
            clip = load_clip("tiny", 2, checkpoint=tmp_path / name, quick_gelu=quick)
            constants = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
            expected = oracle.encode_image(images[0].double().numpy(), weights, 2, 2, *constants, quick=quick)
            np.testing.assert_allclose(clip.encode_images(images)["global"][0].numpy(), expected["global"], atol=2e-6)
    # A model that exists one way leaves nothing open.
    torch.save(load_clip("tiny-no-ln-pre", 2, random_seed=1).model.state_dict(), tmp_path / "one.pt")
    load_clip("tiny-no-ln-pre", 2, checkpoint=tmp_path / "one.pt")


def said(trained, folder, how):
    """A checkpoint that says in one of several ways that it is with QuickGELU."""
    folder.mkdir()
    path = folder / "weights.safetensors"
    if how == "metadata":
        save_file(state(trained), path, metadata={"quick_gelu": "true"})
    elif how == "beside":
        save_file(state(trained), path)
        (folder / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 10, "quick_gelu": true}}')
    elif how == "numbers":
        numbers = {name: torch.tensor(1) for name in ("input_resolution", "context_length", "vocab_size")}
        save_file({**state(trained), **numbers}, path)
    else:
        path = folder / "weights.pt"
        save_archive(AsOpenAI(trained.model), path)
    return path


@pytest.mark.parametrize("how", ["metadata", "beside", "numbers", "archive"])
def test_a_file_that_says_its_activation_is_believed(trained, tmp_path, how):
    path = said(trained, tmp_path / "said", how)
    torch.save(state(trained), tmp_path / "plain.pt")
    images = torch.from_numpy(draw_images(1))
    quick = load_clip("tiny-quickgelu", 2, checkpoint=tmp_path / "plain.pt").encode_images(images)["global"]
    for given in (None, True):
        clip = load_clip("tiny", 2, checkpoint=path, quick_gelu=given)
        assert torch.equal(clip.encode_images(images)["global"], quick)
    with pytest.raises(InputError, match=r"quick_gelu is false, but the file .* says that it is true"):
        load_clip("tiny", 2, checkpoint=path, quick_gelu=False)


def test_a_file_that_says_that_it_is_without_quick_gelu(trained, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(state(trained), path, metadata={"quick_gelu": "false"})
    images = torch.from_numpy(draw_images(1))
    clip = load_clip("tiny", 2, checkpoint=path)
    expected = load_clip("tiny", 2, random_seed=3)  # the same model before it was shaken
    expected.model.load_state_dict(state(trained))
    assert torch.equal(clip.encode_images(images)["global"], expected.encode_images(images)["global"])
    with pytest.raises(InputError, match="model 'tiny-quickgelu' is with QuickGELU, but the file"):
        load_clip("tiny-quickgelu", 2, checkpoint=path)
    with pytest.raises(InputError, match="model 'tiny-quickgelu' is with QuickGELU, but the key `quick_gelu`"):
        load_clip("tiny-quickgelu", 2, random_seed=1, quick_gelu=False)


def change(name, value):
    def apply(weights):
        weights[name] = value
        return weights

    return apply


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda w: {k: v for k, v in w.items() if k != "visual.proj"}, r"missing: visual\.proj"),
        (change("visual.head.weight", torch.zeros(2)), r"unexpected: visual\.head\.weight"),
        (change("visual.proj", torch.zeros(16, 11)), r"visual\.proj \[16, 11\] instead of \[16, 10\]"),
        (change("visual.positional_embedding", torch.zeros(17, 16)), r"positional_embedding \[17, 16\] instead of"),
        (change("ln_final.bias", torch.full((12,), float("nan"))), r"not finite: ln_final\.bias"),
        (change("epoch", 3), r"'epoch' is of type int"),
        (lambda w: [], "expected a state dict, found list"),
        (lambda w: {f"other.{k}": v for k, v in w.items()}, r"missing: .* and \d+ more; unexpected: .*"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(trained, tmp_path, spoil, told):
    path = tmp_path / "misfit.pt"
    torch.save(spoil(dict(state(trained))), path)
    with pytest.raises(InputError, match=told) as caught:
        load_clip("tiny", 2, checkpoint=path, quick_gelu=False)
    assert str(path) in str(caught.value)


def test_files_that_are_no_checkpoint_are_refused(trained, tmp_path):
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.bin").write_bytes(b"")
    save_file(state(trained), tmp_path / "whole.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-100])
    torch.save(state(trained), tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:-100])
    for name in ("text.pt", "empty.bin", "cut.safetensors", "cut.pt"):
        with pytest.raises(InputError, match=f"{name}: not a checkpoint that can be read safely"):
            load_clip("tiny", 2, checkpoint=tmp_path / name)
    with pytest.raises(InputError, match=r"nowhere\.pt: no such checkpoint"):
        load_clip("tiny", 2, checkpoint=tmp_path / "nowhere.pt")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def test_nothing_in_a_checkpoint_is_run(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"visual.proj": Evil()}, "evil.pt")
    with zipfile.ZipFile("archive.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil(), protocol=2))
        archive.writestr("archive/constants.pkl", pickle.dumps(()))
    for name in ("evil.pt", "archive.pt"):
        with pytest.raises(InputError, match="not a checkpoint that can be read safely"):
            load_clip("tiny", 2, checkpoint=name)
    assert not (tmp_path / "evil").exists()
    pickle.load(io.BytesIO(pickle.dumps(Evil())))  # noqa: S301 - it would have worked
    assert (tmp_path / "evil").exists()


def tag(path, **changes):
    return {"file": str(path), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), **changes}


def test_a_tag_brings_its_activation_and_its_image_constants(trained, tmp_path, monkeypatch):
    path = tmp_path / "weights.pt"
    torch.save(state(trained), path)
    tags = {"quick": tag(path, quick_gelu=True), "gelu": tag(path)}
    for name in ("tiny", "tiny-quickgelu"):
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, tags)
    images = torch.from_numpy(draw_images(2))
    weights = oracle.weights_of(trained.model)
    for model, label in (("tiny", "quick"), ("tiny", "gelu"), ("tiny-quickgelu", "quick")):
        clip = load_clip(model, 2, pretrained=label)
        expected = oracle.encode_image(
            images[0].double().numpy(), weights, 2, 2, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), quick=label == "quick"
        )
        np.testing.assert_allclose(clip.encode_images(images)["global"][0].numpy(), expected["global"], atol=2e-6)
    with pytest.raises(InputError, match="the tag 'gelu' says that the weights were not trained with it; use 'tiny'"):
        load_clip("tiny-quickgelu", 2, pretrained="gelu")
    with pytest.raises(InputError, match=r"'tiny' has no pretrained weights 'quik', close names are \['quick'\]"):
        load_clip("tiny", 2, pretrained="quik")


def test_open_clip_still_says_which_weights_need_quick_gelu():
    for name in ("ViT-L-14-336", "ViT-L-14-336-quickgelu"):
        assert open_clip.get_pretrained_cfg(name, "openai")["quick_gelu"] is True


def test_a_failing_download_points_to_local_checkpoints(models, monkeypatch):
    def offline(**kwargs):
        raise OSError("cannot reach the hub")

    monkeypatch.setattr(open_clip.pretrained, "hf_hub_download", offline)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", {"hub": {"hf_hub": "someone/something/"}})
    with pytest.raises(InputError, match=r"'hub' of 'tiny' could not be downloaded.*reach the hub.*`checkpoint`"):
        load_clip("tiny", 2, pretrained="hub")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("ViT-L-14-366", r"unknown model 'ViT-L-14-366', close names are \[.*'ViT-L-14-336'"),
        ("pointad-pockets", "'pointad-pocket'"),
        ("hf-hub:someone/something", "unknown model"),
        ("RN50", "'RN50' cannot be used: its image tower is a ResNet"),
        ("ViT-B-16-SigLIP", "'ViT-B-16-SigLIP' cannot be used: its image tower is timm's"),
        ("coca_ViT-B-32", "'coca_ViT-B-32' cannot be used: its image tower does not pool by the class token"),
        ("xlm-roberta-base-ViT-B-32", "its text tower is xlm-roberta-base"),
    ],
)
def test_models_that_cannot_be_used_are_refused(model, told):
    with pytest.raises(InputError, match=told):
        load_clip(model, 2, random_seed=1)


def test_options_are_checked(models):
    for vv_blocks in (0, 4, 19):
        with pytest.raises(InputError, match=f"vv_blocks is {vv_blocks}, model 'tiny' with 4 blocks allows 1 to 3"):
            load_clip("tiny", vv_blocks, random_seed=1)
    with pytest.raises(InputError, match="resolution is 336, but model 'tiny' takes images of 42 pixels"):
        load_clip("tiny", 2, random_seed=1, resolution=336)
    with pytest.raises(InputError, match="exactly one of"):
        load_clip("tiny", 2)
    with pytest.raises(InputError, match=r"found \['pretrained', 'random_seed'\]"):
        load_clip("tiny", 2, pretrained="openai", random_seed=1)
