"""Missing points: the one notion of them for every layout and for scans of one's own.

Sensors write a point that they did not see as NaN, as (0, 0, 0), or as a constant of theirs, in all coordinates or in
z alone. A point is missing where

1. it is NaN or infinite;
2. it is a triple that the scan repeats. On a grid: (0, 0, 0), however often, as MVTec 3D-AD has it; and any that at
   least 10 pixels, and more than 10 times as many as any other, share exactly. Everywhere: three equal numbers, such
   as (0, 0, 0) or (-1, -1, -1), at least twice and more often than any triple of unequal ones, where they lie outside
   of the box of the other points, or stand there 10 times and 10 times as often, for meshes repeat their corners too.
   So one point at the origin of a set is a point;
3. its z is a constant far from the rest, apart from all others by a gap, which is more than their spread (from their
   1% to their 99% quantile) for the numbers in MARKS, one of which is enough; on a grid, where at least 4 pixels share
   it exactly, also for 0 and -1, and more than 10 times it for any other number. Where a thousandth of the pixels share
   0 or -1, more than a tenth of the spread will do.

A constant within the range of the others is no mark: an even table in whole millimetres stays. The ground at exactly
z = 0 with a part standing on it stays as well, for the part's sides leave no gap; only a perfect plane z = 0 below a
part whose sides the camera does not see counts as missing, as the ground of such a scan is to be removed anyway.
What a caller knows better overrules all but the first rule.
"""

import os
from dataclasses import dataclass

import numpy as np

from pointad_core.errors import InputError

MARKS = (65535.0, 65536.0, 32767.0, -32768.0, 1e4, -1e4, 9999.0, -9999.0, 99999.0, -99999.0, 1e5, -1e5)
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
    flat = np.asarray(points, np.float64).reshape(-1, 3)
    x, y, z = flat.T
    valid = np.isfinite(x) & np.isfinite(y) & np.isfinite(z)
    counts: dict[str, int] = {}
    if not valid.all():
        counts["NaN"] = int(np.count_nonzero(np.isnan(x) | np.isnan(y) | np.isnan(z)))
        counts["infinite"] = len(flat) - int(np.count_nonzero(valid)) - counts["NaN"]

    def drop(which: np.ndarray, name: str) -> None:
        which &= valid
        counts[name] = counts.get(name, 0) + int(which.sum())
        valid[which] = False

    if mark is None:
        on_grid = np.ndim(points) == 3
        while (triple := find_triple(flat, valid, on_grid)) is not None:
            drop((x == triple[0]) & (y == triple[1]) & (z == triple[2]), show(triple))
        while (constant := find_constant(z[valid], len(flat), on_grid)) is not None:
            drop(z == constant, f"z = {constant:g}")
    elif mark != "none":
        with np.errstate(over="ignore"):
            numbers = [float(mark), float(np.float32(mark))]
        drop(np.isin(z, numbers), f"z = {float(mark):g}")
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
    x, y, z = points.T
    is_equal = valid & (x == y) & (y == z)
    numbers, copies = np.unique(x[is_equal], return_counts=True)
    n_valid = int(np.count_nonzero(valid))
    if 0 in numbers and (on_grid or int(copies.max()) == n_valid > 1):
        return np.zeros(3)
    # Few sets have a triple of equal numbers twice, and need no more than this look.
    if not on_grid and copies.max(initial=0) < 2:
        return None
    others = points[valid & ~is_equal]
    ordinary, next_ordinary, place = count_copies(others)
    # A scan has one mark, or a few.
    for at in np.argsort(-copies, kind="stable")[:8]:
        number, count = numbers[at], int(copies[at])
        if count < 2 or count <= ordinary or ordinary == 0:
            break
        rest = np.delete(numbers, at)
        low = float(np.minimum(others.min(axis=0), rest.min(initial=np.inf)).max())
        high = float(np.maximum(others.max(axis=0), rest.max(initial=-np.inf)).min())
        if number < low or number > high or (count >= 10 and count > 10 * ordinary):
            return np.full(3, number)
    if on_grid:
        next_equal, equal = (0, 0, *sorted(copies.tolist()))[-2:]
        if ordinary >= 10 and ordinary > 10 * max(next_ordinary, equal) > 0:
            return others[place]
        if equal >= 10 and equal > 10 * max(next_equal, ordinary) > 0:
            return np.full(3, numbers[np.argmax(copies)])
    return None


def count_copies(points: np.ndarray) -> tuple[int, int, int]:
    """How often the most frequent of points [N,3] stands there, the next most frequent, and where the first is."""
    if len(points) == 0:
        return 0, 0, 0
    keys = hash_triples(points)
    ordered = np.sort(keys)
    starts = np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])
    copies = np.diff(starts, append=len(keys))
    most = int(np.argmax(copies))
    rest = np.delete(copies, most).max(initial=0)
    return int(copies[most]), int(rest), int(np.argmax(keys == ordered[starts[most]]))


def hash_triples(points: np.ndarray) -> np.ndarray:
    """A number u8[N] for each point f8[N,3], equal for equal ones."""
    total = np.zeros(len(points), np.uint64)
    for column, factor in zip(points.T, (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9), strict=True):
        # -0 equals 0.
        bits = (column + 0.0).view(np.uint64)
        mixed = (bits ^ (bits >> np.uint64(29))) * np.uint64(factor)
        total += mixed ^ (mixed >> np.uint64(32))
    return total


def find_constant(z: np.ndarray, n_points: int, on_grid: bool) -> float | None:
    """The z of rule 3 among those [n] of the valid points, of n_points in all; None where there is none."""
    if len(z) == 0:
        return None
    # Only the two ends can lie outside of all others.
    ends = [float(z.min()), float(z.max())]
    known = [end in MARKS or abs(end) >= HUGE for end in ends]
    if not on_grid and not any(known):
        return None
    for end, is_known in zip(ends, known, strict=True):
        others = z[z != end]
        count = len(z) - len(others)
        if len(others) == 0:
            return None
        if not is_known and (not on_grid or count < 4):
            continue
        low, high = np.quantile(others, (0.01, 0.99))
        spread, gap = float(high - low), float(np.abs(others - end).min())
        share = 1.0 if is_known else 10.0
        if end in (0.0, -1.0):
            share = 0.1 if count >= 0.001 * n_points else 1.0
        # A number that is known needs no depth in the rest to be told from it.
        if (spread > 0 or is_known) and gap > share * spread:
            return end
    return None
