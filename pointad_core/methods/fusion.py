"""How M3DM brings a cloud's and a photograph's features together: two networks, and what they learn by.

Each modality's features are normalised and sent through two layers; both results side by side are the fused feature. A
head of 256 channels on each tells whether the two networks agree: of all patches of a step, a photograph's must be most
like its own cloud's (a contrastive loss at temperature 1, in one direction).

M3DM learns from all categories at once and compares all patches of 16 scans, 50,176 with each other; here a category
learns for itself, from some patches of all its scans in a step, so that memory has a bound.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from pointad_core.clip.checkpoints import read_checkpoint
from pointad_core.errors import InputError
from pointad_core.methods.transformer import draw, fill

HEAD = 256  # channels in which both are compared
WARM_UP = 0.1  # share of the steps in which the learning rate rises
BETAS = (0.9, 0.95)


class _Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(features)))


class Fusion(nn.Module):
    """The two networks; names of their parts are those of the published weights."""

    def __init__(self, xyz_dim: int, rgb_dim: int, ratio: float) -> None:
        super().__init__()
        self.xyz_norm, self.xyz_mlp = nn.LayerNorm(xyz_dim), _Mlp(xyz_dim, max(1, int(ratio * xyz_dim)))
        self.rgb_norm, self.rgb_mlp = nn.LayerNorm(rgb_dim), _Mlp(rgb_dim, max(1, int(ratio * rgb_dim)))
        self.rgb_head, self.xyz_head = nn.Linear(rgb_dim, HEAD), nn.Linear(xyz_dim, HEAD)

    def forward(self, xyz: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
        """Fused features float [n, x + r] of a cloud's float [n, x] and a photograph's float [n, r]."""
        return torch.cat([self.xyz_mlp(self.xyz_norm(xyz)), self.rgb_mlp(self.rgb_norm(rgb))], dim=1)

    def loss(self, xyz: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
        """Twice the cross entropy of each patch's photograph among the clouds of all n."""
        fused = self(xyz, rgb)
        clouds, photographs = fused[:, : xyz.shape[1]], fused[:, xyz.shape[1] :]
        queries = F.normalize(self.rgb_head(photographs), dim=1)
        keys = F.normalize(self.xyz_head(clouds), dim=1)
        return 2 * F.cross_entropy(queries @ keys.T, torch.arange(len(keys), device=keys.device))


def first_fusion(xyz_dim: int, rgb_dim: int, ratio: float, generator: torch.Generator) -> Fusion:
    """The networks before training."""
    fusion = Fusion(xyz_dim, rgb_dim, ratio)
    draw(fusion, generator)
    return fusion


def load_fusion(path: str | os.PathLike[str], xyz_dim: int, rgb_dim: int, device: torch.device) -> Fusion:
    """The networks of a file as M3DM publishes it (under "model"); their width is read from it. Raises InputError for
    one that does not fit features of these lengths, naming file and tensor."""
    path = Path(path).expanduser()
    tensors = read_checkpoint(path, within=("model",))
    name = "xyz_mlp.fc1.weight"
    if name not in tensors or tensors[name].ndim != 2:
        raise InputError(f"{path}: not the weights of M3DM's fusion; {name!r} is missing or no matrix")
    fusion = Fusion(xyz_dim, rgb_dim, len(tensors[name]) / xyz_dim)
    fill(fusion, tensors, path, "M3DM's fusion")
    return fusion.eval().requires_grad_(False).to(device)


def learning_rate(step: int, steps: int, highest: float) -> float:
    """Of a step from 0 on: rising in line, then falling as half a cosine."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return highest * (step + 1) / warm
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def train_fusion(
    fusion: Fusion,
    xyz: torch.Tensor,
    rgb: torch.Tensor,
    epochs: int,
    batch_size: int,
    highest: float,
    generator: torch.Generator,
) -> Iterator[tuple[int, float]]:
    """Train in place by AdamW on patches' features float [n, x] and [n, r]; gives epoch (from 1) and loss of each step.

    batch_size: patches of a step, which are compared with each other; highest: the learning rate after its rise.
    """
    device = next(fusion.parameters()).device
    optimizer = torch.optim.AdamW(fusion.parameters(), lr=highest, betas=BETAS)
    n_batches = max(1, math.ceil(len(xyz) / batch_size))
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(xyz), generator=generator)
        for index, batch in enumerate(order.tensor_split(n_batches)):
            rate = learning_rate((epoch - 1) * n_batches + index, epochs * n_batches, highest)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = fusion.loss(xyz[batch].to(device).float(), rgb[batch].to(device).float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield epoch, loss.item()
    fusion.eval().requires_grad_(False)
