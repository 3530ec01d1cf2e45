"""PointAD: rendering prompts for implicit point representations (Sec. 3.5.1)."""

import torch

from pointad_core.methods import losses
from pointad_core.methods.interface import Settings, State, Terms
from pointad_core.methods.prompts import learnt
from pointad_core.methods.segmentation import Sample, anomaly_logits, global_score, object_score, point_scores, upsample
from pointad_core.methods.targets import Targets

__all__ = ["first_weights", "global_score", "loss_terms", "object_score", "point_scores", "restore", "templates"]


def templates(name: str) -> dict[str, tuple[str, str]]:
    """Object-agnostic texts: the category's name is not used. The trailing "." is the published implementation's."""
    return {"rendering": ("object.", "damaged object.")}


first_weights, restore = learnt(templates)


def loss_terms(state: State, sample: Sample, targets: Targets, settings: Settings) -> Terms:
    """The four terms of L^r_hybrid for one cloud."""
    logits = anomaly_logits(sample.patches, state["rendering"], settings.temperature)
    return rendering_terms(state, torch.sigmoid(logits), sample, targets, settings)


def rendering_terms(
    state: State, probabilities: torch.Tensor, sample: Sample, targets: Targets, settings: Settings
) -> Terms:
    """L^r_hybrid of the patches' probabilities float [K, P]; only the focal loss needs their maps (see `DiceSums`)."""
    logits = anomaly_logits(sample.views, state["rendering"], settings.temperature)
    mixed = logits
    if sample.mixed is not None:
        mixed = anomaly_logits(sample.mixed, state["rendering"], settings.temperature)
    maps = upsample(probabilities, sample.resolution)
    return {
        "global_3d": lambda: losses.global_3d(mixed, targets.defective, settings.global_3d),
        "local_3d": lambda: targets.points.dice(probabilities.flatten()),
        "global_2d": lambda: losses.global_2d(logits, targets.defective_views),
        "local_2d": lambda: losses.focal(maps, targets.masks) + targets.pixels.dice(probabilities).mean(),
    }
