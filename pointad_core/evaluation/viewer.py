"""The viewer: scans with their scores as one HTML file that holds all it needs, to be turned in a browser.

The page asks for nothing from anywhere: its content security policy forbids it, and allows the one script and the one
style by their hashes. What comes from a scan (names, facts) is JSON in a script element that is never run, and is put
on the page as text. A scan's arrays (`packing`) stand beside it as base64 and are unpacked when it is chosen.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.errors import InputError
from pointad_core.evaluation.packing import pack, step_of, thin
from pointad_core.storage import files

MOST_POINTS = 200_000
"""Points of a scan that the page shows; of a larger one it shows as many, see `packing.thin`."""
MOST_PIXELS = 480
"""Longest side of a view in pixels; larger ones are made smaller."""

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("data.js", "regions.js", "camera.js", "scene.js", "views.js", "page.js", "threshold.js", "input.js")
POLICY = (
    "default-src 'none'; img-src data:; script-src {script}; style-src {style}; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class View:
    """An image of a scan, u1 [h, w, 3], and where there is one its map, f4 [h, w], NaN where nothing is scored."""

    name: str
    image: np.ndarray
    scores: np.ndarray | None = None


@dataclass(frozen=True)
class Shown:
    """A scan of n points as the page shows it."""

    name: str
    points: np.ndarray
    """f4 or f8 [n, 3], finite, in units of the data."""
    scores: Mapping[str, np.ndarray]
    """f4 [n] by name, higher is more anomalous, NaN where a point has none; the first is shown first."""
    colours: np.ndarray | None = None
    """u1 [n, 3]."""
    truth: np.ndarray | None = None
    """bool [n]; None of a scan that nobody labelled."""
    threshold: float | None = None
    """Where the threshold of the first score starts; points above it are then marked."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What a table says of the scan; `unit`, where it is among them and not "unknown", is that of lengths."""
    views: Sequence[View] = ()
    front: np.ndarray | None = None
    """f8 [3, 3], the rotation that turns the scan to face the viewer (x right, y up, z near); None: as it lies."""
    numbers: np.ndarray | None = None
    """i8 [n], what the page calls the points, such as their rows in a file; None: 0, 1, 2, ..."""


def write_viewer(path: str | os.PathLike[str], scans: Sequence[Shown], title: str) -> None:
    """Write the page of some scans to `path`, whole or not at all; raises InputError as `make_viewer` does."""
    page = make_viewer(scans, title)
    with files.replacing(path) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")


def make_viewer(scans: Sequence[Shown], title: str) -> str:
    """The page as text; the same scans give the same text.

    Raises InputError for no scans, for arrays that do not fit their scan's points, for points that are not finite and
    for infinite scores.
    """
    if not scans:
        raise InputError(f"viewer {title!r}: there is no scan to show")
    described, packed = [], []
    for scan in scans:
        _check(scan)
        entry, arrays = _describe(scan)
        described.append(entry)
        packed.append(base64.b64encode(arrays).decode())
    content = {"title": title, "ranges": _share_ranges(scans), "scans": described}
    script = "\n".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    style = (PAGE / "page.css").read_text(encoding="utf-8")
    parts = {
        "policy": POLICY.format(script=_hash(script), style=_hash(style)),
        # A name that is no valid text (a file's, of other bytes) is still to be written in UTF-8.
        "title": html.escape(title.encode("utf-8", "replace").decode()),
        "style": style,
        "content": to_inert_json(content),
        "packed": "\n".join(
            f'<script type="text/plain" id="scan-{i}">{text}</script>' for i, text in enumerate(packed)
        ),
        "script": script,
    }
    template = (PAGE / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def to_inert_json(content: Any) -> str:
    """JSON that nothing in an HTML file takes for anything else, whatever its texts are: ASCII without < > &."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _check(scan: Shown) -> None:
    """InputError for arrays that are not what `Shown` says."""
    if scan.points.ndim != 2 or scan.points.shape[1] != 3 or not len(scan.points):
        raise InputError(f"scan {scan.name!r}: points are {list(scan.points.shape)}, expected [n, 3]")
    if not np.isfinite(scan.points).all():
        raise InputError(f"scan {scan.name!r}: some points are not finite")
    if not scan.scores:
        raise InputError(f"scan {scan.name!r}: there is no score to show")
    n = len(scan.points)
    arrays = {**scan.scores, "colours": scan.colours, "truth": scan.truth, "numbers": scan.numbers}
    shapes = {"colours": (n, 3)}
    for name, array in arrays.items():
        if array is not None and array.shape != (expected := shapes.get(name, (n,))):
            raise InputError(f"scan {scan.name!r}: {name} is {list(array.shape)}, expected {list(expected)}")
    for name, score in scan.scores.items():
        if np.isinf(score).any() or np.isnan(score).all():
            raise InputError(f"scan {scan.name!r}: score {name!r} is infinite somewhere, or nowhere a number")


def _describe(scan: Shown) -> tuple[dict[str, Any], bytes]:
    """What the page is told of a scan, and its packed arrays."""
    first = next(iter(scan.scores.values()))
    kept = thin(scan.points, first, MOST_POINTS)
    layout, arrays = pack(scan.points, scan.scores, scan.colours, scan.truth, kept, scan.numbers)
    return {
        "name": scan.name,
        "total": len(scan.points),
        "facts": [[str(key), str(value)] for key, value in scan.facts.items()],
        "unit": str(scan.facts.get("unit", "")).replace("unknown", ""),
        "threshold": None if scan.threshold is None else float(scan.threshold),
        "front": None if scan.front is None else np.asarray(scan.front, float).ravel().tolist(),
        **layout,
        **_describe_views(scan.views),
    }, arrays


def _share_ranges(scans: Sequence[Shown]) -> dict[str, tuple[float, float]]:
    """Range of the colours by score, one for all scans and up to their thresholds: a good one shall not look like a
    defective one."""
    values: dict[str, list[tuple[float, float]]] = {}
    for scan in scans:
        for name, score in scan.scores.items():
            values.setdefault(name, []).append(find_range(score))
        if scan.threshold is not None:
            first = next(iter(scan.scores))
            values[first].append((math.inf, scan.threshold))
    return {name: (min(low for low, _ in found), max(high for _, high in found)) for name, found in values.items()}


def find_range(values: np.ndarray) -> tuple[float, float]:
    """Range of nearly all of the finite values, so that a few outliers do not flatten the rest."""
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, [1, 99.9]) if len(finite) else (0.0, 1.0)
    return float(low), float(high) if high > low else float(low) + step_of(low)


# Views ----------------------------------------------------------------------------------------------------------------


def _describe_views(views: Sequence[View]) -> dict[str, Any]:
    """Views as data URIs, their maps as grey PNG: 0 is no score, 1 to 255 the range that the views share."""
    maps = [view.scores[np.isfinite(view.scores)] for view in views if view.scores is not None]
    low, high = find_range(np.concatenate(maps)) if maps else (0.0, 1.0)
    described = []
    for view in views:
        entry = {"name": view.name, "image": _encode(view.image, "WEBP", quality=85, method=2), "map": None}
        if view.scores is not None:
            shares = np.clip((view.scores - low) / (high - low), 0, 1)
            grey = np.where(np.isfinite(view.scores), 1 + np.rint(254 * np.nan_to_num(shares)), 0)
            entry["map"] = _encode(grey.astype(np.uint8), "PNG")
        described.append(entry)
    return {"views": described, "view_range": [low, high]}


def _encode(image: np.ndarray, kind: str, **options: Any) -> str:
    """An image, made smaller where it is large, as a data URI; a map's pixels are taken, not mixed."""
    from PIL import Image

    picture = Image.fromarray(image)
    if (longest := max(picture.size)) > MOST_PIXELS:
        size = [max(1, side * MOST_PIXELS // longest) for side in picture.size]
        picture = picture.resize(
            (size[0], size[1]), Image.Resampling.BOX if image.ndim == 3 else Image.Resampling.NEAREST
        )
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
