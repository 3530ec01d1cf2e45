"""PointAD: rendering prompts for implicit point representations (Sec. 3.5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pointad_core import losses
from pointad_core.methods import Settings
from pointad_core.segmentation import Sample, anomaly_logits, implicit_scores, upsample

if TYPE_CHECKING:
    from pointad_core.prompts import Targets


def templates(name: str) -> dict[str, tuple[str, str]]:
    """Object-agnostic texts: the category's name is not used. The trailing "." is the published implementation's."""
    return {"rendering": ("object.", "damaged object.")}


def loss_terms(
    embeddings: dict[str, torch.Tensor], sample: Sample, targets: Targets, settings: Settings
) -> dict[str, torch.Tensor]:
    """The four terms of L^r_hybrid for one cloud.

    Dice terms take sums of p over a map or over the points; these are linear in the patches' probabilities with
    factors that never change (`Targets`), so that only the focal loss needs the upsampled maps.
    """
    logits = anomaly_logits(sample.views, embeddings["rendering"], settings.temperature)
    probabilities = torch.sigmoid(anomaly_logits(sample.patches, embeddings["rendering"], settings.temperature))
    focal = losses.focal(upsample(probabilities, sample.resolution), targets.masks)
    return {
        "global_3d": losses.global_3d(logits, targets.defective, settings.global_3d),
        "local_3d": targets.points.dice(probabilities.flatten()),
        "global_2d": losses.global_2d(logits, targets.defective_views),
        "local_2d": focal + targets.pixels.dice(probabilities).mean(),
    }


def point_scores(embeddings: dict[str, torch.Tensor], sample: Sample, settings: Settings) -> torch.Tensor:
    """S_a of Eq. 3."""
    logits = anomaly_logits(sample.patches, embeddings["rendering"], settings.temperature)
    return implicit_scores(torch.sigmoid(logits), sample.pixels, sample.visible, sample.resolution)
