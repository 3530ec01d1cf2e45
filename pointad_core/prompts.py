"""Learnable prompts, and training on one auxiliary category (Sec. 3.5, Eq. 6).

A training step reads cached features only. Text embeddings are computed once a step; each cloud of the batch adds
its share of their gradient, which then runs through the text tower once. A step therefore takes the memory of a
single cloud, whatever the batch. A system with a network of its own is trained by the same steps.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch.optim.adam import adam

from pointad_core import files, jobs, losses, methods, stores
from pointad_core.clip import Clip, load_model
from pointad_core.errors import InputError
from pointad_core.methods import Learner, Settings, State, TrainedMethod
from pointad_core.samples import SampleReader, open_samples
from pointad_core.segmentation import PointSample, Sample, implicit_scores, move, upsample

CONTEXT_STD = 0.02
"""Standard deviation of the learnable tokens at the start, as in the published implementation."""

CACHE_BYTES = 4 << 30
"""Scans are kept in memory between epochs up to this size; the others are read anew each time."""

logger = logging.getLogger(__name__)


class PromptLearner:
    """A pair of prompts, "[V]...[V] <normal text>" and "[W]...[W] <abnormal text>", and their deep tokens.

    context: float32 [2, E, dt], the learnable tokens after the start token, 0 = normal and 1 = abnormal;
    deep: float32 [b, t, dt], the tokens that overwrite the first t of those before blocks 2 to b + 1 of the text
    tower, the same for both prompts. The texts' own token embeddings are frozen.
    """

    def __init__(self, clip: Clip, texts: tuple[str, str], context: torch.Tensor, deep: torch.Tensor) -> None:
        length = context.shape[1]
        if deep.shape[1] > length:
            raise InputError(
                f"deep_length is {deep.shape[1]}, it can be at most context_length ({length}): deep tokens "
                "overwrite context"
            )
        tokens = clip.tokenize(texts)
        ends = clip.end_positions(tokens) + length
        if int(ends.max()) >= clip.context_length:
            raise InputError(
                f"context_length is {length}, but the text tower of {clip.name!r} takes {clip.context_length} tokens, "
                f"{int(ends.max()) - length + 1} of them taken by {texts[1]!r}"
            )
        self.texts = texts
        self.context = context
        self.deep = deep
        self._clip = clip
        self._ends = ends
        self._text = clip.embed_tokens(tokens)[:, : clip.context_length - length].detach()

    @classmethod
    def draw(cls, clip: Clip, texts: tuple[str, str], settings: Settings, generator: torch.Generator) -> PromptLearner:
        """A pair with tokens as they are before training."""

        def noise(*shape: int) -> torch.Tensor:
            values = torch.randn(*shape, clip.text_width, generator=generator) * CONTEXT_STD
            return values.to(clip.device).requires_grad_()

        context = noise(2, settings.context_length)
        return cls(clip, texts, context, noise(settings.deep_blocks, settings.deep_length))

    def embeddings(self) -> torch.Tensor:
        """Text embeddings float32 [2, d], L2-normalised, differentiable; 0 = normal, 1 = abnormal."""
        start, rest = self._text[:, :1], self._text[:, 1:]
        return self._clip.encode_prompts(torch.cat([start, self.context, rest], dim=1), self._ends, self.deep)


class Prompts:
    """A system's learnable prompts, a pair for each of its layers (a `methods.Learner`)."""

    def __init__(self, pairs: Mapping[str, PromptLearner]) -> None:
        self._pairs = dict(pairs)

    @classmethod
    def draw(
        cls, clip: Clip, texts: Mapping[str, tuple[str, str]], settings: Settings, generator: torch.Generator
    ) -> Prompts:
        """Prompts before training; texts: by layer (`PromptMethod.templates`)."""
        return cls({layer: PromptLearner.draw(clip, pair, settings, generator) for layer, pair in texts.items()})

    @classmethod
    def restore(cls, clip: Clip, texts: Mapping[str, tuple[str, str]], tensors: Mapping[str, torch.Tensor]) -> Prompts:
        """The trained tokens of a prompts file, on the model's device, before texts of any category."""

        def part(layer: str, name: str) -> torch.Tensor:
            return tensors[f"{layer}.{name}"].to(clip.device)

        pairs = {}
        for layer, pair in texts.items():
            context = torch.stack([part(layer, "context_normal"), part(layer, "context_abnormal")])
            if context.shape[2] != clip.text_width:
                raise InputError(
                    f"the prompts' tokens have {context.shape[2]} dimensions, the text tower of {clip.name!r} takes "
                    f"{clip.text_width}; train them again"
                )
            pairs[layer] = PromptLearner(clip, pair, context, part(layer, "deep"))
        return cls(pairs)

    def parameters(self) -> list[torch.Tensor]:
        return [part for pair in self._pairs.values() for part in (pair.context, pair.deep)]

    def state(self) -> State:
        """Text embeddings by layer."""
        return {layer: pair.embeddings() for layer, pair in self._pairs.items()}

    @torch.no_grad()
    def tensors(self) -> dict[str, torch.Tensor]:
        parts: dict[str, torch.Tensor] = {}
        for layer, pair in self._pairs.items():
            parts |= {f"{layer}.context_normal": pair.context[0], f"{layer}.context_abnormal": pair.context[1]}
            parts |= {f"{layer}.deep": pair.deep, f"{layer}.embeddings": pair.embeddings()}
        return {name: part.detach().cpu().contiguous() for name, part in parts.items()}

    def description(self) -> dict[str, Any]:
        return {"texts": {layer: pair.texts for layer, pair in self._pairs.items()}}


# Targets --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DiceSums:
    """The sums in a Dice loss as linear functions of the patches' probabilities.

    Interpolation, lookup at pixels and the mean over visible views are linear in p, so that sum p and sum p y over
    a map or a cloud are scalar products with factors that depend on the scan alone.
    """

    predicted: torch.Tensor
    """float [..., P], d(sum p) / d(patch probability)."""
    overlap: torch.Tensor
    """float [..., P], d(sum p y) / d(patch probability)."""
    labelled: torch.Tensor
    """float [...], sum y."""
    count: int
    """Pixels of a map or points of a cloud."""

    def dice(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Dice(p_n, 1 - y) + Dice(p_a, y), [...], from the patches' p_a [..., P]."""
        predicted = (self.predicted * probabilities).sum(-1)
        overlap = (self.overlap * probabilities).sum(-1)
        return losses.dice_pair(predicted, overlap, self.labelled, self.count)


@dataclass(frozen=True)
class Targets:
    """Ground truth of one scan, with all that follows from it and does not change during training."""

    defective: torch.Tensor
    """bool [], label of the cloud."""
    defective_views: torch.Tensor
    """bool [K], whether a render shows any defect."""
    labels: torch.Tensor
    """float32 [n], labels of the points."""
    masks: torch.Tensor
    """bool [K, S, S], ground truth of the renders."""
    pixels: DiceSums
    """Sums over each render's map: factors [K, P]."""
    points: DiceSums
    """Sums over the cloud's implicit scores: factors [K * P]. Only existing points count, no empty pixels."""


@dataclass(frozen=True)
class PointTargets:
    """Ground truth of one scan for a system that reads clouds alone."""

    defective: torch.Tensor
    """bool [], label of the cloud."""
    labels: torch.Tensor
    """float32 [n], labels of the points."""


def make_targets(sample: Sample, labels: torch.Tensor, masks: torch.Tensor, defective: bool) -> Targets:
    """Targets of a scan on the CPU: labels integer or bool [n], masks bool [K, S, S], defective: the cloud's label."""
    points = labels.double()
    # Linear functions are their gradients. Double precision: the factors are sums over all pixels.
    patches = torch.zeros(sample.patches.shape[:2], dtype=torch.float64, requires_grad=True)
    maps = upsample(patches, sample.resolution)
    scores = implicit_scores(patches, sample.pixels, sample.visible, sample.resolution)

    def factors(total: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(total, patches, retain_graph=True)[0].float()

    return Targets(
        defective=torch.tensor(defective),
        defective_views=masks.flatten(1).any(1),
        labels=points.float(),
        masks=masks,
        pixels=DiceSums(
            factors(maps.sum()),
            factors(maps[masks].sum()),
            masks.flatten(1).sum(1).float(),
            masks[0].numel(),
        ),
        points=DiceSums(
            factors(scores.sum()).flatten(),
            factors(scores @ points).flatten(),
            points.sum().float(),
            len(points),
        ),
    )


def cloud_label(labels: torch.Tensor, defective: bool, scan: str) -> bool:
    """max(y^3d) of a cloud, or its scan's label where no remaining point is labelled; warns where they disagree.

    labels: [n]; defective: the label in the clouds store, of the whole scan; scan: its name, for the warning.
    """
    labelled = bool((labels > 0).any())
    if labelled and not defective:
        logger.warning("scan %s is called good but has labelled points; taken as defective", scan)
    if defective and not labelled:
        logger.warning(
            "scan %s is defective, but none of its points that are left is labelled; taken as defective", scan
        )
    return labelled or defective


# Training -------------------------------------------------------------------------------------------------------


Scan = tuple[Sample, Targets] | tuple[PointSample, PointTargets]
Load = Callable[[int], Scan]
Batch = tuple[int, list[int]]


class Adam:
    """torch.optim.Adam by the function behind it: the class imports torch's compiler, a second and a half of a job."""

    def __init__(self, parameters: Sequence[torch.Tensor], learning_rate: float, betas: tuple[float, float]) -> None:
        self._learning_rate = learning_rate
        self._betas = betas
        self._state = [(part, torch.zeros_like(part), torch.zeros_like(part), torch.tensor(0.0)) for part in parameters]

    def zero_grad(self) -> None:
        for part, *_ in self._state:
            part.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Change every parameter that has a gradient."""
        beta1, beta2 = self._betas
        rates: dict[str, Any] = {"lr": self._learning_rate, "beta1": beta1, "beta2": beta2, "eps": 1e-8}
        rates |= {"amsgrad": False, "weight_decay": 0.0, "maximize": False}
        for part, mean, square, count in self._state:
            if part.grad is not None:
                adam([part], [part.grad], [mean], [square], [], [count], **rates)


def batches(n_scans: int, settings: Settings, generator: torch.Generator) -> list[Batch]:
    """Epoch (from 1) and scan indices of every step: shuffled each epoch, the last batch kept however small."""
    steps = []
    for epoch in range(1, settings.epochs + 1):
        order = torch.randperm(n_scans, generator=generator).tolist()
        starts = range(0, n_scans, settings.batch_size)
        steps += [(epoch, order[start : start + settings.batch_size]) for start in starts]
    return steps


def train_step(
    method: TrainedMethod,
    learner: Learner,
    optimizer: Adam,
    scans: Sequence[Scan] | Iterator[Scan],
    n_scans: int,
    settings: Settings,
    device: torch.device,
) -> dict[str, float]:
    """One step on a batch of n_scans clouds, taken one after the other; updates the learner in place.

    Returns the unweighted terms and the weighted total, means over the batch. Where the total is not finite,
    nothing is updated.
    """
    weights = asdict(settings.loss_weights)
    state = learner.state()
    learnt = [name for name, part in state.items() if part.requires_grad]
    leaves = {name: part.detach().requires_grad_(name in learnt) for name, part in state.items()}
    row: dict[str, float] = {}
    for sample, targets in scans:
        terms = method.loss_terms(leaves, sample.on(device), move(targets, device), settings)
        terms["total"] = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        (terms["total"] / n_scans).backward()
        for name, term in terms.items():
            row[name] = row.get(name, 0.0) + term.item() / n_scans
    if math.isfinite(row["total"]):
        optimizer.zero_grad()
        # A scalar whose gradient is the leaves': for gradients that are given, autograd imports half of a compiler.
        pulls = [(state[name] * leaf.grad).sum() for name, leaf in leaves.items() if leaf.grad is not None]
        torch.stack(pulls).sum().backward()
        optimizer.step()
    return row


def train(
    method: TrainedMethod,
    learner: Learner,
    load: Load,
    n_scans: int,
    settings: Settings,
    generator: torch.Generator,
    device: torch.device,
    watch: Callable[[list[Batch]], Iterable[Batch]] = iter,
) -> list[dict[str, float]]:
    """Optimise the learner in place (Adam, Sec. 4); return a row per step: epoch, step (from 1), terms, total.

    load: gives the scan of an index 0..n_scans-1; generator: shuffles the clouds; watch: passes the steps through,
    for whoever shows progress. Raises InputError naming the step when the loss is no longer finite.
    """
    optimizer = Adam(learner.parameters(), settings.learning_rate, settings.betas)
    rows: list[dict[str, float]] = []
    for epoch, batch in watch(batches(n_scans, settings, generator)):
        terms = train_step(method, learner, optimizer, map(load, batch), len(batch), settings, device)
        rows.append({"epoch": epoch, "step": len(rows) + 1, **terms})
        if not math.isfinite(terms["total"]):
            raise InputError(
                f"the loss is not finite at step {len(rows)} (epoch {epoch}): {terms}; a lower learning_rate than "
                f"{settings.learning_rate} may help"
            )
        logger.info("epoch %d, step %d: loss %.4f", epoch, len(rows), terms["total"])
    return rows


def n_bytes(part: Any) -> int:
    """Memory of the tensors in a sample or its targets."""
    if isinstance(part, torch.Tensor):
        return part.nbytes
    return sum(map(n_bytes, vars(part).values())) if hasattr(part, "__dataclass_fields__") else 0


def cached(load: Load, budget: int = CACHE_BYTES) -> Load:
    """Keep what `load` gives, first come first kept, up to so many bytes.

    Nothing is evicted: each epoch visits every scan once, where the least recently used is the next to be needed.
    """
    kept: dict[int, Scan] = {}
    used = 0

    def get(index: int) -> Scan:
        nonlocal used
        if index in kept:
            return kept[index]
        item = load(index)
        size = sum(map(n_bytes, item))
        if used + size <= budget:
            kept[index] = item
            used += size
        return item

    return get


def check_dimensions(state: State, reader: SampleReader, origin: object) -> None:
    """Refuse text embeddings that do not fit the features; origin: where they come from, for the message."""
    dim = int(reader.features.attributes["dim"])
    if found := sorted({part.shape[1] for part in state.values()} - {dim}):
        raise InputError(f"{origin}: text embeddings have {found} dimensions, {reader.features.path} has {dim}")


# Stage and files --------------------------------------------------------------------------------------------------


def make_prompts(
    system: str,
    clouds: stores.Paths,
    renders: stores.Paths | None,
    features: stores.Paths | None,
    output: str | os.PathLike[str],
    curve: str | os.PathLike[str],
    options: Mapping[str, Any],
    model: Mapping[str, Any],
    display: str | None,
    seed: int,
    provenance: Mapping[str, Any],
) -> None:
    """Train what a system learns on one category; write it (`output`) and the loss curve (`curve`, CSV).

    clouds, renders, features: stores of the category or of its shards, the latter two None for a system that reads
    clouds alone. options: the method's entry in the config (`Settings`); model: the features' entry, which names the
    CLIP. display: the category's name in prompts, None for a system whose prompts do not name it. seed draws the first
    tokens and shuffles the clouds. Raises InputError for a category without a defective scan, from whose labels
    nothing can be learnt.
    """
    kind = methods.find(system)
    method = methods.load_trained(system)
    settings = Settings.of(options)
    if kind.class_names and not display:
        raise InputError(f"system {system!r} names the category in its prompts; its display name is missing")
    device = jobs.pick_device()
    with open_samples(clouds, renders, features, kind.stream, kind.explicit, float(model["alpha"])) as reader:
        category = str(reader.clouds.attributes["category"])
        scans = reader.scans
        folders = [bool(reader.clouds.scan_attributes(scan)["defective"]) for scan in scans]

        @cache
        def label(index: int) -> bool:
            labels = torch.from_numpy(reader.cloud(scans[index], "labels")["labels"])
            return cloud_label(labels, folders[index], scans[index])

        n_defective = sum(map(label, range(len(scans))))
        if n_defective == 0:
            raise InputError(
                f"{reader.clouds.path}: category {category!r} has no defective scan; prompts cannot be trained on it"
            )
        if n_defective == len(scans):
            logger.warning("category %s has no good scan; training on defective ones alone", category)

        def load(index: int) -> Scan:
            sample = reader.sample(scans[index])
            labels = torch.from_numpy(reader.cloud(scans[index], "labels")["labels"])
            if isinstance(sample, PointSample):
                return sample, PointTargets(torch.tensor(label(index)), labels.float())
            masks = torch.from_numpy(reader.masks(scans[index]))
            return sample, make_targets(sample, labels, masks, label(index))

        generator = torch.Generator().manual_seed(seed)
        learner = _draw(system, method, display or "", settings, model, generator, device)
        if kind.learns == "prompts":
            check_dimensions(learner.state(), reader, f"model {model['model']!r}")
        watch = partial(jobs.progress, label=f"training on {category}", unit="step")
        rows = train(method, learner, cached(load), len(scans), settings, generator, device, watch)

    write_prompts(
        output,
        learner.tensors(),
        {
            **provenance,
            "system": system,
            "category": category,
            **learner.description(),
            "settings": asdict(settings),
            "model": dict(model),
            "seed": seed,
            "device": device.type,
            "packages": stores.package_versions(),
        },
    )
    with files.replacing(curve) as place, open(place, "w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(
            {key: value if isinstance(value, int) else f"{value:.7g}" for key, value in row.items()} for row in rows
        )


def _draw(
    system: str,
    method: Any,
    name: str,
    settings: Settings,
    model: Mapping[str, Any],
    generator: torch.Generator,
    device: torch.device,
) -> Learner:
    """What a system learns, before training on a category of this display name."""
    if methods.find(system).learns == "network":
        return method.draw(name, settings, model, generator, device)
    return Prompts.draw(load_model(model, device), method.templates(name), settings, generator)


def write_prompts(
    path: str | os.PathLike[str], tensors: dict[str, torch.Tensor], provenance: Mapping[str, Any]
) -> None:
    """Write a prompts file, whole or not at all; the same content gives the same bytes.

    tensors: of prompts "<layer>.context_normal", ".context_abnormal" [E, dt], ".deep" [b, t, dt], ".embeddings"
    [2, d]; provenance: goes into the file's metadata as one JSON string under that name.
    """
    # One entry only: safetensors writes several in no fixed order. It keeps no checksum either.
    metadata = {"provenance": json.dumps({"checksum": files.BLANK_SEAL, **provenance}, sort_keys=True)}
    with files.replacing(path) as place:
        # Written here and not by the library, whose errors would hide a full disk.
        place.write_bytes(files.seal(save(tensors, metadata=metadata)))


def read_prompts(path: str | os.PathLike[str], layers: Sequence[str] | None = None) -> dict[str, torch.Tensor]:
    """All tensors of a prompts file, by name.

    Raises InputError for a file that is missing, damaged, or lacks the prompts of one of these layers.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such prompts")
    content = Path(path).read_bytes()
    if not files.is_sealed(content):
        raise InputError(f"{path}: the prompts are damaged (not as they were written); delete the file and run again")
    tensors = load(content)
    if missing := [layer for layer in layers or () if f"{layer}.embeddings" not in tensors]:
        raise InputError(f"{path}: has no prompts of the layers {missing}, only {sorted(tensors)}")
    return tensors


def load_states(
    system: str,
    prompts: str | os.PathLike[str] | None,
    settings: Settings,
    model: Mapping[str, Any],
    device: torch.device,
) -> Callable[[str], State]:
    """What a system scores with, for a category's display name, on the device.

    prompts: the file of a trained system. The CLIP is loaded where text is still to be encoded: for a system that
    learns nothing, and for prompts that name the category. Raises InputError for prompts that do not fit.
    """
    kind = methods.find(system)
    method = methods.load(system)
    if kind.trained and prompts is None:
        raise InputError(f"system {system!r} is trained; its prompts are missing")
    if kind.learns == "network":
        tensors = read_prompts(prompts)  # type: ignore[arg-type]
        return method.restore(tensors, settings, model, device)
    if kind.learns == "nothing":
        clip = load_model(model, device)
        return lambda name: {layer: clip.encode_text(texts) for layer, texts in method.templates(name).items()}
    layers = list(method.templates(""))
    tensors = read_prompts(prompts, layers)  # type: ignore[arg-type]
    if kind.class_names:
        clip = load_model(model, device)
        return lambda name: Prompts.restore(clip, method.templates(name), tensors).state()
    fixed = {layer: tensors[f"{layer}.embeddings"].to(device) for layer in layers}
    return lambda name: fixed
