"""Training of the small CLIP: regions of views against wordings of "normal" and "damaged".

The lower blocks of the image tower stay the teacher's, so that views come as the tokens those blocks make of them
(`tokens`). Trained are the upper blocks, held close to where they begin, the projection and the text tower.

Every step takes a few things of a batch, two views each, and some pairs of sentences that differ in "normal" and
"damaged" alone. What a method will do with the model is what is trained: at the temperature of the methods, the local
features of both streams say patch by patch where a view is damaged, and the global feature whether it is. Beside that,
damaged regions are matched with the words of their kind of defect, and views with the name of their family.

Some of the sentences get random tokens before their words and in the deep blocks, as the methods' learnable prompts
have them before training: what the words mean must not drown in them. Not most: a text tower that has learnt to pass
over such tokens leaves nothing to learn by them.

Most steps see part of the patches, the object's first: the white background is the larger part of a render and costs
as much as the rest. The last steps see views as they are.
"""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Mapping, Sequence
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
    steps: int = 800
    things: int = 6
    """Things a step, two views each."""
    pairs: int = 6
    """Pairs of sentences a step."""
    context: float = 0.34
    """Share of pairs with random tokens before their words."""
    whole: float = 0.1
    """Share of the steps, the last ones, that see every patch."""
    patches: int = 176
    """Patches of a view that the other steps see."""
    learning_rate: float = 1e-4
    """Of the upper blocks."""
    new_learning_rate: float = 1e-3
    """Of what does not come from the teacher: the text tower, ln_post and the projections."""
    anchor: float = 0.0
    """How much the upper blocks are pulled back to the teacher's, in units of the learning rate."""
    warmup: int = 50
    positive_weight: float = 4.0
    background_weight: float = 0.2


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


def losses(clip: Clip, batch: Batch, recipe: Recipe, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """The terms of a step."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    features = clip.encode_tokens(batch.tokens, STREAMS, start=FROZEN)
    directions = []
    for index in range(recipe.pairs):
        family = NAMES[int(batch.family[int(rng.integers(len(batch.family)))])]
        pair = captions.state_pair(captions.name_of(family, rng), rng)
        # The first pair has none: what words alone mean is learnt in every step.
        context = int(rng.integers(4, 17)) if index and rng.random() < recipe.context else 0
        normal, damaged = encode(clip, pair, context, generator)
        directions.append((damaged - normal) / TEMPERATURE)
    direction = torch.stack(directions)

    terms = {}
    for stream in STREAMS:
        logits = torch.einsum("bpd,md->mbp", features[f"patches_{stream}"], direction)
        terms[stream] = patch_loss(logits, batch, recipe.positive_weight, recipe.background_weight)
    seen = (batch.damage > 0.1).any(1).float()
    logits = direction @ features["global"].T
    terms["global"] = F.binary_cross_entropy_with_logits(logits, seen.expand_as(logits))
    names = encode(clip, captions.family_texts(rng), 0, generator)
    terms["family"] = F.cross_entropy(features["global"] @ names.T / TEMPERATURE, batch.family)
    damaged_views = (batch.kind >= 0) & (batch.damage > 0.3).any(1)
    terms["kind"] = logits.new_zeros(())
    if damaged_views.any():
        share = batch.damage[damaged_views][..., None]
        region = F.normalize((features["patches_vv"][damaged_views] * share).sum(1), dim=-1)
        kinds = encode(clip, captions.kind_texts(rng), 0, generator)
        terms["kind"] = F.cross_entropy(region @ kinds.T / TEMPERATURE, batch.kind[damaged_views])
    return terms


WEIGHTS = {"vv": 1.0, "plain": 0.5, "global": 0.4, "family": 0.1, "kind": 0.1}


def start(recipe: Recipe, wheel: str | Path, device: torch.device) -> Clip:
    """The model before training: the image tower's blocks from the teacher, the rest drawn."""
    clip = load_clip(MODEL, VV_BLOCKS, random_seed=recipe.seed, device=device)
    teacher.fill(clip, wheel)
    clip.model.requires_grad_(True)
    visual = clip.visual
    for part in (visual.conv1, *visual.transformer.resblocks[:FROZEN]):
        part.requires_grad_(False)
    visual.class_embedding.requires_grad_(False)
    visual.positional_embedding.requires_grad_(False)
    return clip


def fit(clip: Clip, views: Views, recipe: Recipe) -> list[dict[str, float]]:
    """Train the model in place and return the terms of every step. A step's random choices depend on the recipe's seed
    and the step's number."""
    model = clip.model
    upper = [value for value in clip.visual.transformer.parameters() if value.requires_grad]
    known = set(map(id, upper))
    others = [value for value in model.parameters() if value.requires_grad and id(value) not in known]
    begun = [value.detach().clone() for value in upper]
    optimizer = torch.optim.AdamW(
        [
            {"params": upper, "lr": recipe.learning_rate, "weight_decay": 0.0},
            {"params": others, "lr": recipe.new_learning_rate, "weight_decay": 0.02},
        ],
        betas=(0.9, 0.98),
    )

    def pace(step: int) -> float:
        warm = min(1.0, (step + 1) / recipe.warmup)
        return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, pace)
    rows: list[dict[str, float]] = []
    per_epoch = len(views) // recipe.things
    for step in jobs.progress(range(recipe.steps), "training", "step"):
        epoch, place = divmod(step, per_epoch)
        order = np.random.default_rng([recipe.seed, 1, epoch]).permutation(len(views))
        rng = np.random.default_rng([recipe.seed, 2, step])
        batch = views.batch(order[place * recipe.things : (place + 1) * recipe.things].tolist(), rng)
        if step < (1 - recipe.whole) * recipe.steps:
            generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
            batch = batch.only(select(batch, recipe.patches, generator))
        terms = losses(clip, batch.to(clip.device), recipe, rng)
        total = torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum()
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_([*upper, *others], 1.0)
        optimizer.step()
        pull = recipe.anchor * schedule.get_last_lr()[0]
        with torch.no_grad():
            for value, first in zip(upper, begun, strict=True):
                value.lerp_(first, pull)
        schedule.step()
        terms["total"] = total
        rows.append({"step": step + 1, **{name: term.item() for name, term in terms.items()}})
        if step % 20 == 19:
            recent = {name: np.mean([row[name] for row in rows[-20:]]) for name in rows[-1]}
            logger.info("step %d: %s", step + 1, {name: round(float(value), 4) for name, value in recent.items()})
    return rows


def train(
    lots: Sequence[str | Path], wheel: str | Path, weights: str | Path, curve: str | Path, recipe: Recipe
) -> None:
    """Train the model on lots of tokens and write its weights, as small as `narrow` makes them, and the terms of every
    step."""
    clip = start(recipe, wheel, jobs.pick_device())
    with ExitStack() as stack:
        views = Views([stack.enter_context(stores.read(lot, "pretraining tokens")) for lot in lots])
        rows = fit(clip, views, recipe)
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
