"""Networks that read photographs: a residual network from a file, its naive version, and the CLIP in its place."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from pointad_core.clip.loading import load_model
from pointad_core.errors import InputError
from pointad_core.methods.towers import DEVIATION, MEAN, load_tower, residual_maps

CPU = torch.device("cpu")
MODEL = {"model": "pointad-pocket", "pretrained": "shapes", "vv_blocks": 1, "resolution": 336}


def network_of(rng, width, blocks):
    """Tensors of a residual network by torchvision's names, the inner layers of its first block `width` wide."""
    tensors = {}

    def layer(conv, norm, into, out, side):
        tensors[f"{conv}.weight"] = torch.from_numpy(
            rng.normal(0, 1 / np.sqrt(into * side**2), (out, into, side, side))
        )
        tensors[f"{norm}.weight"], tensors[f"{norm}.running_var"] = torch.from_numpy(rng.uniform(0.5, 2, (2, out)))
        tensors[f"{norm}.bias"], tensors[f"{norm}.running_mean"] = torch.from_numpy(rng.normal(0, 0.1, (2, out)))
        tensors[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    layer("conv1", "bn1", 3, 64, 7)
    into = 64
    for block, numbers in enumerate(blocks, 1):
        inner, out = width * 2 ** (block - 1), 128 * 2**block
        for number in range(numbers):
            name = f"layer{block}.{number}"
            layer(f"{name}.conv1", f"{name}.bn1", into, inner, 1)
            layer(f"{name}.conv2", f"{name}.bn2", inner, inner, 3)
            layer(f"{name}.conv3", f"{name}.bn3", inner, out, 1)
            if number == 0:
                layer(f"{name}.downsample.0", f"{name}.downsample.1", into, out, 1)
            into = out
    tensors["fc.weight"] = torch.zeros(10, into)
    return {name: part.float() if part.is_floating_point() else part for name, part in tensors.items()}


@pytest.fixture(scope="module")
def tensors():
    return network_of(np.random.default_rng(), 8, [2, 1, 2, 1])


def convolve(x, weights, name, stride=1, padding=0):
    return F.conv2d(x, weights[f"{name}.weight"], stride=stride, padding=padding)


def normalise(x, weights, name):
    mean, var, scale, shift = (
        weights[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * scale + shift


def naive(photograph, tensors):
    """Layers 2 and 3 of a residual network, block by block from its tensors, in float64."""
    weights = {name: tensor.double() for name, tensor in tensors.items()}
    x = F.interpolate(
        torch.from_numpy(photograph).permute(2, 0, 1)[None].double() / 255, size=224, mode="bilinear", antialias=True
    )
    x = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]
    x = F.max_pool2d(F.relu(normalise(convolve(x, weights, "conv1", 2, 3), weights, "bn1")), 3, 2, 1)
    found = []
    for layer in (1, 2, 3):
        block = 0
        while (name := f"layer{layer}.{block}") + ".conv1.weight" in weights:
            stride = 2 if layer > 1 and block == 0 else 1
            y = F.relu(normalise(convolve(x, weights, f"{name}.conv1"), weights, f"{name}.bn1"))
            y = F.relu(normalise(convolve(y, weights, f"{name}.conv2", stride, 1), weights, f"{name}.bn2"))
            y = normalise(convolve(y, weights, f"{name}.conv3"), weights, f"{name}.bn3")
            if f"{name}.downsample.0.weight" in weights:
                x = normalise(convolve(x, weights, f"{name}.downsample.0", stride), weights, f"{name}.downsample.1")
            x, block = F.relu(x + y), block + 1
        found.append(x[0])
    return found[1:]


def test_a_residual_network_from_a_file_is_the_naive_one(tensors, tmp_path):
    photograph = np.random.default_rng().integers(0, 256, (336, 336, 3)).astype(np.uint8)
    torch.save(tensors, tmp_path / "network.pth")
    old = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    save_file(old, tmp_path / "old.safetensors")
    expected = naive(photograph, tensors)
    for file in ("network.pth", "old.safetensors"):
        found = load_tower(str(tmp_path / file), None, CPU)(photograph)
        assert [list(part.shape) for part in found] == [[512, 28, 28], [1024, 14, 14]]
        for part, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(part.double(), wanted, rtol=1e-3, atol=1e-3)


def test_a_wide_resnet_has_its_widths():
    """Of the shapes that torchvision's WideResNet50-2 has, without their numbers."""
    tensors = network_of(np.random.default_rng(), 128, [3, 4, 6, 3])
    with torch.device("meta"):
        weights = {name: torch.empty(part.shape) for name, part in tensors.items()}
        found = residual_maps(weights, torch.empty(1, 3, 224, 224))
    assert [list(part.shape) for part in found] == [[1, 512, 28, 28], [1, 1024, 14, 14]]
    assert sum(part.numel() for name, part in tensors.items() if "num_" not in name and "running" not in name) > 66e6


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tensors: {name: part for name, part in tensors.items() if name != "layer2.0.bn1.weight"},
        lambda tensors: {**tensors, "layer3.0.conv2.weight": torch.zeros(1, 1, 3, 3)},
        lambda tensors: {f"encoder.{name}": part for name, part in tensors.items()},
    ],
)
def test_a_file_of_anything_else_is_refused(tensors, tmp_path, spoil):
    torch.save(spoil(dict(tensors)), tmp_path / "network.pth")
    with pytest.raises(InputError, match=r"network\.pth: no residual network of bottlenecks with torchvision's names"):
        load_tower(str(tmp_path / "network.pth"), None, CPU)


def test_without_a_file_the_clips_patch_features_stand_in():
    photograph = np.random.default_rng().integers(0, 256, (336, 336, 3)).astype(np.uint8)
    (found,) = load_tower(None, MODEL, CPU)(photograph)
    clip = load_model(MODEL, CPU)
    with torch.no_grad():
        image = torch.from_numpy(photograph).permute(2, 0, 1)[None].float() / 255
        patches = clip.encode_images(image, ["plain"])["patches_plain"][0]
    assert found.shape == (clip.dim, clip.grid, clip.grid)
    torch.testing.assert_close(found[:, 3, 5], patches[3 * clip.grid + 5], atol=1e-3, rtol=1e-2)
    with pytest.raises(InputError, match="no network is given"):
        load_tower(None, None, CPU)
