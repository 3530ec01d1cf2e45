"""From a file to scores: the prompts and views that suit a scan, its scores, and what is to be said of them.

    predictor = Predictor.load()
    found = predictor(read_scan(Path("part.ply")))
    found.scores, found.object            # a score for each point of the file, and one for the part

Without prompts of one's own, those that come with the package are taken: learnt on scans that a camera has seen from
one side, or, for a scan that is closed, on ones looked at from all round.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.clouds.background import pad_square
from pointad_core.detector import Detector, Seen
from pointad_core.errors import InputError
from pointad_core.evaluation.pictures import DEPTH
from pointad_core.evaluation.viewer import find_range
from pointad_core.methods.interface import Settings
from pointad_core.methods.shipped import ORGANISED, POINTS, REFERENCES
from pointad_core.predict.calibration import Calibration, check_made_by, decide, misfit, read_calibration
from pointad_core.predict.orientation import Facing, face
from pointad_core.predict.scan import Scan, Wanted, prepare, spacing
from pointad_core.rendering.views import footprint
from pointad_core.storage.prompt_files import read_provenance

AROUND = {"tilt": 180, "x": [-144, -108, -72, -36, 0, 36, 72, 108, 144], "y": []}
"""Views from all round, for prompts that were learnt from one side."""
N_POINTS = 60000
"""Points at most of a scan in no order in the views; all others have the score of the nearest of them."""
CLOUDS = {"background": "none", "scene": "plane", "n_points": N_POINTS, "sampling": "voxel"}
"""How a scan's cloud is made: its background is left out before, and voxels choose its points: farthest ones of
millions take minutes."""
VERSION = 2
"""Of what is done to a scan before its views; a threshold holds for scores that were made alike."""
COVER = 2.1
"""Side of a point's square in distances between points: as the data sets' categories have it in the config."""
POINT_SIZES = 5, 40
LARGEST_POINT = 200
"""Side of a point's square that may be asked for, in pixels of a window of some thousand."""


@dataclass(frozen=True)
class Prediction:
    """What was found of a scan of N points, [N] being [H, W] of an organised one.

    scores: f4 [N], higher is more anomalous, NaN where a point is missing or not scored; branches: f4 [N] by name,
    what the scores are made of; objects: the part's score, as `Detection` has it; arrays: the map or the scores of the
    points in the views, as `Detection` has them; score_parts: what the score is made of (`methods.parts`); view_maps:
    f4 [K,S,S], what each view says before it goes to the points, and view_names what the views are called.
    """

    scan: Scan
    facing: Facing
    scores: np.ndarray
    branches: Mapping[str, np.ndarray]
    objects: Mapping[str, float]
    arrays: Mapping[str, np.ndarray]
    score_parts: Mapping[str, float]
    seen: Seen
    view_maps: np.ndarray
    view_names: tuple[str, ...]
    kind: str
    """"front" or "around": which of the shipped prompts, or how one's own were used."""
    made: Mapping[str, Any]
    """What made it, as `Predictor.made` has it."""
    prompts: Path | None
    """File of the prompts; None for those that come with the package."""
    device: str
    precision: str | None
    """Of the numbers that views are encoded in; None of a system of clouds."""
    calibration: Calibration | None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def modality(self) -> str:
        """What the scores are of: "3d", or "m3d" with a photograph."""
        return "m3d" if self.seen.photograph is not None else "3d"

    @property
    def object(self) -> float:
        """The part's score."""
        return self.objects[f"object_{self.modality}"]

    @property
    def decision(self) -> str:
        """ "defective" or "good" by the threshold, "uncalibrated" without one."""
        if self.calibration is None:
            return "uncalibrated"
        return "defective" if decide(self.object, self.calibration) else "good"

    @property
    def maximum(self) -> int:
        """Flat index of the point with the highest score."""
        return int(np.nanargmax(self.scores))

    @property
    def colour_range(self) -> tuple[float, float]:
        """Scores at both ends of the colours: nearly all of the scan's, and up to the threshold of points where there
        is one, so that a good part does not look like a defective one."""
        low, high = find_range(self.scores[self.scan.kept])
        return low, max(high, self.calibration.point_threshold) if self.calibration else high

    @cached_property
    def rank(self) -> dict[str, int] | None:
        """How many of the shipped reference scans have a lower object score: higher_than_good of good, and
        higher_than_defective of defective; None for prompts or settings of one's own, whose scores are on another
        scale."""
        if self.prompts is not None or "scores" in self.made["settings"]:
            return None
        references = json.loads(REFERENCES.read_text())[self.kind].get(self.modality)
        if not references:
            return None
        found = {
            f"higher_than_{kind}": sum(score < self.object for score in scores) for kind, scores in references.items()
        }
        return found | {kind: len(scores) for kind, scores in references.items()}


@dataclass
class Predictor:
    """Scores scans with one choice of prompts; detectors are loaded when the first scan needs them."""

    wanted: Wanted
    prompts: Path | None
    device: str | None
    name: str
    """What the scans are of, for prompts that name it."""
    calibration: Calibration | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the scores that are other than the prompts file says."""
    _detectors: dict[bool, Detector] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        wanted: Wanted | None = None,
        prompts: Path | None = None,
        device: str | None = None,
        name: str = "object",
        threshold: Path | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Predictor:
        """threshold: a file of `pointad calibrate`; settings: as `Detector.load` takes them.

        Raises InputError for files that cannot be read, for a threshold that was made otherwise, for a size of points
        that cannot be drawn, and for settings and a model that cannot be."""
        wanted, settings = wanted or Wanted(), settings or {}
        size = wanted.point_size
        if size is not None and not 1 <= size <= LARGEST_POINT:
            raise InputError(f"point_size is {size}, expected 1 to {LARGEST_POINT} pixels")
        # Here, and not scan by scan.
        Settings.of(settings)
        usual = {**asdict(Settings()), **read_provenance(prompts or ORGANISED).get("settings", {})}
        other = {key: value for key, value in settings.items() if key not in usual or value != usual[key]}
        predictor = cls(wanted, prompts, device, name, settings=other)
        if threshold is not None:
            predictor.calibration = read_calibration(threshold)
            check_made_by(predictor.calibration, predictor.made, threshold)
        if prompts is not None:
            detector = predictor.detector(around=False)
            try:
                detector.check_model()
            except InputError as error:
                raise InputError(f"{prompts}: {error}") from error
        return predictor

    @cached_property
    def made(self) -> dict[str, Any]:
        """What scores depend on besides the scan, as plain values: prompts_sha256, model and settings."""
        paths = [self.prompts] if self.prompts else [ORGANISED, POINTS]
        provenance = read_provenance(paths[0])
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
        facing = self.wanted.facing if isinstance(self.wanted.facing, str) else self.wanted.facing.tolist()
        # Of units, inches alone make a difference: all others are a power of ten apart.
        asked = {"facing": facing, "name": self.name, "views": VERSION, "inch": self.wanted.unit == "inch"}
        asked |= {key: getattr(self.wanted, key) for key in ("background", "stray", "rgb", "point_size")}
        asked |= {"intrinsics": list(self.wanted.intrinsics)} if self.wanted.intrinsics else {}
        asked |= {"scores": dict(self.settings)} if self.settings else {}
        return {"prompts_sha256": digest, "model": provenance.get("model"), "settings": asked}

    def detector(self, around: bool) -> Detector:
        """The detector for scans that are looked at from the front or from all round."""
        if around not in self._detectors:
            path = self.prompts or (POINTS if around else ORGANISED)
            detector = Detector.load(path, self.device, clouds=CLOUDS, settings=self.settings)
            views = detector.renders.get("views", {})
            if around and "x" in views and not any(abs(angle) > 90 for angle in (*views["x"], *views["y"])):
                detector = replace(detector, renders={**detector.renders, "views": AROUND})
            self._detectors[around] = detector
        return self._detectors[around]

    def __call__(self, scan: Scan) -> Prediction:
        """Score a scan; InputError, which names its file, for one that cannot be scored."""
        start = time.perf_counter()
        facing = face(scan.points[scan.kept], scan.grid, self.wanted.facing)
        turned = time.perf_counter()
        detector = self.detector(facing.around)
        try:
            raw = prepare(scan, facing, detector.renders.get("views", {"tilt": 180})["tilt"], detector.extent)
            seen = with_point_size(detector, scan, self.wanted.point_size).look(raw)
            looked = time.perf_counter()
            found = detector.judge(seen, self.name)
            branches = detector.branches(seen, found)
            parts = detector.score_parts(seen, found)
            maps = detector.view_maps(seen, self.name)
        except InputError as error:
            raise InputError(f"{scan.path}: {error}") from error
        modality, kind = "m3d" if seen.photograph is not None else "3d", "around" if facing.around else "front"
        calibration = self.calibration
        if calibration is not None and (reason := misfit(calibration, modality, kind, scan.organised)):
            calibration, scan = None, replace(scan, notes=(*scan.notes, reason))
        return Prediction(
            scan,
            facing,
            _spread(found.points, scan),
            {name: _spread(part, scan) for name, part in branches.items()},
            found.objects,
            found.arrays,
            {
                name.removesuffix(f"_{modality}"): value
                for name, value in parts.items()
                if name.endswith(f"_{modality}")
            },
            seen,
            maps,
            _name_views(detector.renders.get("views", {}), len(maps)),
            kind,
            self.made,
            self.prompts,
            detector.device.type,
            detector.precision,
            calibration,
            {"orientation": turned - start, "views": looked - turned, "scores": time.perf_counter() - looked},
        )


def with_point_size(detector: Detector, scan: Scan, size: int | None = None) -> Detector:
    """A detector that draws a scan's points with this size, None for as large as it takes to close the gaps between
    them."""
    if "point_size" not in detector.renders:
        return detector
    if size is None:
        count = np.count_nonzero(scan.kept)
        if scan.organised:
            side = pad_square(scan.kept).shape[0]
            drawn = count * min(1.0, (detector.clouds["resolution"] / side) ** 2)
        else:
            drawn = min(count, detector.clouds["n_points"])
        gap = spacing(scan.points[scan.kept]) * math.sqrt(count / drawn)
        low, high = POINT_SIZES
        size = round(min(max(COVER * gap / footprint(1, detector.renders["window"]), low), high))
    return replace(detector, renders={**detector.renders, "point_size": size})


def _spread(scores: np.ndarray, scan: Scan) -> np.ndarray:
    """Scores f4 of all points of a scan from those of the points that were scored."""
    if scan.organised:
        return np.where(scan.kept, scores, np.nan).astype(np.float32)
    spread = np.full(scan.kept.shape, np.nan, np.float32)
    spread[scan.kept] = scores
    return spread


def _name_views(views: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """What each view is called: its turn from the front."""
    names = [f"{angle:g}° about {axis}" for axis in ("x", "y") for angle in views.get(axis, ())]
    if len(names) == count / 2:  # each shaded, and then as a depth image
        names += [name + DEPTH for name in names]
    return tuple(names) if len(names) == count else tuple(f"view {number + 1}" for number in range(count))
