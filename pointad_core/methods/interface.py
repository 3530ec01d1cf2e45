"""What a system's module offers, and what it is handed: the settings of a method, a state, a sample, targets.

Systems that score by what they know of other categories offer `Scoring`, those that are trained on one `Learning`; one
that learns the tested category itself, from the good scans of its train split, offers `Unsupervised`. One that scores a
scan by the other scans of its category offers `Comparing` besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, get_origin, get_type_hints

from pointad_core.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of a method; the defaults are the paper's."""

    context_length: int = 12  # learnable tokens at the start of each prompt
    deep_length: int = 4  # learnable tokens at the input of each deep block
    deep_blocks: int = 8  # blocks of the text tower, from the second on, that take deep tokens
    temperature: float = 0.07
    epochs: int = 15
    batch_size: int = 4  # clouds a step
    learning_rate: float = 0.001
    betas: tuple[float, float] = (0.5, 0.999)
    smoothing_sigma: float = 4.0  # Gaussian filter, in pixels of a 336 x 336 map
    smoothing_over: Literal["pixels", "points"] = "pixels"  # of an organised map, the empty ones as 0 or left out
    rgb_map: Literal["points", "pixels"] = (
        "points"  # what of a photograph's map counts, the object's points or all of it
    )
    object_share: float = 0.0  # of an object's points, those whose mean counts in its score; at 0 the maximum alone
    view_weights: Literal["mean", "incidence", "coverage", "sharpness"] = "mean"  # of the views that see a point
    deep_precision: Literal["single", "half"] = "single"  # to which the deep tokens are rounded on their way in
    dice: Literal["points", "pixels"] = "points"  # what the 3-D Dice losses run over: points, or empty pixels as well
    global_3d: Literal["probability_mean", "logit_mean", "mixed_logit_mean"] = "probability_mean"
    cross_loss: Literal["softmax", "ratio"] = "softmax"
    cross_temperature: float = 0.07
    defect_features: int = 0  # patches farthest from what is normal that make a token of the abnormal prompts; 0: none
    prototypes: int = 32  # clusters of the good scans' patches, which say what is normal
    word_vectors: str | None = None  # file in word2vec's text format, for systems that read one; None for CLIP's own
    pointnet: str | None = None  # file with a PointNet's weights, for systems that have one; None to train it
    neighbourhoods: tuple[int, ...] = (1, 3, 5)  # mutual scoring: sides, in patches, of what a patch is seen with
    lowest_share: float = 0.3  # of the scans compared with, those nearest to a patch that count
    compared_views: Literal["same", "all"] = "same"  # of other scans, that a view's patches are compared with
    references: int | None = None  # other scans that each is compared with, drawn; None for all
    loss_weights: Mapping[str, float] = field(default_factory=dict)  # of the system's terms; at 0 one is not computed

    @classmethod
    def of(cls, options: Mapping[str, Any], losses: Mapping[str, float] | None = None) -> Settings:
        """Settings from a method's entry in the config; what is not a hyper-parameter there is passed over.

        losses: the system's terms with their default weights. Raises InputError for a weight of any other term, where
        every weight is 0, and for a value that is none of the choices.
        """
        losses, given = losses or {}, options.get("loss_weights", {})
        if unknown := sorted(given.keys() - losses.keys()):
            raise InputError(f"loss_weights has {unknown}, allowed are {sorted(losses)}")
        weights = {**losses, **given}
        if weights and not any(weights.values()):
            raise InputError("loss_weights: all are 0, so that nothing can be learnt")
        known = {item.name: options[item.name] for item in fields(cls) if item.name in options}
        for name, kind in get_type_hints(cls).items():
            if get_origin(kind) is Literal and known.get(name, get_args(kind)[0]) not in get_args(kind):
                raise InputError(f"{name} is {known[name]!r}, allowed are {', '.join(get_args(kind))}")
        if not 0 <= known.get("object_share", 0) <= 1:
            raise InputError(f"object_share is {known['object_share']!r}, allowed are numbers from 0 to 1")
        lists = {name: tuple(options.get(name, getattr(cls, name))) for name in ("betas", "neighbourhoods")}
        return cls(**{**known, **lists, "loss_weights": weights})


State = dict[str, "torch.Tensor"]
"""What a system scores with and training changes, by name.

Of a system with prompts (learnt or handwritten) the text embeddings of each layer ("rendering", "geometry"), float
[2, d], L2-normalised, 0 = normal and 1 = abnormal; RGB takes the rendering layer's. Of one with a network of its own
whatever its module says.
"""
Terms = dict[str, "Callable[[], torch.Tensor]"]
"""A loss's terms by name; what has no weight is not called."""
OfScan = Callable[[Any], State]
"""The state for a scan, by its sample: of prompts that take in what they are to score."""
Restore = Callable[[str], State | OfScan]
"""The state for a category's display name."""


def state_for(state: State | OfScan, sample: Any) -> State:
    """The state that a scan is scored with, whether it is the same for all of its category or its own."""
    return state(sample) if callable(state) else state


class Scoring(Protocol):
    """What every system's module offers; `sample` is a `segmentation.Sample`, or a `segmentation.PointSample` for a
    system that reads clouds alone.

    One whose point scores are the mean of branches offers `branches(state, sample, settings)` as well, which gives each
    branch's scores float [n] by its name; it is asked instead, and pictures show the branches apart. One whose maps of
    views, or of photographs, are not what its rendering prompts say of their patches offers `view_scores(state, sample,
    settings)`, float [K, P] in [0, 1], and `photograph_scores(state, photograph, settings)` of a photograph's global
    [d] and patch features [P, d] as they are cached, which gives its probability, float [], and its patches' scores,
    [P].
    """

    def restore(
        self, tensors: Mapping[str, torch.Tensor], settings: Settings, model: Mapping[str, Any], device: torch.device
    ) -> Restore:
        """What it scores with: from the tensors of a prompts file, none where it is not trained.

        model: the entry of the config's `features`, which names the CLIP; it is loaded only where text is still to be
        encoded. Raises InputError where the tensors are not the system's.
        """

    def point_scores(self, state: State, sample: Any, settings: Settings) -> torch.Tensor:
        """Anomaly score of each point before smoothing, float [n] in [0, 1]."""

    def global_score(self, state: State, sample: Any, settings: Settings) -> torch.Tensor:
        """Anomaly probability of the cloud as a whole, float []."""

    def object_score(self, probability: float, smoothed: np.ndarray) -> float:
        """Score of an object from its global probability and its smoothed scores, of any shape; with RGB from the mean
        of both probabilities and the fused map. Where the method has an `object_share` it is given the mean of the
        highest scores in place of all, [1]."""


@dataclass(frozen=True)
class Encoded:
    """One scan as a system sees it that compares it with others: features as they are cached, L2-normalised."""

    views: torch.Tensor  # [K, d], the renders' global features
    patches: torch.Tensor  # [K, P, d], the renders' patch features
    photograph: tuple[torch.Tensor, torch.Tensor] | None  # its global [d] and patch features [P, d]


class Comparing(Protocol):
    """What the module of a system offers besides that scores a scan by the others of its category (`System.batch`)."""

    def compare(
        self,
        state: State,
        scans: Mapping[str, Encoded],
        wanted: Sequence[str],
        settings: Settings,
        device: torch.device,
    ) -> Iterator[State]:
        """What each wanted scan is scored with, in their order: a state of its own, in place of the category's.

        state: of the category (`restore`); scans: all of the category by name, whoever of them is wanted, each read as
        it is asked for; never all at once in memory. A scan's state follows from all of them alone: neither from their
        order nor from what else is wanted, for a category may be scored in parts. Raises InputError for a category that
        has too few scans.
        """


class Learning(Scoring, Protocol):
    """What the module of a trained system offers as well."""

    def first_weights(
        self, name: str, settings: Settings, model: Mapping[str, Any], generator: torch.Generator, device: torch.device
    ) -> Learner:
        """What it learns, before training on a category of this display name."""

    def loss_terms(self, state: State, sample: Any, targets: Any, settings: Settings) -> Terms:
        """The unweighted terms of one cloud's loss by the names in its registry entry; targets: `targets.Targets`, or
        `targets.PointTargets` for a system that reads clouds alone."""


class Learner(Protocol):
    """What is trained: prompts (`prompts.Prompts`), or a network of the system's own."""

    def parameters(self) -> list[torch.Tensor]:
        """What the optimiser changes; an epoch's losses reach each of them at least once."""

    def state(self) -> State | OfScan:
        """What the losses and scores take, differentiable; computed once a step of training, a scan's own once for each
        scan. Losses see copies that are leaves; their gradients run through what needs a gradient here.

        One that also looks at good scans before its first step offers `begin(good)`: their samples, on the device,
        loaded one after the other as they are asked for."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a prompts file keeps, on the CPU."""

    def description(self) -> dict[str, Any]:
        """What the file's provenance says of it."""


@dataclass(frozen=True)
class CloudSample:
    """One scan as unsupervised systems see it: its cloud as the clouds store has it, and the photograph."""

    points: np.ndarray  # float32 [n, 3], in the data's units and orientation, without the background
    metre: float  # how many of these units are a metre
    grid: np.ndarray | None  # int32 [n], ascending flat pixels of the points on the S x S grid; None of one without
    resolution: int  # S
    photograph: np.ndarray | None  # uint8 [S, S, 3], black where the background was; None without one


@dataclass(frozen=True)
class Scored:
    """Scores of one scan in one modality, smoothed, higher is more anomalous; of any scale, not negative."""

    points: np.ndarray  # float32 [S, S] of an organised scan, else [n]
    object: float


Found = dict[Literal["3d", "rgb", "m3d"], Scored]
"""Of the cloud alone, and with a photograph of this alone and of both."""


class Unsupervised(Protocol):
    """What the module of an unsupervised system offers instead of `Scoring`.

    options: the keys of its method in the config, completed by the schema, without those that only name it (`system`,
    `features`, `label`, `published`); learning is not told `smoothing_sigma`. A key that names a file (`System.files`)
    is None or a path. model: the entry of the config's `features`, for a module that takes the patch features of its
    CLIP where no network of its own is given; None where all files are.
    """

    def learn(
        self,
        scans: Sequence[CloudSample],
        options: Mapping[str, Any],
        model: Mapping[str, Any] | None,
        seed: int,
        device: torch.device,
    ) -> dict[str, torch.Tensor]:
        """What the scores need of a category, from its good scans: what the file of an expert keeps, on the CPU.

        scans: read one at a time as they are indexed, as often as is wanted; never all at once in memory. Raises
        InputError where nothing can be learnt from them.
        """

    def restore(
        self,
        tensors: Mapping[str, torch.Tensor],
        options: Mapping[str, Any],
        model: Mapping[str, Any] | None,
        device: torch.device,
    ) -> Any:
        """What `score` takes as its state, ready on the device. Raises InputError for tensors of another system or of
        other options."""

    def score(self, state: Any, sample: CloudSample, options: Mapping[str, Any]) -> Found:
        """Scores of one scan: "3d" always, "rgb" and "m3d" as well where it has a photograph and the system reads it.
        The same scan gives the same scores, whatever was scored before."""
