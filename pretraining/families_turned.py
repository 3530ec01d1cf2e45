"""Turned and moulded parts that lie on their side or lean: bolts, nozzles, valves, spindles, fittings.

Unlike the other families these are surfaces about an axis that is not upright. Their points are laid out in space and
the highest over each place is what a scanner above sees; so a bore shows its inside where the part leans far enough.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from scipy.ndimage import grey_closing

from pointad_core.datasets.generator.shapes import CELL, CELLS, Array, Random
from pretraining.parts import coat, pick

ALONG, AROUND = 800, 1200
"""Points along the axis and about it."""

NOWHERE = -10.0


def fitting(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """Sections of different kinds and widths in a row, whole or hollow; now and then a second row crosses the first."""
    turn = pick(rng, np.pi / 2, rng.uniform(0.5, 2.6))
    height = row_of_sections(x, y, rng)
    if rng.random() < 0.2:
        across, along = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
        height = np.maximum(height, row_of_sections(across, along, rng))
    height = height - height[height > NOWHERE].min() + rng.uniform(0.03, 0.15)
    return np.where(height > 0, height, 0), coat(x, y, rng)


def row_of_sections(x: Array, y: Array, rng: Random) -> Array:
    """Height [CELLS,CELLS] of a row of sections whose axis goes through the middle, NOWHERE beside it."""
    theta = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)[None, :]
    half = rng.uniform(0.4, 0.85)
    s = np.linspace(-half, half, ALONG)[:, None]
    radius = sections(s, theta, half, rng)
    bore = radius[[0, -1]].min() * pick(rng, 0, rng.uniform(0.4, 0.85))
    depth = pick(rng, rng.uniform(0.2, 0.9), 2) * half
    lean = math.radians(pick(rng, rng.uniform(-15, 15), rng.uniform(-60, 60), rng.uniform(-35, 35)))
    parts = [(s, radius)]
    for at in np.flatnonzero(np.abs(np.diff(radius, axis=0)).max(1) > 2 * CELL).tolist():
        share = np.linspace(0, 1, 60)[:, None]
        parts.append((np.full_like(share, s[at, 0]), radius[at] + (radius[at + 1] - radius[at]) * share))
    for end, place in ((0, -half), (-1, half)):
        share, inward = np.linspace(0, 1, 250)[:, None], -math.copysign(1, place)
        parts.append((np.full_like(share, place), bore + (radius[end] - bore) * share))
        if bore > 0:
            inner = np.linspace(0, min(depth, 2 * half), 400)[:, None]
            parts.append((place + inward * inner, np.full((400, AROUND), bore)))
            parts.append((np.full_like(share, place + inward * depth), np.repeat(bore * share, AROUND, 1)))
    # All that is seen from above reaches about as far as other families do.
    reach = max(half * math.cos(lean) + radius.max() * abs(math.sin(lean)), radius.max())
    scale = rng.uniform(0.75, 0.98) / reach
    return from_above([(scale * s, scale * radius) for s, radius in parts], theta, lean, x, y)


def sections(s: Array, theta: Array, half: float, rng: Random) -> Array:
    """Distance from the axis [ALONG,AROUND] of two to seven sections."""
    count = int(rng.integers(2, 8))
    cuts = np.sort(np.concatenate([[-half, half], rng.uniform(-half, half, count - 1)]))
    widest = rng.uniform(0.22, 0.5)
    radius = np.zeros((ALONG, AROUND))
    for first, last in pairwise(cuts.tolist()):
        here = ((s >= first) & (s <= last))[:, 0]
        t = (s[here] - first) / max(last - first, 1e-6)
        own = widest * rng.uniform(0.45, 1)
        radius[here] = own * section(int(rng.integers(9)), t, s[here] / own, theta, rng)
    return np.maximum(radius, 0.04)


def section(kind: int, t: Array, s: Array, theta: Array, rng: Random) -> Array:
    """Distance from the axis in units of the section's own; t: way along it, 0..1, s: place in units of its width."""
    phase = rng.uniform(0, 2 * np.pi)
    level = np.ones_like(t * theta)
    if kind == 0:
        return level
    if kind == 1:
        return level * (1 - rng.uniform(-0.4, 0.6) * t).clip(0.2, 1.2)
    if kind == 2:
        sides = int(pick(rng, 4, 6, 6, 6, 8, 12))
        turn = (theta + phase) % (2 * np.pi / sides) - np.pi / sides
        prism = np.cos(np.pi / sides) / np.cos(turn)
        return np.minimum(prism, rng.uniform(0.93, 1)) * (1 - 0.12 * np.clip(1 - np.minimum(t, 1 - t) * 8, 0, 1))
    if kind in (3, 4):
        pitch, lead = rng.uniform(0.06, 0.25), 0 if kind == 4 else int(pick(rng, 1, 1, 2))
        wave = np.cos(2 * np.pi * s / pitch + lead * theta)
        return level + pitch * rng.uniform(0.1, 0.3) * np.clip(wave * pick(rng, 1, 2.5), -1, 1)
    if kind == 5:
        teeth, depth = int(rng.integers(6, 40)), rng.uniform(0.03, 0.14)
        tooth = np.clip(np.cos(teeth * (theta + phase)) * pick(rng, 1, 3), -1, 1)
        return level + depth * tooth * np.clip(np.minimum(t, 1 - t) * 12, 0, 1)
    if kind == 6:
        grooves = int(rng.integers(10, 36))
        return level + 0.03 * np.cos(grooves * theta + 8 * s) * np.cos(grooves * theta - 8 * s)
    if kind == 7:
        return level * (1 + rng.uniform(-0.25, 0.25) * np.sin(np.pi * t))
    slots, width = int(rng.integers(2, 9)), rng.uniform(0.15, 0.5)
    slot = np.cos(slots * (theta + phase)) > math.cos(width * np.pi)
    return level - rng.uniform(0.08, 0.3) * (slot & (t > pick(rng, 0, rng.uniform(0, 0.5))))


def from_above(parts: list[tuple[Array, Array]], theta: Array, lean: float, x: Array, y: Array) -> Array:
    """Height [CELLS,CELLS] of the highest point over each place, NOWHERE where there is none.

    parts: place along the axis [n,1] and distance from it [n,AROUND]; lean: angle of the axis with the ground.
    """
    flat = np.full(CELLS * CELLS, NOWHERE, np.float32)
    # x and y are affine in rows and columns.
    origin = np.array([x[0, 0], y[0, 0]], float)
    steps = np.array([[x[0, 1], x[1, 0]], [y[0, 1], y[1, 0]]], float) - origin[:, None]
    inverse = np.linalg.inv(steps)
    for s, radius in parts:
        up = radius * np.cos(theta)
        ahead = s * math.cos(lean) - up * math.sin(lean) - origin[0]
        beside = radius * np.sin(theta) - origin[1]
        column = np.rint(inverse[0, 0] * ahead + inverse[0, 1] * beside).astype(np.int32)
        row = np.rint(inverse[1, 0] * ahead + inverse[1, 1] * beside).astype(np.int32)
        there = (row >= 0) & (row < CELLS) & (column >= 0) & (column < CELLS)
        z = (s * math.sin(lean) + up * math.cos(lean)).astype(np.float32)
        np.maximum.at(flat, (row * CELLS + column)[there], z[there])
    height = flat.reshape(CELLS, CELLS)
    # Points a little apart leave pinholes.
    closed = grey_closing(height, 3)
    return np.where(height > NOWHERE, height, closed)
