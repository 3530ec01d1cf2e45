"""An example of a system of one's own: two vectors among the features themselves instead of prompts.

A patch is as abnormal as it is nearer to the vector of abnormal patches than to that of normal ones. What each function
takes and returns stands in `pointad_core.methods.interface`; the config names the file:

    systems: {toy: {module: tests/systems/toy_system.py, stream: vv, losses: {points: 1, images: 0.5}}}
    methods: {toy: {system: toy, epochs: 10}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional as F

from pointad_core.clip.loading import load_model
from pointad_core.errors import InputError
from pointad_core.methods.interface import Restore, Settings, State, Terms
from pointad_core.methods.losses import dice_pair
from pointad_core.methods.segmentation import Sample, implicit_scores, object_score
from pointad_core.methods.targets import Targets

__all__ = ["first_weights", "global_score", "loss_terms", "object_score", "point_scores", "restore"]


class Vectors:
    """What is learnt (an `interface.Learner`): float [2, d], 0 = normal, 1 = abnormal."""

    def __init__(self, vectors: torch.Tensor) -> None:
        self._vectors = vectors

    def parameters(self) -> list[torch.Tensor]:
        return [self._vectors]

    def state(self) -> State:
        """Of length 1, as features are. RGB is scored with what stands under this name."""
        return {"rendering": F.normalize(self._vectors, dim=1)}

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"vectors": self._vectors.detach().cpu()}

    def description(self) -> dict[str, Any]:
        return {"start": "random, from the seed"}


def first_weights(
    name: str, settings: Settings, model: Mapping[str, Any], generator: torch.Generator, device: torch.device
) -> Vectors:
    """Random directions; the category's name is not used."""
    vectors = torch.randn(2, load_model(model, device).dim, generator=generator)
    return Vectors(F.normalize(vectors, dim=1).to(device).requires_grad_())


def restore(
    tensors: Mapping[str, torch.Tensor], settings: Settings, model: Mapping[str, Any], device: torch.device
) -> Restore:
    """The same vectors for every category."""
    if "vectors" not in tensors:
        raise InputError(f"has no vectors, only {sorted(tensors)}")
    state = Vectors(tensors["vectors"].to(device)).state()
    return lambda name: state


def logits(features: torch.Tensor, state: State, settings: Settings) -> torch.Tensor:
    """Half the difference of the squared distances to both vectors over tau: features float [..., d] -> [...]."""
    normal, abnormal = ((features - vector).square().sum(-1) for vector in state["rendering"])
    return (normal - abnormal) / (2 * settings.temperature)


def loss_terms(state: State, sample: Sample, targets: Targets, settings: Settings) -> Terms:
    """Dice of normal and of abnormal points; cross entropy of each render. Called only where they have a weight."""
    scores, views = point_scores(state, sample, settings), logits(sample.views, state, settings)
    return {
        "points": lambda: dice_pair(scores.sum(), scores @ targets.labels, targets.labels.sum(), len(targets.labels)),
        "images": lambda: F.binary_cross_entropy_with_logits(views, targets.defective_views.float()),
    }


def point_scores(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """Each point's mean, over the views that see it, of the upsampled probabilities at its pixel (Eq. 3)."""
    patches = torch.sigmoid(logits(sample.patches, state, settings))
    return implicit_scores(patches, sample.pixels, sample.visible, sample.resolution)


def global_score(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """Mean of the renders' probabilities."""
    return torch.sigmoid(logits(sample.views, state, settings)).mean()
