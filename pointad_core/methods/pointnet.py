"""PointNet's features of points: the same small network for each point, and their maximum for the cloud.

Five linear layers with ReLU, to 1024 channels; the transforms of input and features, which PointNet also has, are
left out, and batch normalisation counts as folded into the weights, as it is when a trained network is used.
"""

import math
import os
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch.nn import functional as F

from pointad_core.clip.checkpoints import read_checkpoint
from pointad_core.errors import InputError

WIDTHS = (3, 64, 64, 64, 128, 1024)  # channels before, between and after the layers

Weights = Mapping[str, torch.Tensor]
"""Tensors "<layer>.weight" [out, in] and "<layer>.bias" [out] of layers 0 to 4."""


def first_weights(generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Weights before training: normal, of the variance that keeps a signal's size through ReLU; biases of zero."""
    weights = {}
    for layer, (before, after) in enumerate(pairwise(WIDTHS)):
        weights[f"{layer}.weight"] = torch.randn(after, before, generator=generator) * math.sqrt(2 / before)
        weights[f"{layer}.bias"] = torch.zeros(after)
    return weights


def read(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Weights from a file (see `clip.checkpoints`); InputError where its tensors are not those of `first_weights`."""
    path = os.path.expanduser(path)
    tensors = read_checkpoint(path)
    expected, found = (
        {name: tuple(part.shape) for name, part in parts.items()}
        for parts in (first_weights(torch.Generator()), tensors)
    )
    if different := sorted(dict(expected.items() ^ found.items())):
        name = different[0]
        told = f"{name!r} is {found.get(name, 'missing')}, expected {expected.get(name, 'no such tensor')}"
        raise InputError(f"{path}: not the weights of this PointNet; {told}")
    return {name: part.float() for name, part in tensors.items()}


def normalise(points: torch.Tensor) -> torch.Tensor:
    """Points [n, 3] about their mean, the farthest at distance 1, float32; all at the origin where they coincide."""
    centred = points.double() - points.double().mean(0)
    radius = centred.norm(dim=1).max()
    return (centred / radius.clamp(min=torch.finfo(torch.float64).tiny)).float()


def point_features(weights: Weights, points: torch.Tensor) -> torch.Tensor:
    """Features float [n, 1024] of normalised points float [n, 3]; a point's does not depend on the others.
    Their maximum over the points, in whatever order, is the cloud's feature."""
    for layer in range(len(WIDTHS) - 1):
        points = F.relu(F.linear(points, weights[f"{layer}.weight"], weights[f"{layer}.bias"]))
    return points
