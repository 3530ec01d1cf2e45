"""Networks that unsupervised systems read photographs with: a WideResNet from a file, or else the CLIP of the config.

BTF and PatchCore take the blocks 2 and 3 of a WideResNet50-2 that was trained on ImageNet. Where no file of it is
given, the patch features of the CLIP stand in, which are not what was published. A photograph is the one of the clouds,
on the grid of their pixels and black where the background was.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from pointad_core.clip.checkpoints import read_checkpoint
from pointad_core.clip.loading import load_model
from pointad_core.clip.tower import encode
from pointad_core.errors import InputError

SIDE = 224
"""Pixels a side of what a residual network reads."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours, in 0..1."""

Tower = Callable[[np.ndarray], list[torch.Tensor]]
"""Feature maps float32 [d, h, w] of a photograph u1[S,S,3], the largest first."""


def load_tower(network: str | None, model: Mapping[str, Any] | None, device: torch.device) -> Tower:
    """The network of a file, or the CLIP that an entry of the config's `features` names; loaded once a process.

    Raises InputError for a file that holds no residual network with torchvision's names, and where neither is given.
    """
    if network is not None:
        return _load_residual(network, device)
    if model is None:
        raise InputError("no network is given to read photographs with")
    return _load_clip(tuple(model.items()), device)


@lru_cache(maxsize=1)
def _load_clip(model: tuple[tuple[str, Any], ...], device: torch.device) -> Tower:
    clip = load_model(dict(model), device)

    def read(photograph: np.ndarray) -> list[torch.Tensor]:
        patches = encode(clip, photograph[None], ["plain"], 1)["patches_plain"][0].float()
        return [patches.T.reshape(-1, clip.grid, clip.grid)]

    return read


@lru_cache(maxsize=1)
def _load_residual(network: str, device: torch.device) -> Tower:
    weights = {name: tensor.to(device).float() for name, tensor in read_checkpoint(network).items()}
    mean, deviation = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, DEVIATION))

    @torch.no_grad()
    def read(photograph: np.ndarray) -> list[torch.Tensor]:
        image = torch.from_numpy(photograph).to(device).permute(2, 0, 1).float() / 255
        small = F.interpolate(image[None], size=SIDE, mode="bilinear", antialias=True, align_corners=False)
        return [part[0] for part in residual_maps(weights, (small - mean) / deviation)]

    try:
        read(np.zeros((SIDE, SIDE, 3), np.uint8))
    except (KeyError, RuntimeError) as error:
        told = str(error).replace("\n", " ")
        raise InputError(
            f"{network}: no residual network of bottlenecks with torchvision's names, as WideResNet50-2 is one ({told})"
        ) from error
    return read


def residual_maps(weights: Mapping[str, torch.Tensor], images: torch.Tensor) -> list[torch.Tensor]:
    """Feature maps of the blocks 2 and 3, of a WideResNet50-2 float32 [B, 512, h/8, w/8] and [B, 1024, h/16, w/16].

    weights: with torchvision's names; how many layers a block has, and how wide they are, is read off them. What
    stands behind block 3 is passed over. images: float32 [B, 3, h, w], normalised. Raises KeyError or RuntimeError
    where a tensor is missing or of another shape.
    """

    def convolve(x: torch.Tensor, layer: str, norm: str, stride: int = 1) -> torch.Tensor:
        kernel = weights[f"{layer}.weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        mean, variance, scale, shift = (
            weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, scale, shift)

    x = F.max_pool2d(convolve(images, "conv1", "bn1", 2).relu(), 3, 2, 1)
    found = []
    for block in ("layer1", "layer2", "layer3"):
        numbers = {int(name.split(".")[1]) for name in weights if name.startswith(f"{block}.")}
        if not numbers:
            raise KeyError(block)
        for number in sorted(numbers):
            layer = f"{block}.{number}"
            stride = 2 if block != "layer1" and number == 0 else 1
            y = convolve(x, f"{layer}.conv1", f"{layer}.bn1").relu()
            y = convolve(y, f"{layer}.conv2", f"{layer}.bn2", stride).relu()
            y = convolve(y, f"{layer}.conv3", f"{layer}.bn3")
            if number == 0:
                x = convolve(x, f"{layer}.downsample.0", f"{layer}.downsample.1", stride)
            x = (x + y).relu()
        found.append(x)
    return found[1:]
