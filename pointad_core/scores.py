"""Anomaly scores of points and clouds, for 3-D alone and with RGB plugged in (Sec. 3.6.2).

Readings taken where the paper is ambiguous: the paper's formulas of the RGB map and of the RGB score are swapped;
the class in P(g_c, .) is "abnormal" and the embeddings there are the rendering layer's; the fused score takes the
clouds' global probability, not A^s, which would count the map's maximum twice; RGB needs no projection, for the
pixels of an organised cloud are its points, and its map is 0 where there is no point, as the 3-D map is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pointad_core import jobs, methods, stores
from pointad_core.errors import InputError
from pointad_core.methods import Method, Settings, State
from pointad_core.prompts import check_dimensions, load_states
from pointad_core.samples import open_samples
from pointad_core.segmentation import PointSample, Sample, anomaly_logits, global_probability, upsample
from pointad_core.smoothing import smooth_map, smooth_points

ObjectScore = Callable[[float, np.ndarray], float]
"""`Method.object_score`."""


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

    points: float [n], the method's scores before smoothing; grid: integer [n], the points' pixels; probability:
    the cloud's global one; sigma: pixels at 336; object_score: the method's. Returns arrays map_3d (A^m) and, with
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
def score_points(
    method: Method, state: State, sample: Sample | PointSample, settings: Settings
) -> tuple[np.ndarray, float]:
    """The method's point scores before smoothing, float32 [n], and the cloud's global probability."""
    points = method.point_scores(state, sample, settings).cpu().numpy()
    return points, float(method.global_score(state, sample, settings))


@torch.no_grad()
def score_rgb(
    features: tuple[torch.Tensor, torch.Tensor], embeddings: torch.Tensor, temperature: float, resolution: int
) -> Multimodal:
    """P(g_a, f^rgb) and S_a^rgb of a photograph from its global [d] and patch features [P, d]."""
    view, patches = (part.to(embeddings.device).float() for part in features)
    return Multimodal(
        float(global_probability(view[None], embeddings, temperature)),
        rgb_map(patches, embeddings, temperature, resolution),
    )


def make_scores(
    system: str,
    prompts: str | os.PathLike[str] | None,
    categories: Sequence[Mapping[str, str]],
    output: str | os.PathLike[str],
    options: Mapping[str, Any],
    model: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> None:
    """Score every scan of the given categories with one system; write the scores store.

    prompts: the trained prompts' file, None for a system that learns none. categories: for each its name, display
    (the name in prompts) and the paths of its stores (clouds; renders and features unless the system reads clouds
    alone). options: the method's entry in the config; model: the features' entry, which names the CLIP; it is loaded
    only where text is still to be encoded. Raises InputError for prompts that do not fit the features.
    """
    kind = methods.find(system)
    method = methods.load(system)
    settings = Settings.of(options)
    sigma = settings.smoothing_sigma
    device = jobs.pick_device()
    alpha = float(model["alpha"])
    with torch.no_grad():
        state_of = load_states(system, prompts, settings, model, device)

    with stores.write(output, "scores", {**provenance, "device": device.type}, {"system": system}) as writer:
        # Sorted by what their scans' names begin with, so that a store that is put together has the same order.
        for category in sorted(categories, key=lambda category: category["name"] + "/"):
            name = category["name"]
            with torch.no_grad():
                state = state_of(category["display"])
            paths = (category["clouds"], category.get("renders"), category.get("features"))
            with open_samples(*paths, kind.stream, kind.explicit, alpha) as reader:
                if kind.learns != "network":
                    check_dimensions(state, reader, prompts or model["model"])
                organised = bool(reader.clouds.attributes["organised"])
                resolution = int(reader.clouds.attributes["resolution"])
                for scan in jobs.progress(reader.scans, f"scoring {name}"):
                    sample = reader.sample(scan).on(device)
                    points, probability = score_points(method, state, sample, settings)
                    if not np.isfinite(points).all():
                        raise InputError(
                            f"{category.get('features', category['clouds'])}: scan {scan!r} gives scores that are not "
                            "finite"
                        )
                    if organised:
                        rgb = None
                        if kind.rgb and (features := reader.rgb(scan)) is not None:
                            rgb = score_rgb(features, state["rendering"], settings.temperature, resolution)
                        grid = reader.cloud(scan, "grid")["grid"]
                        arrays, objects = score_organised(
                            points, grid, resolution, probability, sigma, method.object_score, rgb
                        )
                    else:
                        cloud = reader.cloud(scan, "points", "nearest")
                        arrays, objects = score_unorganised(
                            points, cloud["points"], cloud["nearest"], probability, sigma, method.object_score
                        )
                    defective = bool(reader.clouds.scan_attributes(scan)["defective"])
                    about = {"category": name, "display": category["display"], "scan": scan, "defective": defective}
                    writer.add(f"{name}/{scan}", arrays, {**about, **objects})
