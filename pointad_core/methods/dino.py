"""DINO's vision transformer, M3DM's network for photographs: features of 8 x 8 pixels, 28 x 28 of them.

ViT-B/8 in M3DM; depth, width and the size of a patch are read from the file.
"""

import math
import os
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from pointad_core.clip.checkpoints import read_checkpoint
from pointad_core.errors import InputError
from pointad_core.methods.towers import DEVIATION, MEAN
from pointad_core.methods.transformer import Block, fill

HEAD = 64  # channels of an attention head in each of DINO's transformers


class Dino(nn.Module):
    """The transformer; names of its parts are those of the published weights."""

    def __init__(self, width: int, depth: int, patch: int, tokens: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.ModuleList(Block(width, width // HEAD, qkv_bias=True, epsilon=1e-6) for _ in range(depth))
        self.norm = nn.LayerNorm(width, 1e-6)
        self.side = patch * math.isqrt(tokens - 1)  # pixels of the image that it was trained for

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Patch features float [b, width, g, g] of images float [b, 3, h, h] in 0..1, brought to its own size."""
        images = F.interpolate(images, size=(self.side, self.side), mode="bicubic", antialias=True).clamp(0, 1)
        mean, deviation = (images.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        patches = self.patch_embed["proj"]((images - mean) / deviation)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = tokens + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 1:].transpose(1, 2).unflatten(2, patches.shape[2:])


def load_dino(path: str | os.PathLike[str], device: torch.device) -> Dino:
    """The transformer of a file: a state dict as DINO publishes its backbones, or a checkpoint of its training (under
    "teacher", names from "backbone." on). Raises InputError for one that does not fit, naming file and tensor."""
    path = Path(path).expanduser()
    tensors = read_checkpoint(path, within=("teacher",))
    tensors = {name.removeprefix("backbone."): part for name, part in tensors.items()}
    sizes = {"patch_embed.proj.weight": 4, "pos_embed": 3}
    for name, axes in sizes.items():
        if name not in tensors or tensors[name].ndim != axes:
            found = tuple(tensors[name].shape) if name in tensors else "missing"
            raise InputError(f"{path}: not the weights of DINO; {name!r} is {found}, expected {axes} axes")
    width, _, patch, _ = tensors["patch_embed.proj.weight"].shape
    depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    positions = tensors["pos_embed"].shape[1]
    if width % HEAD or math.isqrt(positions - 1) ** 2 != positions - 1:
        raise InputError(
            f"{path}: not the weights of DINO; {width} channels and {positions} positions, expected channels in heads "
            f"of {HEAD} and positions of a square and its class token"
        )
    network = Dino(width, depth, patch, positions)
    fill(network, tensors, path, "DINO", spare=("head.",))
    return network.eval().requires_grad_(False).to(device)
