"""A scan's arrays made small for the viewer: thinned, quantised, and put into one block of bytes.

Positions are 16-bit steps of the scan's box, scores 16-bit steps of their range, colours 8 bits a channel. Positions
and scores are stored as differences from point to point, which deflate packs well: neighbours in a file are neighbours
in space.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

STEPS = 65535
NEIGHBOURS = 8
"""The neighbour whose distance says how dense a cloud is."""


def step_of(value: float) -> float:
    """A step that a value of this size can be moved by; for ranges that are empty."""
    return max(abs(float(value)) * 1e-6, 1e-6)


def thin(points: np.ndarray, score: np.ndarray, most: int) -> np.ndarray:
    """Indices, ascending, of at most `most` points: of each of as many groups of neighbours the one scored highest.

    points [n, 3]; score [n], NaN counts as lowest. The points stand in the order of a Z-shaped curve through their box
    and are cut into groups of equal size, give or take one: so a share of the kept points is about the same share of
    all. Of equal scores the first on the curve is kept.
    """
    n = len(points)
    if n <= most:
        return np.arange(n)
    order = np.argsort(_along_curve(points), kind="stable")
    ranked = np.nan_to_num(score[order].astype(np.float64), nan=-np.inf)
    starts = np.arange(most) * n // most
    groups = np.repeat(np.arange(most), np.diff(starts, append=n))
    highest = np.flatnonzero(ranked == np.maximum.reduceat(ranked, starts)[groups])
    first = np.diff(groups[highest], prepend=-1) > 0
    return np.sort(order[highest[first]])


def _along_curve(points: np.ndarray) -> np.ndarray:
    """Place u8 [n] of each point on a Z-shaped curve: the bits of its 16-bit coordinates, interleaved."""
    place = np.zeros(len(points), np.uint64)
    for axis, steps in enumerate(quantise_points(points)[0].T):
        bits = steps.astype(np.uint64)
        for shift, mask in ((16, 0x0000FF0000FF), (8, 0x00F00F00F00F), (4, 0x0C30C30C30C3), (2, 0x249249249249)):
            bits = (bits | (bits << np.uint64(shift))) & np.uint64(mask)
        place |= bits << np.uint64(axis)
    return place


def quantise_points(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Points as u2 [n, 3] steps from the low corner f8 [3] of their box, and the step, the same for the three axes."""
    points = points.astype(np.float64)
    corner = points.min(0)
    step = float((points.max(0) - corner).max()) / STEPS or 1.0
    return np.rint((points - corner) / step).clip(0, STEPS).astype(np.uint16), corner, step


def quantise_scores(score: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Scores as u2 [n], 1 for the lowest and 65535 for the highest, 0 where there is none (NaN); lowest and highest."""
    values = score.astype(np.float64)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    steps = 1 + np.rint((values - low) * ((STEPS - 1) / (high - low or 1.0)))
    return np.nan_to_num(steps).astype(np.uint16), low, high


def find_spacing(points: np.ndarray) -> float:
    """Side of the square of surface that a point stands for: what points of a regular grid lie apart.

    From the median distance to the 8th neighbour, of up to some 5000 points: a disc of that radius holds 8 squares.
    """
    from scipy.spatial import cKDTree

    k = min(NEIGHBOURS, len(points) - 1)
    extent = float(np.ptp(points, axis=0).max()) or 1.0
    if k < 1:
        return extent
    some = points[:: max(1, len(points) // 5000)]
    distances, _ = cKDTree(points).query(some, k=[k + 1])
    return float(np.median(distances)) * float(np.sqrt(np.pi / k)) or extent / len(points)


def pack(
    points: np.ndarray,
    scores: Mapping[str, np.ndarray],
    colours: np.ndarray | None,
    truth: np.ndarray | None,
    kept: np.ndarray,
    numbers: np.ndarray | None = None,
) -> tuple[dict[str, Any], bytes]:
    """What the page needs to unpack the kept points, and their arrays, deflated.

    In this order: x, y, z u2 [n] each, every score u2 [n], all as differences; where there are, colours u1 [n, 3] and
    truth u1 [n]; and their numbers u4 [n] as differences, where these are not 0, 1, 2, ... Little-endian. numbers [N]:
    those of all points; None, their places.
    """
    shown = points[kept]
    steps, corner, step = quantise_points(shown)
    described, rows = [], [*steps.T]
    for name, score in scores.items():
        quantised, low, high = quantise_scores(score[kept])
        described.append({"name": name, "low": low, "high": high})
        rows.append(quantised)
    # Differences wrap around, as they do in the page: modulo 65536.
    blocks = [np.diff(row, prepend=np.uint16(0)).astype("<u2").tobytes() for row in rows]
    if colours is not None:
        blocks.append(np.ascontiguousarray(colours[kept], np.uint8).tobytes())
    if truth is not None:
        blocks.append((truth[kept] != 0).astype(np.uint8).tobytes())
    shown_numbers = kept if numbers is None else numbers[kept].astype(np.int64)
    numbered = not np.array_equal(shown_numbers, np.arange(len(kept)))
    if numbered:
        # Wrapping around as above, for numbers need not rise.
        blocks.append(np.diff(shown_numbers, prepend=0).astype("<u4").tobytes())
    layout = {
        "count": len(kept),
        "corner": corner.tolist(),
        "step": step,
        "spacing": find_spacing(shown),
        "scores": described,
        "colours": colours is not None,
        "truth": truth is not None,
        "numbered": numbered,
    }
    return layout, zlib.compress(b"".join(blocks), 6)
