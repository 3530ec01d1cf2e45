"""Anomaly scores of points and clouds, for 3-D alone and with RGB plugged in (Sec. 3.6.2).

Readings taken where the paper is ambiguous: the paper's formulas of the RGB map and of the RGB score are swapped;
the class in P(g_c, .) is "abnormal" and the embeddings there are the rendering layer's; the fused score takes the
clouds' global probability, not A^s, which would count the map's maximum twice; RGB needs no projection, for the
pixels of an organised cloud are its points, and its map is 0 where there is no point, as the 3-D map is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pointad_core.errors import InputError
from pointad_core.methods.interface import Restore, Scoring, Settings, State
from pointad_core.methods.registry import System, load
from pointad_core.methods.segmentation import PointSample, Sample, anomaly_logits, global_probability, upsample
from pointad_core.methods.smoothing import smooth_map, smooth_points
from pointad_core.storage.prompt_files import read_prompts

ObjectScore = Callable[[float, np.ndarray], float]
"""`interface.Scoring.object_score`."""


@torch.no_grad()
def rgb_map(patches: torch.Tensor, embeddings: torch.Tensor, temperature: float, resolution: int) -> np.ndarray:
    """S_a^rgb: the photograph's anomaly map float32 [S, S] from its patch features float [P, d]."""
    probabilities = torch.sigmoid(anomaly_logits(patches, embeddings, temperature))
    return upsample(probabilities[None], resolution)[0].cpu().numpy()


def on_grid(scores: np.ndarray, grid: np.ndarray, resolution: int) -> np.ndarray:
    """Point scores [n] at their pixels (flat row-major `grid` [n]) of a map float32 [S, S], 0 where no point is."""
    image = np.zeros(resolution * resolution, dtype=np.float32)
    image[grid] = scores
    return image.reshape(resolution, resolution)


@dataclass(frozen=True)
class Multimodal:
    """The parts of M3D inference."""

    probability: float
    """P(g_a, f^rgb)."""
    scores: np.ndarray
    """float32 [S, S], S_a^rgb before masking and smoothing."""


def score_organised(
    points: np.ndarray,
    grid: np.ndarray,
    resolution: int,
    probability: float,
    sigma: float,
    object_score: ObjectScore,
    rgb: Multimodal | None,
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Smoothed maps and object scores of an organised cloud.

    points: float [n], the system's scores before smoothing; grid: integer [n], the points' pixels; probability:
    the cloud's global one; sigma: pixels at 336; object_score: the system's. Returns arrays map_3d (A^m) and, with
    RGB, map_m3d = G(0.5 A^m + 0.5 G(S_a^rgb)), float32 [S, S]; and object_3d and, with RGB, object_m3d, of the mean
    of both probabilities and map_m3d.
    """
    smoothed = smooth_map(on_grid(points, grid, resolution), sigma)
    maps = {"map_3d": smoothed}
    objects = {"object_3d": object_score(probability, smoothed)}
    if rgb is not None:
        photograph = smooth_map(on_grid(rgb.scores.ravel()[grid], grid, resolution), sigma)
        maps["map_m3d"] = smooth_map(0.5 * smoothed + 0.5 * photograph, sigma)
        objects["object_m3d"] = object_score(0.5 * rgb.probability + 0.5 * probability, maps["map_m3d"])
    return maps, objects


def score_unorganised(
    points: np.ndarray,
    positions: np.ndarray,
    nearest: np.ndarray,
    probability: float,
    sigma: float,
    object_score: ObjectScore,
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Smoothed scores and object score of an unorganised cloud.

    points: float [n]; positions: float [n, 3]; nearest: integer [N], each original point's nearest kept one.
    The others as in `score_organised`. Returns arrays points_3d float32 [n] (A^m, filtered over neighbours in space)
    and original_3d float32 [N]; and object_3d.
    """
    smoothed = smooth_points(points, positions, sigma)
    return (
        {"points_3d": smoothed, "original_3d": smoothed[nearest]},
        {"object_3d": object_score(probability, smoothed)},
    )


@torch.no_grad()
def score_scan(
    system: Scoring,
    state: State,
    sample: Sample | PointSample,
    cloud: Mapping[str, np.ndarray],
    resolution: int,
    settings: Settings,
    photograph: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Smoothed scores and object scores of one scan, as the scores store keeps them.

    cloud: of an organised scan its `grid`, else `points` and `nearest`; photograph: global [d] and patch features
    [P, d] of the RGB image, if the system takes it in. Returns what `score_organised` or `score_unorganised` does.
    Raises InputError for scores that are not finite.
    """
    points = system.point_scores(state, sample, settings).cpu().numpy()
    probability = float(system.global_score(state, sample, settings))
    if not np.isfinite(points).all():
        raise InputError("its scores are not finite")
    sigma = settings.smoothing_sigma
    if "grid" not in cloud:
        return score_unorganised(points, cloud["points"], cloud["nearest"], probability, sigma, system.object_score)
    rgb = None
    if photograph is not None:
        rgb = score_rgb(photograph, state["rendering"], settings.temperature, resolution)
    return score_organised(points, cloud["grid"], resolution, probability, sigma, system.object_score, rgb)


@torch.no_grad()
def score_rgb(
    photograph: tuple[torch.Tensor, torch.Tensor], embeddings: torch.Tensor, temperature: float, resolution: int
) -> Multimodal:
    """P(g_a, f^rgb) and S_a^rgb of a photograph from its global [d] and patch features [P, d]."""
    view, patches = (part.to(embeddings.device).float() for part in photograph)
    return Multimodal(
        float(global_probability(view[None], embeddings, temperature)),
        rgb_map(patches, embeddings, temperature, resolution),
    )


def restore(
    entry: System,
    prompts: str | os.PathLike[str] | None,
    settings: Settings,
    model: Mapping[str, Any],
    device: torch.device,
) -> Restore:
    """What a system scores with, from its prompts' file if it is trained; InputError for prompts that do not fit."""
    if entry.trained and prompts is None:
        raise InputError(f"{entry.module} is trained; its prompts are missing")
    tensors = {} if prompts is None else read_prompts(prompts)
    try:
        with torch.no_grad():
            restored: Restore = load(entry).restore(tensors, settings, model, device)
    except InputError as error:
        raise InputError(f"{prompts}: {error}" if prompts else str(error)) from error
    return restored
