"""The systems of the paper's tables, one module each, behind one small interface.

This module is light: the workflow reads `SYSTEMS` while it is parsed. `load` imports a system's own module.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from pointad_core.errors import InputError

if TYPE_CHECKING:
    import torch

    from pointad_core.prompts import Targets
    from pointad_core.segmentation import Sample


@dataclass(frozen=True)
class System:
    """What the stages must know of a system before they load its module."""

    trained: bool
    """Learns prompts on an auxiliary category."""
    stream: Literal["vv", "plain"]
    """Patch features that it reads: those of V-V attention or CLIP's own."""
    label: str
    """Name in the tables."""
    explicit: bool = False
    """Reads what G-aggregation needs (neighbours, kernel weights, norms)."""
    class_names: bool = False
    """Its text embeddings name the category: scoring needs CLIP's text tower."""


SYSTEMS: dict[str, System] = {
    "clip_rendering": System(trained=False, stream="plain", label="CLIP + Rendering", class_names=True),
    "pointad": System(trained=True, stream="vv", label="PointAD"),
    "pointad_plus": System(trained=True, stream="vv", label="PointAD+", explicit=True),
}


@dataclass(frozen=True)
class LossWeights:
    """Factors of the loss terms; all 1 in the paper."""

    global_3d: float = 1.0
    local_3d: float = 1.0
    global_2d: float = 1.0
    local_2d: float = 1.0
    geometry: float = 1.0
    cross: float = 1.0


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of a method; the defaults are the paper's."""

    context_length: int = 12
    """Learnable tokens at the start of each prompt."""
    deep_length: int = 4
    """Learnable tokens at the input of each deep block."""
    deep_blocks: int = 8
    """Blocks of the text tower, from the second on, that take deep tokens."""
    temperature: float = 0.07
    epochs: int = 15
    batch_size: int = 4
    """Clouds a step."""
    learning_rate: float = 0.001
    betas: tuple[float, float] = (0.5, 0.999)
    smoothing_sigma: float = 4.0
    """Gaussian filter, in pixels of a 336 x 336 map."""
    global_3d: Literal["probability_mean", "logit_mean"] = "probability_mean"
    cross_loss: Literal["softmax", "ratio"] = "softmax"
    cross_temperature: float = 0.07
    loss_weights: LossWeights = field(default_factory=LossWeights)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Settings:
        """Settings from a method's entry in the config; what is not a hyper-parameter there is passed over."""
        known = {item.name: options[item.name] for item in fields(cls) if item.name in options}
        if "betas" in known:
            known["betas"] = tuple(known["betas"])
        if "loss_weights" in known:
            weights = dict(known["loss_weights"])
            if unknown := sorted(set(weights) - set(asdict(LossWeights()))):
                raise InputError(f"loss_weights has {unknown}, allowed are {sorted(asdict(LossWeights()))}")
            known["loss_weights"] = replace(LossWeights(), **weights)
        return cls(**known)


class Method(Protocol):
    """What a system's module offers to the scores stage.

    Embeddings are dicts from a layer's name ("rendering", "geometry") to float [2, d], L2-normalised, 0 = normal
    and 1 = abnormal. Global scores and RGB always take the rendering layer's.
    """

    def templates(self, name: str) -> dict[str, tuple[str, str]]:
        """Each layer's normal and abnormal text for a category of this (display) name.

        A trained system's text follows its learnable context; an untrained system's is the whole prompt.
        """

    def point_scores(self, embeddings: dict[str, torch.Tensor], sample: Sample, settings: Settings) -> torch.Tensor:
        """Anomaly probability of each point before smoothing, float [n]."""


class TrainedMethod(Method, Protocol):
    """What a trained system's module offers to the prompts stage as well."""

    def loss_terms(
        self, embeddings: dict[str, torch.Tensor], sample: Sample, targets: Targets, settings: Settings
    ) -> dict[str, torch.Tensor]:
        """The unweighted terms of one cloud's loss, named as in `LossWeights`."""


def find(system: str) -> System:
    """The entry of a system; raises InputError for an unknown name."""
    if system not in SYSTEMS:
        raise InputError(f"unknown system {system!r}, allowed are {sorted(SYSTEMS)}")
    return SYSTEMS[system]


def load(system: str) -> Method:
    """Import a system's module."""
    find(system)
    return cast(Method, importlib.import_module(f"pointad_core.methods.{system}"))


def load_trained(system: str) -> TrainedMethod:
    """Import the module of a system that learns prompts; raises InputError for one that does not."""
    if not find(system).trained:
        raise InputError(f"system {system!r} learns no prompts")
    return cast(TrainedMethod, importlib.import_module(f"pointad_core.methods.{system}"))
