"""CLIP's streams and prompts against naive float64 towers, and every way of loading weights."""

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
from safetensors.torch import save_file

from pointad_core.clip import _open_clip, load_clip
from pointad_core.errors import InputError

open_clip = _open_clip()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Registers variants of the tiny model; returns the folder for more."""
    folder = tmp_path_factory.mktemp("models")
    oracle.register(folder)
    oracle.register(folder, "tiny-quickgelu", quick_gelu=True)
    oracle.register(
        folder, "tiny-scale", vision={"ls_init_value": 0.3, "patch_dropout": 0.5}, text={"ls_init_value": 2}
    )
    oracle.register(folder, "tiny-no-ln-pre", vision={"no_ln_pre": True})
    oracle.register(folder, "tiny-custom-text", custom_text=True)
    return folder


def draw_images(seed, n=2, size=42):
    return np.random.default_rng(seed).random((n, 3, size, size), dtype=np.float32)


def shake(clip, seed):
    """Move every weight off its initial value, so that biases, norms and layer scales take part."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in clip.model.parameters():
        parameter.data += 0.3 * parameter.data.std(correction=0) * torch.randn(parameter.shape, generator=generator)
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return clip


# Images -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vv_blocks", [1, 2, 3])
@pytest.mark.parametrize("name", ["tiny", "tiny-quickgelu", "tiny-scale", "tiny-no-ln-pre", "tiny-custom-text"])
def test_image_features_equal_the_naive_tower(models, name, vv_blocks):
    clip = shake(load_clip(name, vv_blocks, random_seed=3), 4)
    images = draw_images(5)
    found = clip.encode_images(torch.from_numpy(images))
    weights = oracle.weights_of(clip.model)
    for index, image in enumerate(images):
        expected = oracle.encode_image(
            image.astype(np.float64),
            weights,
            heads=2,
            vv_blocks=vv_blocks,
            mean=[0.48145466, 0.4578275, 0.40821073],
            std=[0.26862954, 0.26130258, 0.27577711],
            quick=name == "tiny-quickgelu",
        )
        assert found.keys() == expected.keys()
        for stream, value in expected.items():
            assert found[stream].dtype == torch.float32
            np.testing.assert_allclose(found[stream][index].numpy(), value, atol=2e-6, err_msg=stream)


@pytest.mark.parametrize("name", ["tiny", "tiny-scale", "tiny-custom-text"])
def test_plain_features_are_open_clips_own(models, name):
    clip = shake(load_clip(name, 2, random_seed=3), 4)
    images = torch.from_numpy(draw_images(6))
    found = clip.encode_images(images, streams=["plain"])
    assert found.keys() == {"global", "patches_plain"}
    clip.visual.output_tokens = True
    pooled, tokens = clip.visual((images - clip.mean) / clip.std)
    torch.testing.assert_close(found["global"], torch.nn.functional.normalize(pooled, dim=-1))
    tokens = torch.nn.functional.normalize(tokens @ clip.visual.proj, dim=-1)
    torch.testing.assert_close(found["patches_plain"], tokens)


def test_streams_are_the_same_alone_and_together(models):
    clip = load_clip("tiny", 2, random_seed=3)
    images = torch.from_numpy(draw_images(7))
    both = clip.encode_images(images)
    for stream in ("vv", "plain"):
        alone = clip.encode_images(images, streams=[stream])
        assert alone.keys() == {"global", f"patches_{stream}"}
        for name, value in alone.items():
            assert torch.equal(value, both[name])


def test_batch_first_makes_no_difference(models):
    clip = load_clip("tiny", 2, random_seed=3)
    images = torch.from_numpy(draw_images(8))
    tokens = clip.tokenize(["a dented peach"])
    before = clip.encode_images(images), clip.encode_prompts(clip.embed_tokens(tokens), clip.end_positions(tokens))
    for transformer in (clip.visual.transformer, clip.text.transformer):
        transformer.batch_first = False
        for part in transformer.resblocks:
            part.attn.batch_first = False
    after = clip.encode_images(images), clip.encode_prompts(clip.embed_tokens(tokens), clip.end_positions(tokens))
    torch.testing.assert_close(after, before)


def test_the_model_is_left_as_it_was(models):
    clip = load_clip("tiny", 3, random_seed=3)
    before = {name: tensor.clone() for name, tensor in clip.model.state_dict().items()}
    clip.encode_images(torch.from_numpy(draw_images(9)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in clip.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in clip.model.parameters())


def test_bad_images_and_streams_are_refused(models):
    clip = load_clip("tiny", 2, random_seed=3)
    with pytest.raises(ValueError, match=r"\[1, 3, 28, 28\].*42"):
        clip.encode_images(torch.zeros(1, 3, 28, 28))
    with pytest.raises(ValueError, match="qq"):
        clip.encode_images(torch.zeros(1, 3, 42, 42), streams=["qq"])


# Texts --------------------------------------------------------------------------------------------------------

TEXTS = ["object.", "damaged object.", "a photo of a normal bagel with a rather long description of its surface"]


@pytest.mark.parametrize("name", ["tiny", "tiny-quickgelu", "tiny-scale", "tiny-custom-text"])
def test_plain_texts_are_open_clips_own(models, name):
    clip = shake(load_clip(name, 2, random_seed=3), 4)
    tokens = open_clip.tokenize(TEXTS, context_length=24)
    expected = torch.nn.functional.normalize(clip.model.encode_text(tokens), dim=-1)
    torch.testing.assert_close(clip.encode_text(TEXTS), expected)
    assert torch.equal(clip.tokenize(TEXTS), tokens)
    # The prompt path without deep prompts is the same function.
    found = clip.encode_prompts(clip.embed_tokens(tokens), clip.end_positions(tokens))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("n_deep", [1, 3])
@pytest.mark.parametrize("name", ["tiny", "tiny-quickgelu", "tiny-custom-text"])
def test_deep_prompts_and_gradients_equal_the_naive_tower(models, name, n_deep):
    clip = shake(load_clip(name, 2, random_seed=3), 4)
    weights = oracle.weights_of(clip.model)
    rng = np.random.default_rng(5)
    tokens = clip.tokenize(["X X X X X object.", "X X X X X damaged object."])
    ends = clip.end_positions(tokens)
    assert ends.tolist() == [8, 9]
    context = rng.normal(scale=0.5, size=(2, 5, 12))
    deep = rng.normal(scale=0.5, size=(n_deep, 4, 12))
    embedded = clip.embed_tokens(tokens).double().numpy()

    def naive(context, deep):
        prompts = embedded.copy()
        prompts[:, 1:6] = context
        return np.array(
            [
                oracle.encode_prompt(
                    prompt,
                    int(end),
                    deep,
                    weights,
                    heads=3,
                    quick=name == "tiny-quickgelu",
                    prefix="text." if name == "tiny-custom-text" else "",
                )
                for prompt, end in zip(prompts, ends, strict=True)
            ]
        )

    learnable = torch.tensor(context, dtype=torch.float32, requires_grad=True)
    learnable_deep = torch.tensor(deep, dtype=torch.float32, requires_grad=True)
    start = clip.embed_tokens(tokens)
    prompts = torch.cat([start[:, :1], learnable, start[:, 6:]], dim=1)
    found = clip.encode_prompts(prompts, ends, learnable_deep)
    np.testing.assert_allclose(found.detach().numpy(), naive(context, deep), atol=2e-6)

    upstream = rng.normal(size=(2, 10))
    found.backward(torch.tensor(upstream, dtype=torch.float32))
    for variable, moved in ((learnable, 0), (learnable_deep, 1)):
        direction = rng.normal(size=variable.shape)
        plus, minus = ([context, deep], [context, deep])
        plus[moved] = plus[moved] + 1e-5 * direction
        minus[moved] = minus[moved] - 1e-5 * direction
        slope = ((naive(*plus) - naive(*minus)) * upstream).sum() / 2e-5
        assert variable.grad is not None
        assert (variable.grad.double().numpy() * direction).sum() == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_too_many_deep_prompts_are_refused(models):
    clip = load_clip("tiny", 2, random_seed=3)
    with pytest.raises(InputError, match=r"deep_blocks is 4.*4 blocks.*at most 3"):
        clip.encode_prompts(torch.zeros(1, 24, 12), torch.tensor([5]), torch.zeros(4, 4, 12))


# Loading ------------------------------------------------------------------------------------------------------


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
            load_clip("tiny", 2, checkpoint=path)
        save_archive(AsOpenAI(trained.model), path)
    loaded = load_clip("tiny", 2, checkpoint=path)
    assert same(state(loaded), state(trained))


def test_half_precision_weights_become_float32(trained, tmp_path):
    half = {name: tensor.half() for name, tensor in state(trained).items()}
    torch.save(half, tmp_path / "half.pt")
    loaded = state(load_clip("tiny", 2, checkpoint=tmp_path / "half.pt"))
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
    plain = load_clip("tiny", 2, checkpoint=tmp_path / "plain.pt").encode_images(images)["global"]
    assert torch.equal(archive, quick)
    assert not torch.allclose(archive, plain, atol=1e-4)


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
        load_clip("tiny", 2, checkpoint=path)
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
    with pytest.raises(InputError, match="not trained with QuickGELU"):
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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_features_on_the_gpu_equal_those_on_the_cpu(models):
    images = torch.from_numpy(draw_images(3))
    cpu = load_clip("tiny", 2, random_seed=3)
    gpu = load_clip("tiny", 2, random_seed=3, device="cuda")
    for name, value in gpu.encode_images(images).items():
        torch.testing.assert_close(value.cpu(), cpu.encode_images(images)[name], atol=1e-4, rtol=0)
    torch.testing.assert_close(gpu.encode_text(TEXTS).cpu(), cpu.encode_text(TEXTS), atol=1e-4, rtol=0)
