"""Point-MAE's encoder and the transformer's blocks: against loops in float64, and files in the published form."""

import numpy as np
import pytest
import torch

from pointad_core.errors import InputError
from pointad_core.methods import point_mae
from pointad_core.methods.point_mae import PointMae, load_point_mae, nearest_centres
from pointad_core.methods.transformer import Block, draw
from tests.transformer_oracle import naive_block, naive_norm, noisy

CPU = torch.device("cpu")


@pytest.fixture
def small(monkeypatch):
    """The same network, narrower."""
    monkeypatch.setattr(point_mae, "WIDTH", 12)
    monkeypatch.setattr(point_mae, "HEADS", 3)


@pytest.mark.parametrize("qkv_bias", [False, True])
def test_a_block_is_that_of_loops(qkv_bias):
    block = noisy(Block(12, 3, qkv_bias, 1e-5))
    tokens = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))
    found = block(tokens[None])[0]
    torch.testing.assert_close(found.double(), naive_block(block, tokens.double()), rtol=1e-4, atol=1e-4)


def naive_token(encoder, group):
    """The small PointNet, point by point."""

    def conv(part, x):
        return part.weight[:, :, 0].double() @ x + part.bias.double()

    def batch(part, x):
        scaled = (x - part.running_mean.double()) / (part.running_var.double() + part.eps).sqrt()
        return scaled * part.weight.double() + part.bias.double()

    first, second = encoder.first_conv, encoder.second_conv
    each = [conv(first[3], batch(first[1], conv(first[0], point)).clamp(min=0)) for point in group.double()]
    whole = torch.stack(each).amax(0)
    rest = [conv(second[3], batch(second[1], conv(second[0], torch.cat([whole, x]))).clamp(min=0)) for x in each]
    return torch.stack(rest).amax(0)


@pytest.mark.usefixtures("small")
def test_features_are_those_of_loops():
    network = noisy(PointMae(), 2)
    rng = torch.Generator().manual_seed(3)
    groups, centres = 0.1 * torch.randn(4, 7, 3, generator=rng), torch.randn(4, 3, generator=rng)
    found = network(groups, centres)
    assert found.shape == (4, 36)
    tokens = torch.stack([naive_token(network.encoder, group) for group in groups])
    hidden = [network.pos_embed[0].double()(centre.double()) for centre in centres]
    places = torch.stack([network.pos_embed[2].double()(x * 0.5 * (1 + torch.erf(x / 2**0.5))) for x in hidden])
    kept = []
    for index, block in enumerate(network.blocks.blocks):
        tokens = naive_block(block, tokens + places)
        if index in (3, 7, 11):
            kept.append(torch.stack([naive_norm(network.norm, token) for token in tokens]))
    torch.testing.assert_close(found.double(), torch.cat(kept, 1), rtol=1e-3, atol=1e-3)


def test_a_group_in_another_order_is_the_same_group():
    network = load_point_mae(None, 0, CPU)
    rng = torch.Generator().manual_seed(0)
    groups, centres = torch.randn(3, 20, 3, generator=rng), torch.randn(3, 3, generator=rng)
    order = torch.randperm(20, generator=rng)
    torch.testing.assert_close(network(groups[:, order], centres), network(groups, centres), rtol=1e-4, atol=1e-4)


def test_the_published_sizes():
    shapes = {name: tuple(part.shape) for name, part in PointMae().state_dict().items()}
    assert shapes["encoder.first_conv.0.weight"] == (128, 3, 1)
    assert shapes["encoder.second_conv.3.weight"] == (384, 512, 1)
    assert shapes["pos_embed.2.weight"] == (384, 128)
    assert shapes["blocks.blocks.11.attn.qkv.weight"] == (1152, 384)
    assert "blocks.blocks.0.attn.qkv.bias" not in shapes
    assert shapes["norm.weight"] == (384,)


def published(tmp_path, change=lambda _: None):
    """A file of pre-training: the encoder, a decoder beside it, what the optimiser knew, and the names of a run on
    several GPUs."""
    encoder = noisy(PointMae(), 5).state_dict()
    state = {f"MAE_encoder.{name}": part for name, part in encoder.items()}
    state |= {"mask_token": torch.zeros(1, 1, 12), "decoder_pos_embed.0.weight": torch.zeros(128, 3)}
    state |= {"MAE_decoder.blocks.0.norm1.weight": torch.ones(12), "increase_dim.0.bias": torch.zeros(96)}
    change(state)
    path = tmp_path / "pretrain.pth"
    torch.save({"base_model": {f"module.{name}": part for name, part in state.items()}, "epoch": 300}, path)
    return path, encoder


@pytest.mark.usefixtures("small")
def test_published_weights_are_read(tmp_path):
    path, encoder = published(tmp_path)
    network = load_point_mae(path, 0, CPU)
    assert all(torch.equal(part, encoder[name]) for name, part in network.state_dict().items())
    torch.save(encoder, path)
    assert all(torch.equal(part, encoder[name]) for name, part in load_point_mae(path, 0, CPU).state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("MAE_encoder.norm.bias"), r"'norm.bias' is missing, expected \(12,\)"),
        (
            lambda state: state.update({"MAE_encoder.pos_embed.0.weight": torch.zeros(128, 4)}),
            r"'pos_embed.0.weight' is \(128, 4\), expected \(128, 3\)",
        ),
        (
            lambda state: state["MAE_encoder.norm.weight"].fill_(float("nan")),
            "'norm.weight' is not finite",
        ),
        (lambda state: state.update({"MAE_encoder.cls_token": torch.zeros(1)}), "it has 'cls_token', which no part"),
    ],
)
@pytest.mark.usefixtures("small")
def test_other_files_are_refused(tmp_path, change, message):
    path, _ = published(tmp_path, change)
    with pytest.raises(InputError, match=message) as error:
        load_point_mae(path, 0, CPU)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file():
    with pytest.raises(InputError, match=r"none\.pth: no such checkpoint"):
        load_point_mae("none.pth", 0, CPU)


def test_drawn_weights():
    first, again, other = (load_point_mae(None, seed, CPU).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(part, again[name]) for name, part in first.items())
    weight = first["blocks.blocks.0.mlp.fc1.weight"]
    assert not torch.equal(weight, other["blocks.blocks.0.mlp.fc1.weight"])
    assert weight.std() == pytest.approx(384**-0.5, rel=0.01)
    assert not first["blocks.blocks.0.mlp.fc1.bias"].any()
    assert draw(PointMae(), torch.Generator()) is None


def test_points_take_the_nearest_centres_tokens():
    rng = np.random.default_rng(0)
    points, centres = rng.normal(size=(30, 3)), rng.normal(size=(8, 3))
    index, weights = nearest_centres(points, centres)
    for point, own, shares in zip(points, index, weights, strict=True):
        squares = ((centres - point) ** 2).sum(1)
        nearest = np.argsort(squares)[:3]
        inverse = [1 / (squares[i] + 1e-8) for i in nearest]
        assert list(own) == list(nearest)
        np.testing.assert_allclose(shares, np.array(inverse) / sum(inverse))
    index, weights = nearest_centres(points, centres[:2])
    assert index.shape == (30, 2)
    np.testing.assert_allclose(weights.sum(1), 1)
    # A centre's own point has its token.
    assert nearest_centres(centres, centres)[1][:, 0].min() > 0.999
