"""One scan in, scores out, in memory: what the stages do to a scan one after the other (Sec. 3.3 to 3.6).

    detector = Detector.load("results/prompts/pointad_plus/mvtec3d/carrot/111.safetensors")
    found = detector(points)             # [n, 3], or [H, W, 3] with a photograph `rgb` [H, W, 3] of the same pixels
    found.points, found.object           # a score for each point, and one for the object

A prompts file says how the scans were prepared that its prompts were learnt on; a scan is prepared alike, and then
scored as the workflow scores it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pointad_core.clip.loading import load_model
from pointad_core.clip.tower import Clip, batch_size, encode
from pointad_core.clouds.background import index_map, pad_square
from pointad_core.clouds.cloud import make_cloud
from pointad_core.datasets.scans import Organised, Unorganised
from pointad_core.errors import InputError
from pointad_core.methods.aggregation import prepare
from pointad_core.methods.interface import Restore, Settings
from pointad_core.methods.registry import System, load
from pointad_core.methods.scoring import restore, score_scan
from pointad_core.methods.segmentation import PointSample, Sample, make_sample
from pointad_core.rendering import registry as renderers
from pointad_core.storage.prompt_files import read_provenance

ASSUMED = {"scene": "plane", "background": "none", "n_points": 112896, "sampling": "farthest", "outliers": "none"}
"""How a scan of the other kind is prepared, organised or not, than those that prompts were learnt on."""


@dataclass(frozen=True)
class Detection:
    """Scores of one scan, higher is more anomalous."""

    points: np.ndarray
    """float32 [n] or [H, W], a score for each point as it was given, 3-D and RGB fused where there is a photograph;
    NaN where an organised scan has no point or its background was removed."""
    object: float
    """A^s, or A^s(mod) where there is a photograph."""
    arrays: dict[str, np.ndarray]
    """What the scores stage keeps of a scan: map_3d and map_m3d [S, S], or points_3d and original_3d."""
    objects: dict[str, float]
    """object_3d and, with a photograph, object_m3d."""


@dataclass(frozen=True)
class Detector:
    """A system with its prompts, and how a scan is prepared for it: options of the stages by their names."""

    system: System
    restored: Restore
    settings: Settings
    model: Mapping[str, Any]
    clouds: Mapping[str, Any]
    renders: Mapping[str, Any]
    aggregation: Mapping[str, Any]
    device: torch.device

    @classmethod
    def load(
        cls, prompts: str | Path, device: torch.device | str | None = None, **changes: Mapping[str, Any]
    ) -> Detector:
        """A detector from a prompts file.

        device: a GPU where there is one, by default. changes: keys of `settings`, `model`, `clouds`, `renders` or
        `aggregation` that shall be others than the file says, such as clouds={"background": "none"} or
        settings={"smoothing_sigma": 2}, which is not part of what is learnt. Raises InputError for a file that is no
        prompts file, and for a key that does not exist.
        """
        made = read_provenance(prompts)
        if missing := [key for key in ("system", "settings", "model", "inputs") if key not in made]:
            raise InputError(f"{prompts}: does not say {', '.join(missing)}; train the prompts again")
        inputs, entry = made["inputs"], System(**made["system"])
        parts: dict[str, dict[str, Any]] = {
            "settings": made["settings"],
            "model": made["model"],
            "clouds": {**ASSUMED, **inputs["clouds"], "scene": inputs["layout"]["scene"] or ASSUMED["scene"]},
            "renders": inputs.get("renders", {}),
            "aggregation": inputs.get("aggregation", {}),
        }
        for part, values in changes.items():
            if part not in parts:
                raise InputError(f"a detector has no {part}; known are {', '.join(sorted(parts))}")
            if unknown := ", ".join(sorted(values.keys() - parts[part].keys())):
                raise InputError(f"a detector has no {part}: {unknown}; known are {', '.join(sorted(parts[part]))}")
            parts[part] = {**parts[part], **values}
        settings = Settings.of(parts.pop("settings"), entry.losses)
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(entry, restore(entry, prompts, settings, parts["model"], place), settings, device=place, **parts)

    @cached_property
    def _clip(self) -> Clip:
        return load_model(self.model, self.device)

    def __call__(self, points: np.ndarray, rgb: np.ndarray | None = None, name: str = "object") -> Detection:
        """Score a scan.

        points: float [n, 3], or [H, W, 3] of an organised scan, whose missing points are NaN or (0, 0, 0), in the units
        and the orientation of the scans that were learnt on; rgb: uint8 [H, W, 3], a photograph of the same pixels;
        name: what the scan is of, for systems whose prompts name it. Raises InputError for arrays of other shapes and
        for a scan that cannot be used.
        """
        return self.score(as_raw(points, rgb), name)

    def score(self, raw: Organised | Unorganised, name: str = "object") -> Detection:
        """Score a raw scan as a layout's reader gives it, with its ground truth where there is one.

        The result is what the workflow has for this scan. Without ground truth it can differ in the last digits, for a
        renderer may draw the normal one of two points that are equally near.
        """
        cloud = make_cloud(raw, self.clouds, Path("the scan"))
        sample: Sample | PointSample = PointSample(torch.from_numpy(cloud["points"]))
        photograph = None
        if self.system.stream is not None:
            sample = self._look_at(cloud)
            if self.system.rgb and "rgb" in cloud:
                view, patches = self._encode(cloud["rgb"][None])
                photograph = view[0], patches[0]
        given = sample.on(self.device), cloud, self.clouds["resolution"], self.settings
        arrays, objects = score_scan(load(self.system), self.restored(name), *given, photograph)
        key = "m3d" if photograph is not None else "3d"
        if isinstance(raw, Organised):
            points = to_pixels(arrays[f"map_{key}"], cloud, raw, self.clouds)
        else:
            points = arrays["original_3d"]
        return Detection(points, objects[f"object_{key}"], arrays, objects)

    def _encode(self, images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Global [B, d] and patch features [B, P, d] of images as the system's stream has them."""
        stream = str(self.system.stream)
        encoded = encode(self._clip, images, [stream], batch_size(self._clip))
        return encoded["global"], encoded[f"patches_{stream}"]

    def _look_at(self, cloud: Mapping[str, np.ndarray]) -> Sample:
        """The cloud as a system sees it that reads renders."""
        views = renderers.load(self.renders["renderer"]["module"]).render(cloud, self.renders, self.device)
        whole, patches = self._encode(views.images)
        pixels, visible, resolution = views.pixels, views.visible, self.clouds["resolution"]
        prepared, alpha = None, 0.0
        if self.system.aggregates:
            prepared = prepare(cloud["points"], pixels, visible, patches, resolution, self.aggregation)
            alpha = float(self.aggregation["alpha"])
        return make_sample(whole.cpu().numpy(), patches.cpu().numpy(), pixels, visible, resolution, prepared, alpha)


def as_raw(points: np.ndarray, rgb: np.ndarray | None) -> Organised | Unorganised:
    """A raw scan of arrays as `Detector` takes them, without labels; InputError for arrays of other shapes."""
    points = np.asarray(points, dtype=np.float64)
    if points.ndim == 2 and points.shape[1] == 3 and rgb is None:
        if not len(points) or not np.isfinite(points).all():
            raise InputError("points: none, or some that are not finite")
        return Unorganised(points, labels=None)
    if points.ndim != 3 or points.shape[2] != 3:
        raise InputError(f"points are {list(points.shape)}, expected [n, 3] without rgb, or [H, W, 3]")
    if rgb is not None and (rgb.shape != points.shape or rgb.dtype != np.uint8):
        raise InputError(f"rgb is {rgb.dtype} {list(rgb.shape)}, expected uint8 {list(points.shape)}")
    valid = np.isfinite(points).all(axis=2) & (points != 0).any(axis=2)
    if not valid.any():
        raise InputError("points: all are missing")
    return Organised(np.where(valid[..., None], points, 0), valid, rgb, mask=None)


def to_pixels(
    scores: np.ndarray, cloud: Mapping[str, np.ndarray], raw: Organised, options: Mapping[str, Any]
) -> np.ndarray:
    """Scores float32 [H, W] of an organised scan's own pixels, from its map [S, S]; NaN where no point counts."""
    shown = np.full(scores.size, np.nan, np.float32)
    shown[cloud["grid"]] = scores.ravel()[cloud["grid"]]
    padded = pad_square(raw.valid).shape if options["scene"] == "plane" else raw.valid.shape
    # The pixel of the map that is nearest to each of the scan's, which stands in the middle of the square.
    rows, columns = (
        np.abs(index.ravel()[None] - (np.arange(size)[:, None] + (side - size) // 2)).argmin(1)
        for index, size, side in zip(index_map(padded, len(scores)), raw.valid.shape, padded, strict=True)
    )
    return np.where(raw.valid, shown.reshape(scores.shape)[rows[:, None], columns], np.nan).astype(np.float32)
