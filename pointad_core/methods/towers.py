"""Networks that unsupervised systems read photographs with: a WideResNet from a file, or else the CLIP of the config.

BTF and PatchCore take the blocks 2 and 3 of a WideResNet50-2 that was trained on ImageNet. Where no file of it is
given, the patch features of the CLIP stand in, which are not what was published.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn
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
    layers = residual_network(read_checkpoint(network), network).to(device)
    mean, deviation = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, DEVIATION))

    @torch.no_grad()
    def read(photograph: np.ndarray) -> list[torch.Tensor]:
        image = torch.from_numpy(photograph).to(device).permute(2, 0, 1).float() / 255
        small = F.interpolate(image[None], size=SIDE, mode="bilinear", antialias=True, align_corners=False)
        second = layers[0]((small - mean) / deviation)
        return [second[0], layers[1](second)[0]]

    return read


def residual_network(tensors: Mapping[str, torch.Tensor], origin: str) -> nn.ModuleList:
    """A residual network of bottlenecks up to its block 2, and its block 3, as its tensors describe it.

    tensors: with torchvision's names; numbers of layers and their width are read off them, so that a WideResNet50-2 is
    one of many. What stands behind block 3 is passed over. Raises InputError for anything else.
    """
    from torchvision.models.resnet import Bottleneck, ResNet

    try:
        width = tensors["layer1.0.conv1.weight"].shape[0]
        numbers = [len({name.split(".")[1] for name in tensors if name.startswith(f"layer{i}.")}) for i in (1, 2, 3)]
        with torch.device("meta"):
            whole = ResNet(Bottleneck, [*numbers, 1], width_per_group=width)
        wanted = {name for name in whole.state_dict() if not name.startswith(("layer4.", "fc."))}
        kept = {name: tensor.float() for name, tensor in tensors.items() if name in wanted}
        kept = {
            name: tensor.long() if name.endswith("num_batches_tracked") else tensor for name, tensor in kept.items()
        }
        for name in wanted - kept.keys():
            # Files of older versions do not count their batches.
            if not name.endswith("num_batches_tracked"):
                raise KeyError(name)
            kept[name] = torch.tensor(0)
        whole.layer4, whole.fc = nn.Identity(), nn.Identity()
        whole.load_state_dict(kept, assign=True)
    except (KeyError, RuntimeError) as error:
        told = str(error).replace("\n", " ")
        raise InputError(
            f"{origin}: no residual network with torchvision's names, such as WideResNet50-2 ({told})"
        ) from error
    stem = nn.Sequential(whole.conv1, whole.bn1, whole.relu, whole.maxpool, whole.layer1, whole.layer2)
    return nn.ModuleList([stem, whole.layer3]).eval()
