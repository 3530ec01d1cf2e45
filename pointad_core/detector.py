"""One scan in, scores out, in memory: what the stages do to a scan one after the other (Sec. 3.3 to 3.6).

    detector = Detector.load()           # the prompts that come with the package, or the path of a prompts file
    found = detector(points)             # [n, 3], or [H, W, 3] with a photograph `rgb` [H, W, 3] of the same pixels
    found.points, found.object           # a score for each point, and one for the object

A prompts file says how the scans were prepared that its prompts were learnt on; a scan is prepared alike, and then
scored as the workflow scores it. What a scan of any size and orientation needs before that is `predict`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pointad_core.clip.loading import load_model
from pointad_core.clip.precision import precision_of
from pointad_core.clip.tower import Clip, batch_size, encode
from pointad_core.clouds.background import own_pixels
from pointad_core.clouds.cloud import make_cloud
from pointad_core.datasets.scans import Organised, Unorganised
from pointad_core.errors import InputError
from pointad_core.formats.missing import check_missing
from pointad_core.methods.aggregation import prepare
from pointad_core.methods.interface import Restore, Settings
from pointad_core.methods.parts import object_parts
from pointad_core.methods.registry import System, load
from pointad_core.methods.scoring import Answers, ask, restore, score_branches, score_scan, score_views
from pointad_core.methods.segmentation import PointSample, Sample, make_sample
from pointad_core.methods.shipped import ORGANISED
from pointad_core.rendering import registry as renderers
from pointad_core.rendering.incidence import incidence
from pointad_core.rendering.views import Renders
from pointad_core.storage.prompt_files import read_provenance

EXTENTS = {"plane": 0.09, "ground": 0.09, None: 30.0}
"""Longest side of the box of the usual scan of a layout with this scene, in the layout's units."""
ASSUMED = {"scene": "plane", "background": "none", "n_points": 112896, "sampling": "farthest", "outliers": "none"}
"""How a scan of the other kind is prepared, organised or not, than those that prompts were learnt on."""
PICTURES = {"photographs": "nearest", "masks": "nearest", "surroundings": "keep"}
"""What the clouds stage does to pictures where its options do not say; the surroundings are black where prompts were
learnt on point clouds, which have no photograph, as in the embedded default."""
STEPS = ("clouds", "renders", "features", "aggregation", "scores")
"""What a scan goes through, named after the stages that do the same; a system goes through those that it needs."""


@dataclass(frozen=True)
class Detection:
    """Scores of one scan, higher is more anomalous."""

    points: np.ndarray
    """float32 [n] or [H, W], a score for each point as it was given, 3-D and RGB fused where there is a photograph;
    NaN where an organised scan has no point, or its background was removed: there, and at points of the object whose
    pixel of the map has none."""
    object: float
    """A^s, or A^s(mod) where there is a photograph."""
    arrays: dict[str, np.ndarray]
    """What the scores stage keeps of a scan: map_3d and map_m3d [S, S], or points_3d and original_3d."""
    objects: dict[str, float]
    """object_3d and, with a photograph, object_m3d."""
    answers: Answers
    """What the system said, of which all of these are made."""


@dataclass(frozen=True)
class Seen:
    """A scan as it stands before the system: looked at once, it can be scored, and shown by parts."""

    raw: Organised | Unorganised
    cloud: Mapping[str, np.ndarray]
    sample: Sample | PointSample
    renders: Renders | None
    """None for a system that reads clouds alone."""
    photograph: tuple[torch.Tensor, torch.Tensor] | None


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
    extent: float
    """Longest side of the box of the scans that were learnt on, in their units, the median of them."""
    device: torch.device
    watch: Callable[[str], AbstractContextManager[Any]] = nullcontext
    """Entered around each step with its name, one of STEPS, such as a `Stopwatch`; a step can come more than once."""

    @classmethod
    def load(
        cls, prompts: str | Path = ORGANISED, device: torch.device | str | None = None, **changes: Mapping[str, Any]
    ) -> Detector:
        """A detector from a prompts file; without one, from the prompts for organised scans that come with the package
        (`shipped.POINTS` are those for point clouds).

        device: a GPU where there is one, by default. changes: keys of `settings`, `model`, `clouds`, `renders` or
        `aggregation` that shall be others than the file says, such as clouds={"background": "none"} or
        settings={"smoothing_sigma": 2}, which is not part of what is learnt, or model={"precision": "bfloat16"}.
        Raises InputError for a file that is no prompts file, and for a key that does not exist.
        """
        made = read_provenance(prompts)
        if made.get("system", {}).get("unsupervised"):
            told = f"holds what an unsupervised system has learnt of {made['category']!r}, and no prompts"
            raise InputError(f"{prompts}: {told}; such a system scores in the workflow alone")
        if made.get("system", {}).get("batch"):
            told = "is of a system that scores a scan by the other scans of its category"
            raise InputError(
                f"{prompts}: {told}, and not one scan by itself; such a system scores in the workflow alone"
            )
        if missing := [key for key in ("system", "settings", "model", "inputs") if key not in made]:
            raise InputError(f"{prompts}: does not say {', '.join(missing)}; train the prompts again")
        inputs, entry = made["inputs"], System(**made["system"])
        scene = inputs["layout"]["scene"]
        pictures = PICTURES if scene else {**PICTURES, "surroundings": "black"}
        parts: dict[str, dict[str, Any]] = {
            # A file that was written before a setting was known has been learnt with its default.
            "settings": {**asdict(Settings()), **made["settings"]},
            "model": made["model"],
            "clouds": {**ASSUMED, **pictures, **inputs["clouds"], "scene": scene or ASSUMED["scene"]},
            "renders": inputs.get("renders", {}),
            "aggregation": inputs.get("aggregation", {}),
        }
        for part, values in changes.items():
            if part not in parts:
                raise InputError(f"a detector has no {part}; known are {', '.join(sorted(parts))}")
            # A file says it of a model in another precision alone.
            known = parts[part].keys() | ({"precision"} if part == "model" else set())
            if unknown := ", ".join(sorted(values.keys() - known)):
                raise InputError(f"a detector has no {part}: {unknown}; known are {', '.join(sorted(known))}")
            parts[part] = {**parts[part], **values}
        extent = float(inputs.get("extent", EXTENTS[inputs["layout"]["scene"]]))
        settings = Settings.of(parts.pop("settings"), entry.losses)
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        restored = restore(entry, prompts, settings, parts["model"], place)
        model, clouds, renders, aggregation = (parts[part] for part in ("model", "clouds", "renders", "aggregation"))
        return cls(entry, restored, settings, model, clouds, renders, aggregation, extent, place)

    @property
    def precision(self) -> str | None:
        """Name of the numbers that views are encoded in on this device; None of a system of clouds, without views."""
        if self.system.stream is None:
            return None
        return precision_of(self.model, self.device)

    @property
    def _clip(self) -> Clip:
        return _load_model(tuple(self.model.items()), self.device)

    def check_model(self) -> None:
        """Load the model that views are encoded by; InputError for one that cannot be loaded."""
        if self.system.stream is not None:
            _ = self._clip

    def __call__(self, points: np.ndarray, rgb: np.ndarray | None = None, name: str = "object") -> Detection:
        """Score a scan.

        points: float [n, 3], none of them missing, or [H, W, 3] of an organised scan, whose missing points are told by
        `formats.missing`: NaN, (0, 0, 0) and the like; in the units and the orientation of the scans that were learnt
        on; rgb: uint8 [H, W, 3], a photograph of the same pixels; name: what the scan is of, for systems whose prompts
        name it. Raises InputError for arrays of other shapes and for a scan that cannot be used.
        """
        return self.score(as_raw(points, rgb), name)

    def score(self, raw: Organised | Unorganised, name: str = "object") -> Detection:
        """Score a raw scan as a layout's reader gives it, with its ground truth where there is one.

        The result is what the workflow has for this scan. Without ground truth it can differ in the last digits, for a
        renderer may draw the normal one of two points that are equally near.
        """
        return self.judge(self.look(raw), name)

    def look(self, raw: Organised | Unorganised) -> Seen:
        """Prepare, render and encode a raw scan as a layout's reader gives it."""
        with self.watch("clouds"):
            cloud = make_cloud(raw, self.clouds, Path("the scan"))
        if self.system.stream is None:
            return Seen(raw, cloud, PointSample(torch.from_numpy(cloud["points"])).on(self.device), None, None)
        renders, sample = self._render(cloud)
        photograph = None
        if self.system.rgb and "rgb" in cloud:
            view, patches = self._encode(cloud["rgb"][None])
            photograph = view[0], patches[0]
        return Seen(raw, cloud, sample.on(self.device), renders, photograph)

    def judge(self, seen: Seen, name: str = "object") -> Detection:
        """Score a scan that was looked at."""
        with self.watch("scores"):
            system, state, resolution = load(self.system), self.restored(name), self.clouds["resolution"]
            answers = ask(system, state, seen.sample, resolution, self.settings, seen.photograph)
            arrays, objects = score_scan(answers, system, seen.cloud, resolution, self.settings)
            key = "m3d" if seen.photograph is not None else "3d"
            found = f"map_{key}" if isinstance(seen.raw, Organised) else "original_3d"
            points = arrays[found] if found == "original_3d" else self._to_points(arrays[found], seen)
        return Detection(points, objects[f"object_{key}"], arrays, objects, answers)

    def branches(self, seen: Seen, found: Detection) -> dict[str, np.ndarray]:
        """What the scores of a scan are made of, for each point as it was given like `Detection.points`: "implicit" and
        "explicit" of PointAD+, and "rgb" with a photograph; of a system of one branch nothing but that."""
        parts = score_branches(found.answers, seen.cloud, self.clouds["resolution"], self.settings)
        return {branch: self._to_points(part, seen) for branch, part in parts.items()}

    def score_parts(self, seen: Seen, found: Detection) -> dict[str, float]:
        """What the object's score is made of, by name and modality (`methods.parts.object_parts`)."""
        return object_parts(found.answers, found.arrays, seen.cloud, self.clouds["resolution"], self.settings)

    def view_maps(self, seen: Seen, name: str = "object") -> np.ndarray:
        """The map of each view that was rendered, float32 [K, S, S] (`score_views`); none of a system of clouds."""
        return score_views(
            load(self.system), self.restored(name), seen.sample, self.clouds["resolution"], self.settings
        )

    def _to_points(self, smoothed: np.ndarray, seen: Seen) -> np.ndarray:
        """Smoothed scores at the points as they were given."""
        if isinstance(seen.raw, Organised):
            return to_pixels(smoothed, seen.cloud, seen.raw, self.clouds)
        return smoothed[seen.cloud["nearest"]]

    def _encode(self, images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Global [B, d] and patch features [B, P, d] of images as the system's stream has them."""
        stream = str(self.system.stream)
        with self.watch("features"):
            encoded = encode(self._clip, images, [stream], batch_size(self._clip))
        return encoded["global"], encoded[f"patches_{stream}"]

    def _render(self, cloud: Mapping[str, np.ndarray]) -> tuple[Renders, Sample]:
        """The cloud as a system sees it that reads renders, and these."""
        with self.watch("renders"):
            views = renderers.load(self.renders["renderer"]["module"]).render(cloud, self.renders, self.device)
        whole, patches = self._encode(views.images)
        pixels, visible, resolution = views.pixels, views.visible, self.clouds["resolution"]
        prepared, alpha = None, 0.0
        if self.system.aggregates:
            with self.watch("aggregation"):
                prepared = prepare(cloud["points"], pixels, visible, patches, resolution, self.aggregation)
            alpha = float(self.aggregation["alpha"])
        with self.watch("scores"):
            angles = self._incidence(cloud) if self.settings.view_weights == "incidence" else None
            return views, make_sample(whole, patches, pixels, visible, resolution, prepared, alpha, angles)

    def _incidence(self, cloud: Mapping[str, np.ndarray]) -> np.ndarray:
        renderer = self.renders["renderer"]
        angles = renderers.load(renderer["module"]).angles(self.renders["views"])
        return incidence(cloud["points"], cloud["normals"], angles, renderer["name"])


@lru_cache(maxsize=1)
def _load_model(model: tuple[tuple[str, Any], ...], device: torch.device) -> Clip:
    """The CLIP of several detectors, which is the same for most."""
    return load_model(dict(model), device)


def as_raw(points: np.ndarray, rgb: np.ndarray | None) -> Organised | Unorganised:
    """A raw scan of arrays as `Detector` takes them, without labels; InputError for arrays of other shapes."""
    points = np.asarray(points, dtype=np.float64)
    if points.ndim == 2 and points.shape[1] == 3 and rgb is None:
        if lost := check_missing("points", points).notes:
            raise InputError(f"points: {lost[0]}; leave them out, or give a raw scan to `score`")
        return Unorganised(points, labels=None)
    if points.ndim != 3 or points.shape[2] != 3:
        raise InputError(f"points are {list(points.shape)}, expected [n, 3] without rgb, or [H, W, 3]")
    if rgb is not None and (rgb.shape != points.shape or rgb.dtype != np.uint8):
        raise InputError(f"rgb is {rgb.dtype} {list(rgb.shape)}, expected uint8 {list(points.shape)}")
    valid = check_missing("points", points).valid
    return Organised(np.where(valid[..., None], points, 0), valid, rgb, mask=None)


def to_pixels(
    scores: np.ndarray, cloud: Mapping[str, np.ndarray], raw: Organised, options: Mapping[str, Any]
) -> np.ndarray:
    """Scores float32 [H, W] of an organised scan's own pixels, from its map [S, S]; NaN where no point counts.

    Where all points count, one whose pixel of the map has none has the score of the nearest pixel that has one.
    """
    shown = np.full(scores.shape, np.nan, np.float32)
    shown.ravel()[cloud["grid"]] = scores.ravel()[cloud["grid"]]
    if (options.get("background"), options.get("outliers", "none")) == ("none", "none"):
        from scipy import ndimage

        _, places = ndimage.distance_transform_edt(np.isnan(shown), return_indices=True)
        shown = shown[tuple(places)]
    rows, columns = own_pixels(raw.valid.shape, len(scores), options["scene"] == "plane")
    return np.where(raw.valid, shown[rows, columns], np.nan).astype(np.float32)
