"""TIFF: organised points, the three coordinates of each pixel as floats, or as integers of a unit that is given.

Any compression and predictor that imagecodecs knows; coordinates pixel by pixel, plane by plane, or page by page.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.errors import InputError
from pointad_core.formats.reading import Reading, load, seems
from pointad_core.formats.unit import metres_of

LARGEST = 1 << 30
"""Bytes of pixels that are unpacked: 40 megapixels of three floats of 8 bytes."""


def read(path: Path, unit: str | float | None = None, **_: Any) -> Reading:
    """Points f8[H,W,3] of a tiff as they stand in it.

    unit: what its numbers count; files of integers cannot do without. Raises InputError for what cannot be decoded,
    is not three channels, or is integers without a unit.
    """
    import tifffile

    content, notes = load(path)
    if not content.startswith((b"II", b"MM")):
        raise InputError(f"{path}: not a readable tiff{seems(content)}")
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            if not file.pages:
                raise EOFError("it ends before its directory, cut short")
            source: Any
            source = page = file.pages.first
            if len(page.shape) == 2 and len(file.series[0].shape) == 3:
                # Planes that are a page each, or rows, as tifffile has them where it takes no pixels for colours.
                source = file.series[0]
            shape, kind = source.shape, np.dtype(source.dtype)
            if kind.itemsize * int(np.prod(shape, dtype=object)) > LARGEST:
                raise InputError(f"{path}: {' x '.join(map(str, shape))} of {kind}, more than {LARGEST >> 20} MiB")
            is_planar = len(shape) == 3 and (source.axes[0] == "S" if source is page else shape[2] != 3)
            points = source.asarray()
    except InputError:
        raise
    except Exception as error:
        # A damaged tiff makes the decoder fail in any way, from struct.error to a division by zero.
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable tiff ({type(error).__name__}: {reason})") from error
    if is_planar:
        points = np.moveaxis(points, 0, -1)
    if points.ndim != 3 or points.shape[2] != 3 or points.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: array of shape {points.shape} and type {points.dtype}, expected height x width x 3 floats, or "
            "integers with a unit"
        )
    if points.dtype.kind != "f":
        if unit is None:
            raise InputError(f"{path}: its numbers are integers ({points.dtype}); give the unit that they count")
        metres_of(unit)
    name = unit if isinstance(unit, str) else None
    with np.errstate(invalid="ignore"):
        return Reading(np.ascontiguousarray(points, np.float64), unit=name, notes=notes)
