"""Training of the small CLIP: first what is seen, then the words for it.

The lower blocks of the image tower stay the teacher's, so that views come as the tokens those blocks make of them
(`tokens`). The upper blocks and the projection are trained with free directions in the joint space (`Meanings`) in
place of texts: one pair for "normal" and "damaged", one direction for each kind of defect and each family. What a
method will do with the model is what is trained: at the temperature of the methods, the local features of both streams
say patch by patch where a view is damaged, and the global feature whether it is; damaged regions are matched with their
kind of defect, and views with their family. Most steps see part of the patches, the object's first: the white
background is the larger part of a render and costs as much as the rest. The last steps see views as they are.

Then the text tower learns to say these directions in many wordings. Some of the sentences get random tokens before
their words and in the deep blocks, as the methods' learnable prompts have them before training: what the words mean
must not drown in them. Not most: a text tower that has learnt to pass over such tokens leaves nothing to learn by them.
"""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch.nn import functional as F

from pointad_core.clip.checkpoints import narrow
from pointad_core.clip.loading import load_clip
from pointad_core.clip.tower import STREAMS, Clip
from pointad_core.storage import files, jobs, stores
from pretraining import captions, teacher
from pretraining.defects import DEFECT_WORDS
from pretraining.parts import pick
from pretraining.shapes import WORDS
from pretraining.tokens import FROZEN, MODEL, VV_BLOCKS

TEMPERATURE = 0.07
"""Of the methods (Sec. 4)."""

CONTEXT_STD = 0.02
KINDS = list(DEFECT_WORDS)
NAMES = list(WORDS)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of the training."""

    seed: int = 1
    steps: int = 900
    things: int = 6
    """Things a step, two views each."""
    whole: float = 0.05
    """Share of the steps, the last ones, that see every patch."""
    patches: int = 96
    """Patches of a view that the other steps see."""
    learning_rate: float = 3e-4
    """Of the upper blocks."""
    new_learning_rate: float = 2e-3
    """Of what does not come from the teacher: ln_post, the projections, the directions and the text tower."""
    warmup: int = 20
    positive_weight: float = 4.0
    background_weight: float = 0.2
    word_steps: int = 500
    """Steps of the text tower's training."""
    pairs: int = 12
    """Pairs of sentences, "normal" and "damaged", in each of these steps."""
    context: float = 0.34
    """Share of pairs with random tokens before their words."""


@dataclass(frozen=True)
class Batch:
    """Views, two of each thing: tokens f4[B,1+P,C], damaged share of each patch f4[B,P], patches that show the object
    bool[B,P]; by view its family's number and its kind of defect's, -1 where it has none or several."""

    tokens: torch.Tensor
    damage: torch.Tensor
    object: torch.Tensor
    family: torch.Tensor
    kind: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def only(self, kept: torch.Tensor) -> Batch:
        """The same views with these patches i8[B,k] alone, and the class token."""
        places = torch.cat([kept.new_zeros(len(kept), 1), kept + 1], dim=1)
        tokens = self.tokens.gather(1, places[..., None].expand(-1, -1, self.tokens.shape[2]))
        return replace(self, tokens=tokens, damage=self.damage.gather(1, kept), object=self.object.gather(1, kept))


class Views:
    """The things of all lots of tokens, in one order."""

    def __init__(self, lots: Sequence[stores.StoreReader]) -> None:
        self._places = [(lot, scan) for lot in lots for scan in lot.scans]

    def __len__(self) -> int:
        return len(self._places)

    def batch(self, numbers: Sequence[int], rng: np.random.Generator) -> Batch:
        """Two views of each of these things."""
        parts: dict[str, list[np.ndarray]] = {name: [] for name in ("tokens", "damage", "object")}
        families, kinds = [], []
        for number in numbers:
            lot, scan = self._places[number]
            arrays, about = lot.load(scan, list(parts)), lot.scan_attributes(scan)
            for view in rng.choice(len(arrays["tokens"]), 2, replace=False):
                for name, values in parts.items():
                    values.append(arrays[name][view])
                families.append(NAMES.index(about["family"]))
                kinds.append(kind_number(about["kinds"]))
        tokens, damage, shown = (torch.from_numpy(np.stack(values)) for values in parts.values())
        return Batch(tokens.float(), damage.float(), shown > 0, torch.tensor(families), torch.tensor(kinds))


def kind_number(kinds: Sequence[str]) -> int:
    """Number of a thing's only kind of defect, -1 where it has none or several."""
    return KINDS.index(kinds[0]) if len(kinds) == 1 and kinds[0] in KINDS else -1


def select(batch: Batch, count: int, generator: torch.Generator) -> torch.Tensor:
    """Patches i8[B,count] to see: the damaged ones first, then the object's, then others, at random."""
    rank = torch.rand(batch.damage.shape, generator=generator) + batch.object + 2 * (batch.damage > 0)
    return rank.topk(count, dim=1).indices


def encode(clip: Clip, texts: Sequence[str], context: int, generator: torch.Generator) -> torch.Tensor:
    """Features of texts, differentiable in the text tower; context: random tokens before the words and, of them, up to
    four in every deeper block."""
    tokens = clip.tokenize(texts)
    embeddings = clip.embed_tokens(tokens)
    ends = clip.end_positions(tokens)
    if not context:
        return clip.encode_prompts(embeddings, ends)

    def noise(*shape: int) -> torch.Tensor:
        return (torch.randn(*shape, clip.text_width, generator=generator) * CONTEXT_STD).to(embeddings.device)

    inserted = noise(len(texts), context)
    embeddings = torch.cat([embeddings[:, :1], inserted, embeddings[:, 1 : embeddings.shape[1] - context]], dim=1)
    return clip.encode_prompts(embeddings, ends + context, noise(clip.text_blocks - 1, min(context, 4)))


def patch_loss(logits: torch.Tensor, batch: Batch, positive_weight: float, background_weight: float) -> torch.Tensor:
    """Weighted cross entropy and Dice of the patches' logits [M,B,p], M pairs of sentences."""
    target = (2 * batch.damage).clamp(max=1)
    weight = torch.where(batch.object, 1.0, background_weight) * (1 + (positive_weight - 1) * target)
    entropy = F.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
    entropy = (entropy * weight).sum((1, 2)) / weight.sum()
    probability = torch.sigmoid(logits)
    overlap = (probability * target).sum(2)
    dice = 1 - (2 * overlap + 1) / (probability.sum(2) + target.sum(1) + 1)
    return (entropy + 0.5 * dice.mean(1)).mean()


class Meanings(torch.nn.Module):
    """Free directions in the joint space, in place of texts: state [2,d], 0 = normal and 1 = damaged, kind of defect
    [15,d] and family [F,d]."""

    def __init__(self, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        for name, count in (("state", 2), ("kind", len(KINDS)), ("family", len(NAMES))):
            self.register_parameter(name, torch.nn.Parameter(torch.randn(count, dim, generator=generator)))

    def of(self, name: str) -> torch.Tensor:
        """Directions of length 1."""
        return F.normalize(getattr(self, name), dim=-1)


def losses(clip: Clip, batch: Batch, meanings: Meanings, recipe: Recipe) -> dict[str, torch.Tensor]:
    """The terms of a step of what is seen."""
    features = clip.encode_tokens(batch.tokens, STREAMS, start=FROZEN)
    normal, damaged = meanings.of("state")
    direction = (damaged - normal) / TEMPERATURE
    terms = {}
    for stream in STREAMS:
        logits = (features[f"patches_{stream}"] @ direction)[None]
        terms[stream] = patch_loss(logits, batch, recipe.positive_weight, recipe.background_weight)
    seen = (batch.damage > 0.1).any(1).float()
    terms["global"] = F.binary_cross_entropy_with_logits(features["global"] @ direction, seen)
    terms["family"] = F.cross_entropy(features["global"] @ meanings.of("family").T / TEMPERATURE, batch.family)
    damaged_views = (batch.kind >= 0) & (batch.damage > 0.3).any(1)
    terms["kind"] = direction.new_zeros(())
    if damaged_views.any():
        share = batch.damage[damaged_views][..., None]
        region = F.normalize((features["patches_vv"][damaged_views] * share).sum(1), dim=-1)
        terms["kind"] = F.cross_entropy(region @ meanings.of("kind").T / TEMPERATURE, batch.kind[damaged_views])
    return terms


WEIGHTS = {"vv": 1.0, "plain": 0.5, "global": 0.4, "family": 0.1, "kind": 0.1}
"""Of the terms of what is seen."""


NAME_SHARE = 0.3
"""How far a sentence about a thing of a family lies from "normal" or "damaged" towards the family's own direction."""


def word_losses(
    clip: Clip, meanings: Mapping[str, torch.Tensor], recipe: Recipe, rng: np.random.Generator
) -> dict[str, torch.Tensor]:
    """The terms of a step of the words: how far sentences are from the directions that they stand for."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    groups: dict[int, tuple[list[str], list[torch.Tensor]]] = {}
    for index in range(recipe.pairs):
        family = int(rng.integers(len(NAMES)))
        name, known = captions.name_of(NAMES[family], rng)
        # The first pair has none: what words alone mean is learnt in every step.
        context = int(pick(rng, 4, 8, 12, 16)) if index and rng.random() < recipe.context else 0
        texts, targets = groups.setdefault(context, ([], []))
        texts += captions.state_pair(name, rng)
        targets.append(meanings["state"] + NAME_SHARE * known * meanings["family"][family])
    terms = {}
    apart, turned = [], []
    for context, (texts, targets) in groups.items():
        found, wanted = encode(clip, texts, context, generator), F.normalize(torch.cat(targets), dim=-1)
        apart.append(1 - (found * wanted).sum(1))
        # What counts for the scores is the difference between the two.
        turned.append(1 - F.cosine_similarity(found[1::2] - found[::2], wanted[1::2] - wanted[::2]))
    terms["states"], terms["directions"] = torch.cat(apart).mean(), torch.cat(turned).mean()
    for name, texts in (("kind", captions.kind_texts(rng)), ("family", captions.family_texts(rng))):
        terms[name] = 1 - (encode(clip, texts, 0, generator) * meanings[name]).sum(1).mean()
    return terms


def start(recipe: Recipe, wheel: str | Path, device: torch.device) -> Clip:
    """The model before training: the image tower's blocks from the teacher, the rest drawn; nothing is trained yet.

    The first of the upper blocks has no attention: what its hidden layer makes of each patch is what the V-V stream of
    the last one starts from, which has none itself. The last one's attention begins weak.
    """
    clip = load_clip(MODEL, VV_BLOCKS, random_seed=recipe.seed, device=device)
    teacher.fill(clip, wheel)
    first, last = clip.visual.transformer.resblocks[FROZEN:]
    with torch.no_grad():
        first.ls_1.gamma.zero_()
        last.ls_1.gamma.mul_(0.2)
    return clip


def upper_parts(clip: Clip) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """What is trained of the image tower: the upper blocks, and what does not come from the teacher."""
    visual = clip.visual
    first, last = visual.transformer.resblocks[FROZEN:]
    blocks = [value for part in (first.ln_2, first.mlp, first.ls_2, last) for value in part.parameters()]
    return blocks, [*visual.ln_post.parameters(), visual.proj]


def descend(
    parts: Sequence[tuple[Sequence[torch.nn.Parameter], float]],
    steps: int,
    warmup: int,
    terms_of: Callable[[int], dict[str, torch.Tensor]],
    label: str,
    weights: Mapping[str, float],
) -> list[dict[str, float]]:
    """Train parts, each at its own learning rate, by the terms that `terms_of` gives for the number of a step; return
    the terms of every step. weights: of terms; one that is not named has 1."""
    trained = [value.requires_grad_(True) for values, _ in parts for value in values]
    groups = [{"params": list(values), "lr": rate} for values, rate in parts]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.02)

    def pace(step: int) -> float:
        return min(1.0, (step + 1) / warmup) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, pace)
    rows: list[dict[str, float]] = []
    for step in jobs.progress(range(steps), label, "step"):
        terms = terms_of(step)
        total = torch.stack([weights.get(name, 1.0) * term for name, term in terms.items()]).sum()
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        rows.append({"step": step + 1, **{name: term.item() for name, term in terms.items()}, "total": total.item()})
        if step % 20 == 19:
            recent = {name: np.mean([row[name] for row in rows[-20:]]) for name in rows[-1]}
            logger.info("%s: %s", label, {name: round(float(value), 4) for name, value in recent.items()})
    for value in trained:
        value.requires_grad_(False)
    return rows


def fit_sight(clip: Clip, views: Views, recipe: Recipe) -> tuple[Meanings, list[dict[str, float]]]:
    """Train the image tower's upper part in place, with the directions of which the terms of every step are returned
    too. A step's random choices depend on the recipe's seed and the step's number."""
    meanings = Meanings(clip.dim, torch.Generator().manual_seed(recipe.seed)).to(clip.device)
    per_epoch = len(views) // recipe.things

    def terms(step: int) -> dict[str, torch.Tensor]:
        epoch, place = divmod(step, per_epoch)
        order = np.random.default_rng([recipe.seed, 1, epoch]).permutation(len(views))
        rng = np.random.default_rng([recipe.seed, 2, step])
        batch = views.batch(order[place * recipe.things : (place + 1) * recipe.things].tolist(), rng)
        if step < (1 - recipe.whole) * recipe.steps:
            generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
            batch = batch.only(select(batch, recipe.patches, generator))
        return losses(clip, batch.to(clip.device), meanings, recipe)

    blocks, new = upper_parts(clip)
    parts = [(blocks, recipe.learning_rate), ([*new, *meanings.parameters()], recipe.new_learning_rate)]
    return meanings, descend(parts, recipe.steps, recipe.warmup, terms, "sight", WEIGHTS)


def fit_words(clip: Clip, meanings: Meanings, recipe: Recipe) -> list[dict[str, float]]:
    """Train the text tower in place to say the directions; return the terms of every step."""
    fixed = {name: meanings.of(name).detach() for name in ("state", "kind", "family")}

    def terms(step: int) -> dict[str, torch.Tensor]:
        return word_losses(clip, fixed, recipe, np.random.default_rng([recipe.seed, 3, step]))

    text = [value for name, value in clip.model.named_parameters() if not name.startswith(("visual.", "logit"))]
    return descend([(text, recipe.new_learning_rate)], recipe.word_steps, recipe.warmup, terms, "words", {})


def train(
    lots: Sequence[str | Path], wheel: str | Path, weights: str | Path, curve: str | Path, recipe: Recipe
) -> None:
    """Train the model on lots of tokens and write its weights, as small as `narrow` makes them, and the terms of every
    step."""
    clip = start(recipe, wheel, jobs.pick_device())
    with ExitStack() as stack:
        views = Views([stack.enter_context(stores.read(lot, "pretraining tokens")) for lot in lots])
        meanings, seen = fit_sight(clip, views, recipe)
    said = fit_words(clip, meanings, recipe)
    names = list(dict.fromkeys([*seen[0], *said[0]]))
    rows: list[dict[str, float | str]] = []
    for part, found in (("sight", seen), ("words", said)):
        rows += [{"part": part, **{name: row.get(name, "") for name in names}} for row in found]
    write_rows(curve, rows)
    with files.replacing(weights) as partial:
        partial.write_bytes(save(narrow(clip.model.state_dict(), large_matrices(clip))))


def write_rows(path: str | Path, rows: Sequence[Mapping[str, float | str]]) -> None:
    """Write rows, all of the same keys, as CSV."""
    with files.replacing(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def large_matrices(clip: Clip) -> set[str]:
    """Names of the matrices in the image tower's blocks: nine tenths of the weights."""
    blocks = "visual.transformer.resblocks."
    return {name for name, value in clip.model.state_dict().items() if name.startswith(blocks) and value.ndim == 2}
