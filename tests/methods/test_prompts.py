"""Prompts: their layout in the text tower, their first weights, and what a file of them restores."""

import copy
import math

import pytest
import torch
from cases import CPU, MODEL

from pointad_core.clip.loading import load_clip
from pointad_core.errors import InputError
from pointad_core.methods.interface import Settings
from pointad_core.methods.prompts import PromptLearner, handwritten, learnt


@pytest.fixture(scope="module")
def clip():
    return load_clip("pointad-pocket", 1, random_seed=111)


def first(clip, texts=("object.", "damaged object."), seed=0, **settings):
    return PromptLearner.first(
        clip, texts, Settings(**{"deep_blocks": 3} | settings), torch.Generator().manual_seed(seed)
    )


def naive_embeddings(clip, texts, context, deep):
    """Text tower on all 77 tokens, float64, with placeholders replaced; written from the description."""
    text = copy.deepcopy(clip.text).double()
    features = []
    for words, tokens in zip(texts, context, strict=True):
        ids = clip.tokenizer([" ".join(["X"] * len(tokens)) + " " + words])[0]
        x = text.token_embedding.weight.double()[ids]
        x = torch.cat([x[:1], tokens, x[1 + len(tokens) :]]) + text.positional_embedding.double()
        mask = torch.full((len(ids), len(ids)), -math.inf, dtype=torch.float64).triu(1)
        for number, block in enumerate(text.transformer.resblocks, start=1):
            if 2 <= number <= len(deep) + 1:
                x = torch.cat([x[:1], deep[number - 2], x[1 + deep.shape[1] :]])
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
    pair = first(clip, texts)
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


def test_deep_tokens_are_rounded_to_half_precision_on_request(clip):
    texts = ("object.", "damaged object.")
    exact, half = first(clip), first(clip, deep_precision="half")
    with torch.no_grad():
        for pair in (exact, half):
            pair.deep.mul_(20)
    rounded = torch.from_numpy(half.deep.detach().numpy().astype("float16").astype("float64"))
    wanted = naive_embeddings(clip, texts, half.context.detach().double(), rounded)
    torch.testing.assert_close(half.embeddings().double(), wanted, rtol=0, atol=1e-5)
    assert (half.embeddings() - exact.embeddings()).abs().max() > 1e-6
    # What is learnt keeps its precision; a gradient is rounded on its way back.
    (gradient,) = torch.autograd.grad(half.embeddings()[:, 0].sum(), half.deep)
    torch.testing.assert_close(gradient, gradient.half().float(), rtol=0, atol=0)
    assert half.deep.dtype == torch.float32
    assert not torch.equal(half.deep, half.deep.half().float())


def test_a_token_stands_behind_the_context_of_the_abnormal_prompt_alone(clip):
    texts = ("object.", "damaged object.")
    pair = first(clip)
    with torch.no_grad():
        pair.context.mul_(20)
    token = torch.randn(clip.text_width, generator=torch.Generator().manual_seed(2)) * 0.4
    normal, abnormal = pair.context.detach().double()
    wanted = naive_embeddings(
        clip, texts, [normal, torch.cat([abnormal, token[None].double()])], pair.deep.detach().double()
    )
    torch.testing.assert_close(pair.embeddings(token).double(), wanted, rtol=0, atol=1e-5)
    without = pair.embeddings()
    torch.testing.assert_close(pair.embeddings(token)[0], without[0])
    assert (pair.embeddings(token)[1] - without[1]).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("texts", "ends"),
    [(("object.", "damaged object."), (15, 16)), (("point cloud.", "damaged point cloud."), (16, 17))],
)
def test_end_tokens_stand_where_the_papers_prompts_end(clip, texts, ends):
    whole = clip.tokenizer([" ".join(["X"] * 12) + " " + text for text in texts])
    assert tuple(whole.argmax(1).tolist()) == ends
    assert tuple(first(clip, texts)._ends.tolist()) == ends


def test_first_tokens_come_from_the_seed_with_deviation_002(clip):
    one, again, other = (first(clip, seed=seed) for seed in (1, 1, 2))
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
        first(clip, context_length=3)
    with pytest.raises(InputError, match=r"context_length is 73, but the text tower .* takes 77 tokens"):
        first(clip, context_length=73)
    first(clip, context_length=72).embeddings()
    with pytest.raises(InputError, match="deep_blocks is 9"):
        first(clip, deep_blocks=9).embeddings()


# What systems with prompts share --------------------------------------------------------------------------------------


def templates(name):
    return {"rendering": (f"{name}.", f"damaged {name}."), "geometry": ("point cloud.", "damaged point cloud.")}


def first_prompts(class_names=False, name="rope", seed=4):
    first_weights, restore = learnt(templates, class_names)
    prompts = first_weights(name, Settings(deep_blocks=3), MODEL, torch.Generator().manual_seed(seed), CPU)
    return prompts, restore


def test_each_layer_has_a_pair_of_its_own(clip):
    prompts, _ = first_prompts()
    generator = torch.Generator().manual_seed(4)
    pairs = {
        layer: PromptLearner.first(clip, texts, Settings(deep_blocks=3), generator)
        for layer, texts in templates("rope").items()
    }
    state = prompts.state()
    assert list(state) == ["rendering", "geometry"]
    for layer, pair in pairs.items():
        torch.testing.assert_close(state[layer], pair.embeddings())
    assert [part.shape for part in prompts.parameters()] == [(2, 12, clip.text_width), (3, 4, clip.text_width)] * 2
    assert all(part.requires_grad and part.is_leaf for part in prompts.parameters())
    assert prompts.description() == {"texts": templates("rope")}


def test_prompts_without_names_are_restored_without_a_model():
    prompts, restore = first_prompts()
    state = restore(prompts.tensors(), Settings(), {"model": "no such model"}, CPU)
    for name in ("rope", "tyre"):
        for layer, embeddings in prompts.state().items():
            torch.testing.assert_close(state(name)[layer], embeddings.detach())


@torch.no_grad()
def test_prompts_with_names_are_restored_before_any_other(clip):
    prompts, restore = first_prompts(class_names=True)
    state = restore(prompts.tensors(), Settings(), MODEL, CPU)
    torch.testing.assert_close(state("rope"), prompts.state())
    pair = first(clip, templates("tyre")["rendering"])
    kept = prompts.tensors()
    pair.context = torch.stack([kept["rendering.context_normal"], kept["rendering.context_abnormal"]])
    pair.deep = kept["rendering.deep"]
    torch.testing.assert_close(state("tyre")["rendering"], pair.embeddings())
    torch.testing.assert_close(state("tyre")["geometry"], prompts.state()["geometry"])


def test_other_tensors_are_refused():
    prompts, restore = first_prompts()
    tensors = {name: part for name, part in prompts.tensors().items() if not name.startswith("geometry")}
    with pytest.raises(
        InputError, match=r"has no prompts of the layers \['geometry'\], only \['rendering.con.*embeddings'\]"
    ):
        restore(tensors, Settings(), MODEL, CPU)
    wide = {**MODEL, "model": "ViT-S-32-alt", "resolution": 224}
    prompts, restore = first_prompts(class_names=True)
    with pytest.raises(
        InputError, match=r"the prompts' tokens have 64 dimensions, the text tower of 'ViT-S-32-alt' takes"
    ):
        restore(prompts.tensors(), Settings(), wide, CPU)("rope")


def test_handwritten_prompts_are_the_texts_alone(clip):
    state = handwritten(templates)({}, Settings(), MODEL, CPU)
    for name in ("rope", "tyre"):
        assert list(state(name)) == ["rendering", "geometry"]
        for layer, texts in templates(name).items():
            torch.testing.assert_close(state(name)[layer], clip.encode_text(list(texts)))
