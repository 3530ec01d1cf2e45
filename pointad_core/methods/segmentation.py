"""Anomaly probabilities of renders, patches and points (Eq. 2 and 3).

With two classes, P(g_c, f) and Seg(g_c, f) are a softmax over the cosines with the normal and the abnormal text
embedding at temperature tau. The probability of "abnormal" is the sigmoid of (cos_a - cos_n) / tau, called the
logit throughout; p_n = 1 - p_a, also after bilinear interpolation and after the mean over visible views.

Shapes: K views, P patches a view, n points, d feature dimensions, S pixels a side of a render.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from pointad_core.errors import InputError
from pointad_core.methods.aggregation import patch_indices
from pointad_core.methods.interface import Settings, State
from pointad_core.methods.view_weights import view_shares


def map_tensors(function: Callable[[torch.Tensor], torch.Tensor], part: Any) -> Any:
    """A tensor, or a dataclass with tensors anywhere in it, with a function's results in their place; anything else as
    it is."""
    if isinstance(part, torch.Tensor):
        return function(part)
    if not hasattr(part, "__dataclass_fields__"):
        return part
    return replace(part, **{name: map_tensors(function, value) for name, value in vars(part).items()})


def move(part: Any, device: torch.device) -> Any:
    """Tensors, as of `map_tensors`, on a device."""
    # Nothing waits for what goes to a GPU; what comes from one is to be read at once.
    return map_tensors(lambda tensor: tensor.to(device, non_blocking=device.type == "cuda"), part)


def pin(part: Any) -> Any:
    """Tensors on the CPU, as of `map_tensors`, in memory that a GPU fetches from while the CPU goes on."""
    return map_tensors(torch.Tensor.pin_memory, part)


@dataclass(frozen=True)
class Aggregation:
    """What G-aggregation needs of a cloud and never changes (Sec. 3.4)."""

    patch_index: torch.Tensor  # int32 [K, n], the patch that shows the point in each view
    neighbours: torch.Tensor  # int32 [n, k]
    weights: torch.Tensor  # float32 [n, k], rows sum to 1
    norms: torch.Tensor  # float32 [n], ||q^|| of each point
    alpha: float  # share of the neighbours' features in the fused feature


@dataclass(frozen=True)
class Sample:
    """One scan as the methods see it: the features of its renders, L2-normalised, float16 in a cache and float32 in use
    (see `on`), and the way from patches to points."""

    views: torch.Tensor  # [K, d], the renders' global features
    patches: torch.Tensor  # [K, P, d], the renders' patch features
    pixels: torch.Tensor  # int16 [K, n, 2], (column, row) of each point in each view
    visible: torch.Tensor  # bool [K, n]
    resolution: int  # S
    aggregation: Aggregation | None  # None for methods without an explicit branch
    mixed: torch.Tensor | None = None  # [K, d], renders' global features in the global 3-D loss where not its own
    incidence: torch.Tensor | None = None  # float32 [K, n], `rendering.incidence` of the points; None if not asked for

    def on(self, device: torch.device) -> Sample:
        """The same scan on a device, its features in float32: what the functions here take."""
        moved = move(self, device)
        mixed = None if moved.mixed is None else moved.mixed.float()
        return replace(moved, views=moved.views.float(), patches=moved.patches.float(), mixed=mixed)


Values = np.ndarray | torch.Tensor


def make_sample(
    views: Values,
    patches: Values,
    pixels: Values,
    visible: Values,
    resolution: int,
    prepared: Mapping[str, Values] | None,
    alpha: float,
    incidence: Values | None = None,
) -> Sample:
    """A `Sample` from arrays, and from tensors wherever they are: `Sample.on` brings its parts together. prepared:
    what `aggregation.prepare` gives, if the system aggregates."""
    whole, parts, places, seen = map(torch.as_tensor, (views, patches, pixels, visible))
    aggregation = None
    if prepared is not None:
        index = patch_indices(places, resolution, math.isqrt(patches.shape[1])).int()
        constants = {name: torch.as_tensor(prepared[name]) for name in ("neighbours", "weights", "norms")}
        aggregation = Aggregation(index, alpha=alpha, **constants)
    angles = None if incidence is None else torch.as_tensor(incidence)
    return Sample(whole, parts, places, seen, resolution, aggregation, incidence=angles)


@dataclass(frozen=True)
class PointSample:
    """One scan as methods see it that read clouds alone."""

    points: torch.Tensor  # float32 [n, 3], in the data's units and orientation

    def on(self, device: torch.device) -> PointSample:
        """The same scan on a device."""
        return move(self, device)


def anomaly_logits(features: torch.Tensor, embeddings: torch.Tensor, temperature: float) -> torch.Tensor:
    """(cos_a - cos_n) / tau: features float [..., d] and embeddings float [2, d], both L2-normalised -> [...]."""
    return features @ ((embeddings[1] - embeddings[0]) / temperature)


def upsample(patch_maps: torch.Tensor, size: int) -> torch.Tensor:
    """Up of Eq. 2: bilinear interpolation (align_corners False) of maps float [K, P] on the grid to [K, size, size].
    It is separable: two small matrix products, exact and faster forth and back than a general resampling."""
    grid = math.isqrt(patch_maps.shape[1])
    if grid * grid != patch_maps.shape[1]:
        raise InputError(f"features have {patch_maps.shape[1]} patches a view, which is not a square grid")
    identity = torch.eye(grid, dtype=patch_maps.dtype, device=patch_maps.device)
    matrix = F.interpolate(identity[None], size=size, mode="linear", align_corners=False)[0].T
    return matrix @ patch_maps.unflatten(1, (grid, grid)) @ matrix.T


def implicit_scores(
    probabilities: torch.Tensor, pixels: torch.Tensor, visible: torch.Tensor, resolution: int
) -> torch.Tensor:
    """S_a of Eq. 3: each point's mean, over the views that see it, of the upsampled map at its pixel.

    probabilities: float [K, P], p_a of the patches; the others as in `Sample`. The mean is over the visible views,
    not over K: hidden views would count as normal otherwise. Linear in `probabilities`. Returns float [n]; 0 for a
    point that no view sees (the renders stage leaves none of these).
    """
    return _mean_over_views(_look_up(probabilities, pixels, resolution), visible)


def weighted_scores(probabilities: torch.Tensor, sample: Sample, settings: Settings) -> torch.Tensor:
    """`implicit_scores` of a scan, with the views weighed as the method's `view_weights` says."""
    values = _look_up(probabilities, sample.pixels, sample.resolution)
    return _mean_over_views(values, view_shares(values, sample, settings))


def _look_up(probabilities: torch.Tensor, pixels: torch.Tensor, resolution: int) -> torch.Tensor:
    """What each view's upsampled map says at the points' pixels, float [K, n]."""
    maps = upsample(probabilities, resolution).flatten(1)
    return maps.gather(1, pixels[..., 1].long() * resolution + pixels[..., 0])


def _mean_over_views(values: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Mean float [n] of values [K, n] over the views that see a point: bool [K, n], or float, a point's sum 1."""
    seen = shares.to(values.dtype)
    return (values * seen).sum(0) / seen.sum(0).clamp(min=1)


def point_scores(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """S_a of Eq. 3, the score of systems that have rendering prompts alone."""
    logits = anomaly_logits(sample.patches, state["rendering"], settings.temperature)
    return weighted_scores(torch.sigmoid(logits), sample, settings)


def global_score(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """Mean over the views of P(g_a, f)."""
    return torch.sigmoid(anomaly_logits(sample.views, state["rendering"], settings.temperature)).mean()


def object_score(probability: float, smoothed: np.ndarray) -> float:
    """A^s = 0.5 (mean over the views of P(g_a, f)) + 0.5 max A^m; with the fused map also A^s(mod) (Sec. 3.6.2)."""
    return 0.5 * probability + 0.5 * float(smoothed.max())
