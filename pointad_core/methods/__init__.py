"""The systems of the paper's tables, one module each, behind one small interface.

This module is light: the workflow reads `SYSTEMS` while it is parsed. `load` imports a system's own module.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pointad_core.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True)
class System:
    """What the workflow and the stages must know of a system before they load its module."""

    label: str
    """Name in the tables."""
    learns: Literal["nothing", "prompts", "network"]
    """What it learns on an auxiliary category: nothing, a pair of prompts for each layer, or a network of its own."""
    stream: Literal["vv", "plain"] | None
    """Patch features that it reads: those of V-V attention or CLIP's own; None for a system that reads clouds alone,
    neither renders nor features."""
    explicit: bool = False
    """Reads what G-aggregation needs (neighbours, kernel weights, norms)."""
    class_names: bool = False
    """Names the category in its text: training and scoring are told its display name."""
    renderers: tuple[str, ...] = ("splat", "open3d")
    """Renderers whose images it can read."""
    rgb: bool = True
    """Takes RGB in where there is some, and so has rows in the tables of M3D."""
    cross_dataset: bool = True
    """Has rows in the cross-dataset tables; never so without training."""

    @property
    def trained(self) -> bool:
        return self.learns != "nothing"

    @property
    def compared_across(self) -> bool:
        """Has rows in the cross-dataset tables."""
        return self.trained and self.cross_dataset


SYSTEMS: dict[str, System] = {
    "clip_rendering": System("CLIP + Rendering", learns="nothing", stream="plain", class_names=True),
    "cheraghian": System(
        "Cheraghian", learns="network", stream=None, class_names=True, renderers=(), rgb=False, cross_dataset=False
    ),
    "pointclip_v2": System(
        "PointCLIP V2", learns="nothing", stream="plain", class_names=True, renderers=("realistic",)
    ),
    "pointclip_v2_a": System(
        "PointCLIP V2_a", learns="prompts", stream="plain", class_names=True, renderers=("realistic",)
    ),
    "anomalyclip": System("AnomalyCLIP", learns="prompts", stream="vv", renderers=("depth",)),
    "pointad_coop": System("PointAD-CoOp", learns="prompts", stream="vv", class_names=True),
    "pointad": System("PointAD", learns="prompts", stream="vv"),
    "pointad_plus_coop": System("PointAD+-CoOp", learns="prompts", stream="vv", explicit=True, class_names=True),
    "pointad_plus": System("PointAD+", learns="prompts", stream="vv", explicit=True),
}
"""In the order of the paper's tables."""


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
    word_vectors: str | None = None
    """Text file of word vectors in word2vec's format, for the systems that read one; None for CLIP's own."""
    pointnet: str | None = None
    """File with a PointNet's weights, for the systems that have one; None to train it."""
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


State = dict[str, "torch.Tensor"]
"""What a system scores with and training changes, by name.

Of a system with prompts (learnt or handwritten) the text embeddings of each layer ("rendering", "geometry"), float
[2, d], L2-normalised, 0 = normal and 1 = abnormal; RGB takes the rendering layer's. Of one with a network whatever
its module says.
"""


class Method(Protocol):
    """What a system's module offers to the scores stage.

    `sample` is a `segmentation.Sample`, or a `segmentation.PointSample` for a system that reads clouds alone.
    """

    def point_scores(self, state: State, sample: Any, settings: Settings) -> torch.Tensor:
        """Anomaly score of each point before smoothing, float [n] in [0, 1]."""

    def global_score(self, state: State, sample: Any, settings: Settings) -> torch.Tensor:
        """Anomaly probability of the cloud as a whole, float []."""

    def object_score(self, probability: float, smoothed: np.ndarray) -> float:
        """Score of an object from its global probability and its smoothed scores, of any shape.

        With RGB: from the mean of both probabilities and the fused map.
        """


class PromptMethod(Method, Protocol):
    """What the module of a system with prompts offers as well, learnt or not."""

    def templates(self, name: str) -> dict[str, tuple[str, str]]:
        """Each layer's normal and abnormal text for a category of this (display) name.

        A trained system's text follows its learnable context; an untrained system's is the whole prompt.
        """


class TrainedMethod(Method, Protocol):
    """What a trained system's module offers to the prompts stage as well."""

    def loss_terms(self, state: State, sample: Any, targets: Any, settings: Settings) -> dict[str, torch.Tensor]:
        """The unweighted terms of one cloud's loss, named as in `LossWeights`.

        targets: `prompts.Targets`, or `prompts.PointTargets` for a system that reads clouds alone.
        """


class Learner(Protocol):
    """What is trained: the prompts of a system (`prompts.Prompts`), or a network of its own."""

    def parameters(self) -> list[torch.Tensor]:
        """What the optimiser changes."""

    def state(self) -> State:
        """What the losses and scores take, differentiable; computed once a step of training.

        Losses see copies that are leaves; their gradients run through what needs a gradient here.
        """

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a prompts file keeps, on the CPU."""

    def description(self) -> dict[str, Any]:
        """What the file's provenance says of it."""


class NetworkMethod(TrainedMethod, Protocol):
    """What the module of a system with a network of its own offers as well.

    name: the category's display name; model: the entry of the config's `features`, which names the CLIP.
    """

    def draw(
        self,
        name: str,
        settings: Settings,
        model: Mapping[str, Any],
        generator: torch.Generator,
        device: torch.device,
    ) -> Learner:
        """The network before training."""

    def restore(
        self, tensors: dict[str, torch.Tensor], settings: Settings, model: Mapping[str, Any], device: torch.device
    ) -> Callable[[str], State]:
        """What the network of a prompts file scores with, for a category's display name.

        Raises InputError where the tensors are not the network's.
        """


def find(system: str) -> System:
    """The entry of a system; raises InputError for an unknown name."""
    if system not in SYSTEMS:
        raise InputError(f"unknown system {system!r}, allowed are {sorted(SYSTEMS)}")
    return SYSTEMS[system]


def load(system: str) -> Any:
    """Import a system's module: a `Method`, and whatever else the system's entry says that it is."""
    find(system)
    return importlib.import_module(f"pointad_core.methods.{system}")


def load_trained(system: str) -> Any:
    """Import the module of a system that is trained; raises InputError for one that is not."""
    if not find(system).trained:
        raise InputError(f"system {system!r} learns nothing")
    return load(system)
