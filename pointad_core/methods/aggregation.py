"""From patches to points: lookup, visible mean and G-aggregation (Sec. 3.4), in the exact scalar form.

A point's explicit feature is q^ = alpha q~ + (1 - alpha) q, where q is the mean of the features of the patches
that show the point and q~ the kernel-weighted mean of its neighbours' q. All of this is linear in the patch
features, so <g, q^> for a text embedding g is the same aggregation of the scalars <g, patch>, and only the norm
||q^|| needs the features themselves. The norm does not depend on the prompts and is computed once
(`fused_norms`), a few feature dimensions at a time; no array of n points by d features is ever built.

Readings taken where the paper is ambiguous: "mean over views" is over the views that see the point; a pixel's
feature is that of its patch (nearest cell of the grid), L2-normalised before the average; N(x) are the k nearest
points without the point itself.

Shapes: K views, n points, P patches a view, k neighbours, c channels (text embeddings), d feature dimensions.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from pointad_core.errors import InputError
from pointad_core.methods.neighbours import find_in_cells, find_neighbours


def patch_indices(pixels: torch.Tensor, resolution: int, grid: int) -> torch.Tensor:
    """Index of the patch that each pixel lies in, as R' = (h/H) R of Sec. 3.4 with the nearest cell.

    pixels: integer [..., 2], (column, row) in 0..resolution-1. Returns int64 [...], row by row from the top left, the
    order in which a vision transformer lists patches.
    """
    # int16 pixels would overflow in the product.
    cells = torch.div(pixels.long() * grid, resolution, rounding_mode="floor")
    return cells[..., 1] * grid + cells[..., 0]


def kernel_weights(distances: Any, sigma: float, units: str = "data") -> Any:
    """Normalised Gaussian kernel K~ of Sec. 3.4: exp(-d^2 / 2 sigma^2), divided by its sum over the neighbours.

    distances: float [n, k], in the data's units, an array or a tensor, whose kind the result is of. sigma: in the
    data's units where `units` is "data" (the paper's reading); in multiples of the cloud's mean distance to its k
    neighbours where it is "spacing". Returns float32 [n, k], rows sum to 1. Raises InputError for any other `units` and
    for sigma <= 0.
    """
    if units not in ("data", "spacing"):
        raise InputError(f"kernel_units is {units!r}, allowed are 'data' and 'spacing'")
    if not sigma > 0:
        raise InputError(f"kernel_sigma is {sigma}, it must be above 0")
    # The same words in both; bytes of a CPU's results are numpy's.
    library: Any = torch if isinstance(distances, torch.Tensor) else np
    squared = library.asarray(distances, dtype=library.float64) ** 2
    scale = sigma * (float(library.mean(distances)) if units == "spacing" else 1.0)
    if scale == 0.0:  # all neighbours coincide: the kernel is 1 for each
        return library.full_like(squared, 1 / squared.shape[1], dtype=library.float32)
    # A common factor drops out of the quotient; taking the nearest's keeps a narrow kernel from vanishing.
    weights = library.exp(-(squared - library.amin(squared, axis=1, keepdims=True)) / (2 * scale**2))
    return library.asarray(weights / library.sum(weights, axis=1, keepdims=True), dtype=library.float32)


class _GatherSum(torch.autograd.Function):
    """out[i] = sum_r weights[i, r] * table[index[i, r]], without an array of n x r x c.

    table: float [s, c]; index: integer [n, r]; weights: float [n, r]. Returns [n, c], differentiable in the table.
    Forward is an embedding bag, an order of magnitude faster than indexing. Its own backward sorts all indices;
    adding into one channel after the other takes a tenth of that for the few channels of text embeddings.
    """

    @staticmethod
    def forward(ctx: Any, table: torch.Tensor, index: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        weights = weights.to(table.dtype)
        ctx.save_for_backward(index, weights)
        ctx.rows = len(table)
        return F.embedding_bag(index, table.contiguous(), mode="sum", per_sample_weights=weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        index, weights = ctx.saved_tensors
        table_grad = grad.new_zeros(grad.shape[1], ctx.rows)
        rows = index.flatten()
        for channel, channel_grad in enumerate(grad.unbind(1)):
            table_grad[channel].index_add_(0, rows, (channel_grad[:, None] * weights).flatten())
        return table_grad.t(), None, None


def aggregate(values: torch.Tensor, neighbours: torch.Tensor, weights: torch.Tensor, alpha: float) -> torch.Tensor:
    """G-aggregation of anything that lives on points: alpha * weighted mean of the neighbours + (1 - alpha) * own;
    values float [n, c], neighbours integer [n, k], weights float [n, k] -> [n, c], differentiable in the values."""
    return alpha * _GatherSum.apply(values, neighbours, weights) + (1 - alpha) * values


def _view_bags(patch_index: torch.Tensor, visible: torch.Tensor, n_patches: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Each point's patches as rows of the [K * P] list of all patches, and their shares in its visible mean: [n, K];
    visible: bool [K, n], or the shares themselves, float [K, n], a point's sum 1."""
    offsets = torch.arange(len(patch_index), device=patch_index.device)[:, None] * n_patches
    shares = visible.float() / visible.sum(0).clamp(min=1)
    return (patch_index + offsets).t().contiguous(), shares.t().contiguous()


def aggregate_scalars(
    D: torch.Tensor,
    patch_index: torch.Tensor,
    visible: torch.Tensor,
    neighbours: torch.Tensor,
    weights: torch.Tensor,
    alpha: float,
) -> torch.Tensor:
    """<g, q^> for every point and text embedding, from <g, patch> (Eq. of q~ and q^ in Sec. 3.4).

    D: float [K, P, c], scalar products of the (L2-normalised) patch features with c text embeddings;
    patch_index: integer [K, n] (`patch_indices`); visible: bool [K, n], or each view's share in the mean, float [K, n],
    a point's sum 1; neighbours: integer [n, k]; weights: float [n, k]. Returns [n, c], differentiable with respect to
    D. Divide by `fused_norms` for cosines.
    """
    index, shares = _view_bags(patch_index, visible, D.shape[1])
    return aggregate(_GatherSum.apply(D.flatten(0, 1), index, shares), neighbours, weights, alpha)


@torch.no_grad()
def fused_norms(
    patches: torch.Tensor,
    patch_index: torch.Tensor,
    visible: torch.Tensor,
    neighbours: torch.Tensor,
    weights: torch.Tensor,
    alpha: float,
    block: int | None = None,
) -> torch.Tensor:
    """||q^|| of every point, float32 [n].

    patches: float16 or float32 [K, P, d], the other arguments as in `aggregate_scalars`. `block` feature dimensions
    are held at a time, n x block floats, of which a few arrays: 16 on a CPU, rows of 64 bytes, whole cache lines of a
    table that fits; 128 on a GPU, which few large steps suit. The result does not depend on it but for rounding.
    """
    if block is None:
        block = 16 if patches.device.type == "cpu" else 128
    index, shares = _view_bags(patch_index, visible, patches.shape[1])
    squares = torch.zeros(patch_index.shape[1], dtype=torch.float64, device=patches.device)
    for part in patches.split(block, dim=2):
        values = _GatherSum.apply(part.flatten(0, 1).float(), index, shares)
        squares += aggregate(values, neighbours, weights, alpha).square().sum(1)
    return squares.sqrt().float()


def prepare(
    points: np.ndarray,
    pixels: np.ndarray,
    visible: np.ndarray,
    patches: torch.Tensor,
    resolution: int,
    options: Mapping[str, Any],
) -> dict[str, torch.Tensor]:
    """What G-aggregation needs of a cloud: neighbours int32 [n, k], weights float32 [n, k], norms float32 [n].

    points: float [n, 3]; pixels: integer [K, n, 2] in renders of `resolution` pixels a side; visible: bool [K, n];
    patches: float16 [K, P, d] of the V-V stream, on the device to compute on, where the result is; options: neighbours,
    kernel_sigma, kernel_units, alpha. Raises InputError for a cloud with too few points.
    """
    if options["neighbours"] >= len(points):
        raise InputError(f"neighbours is {options['neighbours']}, but the cloud has only {len(points)} points")
    k, kernel = options["neighbours"], (options["kernel_sigma"], options["kernel_units"])
    neighbours, weights = find_kernel(torch.from_numpy(points).to(patches.device), k, *kernel)
    places, seen = (torch.from_numpy(array).to(patches.device, non_blocking=True) for array in (pixels, visible))
    index = patch_indices(places, resolution, math.isqrt(patches.shape[1]))
    norms = fused_norms(patches, index, seen, neighbours, weights, options["alpha"])
    return {"neighbours": neighbours, "weights": weights, "norms": norms}


def find_kernel(points: torch.Tensor, k: int, sigma: float, units: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Each point's k neighbours int32 [n, k] and their weights float32 [n, k], on the points' device."""
    if points.device.type == "cpu":
        neighbours, distances = find_neighbours(points.numpy(), k)
        return torch.from_numpy(neighbours), torch.from_numpy(kernel_weights(distances, sigma, units))
    found, apart = find_in_cells(points, k)
    return found, kernel_weights(apart, sigma, units)
