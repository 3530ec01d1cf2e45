"""AnomalyCLIP on depth images (Sec. 4.1): object-agnostic prompts learnt on one frontal depth image of each cloud.

Prompts, V-V features and hyper-parameters are PointAD's, which took them from AnomalyCLIP. Losses and scores are
AnomalyCLIP's own: four times the local loss besides the global one, and the global probability alone as the object's
score. Its global feature skips the image tower's last layer norm; as its author reports no difference, the features
here keep the norm, and are shared with the other systems. With RGB the photograph is read with the same prompts, and
its map and probability are averaged with the depth image's, as Table 2 implies.
"""

from dataclasses import replace

import numpy as np

from pointad_core.methods import pointad
from pointad_core.methods.interface import Settings, State, Terms
from pointad_core.methods.pointad import first_weights, global_score, point_scores, restore, templates
from pointad_core.methods.segmentation import Sample
from pointad_core.methods.targets import Targets

__all__ = ["first_weights", "global_score", "loss_terms", "object_score", "point_scores", "restore", "templates"]


def loss_terms(state: State, sample: Sample, targets: Targets, settings: Settings) -> Terms:
    """PointAD's terms of a render, where the depth image's label is the cloud's."""
    targets = replace(targets, defective_views=targets.defective.expand(len(sample.views)))
    terms = pointad.loss_terms(state, sample, targets, settings)
    return {name: terms[name] for name in ("global_2d", "local_2d")}


def object_score(probability: float, smoothed: np.ndarray) -> float:
    """The global probability alone."""
    return probability
