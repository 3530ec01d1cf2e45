"""Families about an axis: turned, toothed, spoked and bladed things, vessels and coins."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import uniform_filter

from pointad_core.datasets.generator.shapes import Array, Random, dome, groove, waves, wrap
from pretraining.parts import TURN, along, around, coat, outline, pick, polar, set_knobs, strokes


def lid(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A body of revolution with a random profile, rings and flutes, like lids, knobs and vases from above."""
    radius, angle = polar(x, y)
    flutes = int(rng.integers(8, 60))
    t = radius / (0.92 + pick(rng, 0, rng.uniform(0.005, 0.04)) * around(angle, np.cos(flutes * TURN)))
    knots = np.sort(np.concatenate([[0, 1], rng.uniform(0, 1, int(rng.integers(3, 8)))]))
    levels = rng.uniform(0.12, 0.6, len(knots))
    levels[-1] = rng.uniform(0.08, 0.25)
    steps = np.linspace(0, 1, 1024)
    table = np.interp(steps, knots, levels)
    width = int(pick(rng, 1, 60, 160))
    table = uniform_filter(table, width, mode="nearest")
    rings = np.zeros_like(steps)
    for place in rng.uniform(0.1, 0.95, int(rng.integers(0, 6))):
        rings += groove(steps - place, rng.uniform(0.01, 0.03))
    if rng.random() < 0.2:
        rings += 0.5 + 0.5 * np.cos(steps * rng.uniform(60, 200))
    table = table + pick(rng, -0.03, 0.03) * rings
    low, high = np.sort(rng.uniform(0.2, 1, 2)).tolist()
    band = np.clip(np.minimum(t - low, high - t) * 15, 0, 1)
    ribs = band * around(angle, np.clip(np.cos(flutes * TURN) * rng.uniform(0.6, 4), -1, 1)) * pick(rng, 0, 1)
    height = along(t, table) + rng.uniform(0.01, 0.03) * ribs
    return np.where(t < 1, height, 0), coat(x, y, rng, along(t, rings), np.maximum(ribs, 0))


def gear(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A disc with teeth, a bore, a hub, and a web that may be recessed or holed."""
    radius, angle = polar(x, y)
    teeth, depth = int(rng.integers(8, 42)), rng.uniform(0.06, 0.2)
    tooth = np.clip(np.cos(teeth * TURN) * rng.uniform(1, 4), -1, 1)
    t = radius / around(angle, 1.0 - depth / 2 + depth / 2 * tooth)
    root = 1 - depth
    thick = rng.uniform(0.15, 0.4)
    height = thick - rng.uniform(0, 0.5) * thick * np.clip((t - 0.95) * 20, 0, 1)
    hub, rim = rng.uniform(0.2, 0.35), root - rng.uniform(0.06, 0.18)
    web = (np.clip(np.minimum(radius - hub, rim - radius) * 25, 0, 1)) * pick(rng, 0, 0.4, 0.6)
    height = height * (1 - web) + np.float32(pick(rng, 0, 0.08)) * (radius < hub)
    bore = rng.uniform(0.06, hub * 0.7)
    key = (np.abs(y) < bore * 0.25) & (x > 0) & (x < bore * 1.35) & (rng.random() < 0.5)
    gap = (radius < bore) | key
    if rng.random() < 0.6 and rim - hub > 0.15:
        holes, middle = int(rng.integers(3, 9)), (hub + rim) / 2
        size = min((rim - hub) * rng.uniform(0.25, 0.42), middle * np.pi / holes * 0.7)
        gap |= np.hypot(wrap(holes * angle) / holes * middle, radius - middle) < size
    return np.where((t < 1) & ~gap, height, 0), coat(x, y, rng, web > 0, np.clip((radius - root) * 30, 0, 1))


def wheel(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A rim with treads, spokes straight or curved, and a hub with bolts."""
    radius, angle = polar(x, y)
    rim, hub, spokes = rng.uniform(0.6, 0.85), rng.uniform(0.16, 0.3), int(pick(rng, 3, 4, 6, 7, 8, 10, 12))
    lugs = int(rng.integers(16, 70))
    across = (radius - (1 + rim) / 2) / ((1 - rim) / 2)
    tyre = 0.18 + rng.uniform(0.1, 0.3) * dome(across**2) * (np.abs(across) < 1)
    tread = np.clip(around(wrap(angle + rng.uniform(-0.3, 0.3) * np.abs(across)), np.cos(lugs * TURN)) * 4, -1, 1)
    tyre = tyre + rng.uniform(0.0, 0.03) * tread
    beside = wrap(spokes * (angle + pick(rng, 0, rng.uniform(-1, 1)) * (radius - hub))) / spokes * radius
    half = rng.uniform(0.05, 0.11) * (1 - rng.uniform(0, 0.4) * radius)
    s = np.abs(beside) / half
    arm = rng.uniform(0.12, 0.2) + rng.uniform(0.02, 0.12) * dome(s**2)
    height = np.where(s < 1, arm, np.float32(0.08 * (rng.random() < 0.4)))
    height = np.where(radius < hub, rng.uniform(0.25, 0.4) - np.float32(0.1) * (radius < hub * 0.4), height)
    height = np.where(radius > rim, tyre, height)
    places = [(hub * 0.7 * math.cos(a), hub * 0.7 * math.sin(a)) for a in np.arange(5) * 2 * np.pi / 5]
    bolts = set_knobs(height, x, y, places, hub * 0.18, 0.06, rng)
    return np.where(radius < 1, height, 0), coat(x, y, rng, radius > rim, bolts, radius < hub)


def coin(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A medal with a raised rim, a ring of dots, letter-like strokes and a figure in relief."""
    t = outline(x, y, rng) if rng.random() < 0.4 else np.hypot(x, y) / 0.97
    rim = rng.uniform(0.82, 0.92)
    raised = np.clip((t - rim) * 40, 0, 1)
    letters = strokes(x, y, rng, int(rng.integers(6, 22)), rng.uniform(0.55, 0.75), rng.uniform(0.02, 0.035))
    size = rng.uniform(0.15, 0.3)
    figure = np.clip(size * 2 * dome((x * x + y * y) / size**2) + 0.04 * waves(x, y, rng, 12), 0, 0.12)
    figure = figure * (np.hypot(x, y) < size) * pick(rng, 0, 1)
    height = rng.uniform(0.1, 0.25) + 0.05 * raised + rng.uniform(0.025, 0.05) * pick(rng, -1, 1) * letters + figure
    if rng.random() < 0.5:
        angle, dots = np.arctan2(y, x), int(rng.integers(30, 70))
        place = rng.uniform(0.74, 0.8)
        height = height + 0.04 * groove(np.hypot(wrap(dots * angle) / dots * place, t - place), 0.016)
    return np.where(t < 1, height, 0), coat(x, y, rng, letters, raised)


def bowl(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """An open vessel: bowl, plate, cup or tray, with flutes, rings, a grip or a foot inside."""
    t = outline(x, y, rng)
    t = np.hypot(x, y) / 0.92 if rng.random() < 0.5 else t
    wall, depth = rng.uniform(0.04, 0.12), rng.uniform(0.2, 0.55)
    inner = np.clip(t / (1 - wall), 0, 1)
    height = 0.08 + depth * inner ** pick(rng, 2, 3, 6)
    height = np.where(t > 1 - wall, 0.08 + depth * (0.95 + 0.05 * np.cos((t - 1 + wall / 2) / wall * np.pi)), height)
    angle = np.arctan2(y, x)
    flutes = around(angle, np.cos(int(rng.integers(6, 40)) * TURN)) * np.clip(np.minimum(t - 0.35, 0.9 - t) * 6, 0, 1)
    rings = np.cos(t * rng.uniform(20, 90)) * (t < 0.85)
    pattern = flutes if rng.random() < 0.5 else rings
    height = height + pick(rng, 0, rng.uniform(0.008, 0.025)) * pattern
    height = np.where(t < 1, height, 0)
    if rng.random() < 0.4:
        reach = np.hypot(x - 0.9, y / rng.uniform(0.8, 1.6))
        grip = (np.abs(reach - 0.15) < 0.05) & (t >= 1)
        height = np.where(grip, depth * 0.6 + 0.05, height)
    return height, coat(x, y, rng, pattern, t > 1 - wall)


def propeller(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """Twisted blades about a hub, within a ring or free."""
    radius, angle = polar(x, y)
    blades, twist = int(rng.integers(2, 10)), rng.uniform(-1.2, 1.2)
    turn = wrap(blades * (angle - twist * radius)) / np.pi
    open_part = rng.uniform(0.35, 0.75) * (0.75 + 0.25 * np.cos(rng.uniform(2, 5) * (radius - 0.5)))
    q = turn / open_part
    height = 0.22 + rng.uniform(0.08, 0.18) * q * pick(rng, -1, 1) + 0.05 * rng.random() * (1 - q * q)
    height = np.where((np.abs(q) < 1) & (radius < 0.96), height, 0)
    ridge = groove(q, 0.08) * pick(rng, 0, 1)
    height = height + 0.03 * ridge * (height > 0)
    hub = rng.uniform(0.18, 0.32)
    height = np.where(radius < hub, rng.uniform(0.3, 0.4) + 0.2 * dome((radius / hub) ** 2), height)
    ring = (radius > rng.uniform(0.85, 0.93)) & (radius < 1) & (rng.random() < 0.4)
    height = np.where(ring, 0.35, height)
    return height, coat(x, y, rng, radius < hub, ridge, ring)
