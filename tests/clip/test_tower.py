"""CLIP's streams and prompts against naive float64 towers and open_clip's own."""

import clip_oracle as oracle
import numpy as np
import pytest
import torch
from clip_oracle import TEXTS, draw_images, shake

from pointad_core.clip.loading import import_models, load_clip
from pointad_core.errors import InputError

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


def test_tokens_go_on_from_any_block_before_the_vv_blocks(models):
    clip = load_clip("tiny", 2, random_seed=3)
    images = torch.from_numpy(draw_images(7))
    whole = clip.encode_images(images)
    tokens = clip.embed_patches(images)
    for start in (1, 2):
        tokens = clip.visual.transformer.resblocks[start - 1](tokens)
        for name, value in clip.encode_tokens(tokens, start=start).items():
            torch.testing.assert_close(value, whole[name], msg=name)


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


@pytest.mark.parametrize("name", ["tiny", "tiny-quickgelu", "tiny-scale", "tiny-custom-text", "tiny-end-token"])
def test_plain_texts_are_open_clips_own(models, name):
    clip = shake(load_clip(name, 2, random_seed=3), 4)
    tokens = import_models().tokenize(TEXTS, context_length=24)
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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_features_on_the_gpu_equal_those_on_the_cpu(models):
    images = torch.from_numpy(draw_images(3))
    cpu = load_clip("tiny", 2, random_seed=3)
    gpu = load_clip("tiny", 2, random_seed=3, device="cuda")
    for name, value in gpu.encode_images(images).items():
        torch.testing.assert_close(value.cpu(), cpu.encode_images(images)[name], atol=1e-4, rtol=0)
    torch.testing.assert_close(gpu.encode_text(TEXTS).cpu(), cpu.encode_text(TEXTS), atol=1e-4, rtol=0)
