"""Anomaly scores of points and clouds, for 3-D alone and with RGB plugged in (Sec. 3.6.2).

Readings taken where the paper is ambiguous: the paper's formulas of the RGB map and of the RGB score are swapped;
the class in P(g_c, .) is "abnormal" and the embeddings there are the rendering layer's; the fused score takes the
clouds' global probability, not A^s, which would count the map's maximum twice; RGB needs no projection, for the
pixels of an organised cloud are its points, and its map is 0 where there is no point, as the 3-D map is. (The published
implementation takes the whole map: `rgb_map`.)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pointad_core.errors import InputError
from pointad_core.methods.interface import OfScan, Restore, Scoring, Settings, State, state_for
from pointad_core.methods.registry import System, load
from pointad_core.methods.segmentation import PointSample, Sample, anomaly_logits, upsample
from pointad_core.methods.smoothing import smooth_map, smooth_points
from pointad_core.storage.prompt_files import read_prompts


def score_rgb(
    photograph: tuple[torch.Tensor, torch.Tensor], embeddings: torch.Tensor, temperature: float, resolution: int
) -> tuple[float, np.ndarray]:
    """P(g_a, f^rgb) and S_a^rgb, float32 [S, S], of a photograph from its global [d] and patch features [P, d]."""
    view, patches = (part.to(embeddings.device).float() for part in photograph)
    probability = torch.sigmoid(anomaly_logits(view[None], embeddings, temperature)).mean()
    probabilities = torch.sigmoid(anomaly_logits(patches, embeddings, temperature))
    return float(probability), upsample(probabilities[None], resolution)[0].cpu().numpy()


@dataclass(frozen=True)
class Answers:
    """What a system says of a scan of n points, before the filter."""

    points: np.ndarray
    """float32 [n], the points' scores."""
    branches: Mapping[str, np.ndarray]
    """float32 [n] by name, of which `points` is the mean; none of a system of one branch."""
    probability: float
    """Of the cloud as a whole."""
    rgb: tuple[float, np.ndarray] | None
    """Of the photograph, if the system takes it in: its probability and its map, float32 [S, S]."""


@torch.no_grad()
def ask(
    system: Scoring,
    state: State | OfScan,
    sample: Sample | PointSample,
    resolution: int,
    settings: Settings,
    photograph: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> Answers:
    """What a system says of a scan; all scores and what they are made of are put together from it.

    photograph: global [d] and patch features [P, d] of the RGB image, if the system takes it in. Raises InputError for
    scores that are not finite.
    """
    state = state_for(state, sample)
    branches = branches_of(system)(state, sample, settings)
    parts = branches.values()
    points = sum(part / len(parts) for part in parts) if parts else system.point_scores(state, sample, settings)
    assert isinstance(points, torch.Tensor)
    answers = Answers(
        points.cpu().numpy(),
        {name: part.cpu().numpy() for name, part in branches.items()},
        float(system.global_score(state, sample, settings)),
        None if photograph is None else _score_photograph(system, state, photograph, resolution, settings),
    )
    if not all(np.isfinite(part).all() for part in (answers.points, answers.probability, *(answers.rgb or ()))):
        raise InputError("its scores are not finite")
    return answers


def _score_photograph(
    system: Scoring, state: State, photograph: tuple[torch.Tensor, torch.Tensor], resolution: int, settings: Settings
) -> tuple[float, np.ndarray]:
    """`score_rgb`, or what a system says of a photograph that has a function of its own for it."""
    if (own := getattr(system, "photograph_scores", None)) is None:
        return score_rgb(photograph, state["rendering"], settings.temperature, resolution)
    probability, scores = own(state, photograph, settings)
    return float(probability), upsample(scores[None], resolution)[0].cpu().numpy()


def score_scan(
    answers: Answers, system: Scoring, cloud: Mapping[str, np.ndarray], resolution: int, settings: Settings
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Smoothed scores and object scores of one scan, as the scores store keeps them.

    cloud: of an organised scan `grid`, integer [n], its points' pixels (flat, row-major); else `points`, float [n, 3],
    and `nearest`, integer [N], each original point's nearest kept one.

    Returns arrays and objects. Of an organised scan map_3d (A^m) and, with RGB, map_m3d = G(0.5 A^m + 0.5 G(S_a^rgb)),
    float32 [S, S]; else points_3d float32 [n] (A^m, filtered over neighbours in space) and original_3d float32 [N].
    object_3d and, with RGB, object_m3d, of the mean of both probabilities and map_m3d.
    """
    smoothed = smooth(answers.points, cloud, resolution, settings)
    objects = {"object_3d": system.object_score(answers.probability, find_highest(smoothed, cloud, settings))}
    if "grid" not in cloud:
        return {"points_3d": smoothed, "original_3d": smoothed[cloud["nearest"]]}, objects
    maps = {"map_3d": smoothed}
    if answers.rgb is not None:
        probability, scores = answers.rgb
        both = 0.5 * smoothed + 0.5 * smooth_rgb(scores, cloud, settings)
        maps["map_m3d"] = smooth_image(both, cloud, settings)
        highest = find_highest(maps["map_m3d"], cloud, settings)
        objects["object_m3d"] = system.object_score(0.5 * probability + 0.5 * answers.probability, highest)
    return maps, objects


def find_highest(smoothed: np.ndarray, cloud: Mapping[str, np.ndarray], settings: Settings) -> np.ndarray:
    """What of a scan's smoothed scores counts in its object score: all, whose maximum the paper takes, or with an
    `object_share` (not the paper's) the mean of the highest ones, [1]."""
    if not settings.object_share:
        return smoothed
    scores = of_points(smoothed, cloud)
    return scores[highest_points(scores, settings.object_share)].mean(keepdims=True, dtype=np.float64)


def of_points(smoothed: np.ndarray, cloud: Mapping[str, np.ndarray]) -> np.ndarray:
    """Smoothed scores [n] of the points alone, from those of `smooth`."""
    return smoothed.ravel()[cloud["grid"]] if "grid" in cloud else smoothed


def highest_points(scores: np.ndarray, share: float) -> np.ndarray:
    """Indices of this share of scores [n], the highest ones, at least one, from the lowest of them to the highest."""
    count = max(1, round(share * len(scores)))
    # Sorted, so that a sum over them does not depend on the points' order.
    return np.argsort(scores, kind="stable")[-count:]


def smooth(scores: np.ndarray, cloud: Mapping[str, np.ndarray], resolution: int, settings: Settings) -> np.ndarray:
    """Scores float [n] of a cloud's points after the filter: [S, S] of an organised scan, 0 where no point is, or [n].

    cloud, resolution: as in `score_scan`.
    """
    if "grid" not in cloud:
        return smooth_points(scores, cloud["points"], settings.smoothing_sigma)
    image = np.zeros(resolution * resolution, dtype=np.float32)
    image[cloud["grid"]] = scores
    return smooth_image(image.reshape(resolution, resolution), cloud, settings)


def smooth_image(image: np.ndarray, cloud: Mapping[str, np.ndarray], settings: Settings) -> np.ndarray:
    """A map float [S, S] of an organised scan after the filter, over all pixels or over those with a point."""
    over = None
    if settings.smoothing_over == "points":
        over = np.zeros(image.shape, bool)
        over.ravel()[cloud["grid"]] = True
    return smooth_map(image, settings.smoothing_sigma, over)


def smooth_rgb(scores: np.ndarray, cloud: Mapping[str, np.ndarray], settings: Settings) -> np.ndarray:
    """G(S_a^rgb), float32 [S, S], of a photograph's map: of the object's points, or of all that it shows."""
    if settings.rgb_map == "pixels":
        return smooth_map(scores, settings.smoothing_sigma)
    return smooth(scores.ravel()[cloud["grid"]], cloud, len(scores), settings)


def score_branches(
    answers: Answers, cloud: Mapping[str, np.ndarray], resolution: int, settings: Settings
) -> dict[str, np.ndarray]:
    """What the scores are made of, smoothed alike: by the branch's name [S, S] of an organised scan, else [n].

    those of its module's `branches`, such as "implicit" and "explicit" of PointAD+, and "rgb" with a photograph;
    none of a system without. cloud: as of `score_scan`.
    """
    smoothed = {name: smooth(part, cloud, resolution, settings) for name, part in answers.branches.items()}
    if answers.rgb is not None:
        smoothed["rgb"] = smooth_rgb(answers.rgb[1], cloud, settings)
    return smoothed


@torch.no_grad()
def score_views(
    system: Scoring, state: State | OfScan, sample: Sample | PointSample, resolution: int, settings: Settings
) -> np.ndarray:
    """The map of each view (Eq. 2), float32 [K, S, S]: what the rendering prompts say of its pixels, or the system's
    own `view_scores`, before it goes to the points. None, [0, S, S], of a system without either."""
    state = state_for(state, sample)
    own = getattr(system, "view_scores", None)
    if not isinstance(sample, Sample) or (own is None and "rendering" not in state):
        return np.zeros((0, resolution, resolution), np.float32)
    if own is None:
        scores = torch.sigmoid(anomaly_logits(sample.patches, state["rendering"], settings.temperature))
    else:
        scores = own(state, sample, settings)
    maps: np.ndarray = upsample(scores, resolution).cpu().numpy()
    return maps


def branches_of(system: Scoring) -> Callable[[State, Any, Settings], dict[str, torch.Tensor]]:
    """A system's function that tells its branches apart; one that gives none where its module has no such function."""
    return getattr(system, "branches", lambda *_: {})


def restore(
    entry: System, prompts: str | Path | None, settings: Settings, model: Mapping[str, Any], device: torch.device
) -> Restore:
    """What a system scores with, from its prompts' file if it is trained; InputError for prompts that do not fit."""
    if entry.trained and prompts is None:
        raise InputError(f"{entry.module} is trained; its prompts are missing")
    tensors = {} if prompts is None else read_prompts(prompts)
    try:
        with torch.no_grad():
            return torch.no_grad()(load(entry).restore(tensors, settings, model, device))
    except InputError as error:
        raise InputError(f"{prompts}: {error}" if prompts else str(error)) from error
