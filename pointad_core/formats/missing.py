"""Missing points: the one notion of them for every layout and for scans of one's own.

Sensors write a point that they did not see as NaN, as (0, 0, 0), or as a constant of theirs, in all coordinates or in
z alone. A point is missing where

1. it is NaN or infinite;
2. it is a triple that the scan repeats. On a grid: (0, 0, 0), however often, as MVTec 3D-AD has it; any that at
   least 10 pixels, and more than 10 times as many as any other, share exactly. Everywhere: three equal numbers, such
   as (0, 0, 0) or (-1, -1, -1), at least twice and more often than any triple of unequal ones, outside of the box of
   the other points, or 10 times as often and by 1% of the points, for meshes repeat their corners too. So one point
   at the origin of a set is a point;
3. on a grid, its z is a constant far from the rest: shared exactly by a thousandth of the pixels (at least 4), and
   apart from all others by a gap, which is more than a tenth of their spread (from their 1% to their 99% quantile) for
   0 and -1, more than their spread for the other numbers in MARKS, and more than 10 times their spread for any other.

A constant within the range of the others is no mark: an even table in whole millimetres stays. The ground at exactly
z = 0 with a part standing on it stays as well, for the part's sides leave no gap; only a perfect plane z = 0 below a
part whose sides the camera does not see counts as missing, as the ground of such a scan is to be removed anyway.
What a caller knows better overrules all but the first rule.
"""

import os
from dataclasses import dataclass

import numpy as np

from pointad_core.errors import InputError

MARKS = (0.0, -1.0, 65535.0, 65536.0, 32767.0, -32768.0, 1e4, -1e4, 9999.0, -9999.0, 99999.0, -99999.0, 1e5, -1e5)
"""Constants that sensors and programs are known to write; so is whatever is 1e9 or more in size (3.4e38, 2^31)."""

HUGE = 1e9


@dataclass(frozen=True)
class Missing:
    """valid: bool [N] or [H,W], the points that are there; notes: how many are not, by which mark."""

    valid: np.ndarray
    notes: tuple[str, ...]


def find_missing(points: np.ndarray, mark: float | str | None = None) -> Missing:
    """Which of points [N,3], or [H,W,3] on a grid, are missing, and the line that a log should have of it.

    mark: None to find the constant; a number for which alone a point is missing, besides NaN, where its z is it (also
    as rounded to 4 bytes); "none" for no constant at all. That none is left is the caller's error to raise.
    """
    flat = np.asarray(points).reshape(-1, 3)
    valid = np.isfinite(flat).all(axis=1)
    counts: dict[str, int] = {}
    if not valid.all():
        counts["NaN"] = int(np.isnan(flat).any(axis=1).sum())
        counts["infinite"] = len(flat) - int(valid.sum()) - counts["NaN"]

    def drop(which: np.ndarray, name: str) -> None:
        which &= valid
        counts[name] = counts.get(name, 0) + int(which.sum())
        valid[which] = False

    if mark is None:
        on_grid = np.ndim(points) == 3
        while (triple := find_triple(flat, valid, on_grid)) is not None:
            drop((flat == triple).all(axis=1), show(triple))
        while on_grid and (z := find_constant(flat[valid, 2], len(flat))) is not None:
            drop(flat[:, 2] == z, f"z = {z:g}")
    elif mark != "none":
        with np.errstate(over="ignore"):
            numbers = [float(mark), float(np.float32(mark))]
        drop(np.isin(flat[:, 2], numbers), f"z = {float(mark):g}")
    lost = len(flat) - int(valid.sum())
    marks = ", ".join(f"{name}: {count}" for name, count in counts.items() if count)
    notes = (f"{lost} of {len(flat)} points are missing ({marks})",) if lost else ()
    return Missing(valid.reshape(np.shape(points)[:-1]), notes)


def check_missing(path: str | os.PathLike[str], points: np.ndarray, mark: float | str | None = None) -> Missing:
    """The same for the points of a file; InputError where none is left."""
    missing = find_missing(points, mark)
    if not missing.valid.any():
        raise InputError(f"{path}: the scan is empty; {missing.notes[0] if missing.notes else 'it has no points'}")
    return missing


def show(triple: np.ndarray) -> str:
    return f"({', '.join(f'{number:g}' for number in triple + 0.0)})"


def find_triple(points: np.ndarray, valid: np.ndarray, on_grid: bool) -> np.ndarray | None:
    """A triple of rule 2 among the valid points [N,3]; None where there is none (any more)."""
    rows = np.flatnonzero(valid)
    zeros = rows[(points[rows] == 0).all(axis=1)]
    if len(zeros) and (on_grid or len(zeros) == len(rows) > 1):
        return np.zeros(3)
    if len(rows) == 0:
        return None
    if not on_grid:
        # Only three equal numbers can be a mark here: most sets have hardly any, and need no more than this look.
        equal = (points[rows, 0] == points[rows, 1]) & (points[rows, 1] == points[rows, 2])
        if np.count_nonzero(equal) < 2:
            return None
    keys = hash_triples(points[rows])
    _, first, copies = np.unique(keys, return_index=True, return_counts=True)
    triples = points[rows[first]]
    is_equal = (triples == triples[:, :1]).all(axis=1)
    ordinary = int(copies[~is_equal].max(initial=0))
    frequent = np.flatnonzero(is_equal & (copies >= 2) & (copies > ordinary) & (ordinary > 0))
    # A scan has one mark, or a few.
    for at in frequent[np.argsort(-copies[frequent], kind="stable")][:8]:
        others = np.delete(triples, at, axis=0)
        outside = ((triples[at] < others.min(axis=0)) | (triples[at] > others.max(axis=0))).any()
        if outside or (copies[at] > 10 * ordinary and copies[at] >= 0.01 * len(rows)):
            return triples[at]
    most = int(np.argmax(copies))
    next_most = int(np.delete(copies, most).max(initial=0))
    if on_grid and copies[most] >= 10 and copies[most] > 10 * next_most > 0:
        return triples[most]
    return None


def hash_triples(points: np.ndarray) -> np.ndarray:
    """A number u8[N] for each point [N,3], equal for equal ones."""
    # -0 equals 0.
    bits = np.ascontiguousarray(points.astype(np.float64) + 0.0).view(np.uint64)
    factors = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
    mixed = (bits ^ (bits >> np.uint64(29))) * factors
    return (mixed ^ (mixed >> np.uint64(32))).sum(axis=1, dtype=np.uint64)


def find_constant(z: np.ndarray, n_points: int) -> float | None:
    """The z of rule 3 among those [n] of the valid points, of n_points on the grid; None where there is none."""
    if len(z) == 0:
        return None
    values, copies = np.unique(z, return_counts=True)
    # Only the two ends can lie outside of all others.
    for end, nearest in ((0, 1), (-1, -2)):
        if len(values) < 3 or copies[end] < max(4, 0.001 * n_points):
            continue
        value = float(values[end])
        others = z[z != values[end]]
        low, high = np.quantile(others, (0.01, 0.99))
        spread, gap = float(high - low), abs(value - float(values[nearest]))
        known = value in MARKS or abs(value) >= HUGE
        share = 0.1 if value in (0.0, -1.0) else 1.0 if known else 10.0
        if spread > 0 and gap > share * spread:
            return value
    return None
