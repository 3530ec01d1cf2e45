"""Colours as files keep them: packed in one number, or red, green and blue in a column each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pointad_core.errors import InputError


def unpack_colours(packed: np.ndarray) -> np.ndarray:
    """Colours u1[N,3] of numbers 0xAARRGGBB: u4, or f4 (f8) with these bytes."""
    if packed.dtype.kind == "f":
        bits = np.ascontiguousarray(packed.astype(np.float32)).view(np.uint32)
    else:
        bits = packed.astype(np.int64).astype(np.uint32)
    return np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], axis=-1).astype(np.uint8)


def join_colours(path: Path, columns: Sequence[np.ndarray]) -> np.ndarray:
    """Colours u1[N,3] of three columns: 0 to 255, integers of 16 bits, or floats of 0 to 1.

    Floats count as 0 to 1 where none is above 1, so that a black scan of 0 to 255 stays one but for a step. Raises
    InputError for numbers outside of 0 to 65535.
    """
    if all(column.dtype == np.uint8 for column in columns):
        return np.stack(columns, axis=-1)
    colours = np.stack([column.astype(np.float64) for column in columns], axis=-1)
    finite = np.isfinite(colours)
    # A point without a colour, as a missing one, is black.
    colours[~finite] = 0
    low, high = colours.min(initial=0), colours.max(initial=0)
    if low < 0 or high > 65535:
        raise InputError(f"{path}: colours run from {low:g} to {high:g}, expected 0 to 255, 0 to 65535 or 0 to 1")
    is_float = any(column.dtype.kind == "f" for column in columns)
    if high > 255:
        colours /= 257
    elif is_float and high <= 1:
        colours *= 255
    return np.round(colours).astype(np.uint8)
