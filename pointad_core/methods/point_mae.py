"""Point-MAE's encoder as M3DM uses it: tokens of a cloud's groups of points after three blocks of a transformer.

A group is the points nearest to one of the farthest points; a small PointNet makes a token of it, and another network a
position of its centre. M3DM takes 1,024 groups of 128 points and joins the tokens after blocks 4, 8 and 12, each
normalised: 3 x 384 numbers. A point has the mean of the three nearest centres' tokens, weighted by the inverse squares
of their distances. M3DM gives the network points in metres, about no centre; a network with drawn weights is given
them as Point-MAE is trained, about their mean with the farthest at distance 1.
"""

import os
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pointad_core.clip.checkpoints import read_checkpoint
from pointad_core.methods.transformer import Block, draw, fill

WIDTH, DEPTH, HEADS = 384, 12, 6
KEPT = (3, 7, 11)  # blocks, from 0 on, after which tokens are kept
DIM = WIDTH * len(KEPT)
NEAREST = 3  # centres that a point's features come from

_DECODER = ("mask_token", "decoder_pos_embed.", "MAE_decoder.", "increase_dim.")
"""What a file of Point-MAE's pre-training has beside the encoder."""


class _Groups(nn.Module):
    """The small PointNet: a token float [g, WIDTH] of each group float [g, s, 3], relative to its centre."""

    def __init__(self) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(nn.Conv1d(3, 128, 1), nn.BatchNorm1d(128), nn.ReLU(), nn.Conv1d(128, 256, 1))
        self.second_conv = nn.Sequential(
            nn.Conv1d(512, 512, 1), nn.BatchNorm1d(512), nn.ReLU(), nn.Conv1d(512, WIDTH, 1)
        )

    def forward(self, groups: torch.Tensor) -> torch.Tensor:
        each = self.first_conv(groups.transpose(1, 2))
        whole = each.amax(2, keepdim=True).expand_as(each)
        return self.second_conv(torch.cat([whole, each], dim=1)).amax(2)


class _Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS, qkv_bias=False, epsilon=1e-5) for _ in range(DEPTH))


class PointMae(nn.Module):
    """The encoder; names of its parts are those of the published weights."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _Groups()
        self.pos_embed = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, WIDTH))
        self.blocks = _Blocks()
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, groups: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
        """Features float [g, DIM] of groups float [g, s, 3], relative to their centres float [g, 3]."""
        # Some groups at a time: the widest layer has 512 channels for every point of every group.
        tokens = torch.cat([self.encoder(part) for part in groups.split(128)])[None]
        positions = self.pos_embed(centres)[None]
        kept = []
        for index, block in enumerate(self.blocks.blocks):
            tokens = block(tokens + positions)
            if index in KEPT:
                kept.append(self.norm(tokens)[0])
        return torch.cat(kept, dim=1)


def load_point_mae(path: str | os.PathLike[str] | None, seed: int, device: torch.device) -> PointMae:
    """The encoder with the weights of a file, or drawn from a seed where there is none.

    The file is that of Point-MAE's pre-training (under "base_model", names from "MAE_encoder." on) or a state dict of
    the encoder alone. Raises InputError for one that is missing or does not fit, naming file and tensor.
    """
    network = PointMae()
    if path is None:
        draw(network, torch.Generator().manual_seed(seed))
    else:
        path = Path(path).expanduser()
        tensors = read_checkpoint(path, within=("base_model",))
        if any(name.startswith("MAE_encoder.") for name in tensors):
            tensors = {name.removeprefix("MAE_encoder."): part for name, part in tensors.items()}
        fill(network, tensors, path, "Point-MAE's encoder", spare=_DECODER)
    return network.eval().requires_grad_(False).to(device)


def nearest_centres(points: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centres float [m, 3] nearest to each point float [n, 3] and their weights: int64, float64 [n, min(3, m)]."""
    from scipy.spatial import KDTree

    distances, index = KDTree(centres).query(points, k=range(1, min(NEAREST, len(centres)) + 1))
    weights = 1 / (distances**2 + 1e-8)
    return index, weights / weights.sum(1, keepdims=True)
