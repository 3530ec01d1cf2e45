"""Depth as png: 16-bit grey, made points by the intrinsics of the camera that a caller gives or a file beside it.

The file is `<name>.json` beside `<name>.png`, or `intrinsics.json` in its folder, and holds fx, fy, cx and cy in
pixels (and `unit` if one wants); or, as Open3D writes it, `intrinsic_matrix` column by column.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.errors import InputError
from pointad_core.formats.reading import Reading, load, seems, shorten
from pointad_core.formats.unit import metres_of

NAMES = ("fx", "fy", "cx", "cy")


def read(path: Path, unit: str | None = None, intrinsics: Sequence[float] | None = None, **_: Any) -> Reading:
    """Points f8[H,W,3] in the camera's frame (z away from it) of a depth map; (0, 0, 0) where it has no depth.

    unit: length that a count of depth stands for, nearly always "mm"; intrinsics: fx, fy, cx, cy in pixels.

    Raises InputError where one of them is missing, and for a picture that is no depth.
    """
    content, notes = load(path)
    depth = decode(path, content)
    if intrinsics is None:
        intrinsics, said, file = find_intrinsics(path)
        notes, unit = (*notes, f"intrinsics of {file.name}"), unit or said
    fx, fy, cx, cy = check(f"{path}: intrinsics", dict(zip(NAMES, intrinsics, strict=False)))
    if unit is None:
        raise InputError(f"{path}: its depths are integers; give the unit that they count, most likely mm")
    metres_of(unit)
    rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]]
    points = np.stack([(columns - cx) / fx * depth, (rows - cy) / fy * depth, depth], axis=2)
    return Reading(points, unit=unit, notes=notes)


def decode(path: Path, content: bytes) -> np.ndarray:
    """Depths f8[H,W] of a png."""
    from PIL import Image

    try:
        # No other decoder, whatever the file says it is.
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            mode, pixels = image.mode, np.array(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = seems(content) if not content.startswith(b"\x89PNG") else f" ({' '.join(str(error).split())})"
        raise InputError(f"{path}: not a readable png{reason}") from None
    # Pillow gives 16-bit grey as uint16 or, from other modes, int32.
    if pixels.ndim != 2 or mode not in ("I", "I;16", "I;16B"):
        raise InputError(f"{path}: a picture of mode {mode}, no depth, which is 16-bit grey")
    return pixels.astype(np.float64)


def find_intrinsics(path: Path) -> tuple[list[float], str | None, Path]:
    """Intrinsics and unit of the file beside a depth map, and which it is."""
    stem = path.name.lower().removesuffix(".gz").removesuffix(".png")
    files = [path.with_name(f"{path.name[: len(stem)]}.json"), path.with_name("intrinsics.json")]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise InputError(
            f"{path}: a depth map takes the camera's intrinsics (fx, fy, cx, cy), as an option or in "
            f"{files[0].name} or {files[1].name} beside it"
        )
    try:
        said = json.loads(load(file)[0])
        matrix = said.get("intrinsic_matrix", said.get("intrinsic", {}).get("intrinsic_matrix"))
        if matrix is not None:
            said = {**said, **dict(zip(NAMES, (matrix[0], matrix[4], matrix[6], matrix[7]), strict=True))}
        unit = said.get("unit")
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError):
        raise InputError(f"{file}: expected fx, fy, cx and cy as json") from None
    if unit is not None and not isinstance(unit, str):
        raise InputError(f"{file}: unit {shorten(str(unit))}, expected a name")
    return check(f"{file}: intrinsics", said), unit, file


def check(where: str, said: Mapping[str, Any]) -> list[float]:
    """Four finite numbers, the focal lengths above 0."""
    try:
        numbers = [float(said[name]) for name in NAMES]
    except (KeyError, TypeError, ValueError):
        numbers = []
    if not numbers or not np.isfinite(numbers).all() or min(numbers[:2]) <= 0:
        found = shorten(", ".join(f"{name} {said[name]}" for name in NAMES if name in said) or "none")
        raise InputError(f"{where} are {found}, expected fx and fy above 0, and cx and cy, in pixels")
    return numbers
