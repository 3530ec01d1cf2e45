"""PointAD+: PointAD and geometry prompts for explicit point representations (Sec. 3.5.2, 3.5.3)."""

import torch

from pointad_core.methods import losses, pointad
from pointad_core.methods.aggregation import aggregate_scalars, fused_norms
from pointad_core.methods.interface import Settings, State, Terms
from pointad_core.methods.pointad import global_score, object_score
from pointad_core.methods.prompts import learnt
from pointad_core.methods.segmentation import Sample, anomaly_logits
from pointad_core.methods.targets import Targets
from pointad_core.methods.view_weights import view_shares

__all__ = [
    "branches",
    "first_weights",
    "global_score",
    "loss_terms",
    "object_score",
    "point_scores",
    "restore",
    "templates",
]


def templates(name: str) -> dict[str, tuple[str, str]]:
    """PointAD's texts and the geometry layer's; the second layer has a context and deep tokens of its own."""
    return {**pointad.templates(name), "geometry": ("point cloud.", "damaged point cloud.")}


first_weights, restore = learnt(templates)


def explicit_scores(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """T_a of Eq. 5 in its exact scalar form, float [n]: p_a of each point's fused feature q^. The patches' logits go
    the way to the points that their features would; divided by ||q^|| they are q^'s own."""
    assert sample.aggregation is not None
    logits = anomaly_logits(sample.patches, state["geometry"], settings.temperature)
    return _fuse(logits, sample, sample.visible, sample.aggregation.norms)


def weighted_explicit_scores(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """T_a with the views in q weighed as the method's `view_weights` says; the norms of such q^ are not at hand."""
    if settings.view_weights == "mean":
        return explicit_scores(state, sample, settings)
    a = sample.aggregation
    assert a is not None
    logits = anomaly_logits(sample.patches, state["geometry"], settings.temperature)
    shares = view_shares(torch.sigmoid(logits.gather(1, a.patch_index.long())), sample, settings)
    norms = fused_norms(sample.patches, a.patch_index, shares, a.neighbours, a.weights, a.alpha)
    return _fuse(logits, sample, shares, norms)


def _fuse(logits: torch.Tensor, sample: Sample, shares: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """p_a of each point's fused feature from the patches' logits [K, P]."""
    a = sample.aggregation
    assert a is not None
    fused = aggregate_scalars(logits[..., None], a.patch_index, shares, a.neighbours, a.weights, a.alpha)
    # A feature of length zero (views that cancel) has no direction: its logit is 0, its probability one half.
    return torch.sigmoid(fused[:, 0] / norms.clamp(min=torch.finfo(torch.float32).tiny))


def loss_terms(state: State, sample: Sample, targets: Targets, settings: Settings) -> Terms:
    """The terms of Eq. 6 for one cloud; L^g is the local explicit loss, there is no global one."""

    def geometry() -> torch.Tensor:
        scores, labels = explicit_scores(state, sample, settings), targets.labels
        return losses.dice_pair(scores.sum(), scores @ labels, labels.sum(), len(labels), targets.points.empty)

    def cross() -> torch.Tensor:
        return losses.cross(state["geometry"], state["rendering"], settings.cross_temperature, settings.cross_loss)

    return {**pointad.loss_terms(state, sample, targets, settings), "geometry": geometry, "cross": cross}


def branches(state: State, sample: Sample, settings: Settings) -> dict[str, torch.Tensor]:
    """S_a and T_a, float [n] each, under the names of the paper's branches."""
    implicit = pointad.point_scores(state, sample, settings)
    return {"implicit": implicit, "explicit": weighted_explicit_scores(state, sample, settings)}


def point_scores(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """0.5 S_a + 0.5 T_a, what Sec. 3.6.2 filters into A^m."""
    parts = branches(state, sample, settings)
    return 0.5 * parts["implicit"] + 0.5 * parts["explicit"]
