"""PointAD: rendering prompts for implicit point representations (Sec. 3.5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pointad_core import losses
from pointad_core.methods import Settings, State
from pointad_core.segmentation import (
    Sample,
    anomaly_logits,
    global_probability,
    implicit_scores,
    object_score,
    upsample,
)

if TYPE_CHECKING:
    from pointad_core.prompts import Targets


__all__ = ["global_score", "loss_terms", "object_score", "point_scores", "rendering_terms", "templates"]


def templates(name: str) -> dict[str, tuple[str, str]]:
    """Object-agnostic texts: the category's name is not used. The trailing "." is the published implementation's."""
    return {"rendering": ("object.", "damaged object.")}


def loss_terms(state: State, sample: Sample, targets: Targets, settings: Settings) -> dict[str, torch.Tensor]:
    """The four terms of L^r_hybrid for one cloud."""
    logits = anomaly_logits(sample.patches, state["rendering"], settings.temperature)
    return rendering_terms(state, torch.sigmoid(logits), sample, targets, settings)


def rendering_terms(
    state: State, probabilities: torch.Tensor, sample: Sample, targets: Targets, settings: Settings
) -> dict[str, torch.Tensor]:
    """L^r_hybrid of the patches' probabilities float [K, P].

    Dice terms take sums of p over a map or over the points; these are linear in the patches' probabilities with
    factors that never change (`Targets`), so that only the focal loss needs the upsampled maps.
    """
    logits = anomaly_logits(sample.views, state["rendering"], settings.temperature)
    focal = losses.focal(upsample(probabilities, sample.resolution), targets.masks)
    return {
        "global_3d": losses.global_3d(logits, targets.defective, settings.global_3d),
        "local_3d": targets.points.dice(probabilities.flatten()),
        "global_2d": losses.global_2d(logits, targets.defective_views),
        "local_2d": focal + targets.pixels.dice(probabilities).mean(),
    }


def point_scores(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """S_a of Eq. 3."""
    logits = anomaly_logits(sample.patches, state["rendering"], settings.temperature)
    return implicit_scores(torch.sigmoid(logits), sample.pixels, sample.visible, sample.resolution)


def global_score(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """Mean over the views of P(g_a, f)."""
    return global_probability(sample.views, state["rendering"], settings.temperature)
