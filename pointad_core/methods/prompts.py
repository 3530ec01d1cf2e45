"""Learnable prompts, and what every system with prompts shares (Sec. 3.5)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch

from pointad_core.clip.loading import load_model
from pointad_core.clip.tower import Clip
from pointad_core.errors import InputError
from pointad_core.methods.defect_tokens import DefectToken
from pointad_core.methods.interface import OfScan, Restore, Settings, State
from pointad_core.methods.segmentation import Sample

Templates = Callable[[str], Mapping[str, tuple[str, str]]]
"""Each layer's normal and abnormal text for a category's display name: of a trained system what follows its learnable
context, of an untrained one the whole prompt."""


class PromptLearner:
    """A pair of prompts, "[V]...[V] <normal text>" and "[W]...[W] <abnormal text>", and their deep tokens.

    context: float32 [2, E, dt], the learnable tokens after the start token, 0 = normal and 1 = abnormal;
    deep: float32 [b, t <= E, dt], the tokens that overwrite the first t of those before blocks 2 to b + 1 of the text
    tower, the same for both prompts. The texts' own token embeddings are frozen.
    """

    def __init__(
        self, clip: Clip, texts: tuple[str, str], context: torch.Tensor, deep: torch.Tensor, settings: Settings
    ) -> None:
        length = context.shape[1]
        if deep.shape[1] > length:
            raise InputError(f"deep_length is {deep.shape[1]}, it can be at most context_length ({length})")
        tokens = clip.tokenize(texts)
        ends = clip.end_positions(tokens) + length
        last, further = int(ends.max()), " and a defect token" if settings.defect_features else ""
        if last + bool(further) >= clip.context_length:
            raise InputError(
                f"context_length is {length}, but the text tower of {clip.name!r} takes {clip.context_length} tokens, "
                f"{last - length + 1 + bool(further)} of them taken by {texts[1]!r}{further}"
            )
        self.texts, self.context, self.deep = texts, context, deep
        self._clip, self._ends, self._half = clip, ends, settings.deep_precision == "half"
        self._text = clip.embed_tokens(tokens)[:, : clip.context_length - length].detach()

    @classmethod
    def first(cls, clip: Clip, texts: tuple[str, str], settings: Settings, generator: torch.Generator) -> Self:
        """A pair before training: tokens of standard deviation 0.02, as in the published implementation."""
        shapes = (2, settings.context_length), (settings.deep_blocks, settings.deep_length)
        noise = (torch.randn(*shape, clip.text_width, generator=generator) * 0.02 for shape in shapes)
        context, deep = (values.to(clip.device).requires_grad_() for values in noise)
        return cls(clip, texts, context, deep, settings)

    @classmethod
    def trained(
        cls, clip: Clip, texts: tuple[str, str], tensors: Mapping[str, torch.Tensor], layer: str, settings: Settings
    ) -> Self:
        """The tokens of a layer in a prompts file, on the model's device, before texts of any category."""
        names = (f"{layer}.{part}" for part in ("context_normal", "context_abnormal", "deep"))
        normal, abnormal, deep = (tensors[name].to(clip.device) for name in names)
        if (found := normal.shape[1]) != (width := clip.text_width):
            told = f"{found} dimensions, the text tower of {clip.name!r} takes {width}; train them again"
            raise InputError(f"the prompts' tokens have {told}")
        return cls(clip, texts, torch.stack([normal, abnormal]), deep, settings)

    def embeddings(self, token: torch.Tensor | None = None) -> torch.Tensor:
        """Text embeddings float32 [2, d], L2-normalised, differentiable; 0 = normal, 1 = abnormal.

        token: float32 [dt], to stand between the context and the text of the abnormal prompt alone.
        """
        start, rest, ends = self._text[:, :1], self._text[:, 1:], self._ends
        if token is not None:
            # What falls off at the end is padding; the constructor has seen to it.
            rest = torch.stack([rest[0], torch.cat([token[None], rest[1, :-1]])])
            ends = ends + torch.tensor([0, 1], device=ends.device)
        # Half precision and back, as the published implementation hands them in, gradients included.
        deep = self.deep.half().float() if self._half else self.deep
        return self._clip.encode_prompts(torch.cat([start, self.context, rest], dim=1), ends, deep)


@dataclass
class Prompts:
    """A system's learnable prompts, a pair for each of its layers (an `interface.Learner`)."""

    pairs: Mapping[str, PromptLearner]
    token: DefectToken | None = None
    n_prototypes: int = 0

    def parameters(self) -> list[torch.Tensor]:
        maps = self.token.maps.values() if self.token else ()
        return [*(part for pair in self.pairs.values() for part in (pair.context, pair.deep)), *maps]

    def begin(self, good: Iterable[Sample]) -> None:
        """Learn from good scans what is normal, where tokens say what is not."""
        if self.token is not None:
            self.token = self.token.learn(good, self.n_prototypes)

    def state(self) -> State | OfScan:
        """Text embeddings by layer; with defect tokens they are each scan's own."""
        if self.token is not None:
            return self._state_of
        return {layer: pair.embeddings() for layer, pair in self.pairs.items()}

    def _state_of(self, sample: Sample) -> State:
        assert self.token is not None
        tokens = self.token.of(sample)
        return {layer: pair.embeddings(tokens[layer]) for layer, pair in self.pairs.items()}

    @torch.no_grad()
    def tensors(self) -> dict[str, torch.Tensor]:
        parts: dict[str, torch.Tensor] = {}
        for layer, pair in self.pairs.items():
            parts |= {f"{layer}.context_normal": pair.context[0], f"{layer}.context_abnormal": pair.context[1]}
            parts[f"{layer}.deep"] = pair.deep
            if self.token is None:
                parts[f"{layer}.embeddings"] = pair.embeddings()
            else:
                parts |= {f"{layer}.defect_map": self.token.maps[layer], "prototypes": self.token.prototypes}
        return {name: part.detach().cpu().contiguous() for name, part in parts.items()}

    def description(self) -> dict[str, Any]:
        return {"texts": {layer: pair.texts for layer, pair in self.pairs.items()}}


def learnt(templates: Templates, class_names: bool = False) -> tuple[Callable[..., Prompts], Callable[..., Restore]]:
    """`first_weights` and `restore` (`interface`) of a system that learns prompts.

    class_names: its texts name the category, so that the text tower is needed once more for each category that is
    scored; otherwise the embeddings in the prompts file are all that scoring takes.
    """

    def first_weights(
        name: str, settings: Settings, model: Mapping[str, Any], generator: torch.Generator, device: torch.device
    ) -> Prompts:
        clip, texts_of = load_model(model, device), templates(name)
        pairs = {layer: PromptLearner.first(clip, texts, settings, generator) for layer, texts in texts_of.items()}
        if not settings.defect_features:
            return Prompts(pairs)
        count, width = settings.defect_features, clip.text_width
        return Prompts(pairs, DefectToken.first(pairs, count, width, clip.dim, generator, device), settings.prototypes)

    def restore(
        tensors: Mapping[str, torch.Tensor], settings: Settings, model: Mapping[str, Any], device: torch.device
    ) -> Restore:
        layers, defects = list(templates("")), settings.defect_features
        if bool(defects) != ("prototypes" in tensors):
            told = "have been learnt without defect tokens" if defects else "take defect tokens in"
            raise InputError(f"defect_features is {defects}, but the prompts {told}; train them again")
        part = "defect_map" if defects else "embeddings"
        if missing := [layer for layer in layers if f"{layer}.{part}" not in tensors]:
            raise InputError(f"has no prompts of the layers {missing}, only {sorted(tensors)}")
        if not class_names and not defects:
            fixed = {layer: tensors[f"{layer}.embeddings"].to(device) for layer in layers}
            return lambda name: fixed
        clip, token = load_model(model, device), None
        if defects:
            maps = {layer: tensors[f"{layer}.defect_map"].to(device) for layer in layers}
            token = DefectToken(tensors["prototypes"].to(device), maps, defects)

        def state_of(name: str) -> State | OfScan:
            texts_of = templates(name)
            pairs = {layer: PromptLearner.trained(clip, texts_of[layer], tensors, layer, settings) for layer in layers}
            return Prompts(pairs, token).state()

        return state_of

    return first_weights, restore


def handwritten(templates: Templates) -> Callable[..., Restore]:
    """`restore` of a system whose prompts are not learnt."""

    def restore(
        tensors: Mapping[str, torch.Tensor], settings: Settings, model: Mapping[str, Any], device: torch.device
    ) -> Restore:
        clip = load_model(model, device)
        return lambda name: {layer: clip.encode_text(texts) for layer, texts in templates(name).items()}

    return restore
