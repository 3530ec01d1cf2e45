"""AnomalyCLIP on depth images (Sec. 4.1): object-agnostic prompts learnt on one frontal depth image of each cloud.

Prompts, V-V features and hyper-parameters are PointAD's, which took them from AnomalyCLIP. Losses and scores are
AnomalyCLIP's own: four times the local loss besides the global one, and the global probability alone as the object's
score. Its global feature skips the image tower's last layer norm; as its author reports no difference, the features
here keep the norm, and are shared with the other systems. With RGB the photograph is read with the same prompts, and
its map and probability are averaged with the depth image's, as Table 2 implies.
"""

from __future__ import annotations

import numpy as np
import torch

from pointad_core.methods import losses
from pointad_core.methods.interface import Settings, State, Terms
from pointad_core.methods.pointad import first_weights, global_score, point_scores, restore, templates
from pointad_core.methods.segmentation import Sample, anomaly_logits, upsample
from pointad_core.methods.targets import Targets

__all__ = ["first_weights", "global_score", "loss_terms", "object_score", "point_scores", "restore", "templates"]


def loss_terms(state: State, sample: Sample, targets: Targets, settings: Settings) -> Terms:
    """Cross entropy of the depth image's global feature, and focal + both Dice losses of its upsampled map.

    The image's label is the cloud's.
    """
    logits = anomaly_logits(sample.views, state["rendering"], settings.temperature)
    probabilities = torch.sigmoid(anomaly_logits(sample.patches, state["rendering"], settings.temperature))
    maps = upsample(probabilities, sample.resolution)
    return {
        "global_2d": lambda: losses.global_2d(logits, targets.defective.expand(len(logits))),
        "local_2d": lambda: losses.focal(maps, targets.masks) + targets.pixels.dice(probabilities).mean(),
    }


def object_score(probability: float, smoothed: np.ndarray) -> float:
    """The global probability alone."""
    return probability
