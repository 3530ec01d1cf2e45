"""DINO's transformer: against loops in float64, and files in the published form."""

import numpy as np
import pytest
import torch
from PIL import Image

from pointad_core.errors import InputError
from pointad_core.methods.dino import Dino, load_dino
from tests.transformer_oracle import naive_block, naive_norm, noisy

CPU = torch.device("cpu")


def small():
    """Two heads, three blocks, 4 x 4 patches of 8 pixels."""
    return noisy(Dino(128, 3, 8, 17))


def naive(network, image):
    """Patch features [16, 128] of an image [3, 32, 32], patch by patch."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]).double(), torch.tensor([0.229, 0.224, 0.225]).double()
    projection = network.patch_embed["proj"]
    tokens = [network.cls_token[0, 0].double()]
    for row in range(4):
        for column in range(4):
            patch = image[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].double()
            patch = (patch - mean[:, None, None]) / std[:, None, None]
            tokens.append((projection.weight.double() * patch).sum((1, 2, 3)) + projection.bias.double())
    tokens = torch.stack(tokens) + network.pos_embed[0].double()
    for block in network.blocks:
        tokens = naive_block(block, tokens)
    return torch.stack([naive_norm(network.norm, token) for token in tokens[1:]])


def saved(tmp_path, change=lambda _: None, wrap=lambda state: state):
    state = small().state_dict()
    change(state)
    path = tmp_path / "dino.pth"
    torch.save(wrap(state), path)
    return path


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"student": {}, "teacher": {f"module.backbone.{name}": part for name, part in state.items()}},
        lambda state: {
            "teacher": {f"backbone.{name}": state[name] for name in state} | {"head.mlp.0.bias": torch.ones(2)}
        },
    ],
    ids=["published", "training", "with a head"],
)
def test_features_are_those_of_loops(tmp_path, wrap):
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    network = load_dino(saved(tmp_path, wrap=wrap), CPU)
    found = network(images)
    assert found.shape == (2, 128, 4, 4)
    for image, own in zip(images, found, strict=True):
        torch.testing.assert_close(own.flatten(1).T.double(), naive(small(), image), rtol=1e-3, atol=1e-3)


def test_images_are_brought_to_its_size(tmp_path):
    network = load_dino(saved(tmp_path), CPU)
    large = np.random.default_rng(0).integers(0, 255, size=(48, 48, 3)).astype(np.uint8)
    large[10:30, 5:20] = 40
    reduced = np.asarray(Image.fromarray(large).resize((32, 32), Image.Resampling.BICUBIC))
    there, here = (torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255 for image in (large, reduced))
    # Pillow rounds to whole grey levels.
    torch.testing.assert_close(network(there), network(here), rtol=0.02, atol=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("patch_embed.proj.weight"), "'patch_embed.proj.weight' is missing, expected 4 axes"),
        (lambda state: state.pop("blocks.2.attn.qkv.bias"), r"'blocks.2.attn.qkv.bias' is missing, expected \(384,\)"),
        (
            lambda state: state.update({"blocks.0.norm1.weight": torch.ones(64)}),
            r"'blocks.0.norm1.weight' is \(64,\), expected \(128,\)",
        ),
        (lambda state: state.update({"pos_embed": torch.zeros(1, 16, 128)}), "128 channels and 16 positions"),
        (lambda state: state.update({"register_tokens": torch.zeros(1)}), "it has 'register_tokens', which no part"),
        (lambda state: state["norm.bias"].fill_(float("inf")), "'norm.bias' is not finite"),
    ],
)
def test_other_files_are_refused(tmp_path, change, message):
    path = saved(tmp_path, change)
    with pytest.raises(InputError, match=message) as error:
        load_dino(path, CPU)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file():
    with pytest.raises(InputError, match=r"none\.pth: no such checkpoint"):
        load_dino("none.pth", CPU)
