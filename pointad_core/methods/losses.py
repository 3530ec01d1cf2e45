"""Losses of PointAD and PointAD+ (Sec. 3.5) for two classes, normal and abnormal.

The two classes' probabilities sum to one, so that one map, one logit or one set of sums, those of "abnormal",
carries everything: p_n = 1 - p_a, and Dice of p_n against 1 - y follows from the sums of Dice of p_a against y.

Weights of the terms, the focal loss's gamma of 2 and the small constants are not in the paper; they are those of
the published implementation.
"""

import math
from typing import Any, Literal

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from pointad_core.errors import InputError


class _Focal(torch.autograd.Function):
    """The focal loss with its derivative taken on the way: half the passes over the maps that autograd makes."""

    @staticmethod
    def forward(ctx: Any, probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        margin = floor = 1e-5
        slope = 1 - 2 * margin
        pt = torch.where(labels, probabilities, 1 - probabilities).mul_(slope).add_(margin + floor)
        off = 1 - pt
        off_log = off * pt.log()
        loss = -(off * off_log).mean()
        # d/dpt of -(1 - pt)^2 log pt
        by_pt = off_log.mul_(2).sub_(off.square_().div_(pt)).mul_(slope / pt.numel())
        ctx.save_for_backward(torch.where(labels, by_pt, -by_pt))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.saved_tensors[0] * gradient, None


def focal(probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Focal loss with gamma = 2 over all pixels (first term of Eq. 4).

    probabilities: float [...], p_a; labels: bool [...]. With a one-hot label clamped to [1e-5, 1 - 1e-5] and
    pt = <one-hot, p> + 1e-5, the loss is the mean of -(1 - pt)^2 log pt; pt is affine in the probability of
    the true class, so no one-hot is built. Returns a scalar.
    """
    return _Focal.apply(probabilities, labels)


def dice_pair(
    predicted: torch.Tensor,
    overlap: torch.Tensor,
    labelled: torch.Tensor,
    count: float | torch.Tensor,
    empty: tuple[float, float] = (0, 0),
) -> torch.Tensor:
    """Dice(p_n, 1 - y) + Dice(p_a, y) of Eq. 4 and of both local 3-D losses, from sums over a map or a cloud.

    predicted: sum of p_a; overlap: sum of p_a y; labelled: sum of y; count: number of pixels or points; all of
    one shape, a value per map. Dice(p, y) = 1 - (2 sum p y + 1) / (sum p + sum y + 1). empty: numbers of normal and of
    abnormal pixels without a point, where the published implementation has p_n = p_a = 0 and counts y all the same.
    Returns the sums' shape.
    """
    abnormal = (2 * overlap + 1) / (predicted + labelled + empty[1] + 1)
    both_normal = (count - labelled) - (predicted - overlap)
    normal = (2 * both_normal + 1) / ((count - predicted) + (count - labelled) + empty[0] + 1)
    return (1 - normal) + (1 - abnormal)


def global_2d(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """L^global_I-2d: cross entropy of each render, averaged over the views, from (cos_a - cos_n) / tau of its global
    feature, logits float [K], and labels bool [K]. Returns a scalar."""
    return F.softplus(torch.where(labels, -logits, logits)).mean()


def global_3d(
    logits: torch.Tensor, label: torch.Tensor, reduction: Literal["probability_mean", "logit_mean", "mixed_logit_mean"]
) -> torch.Tensor:
    """L^global_I-3d: cross entropy of the cloud, its views taken together.

    logits: float [K] as in `global_2d`; label: bool []. "probability_mean" averages the views' probabilities, as
    the paper writes it; "logit_mean" averages their logits, as the published implementation does, and so does
    "mixed_logit_mean", of which training has mixed the views (`training.mix_views`). Returns a scalar.
    """
    against = torch.where(label, -logits, logits)
    if reduction == "probability_mean":
        # -log mean_k sigmoid(-against_k), safe where every view is sure and wrong.
        return math.log(len(logits)) - torch.logsumexp(F.logsigmoid(-against), dim=0)
    if reduction in ("logit_mean", "mixed_logit_mean"):
        return F.softplus(against.mean())
    raise InputError(f"global_3d is {reduction!r}, allowed are 'probability_mean', 'logit_mean' and 'mixed_logit_mean'")


def cross(
    geometry: torch.Tensor, rendering: torch.Tensor, temperature: float, form: Literal["softmax", "ratio"]
) -> torch.Tensor:
    """L^cross (Sec. 3.5.3): pull the two layers' embeddings of one meaning together, push the others away.

    geometry, rendering: float [2, d], L2-normalised, 0 = normal, 1 = abnormal. The paper's four terms are row a,
    column n, column a and row n of the matrix M_ij = cos(g_i^g, g_j^r). Ratios of cosines are no probabilities
    (a cosine may be negative), so "softmax" takes -log softmax(M / temperature), a symmetric InfoNCE; "ratio"
    keeps the paper's ratios with cosines clamped to at least 1e-6. Returns the sum of the four terms.
    """
    if form not in ("softmax", "ratio"):
        raise InputError(f"cross_loss is {form!r}, allowed are 'softmax' and 'ratio'")
    cosines = geometry @ rendering.T
    log_cosines = cosines / temperature if form == "softmax" else cosines.clamp(min=1e-6).log()
    rows, columns = (torch.log_softmax(log_cosines, dim=dim).diagonal() for dim in (1, 0))
    return -(rows.sum() + columns.sum())
