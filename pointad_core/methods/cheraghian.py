"""Cheraghian (Sec. 4.1): point features of a PointNet beside word vectors, without a vision-language model.

A small network maps a category's word vectors to the features' space: 512, 768 and 1024 channels, each after batch
normalisation and ReLU. The normal text is the vector of [c]; the abnormal one the mean of those of [c] and "damaged".
The original compares a cloud's global feature; dense features, those of single points before the maximum, take its
place in training and segmentation, and the global feature scores the object.

The paper says no more. Weights of the original's PointNet, trained on other data sets' categories, can be given as a
file (`pointnet`) and are then frozen. Without one the PointNet starts at random and learns from the auxiliary class, by
the cross entropy of its points between the two texts. Word vectors come from a file (`word_vectors`); without one,
CLIP's token embeddings of the same words take their place.

As PointNet does, a cloud is represented by 1024 of its points; the others take the score of the nearest of these.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from pointad_core.clip.loading import load_model
from pointad_core.clouds.subsets import nearest, random_subset
from pointad_core.errors import InputError
from pointad_core.methods import pointnet
from pointad_core.methods.interface import Restore, Settings, State, Terms
from pointad_core.methods.segmentation import PointSample, anomaly_logits, object_score
from pointad_core.methods.targets import PointTargets
from pointad_core.storage.word_vectors import read_word_vectors

__all__ = ["first_weights", "global_score", "loss_terms", "object_score", "point_scores", "restore"]

POINTS = 1024  # that represent a cloud


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case: "Cable_gland" has "cable" and "gland"; InputError where there is none."""
    words = [word for word in re.split(r"[\s_-]+", name.lower()) if word]
    if not words:
        raise InputError(f"the name {name!r} has no word")
    return words


def embedder(settings: Settings, model: Mapping[str, Any], device: torch.device) -> Callable[[str], torch.Tensor]:
    """Word vectors float32 [2, v] for a category's display name: [c], its words' mean, and the mean with "damaged"."""
    # The text tower's first layer is all that is needed, but it comes with the model.
    clip = load_model(model, device) if settings.word_vectors is None else None

    @torch.no_grad()
    def vector(name: str) -> torch.Tensor:
        words = words_of(name)
        if clip is None:
            vectors = read_word_vectors(str(settings.word_vectors), words)
            return torch.stack([vectors[word] for word in words]).mean(0).to(device)
        tokens = clip.tokenize([" ".join(words)])
        return clip.embed_tokens(tokens)[0, 1 : int(clip.end_positions(tokens)[0])].float().mean(0)

    damaged = vector("damaged")

    def embed(name: str) -> torch.Tensor:
        own = vector(name)
        return torch.stack([own, (own + damaged) / 2])

    return embed


def projector(length: int) -> nn.Sequential:
    """The network from word vectors of this length to the features' space."""
    layers: list[nn.Module] = []
    for before, after in pairwise((length, 512, 768, pointnet.WIDTHS[-1])):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class Network:
    """The projector and the PointNet (an `interface.Learner`), with the words of one category."""

    words: torch.Tensor
    projection: nn.Sequential
    points: pointnet.Weights
    frozen: bool

    def parameters(self) -> list[torch.Tensor]:
        return [*self.projection.parameters(), *(() if self.frozen else self.points.values())]

    def state(self) -> State:
        """The texts' features float [2, 1024] under "text", not normalised, and the PointNet's weights."""
        return {"text": self.projection(self.words), **self.points}

    def tensors(self) -> dict[str, torch.Tensor]:
        parts = {f"projector.{name}": part for name, part in self.projection.state_dict().items()}
        parts |= {f"pointnet.{name}": part for name, part in self.points.items()}
        return {name: part.detach().cpu().contiguous() for name, part in parts.items()}

    def description(self) -> dict[str, Any]:
        return {"pointnet": "from a file" if self.frozen else "trained on the auxiliary class"}


def first_weights(
    name: str, settings: Settings, model: Mapping[str, Any], generator: torch.Generator, device: torch.device
) -> Network:
    """The network before training on a category of this display name."""
    words, frozen = embedder(settings, model, device)(name), settings.pointnet is not None
    weights = pointnet.first_weights(generator) if settings.pointnet is None else pointnet.read(settings.pointnet)
    projection = projector(words.shape[1])
    for layer in projection:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)
    weights = {key: part.to(device).requires_grad_(not frozen) for key, part in weights.items()}
    return Network(words, projection.to(device).train(), weights, frozen)


def restore(
    tensors: Mapping[str, torch.Tensor], settings: Settings, model: Mapping[str, Any], device: torch.device
) -> Restore:
    """What the network of a prompts file scores with; InputError for words of another length than it was trained on."""
    weights, projected = (
        {key.removeprefix(owner): part.to(device) for key, part in tensors.items() if key.startswith(owner)}
        for owner in ("pointnet.", "projector.")
    )
    embed = embedder(settings, model, device)
    length = len(embed("damaged")[0])
    projection = projector(length).to(device).eval()
    try:
        projection.load_state_dict(projected)
    except RuntimeError as error:
        raise InputError(
            f"the trained network does not fit word vectors of {length} numbers, or is not whole; train it again"
        ) from error
    return lambda name: {"text": projection(embed(name)), **weights}


def _represent(state: State, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normalised points [n, 3], the indices [m] of those that represent the cloud, and their features [m, 1024]."""
    unit = pointnet.normalise(points)
    chosen = random_subset(len(points), POINTS).to(points.device)
    return unit, chosen, pointnet.point_features(state, unit[chosen])


def _logits(features: torch.Tensor, text: torch.Tensor, temperature: float) -> torch.Tensor:
    return anomaly_logits(F.normalize(features, dim=-1), F.normalize(text, dim=-1), temperature)


def loss_terms(state: State, sample: PointSample, targets: PointTargets, settings: Settings) -> Terms:
    """Two terms for one cloud, each a mean over the kinds of points it has, normal and abnormal.

    "points": cross entropy of the points between the two texts, which trains the PointNet where its weights are not
    given; "alignment": mean square between a point's feature and its kind's text, which trains the projector.
    """
    _, chosen, features = _represent(state, sample.points)
    abnormal = targets.labels[chosen] > 0
    logits = _logits(features, state["text"].detach(), settings.temperature)
    kinds = [(kind, abnormal == kind) for kind in (0, 1) if bool((abnormal == kind).any())]

    def points() -> torch.Tensor:
        return torch.stack([F.softplus(-logits[own] if kind else logits[own]).mean() for kind, own in kinds]).mean()

    def alignment() -> torch.Tensor:
        errors = [(features[own].detach() - state["text"][kind]).square().mean() for kind, own in kinds]
        return torch.stack(errors).mean()

    return {"points": points, "alignment": alignment}


def point_scores(state: State, sample: PointSample, settings: Settings) -> torch.Tensor:
    """Softmax over the cosines of a point's feature and the two texts; that of its nearest representative."""
    unit, chosen, features = _represent(state, sample.points)
    scores = torch.sigmoid(_logits(features, state["text"], settings.temperature))
    return scores[nearest(unit, unit[chosen])]


def global_score(state: State, sample: PointSample, settings: Settings) -> torch.Tensor:
    """The same of the cloud's global feature, the maximum over its points."""
    _, _, features = _represent(state, sample.points)
    return torch.sigmoid(_logits(features.amax(0), state["text"], settings.temperature))
