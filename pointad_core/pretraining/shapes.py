"""Shapes and defects that the project's own small CLIP is pre-trained on, as height fields like `shapes`.

No family is a category of `shapes`, and each varies so widely that two draws hardly look alike, plain and rich in
structure of its own (teeth, rivets, weaves, pits, steps), so that what is learned is not that whatever is not smooth
is unusual. Defects are those of `shapes` in all sizes and strengths, and further ones that break, wear, smear or fold
what is there. `WORDS` and `DEFECT_WORDS` are what families and defects are called in texts.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable

import numpy as np
from scipy.ndimage import uniform_filter

from pointad_core.datasets.shapes import (
    CELL,
    CELLS,
    DEFECTS,
    EXTENT,
    Array,
    DefectPart,
    Form,
    Random,
    Shape,
    change_patch,
    disc,
    dome,
    find_place,
    groove,
    paint,
    patch_at,
    place_shape,
    scatter,
    waves,
    window_of,
    wrap,
)

LEAST_HEIGHT = 0.06
"""Of a shape above the ground, so that defects have something to take away."""


REACH = 1.15
"""From the middle, before a shape is placed."""


def make_pretraining_shape(rng: Random, family: str | None = None) -> tuple[str, Shape]:
    """A shape of a family, or of one drawn at random: the family's name and the shape."""
    if family is None:
        family = list(FAMILIES)[int(rng.integers(len(FAMILIES)))]
    return family, place_shape(varied(FAMILIES[family]), rng)


def varied(form: Form) -> Form:
    """A form squeezed, flattened or heightened and roughened at random."""

    def vary(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
        size = rng.uniform(0.88, 1)
        squeeze = pick(rng, 1, rng.uniform(0.7, 1))
        height, colour = form(x / np.float32(size), y / np.float32(size * squeeze), rng)
        # Nothing may touch the border of the grid.
        inside = (height > 0) & (x * x + y * y < REACH**2)
        height = height * np.float32(size * rng.uniform(0.6, 1.35))
        if rng.random() < 0.35:
            height = height + rng.uniform(0.002, 0.008) * waves(x, y, rng, rng.uniform(15, 60), 3)
        return np.where(inside, np.maximum(height, LEAST_HEIGHT), 0).astype(np.float32), colour

    return vary


# Colours -------------------------------------------------------------------------------------------------------------

Colour = tuple[float, float, float]


def tone(rng: Random, style: int) -> Colour:
    """A colour of a style: grey metal, tinted metal, dark, light, of earth, saturated."""
    hue = rng.random()
    if style == 0:
        return colorsys.hsv_to_rgb(hue, rng.uniform(0, 0.06), rng.uniform(0.4, 0.8))
    if style == 1:
        return colorsys.hsv_to_rgb(rng.uniform(0.05, 0.14), rng.uniform(0.25, 0.55), rng.uniform(0.5, 0.85))
    if style == 2:
        return colorsys.hsv_to_rgb(hue, rng.uniform(0, 0.4), rng.uniform(0.1, 0.3))
    if style == 3:
        return colorsys.hsv_to_rgb(hue, rng.uniform(0, 0.2), rng.uniform(0.8, 0.97))
    if style == 4:
        return colorsys.hsv_to_rgb(rng.uniform(0.02, 0.2), rng.uniform(0.3, 0.75), rng.uniform(0.3, 0.8))
    return colorsys.hsv_to_rgb(hue, rng.uniform(0.5, 0.95), rng.uniform(0.45, 0.95))


def coat(x: Array, y: Array, rng: Random, *features: Array) -> Array:
    """Colours of an object: a base with a texture or none, and features, 0..1, darker, lighter or of other colours."""
    style = int(rng.integers(6))
    base = tone(rng, style)
    texture = int(rng.integers(7))
    second = tone(rng, style) if rng.random() < 0.7 else tone(rng, int(rng.integers(6)))
    layers: list[tuple[Array | float, Colour]] = [(x, base)]
    if texture == 0:
        grain = int(pick(rng, 2, 4, 5))
        spots = rng.random((CELLS // grain, CELLS // grain), np.float32) < rng.uniform(0.02, 0.3)
        layers.append((np.repeat(np.repeat(spots * np.float32(0.6), grain, 0), grain, 1), second))
    elif texture == 1:
        turn, frequency = rng.uniform(0, np.pi), rng.uniform(6, 40)
        stripes = np.sin((x * math.cos(turn) + y * math.sin(turn)) * frequency)
        layers.append((np.clip(stripes * 4 + rng.uniform(-2, 2), 0, rng.uniform(0.2, 0.8)), second))
    elif texture == 2:
        turn = rng.uniform(0, 2 * np.pi)
        layers.append((np.clip(0.5 + 0.5 * (x * math.cos(turn) + y * math.sin(turn)), 0, 0.8), second))
    elif texture == 3:
        layers.append((np.clip(waves(x, y, rng, rng.uniform(3, 15), 3), 0, 0.6), second))
    for feature in features:
        look = rng.random()
        if look < 0.35:
            rgb = scaled(base, rng.uniform(0.25, 0.75))
        elif look < 0.5:
            rgb = scaled(base, rng.uniform(1.15, 1.5))
        elif look < 0.85:
            rgb = tone(rng, int(rng.integers(6)))
        else:
            continue
        layers.append((np.clip(feature, 0, 1) * rng.uniform(0.4, 0.95), rgb))
    return np.clip(paint(*layers), 0, 1)


def scaled(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(channel * factor, 1) for channel in colour)
    return red, green, blue


# Parts of families ---------------------------------------------------------------------------------------------------


def pick(rng: Random, *values: float) -> float:
    """One of the values. (Numpy's own `choice` gives numbers that would turn single precision into double.)"""
    return values[int(rng.integers(len(values)))]


def polar(x: Array, y: Array) -> tuple[Array, Array]:
    return np.hypot(x, y), np.arctan2(y, x)


TURN = np.linspace(-np.pi, np.pi, 4096, endpoint=False)


def around(angle: Array, table: Array) -> Array:
    """Values of a function of the angle given at TURN."""
    return table.astype(np.float32)[((angle + np.pi) * (len(TURN) / (2 * np.pi))).astype(np.int32) % len(TURN)]


def along(t: Array, table: Array) -> Array:
    """Values of a function on 0..1 given at equal steps; beyond, those of its ends."""
    return table.astype(np.float32)[(np.clip(t, 0, 1) * (len(table) - 1)).astype(np.int32)]


def harmonics(rng: Random, strength: float, orders: range = range(2, 7)) -> Array:
    """An uneven circle of mean radius 1 at TURN."""
    parts = [rng.normal(0, strength / order) * np.cos(order * TURN + rng.uniform(0, 6)) for order in orders]
    return np.clip(1 + np.sum(parts, axis=0), 0.5, 1.4)


def outline(x: Array, y: Array, rng: Random) -> Array:
    """Distance from the middle in units of the rim's: 1 on the rim of an ellipse, block, polygon, blob or rosette."""
    style = int(rng.integers(5))
    if style == 0:
        return np.hypot(x, y / rng.uniform(0.55, 1))
    if style == 1:
        a, b = rng.uniform(0.75, 0.85), rng.uniform(0.45, 0.85)
        p, q = (x / a) ** 2, (y / b) ** 2
        square = np.sqrt(p * p + q * q)
        return np.sqrt(square) if rng.random() < 0.5 else np.sqrt(np.sqrt(square**4 + (p * q) ** 2) ** 0.5)
    if style == 2:
        corners = int(rng.integers(3, 9))
        t = np.full_like(x, 0)
        for side in range(corners):
            turn = 2 * np.pi * (side + rng.uniform(-0.12, 0.12)) / corners
            apothem = rng.uniform(0.6, 0.8) if corners > 3 else 0.52
            t = np.maximum(t, (x * math.cos(turn) + y * math.sin(turn)) / apothem)
        return np.maximum(t, np.hypot(x, y) / 1.05)
    radius, angle = polar(x, y)
    if style == 3:
        return radius / np.minimum(0.85 * around(angle, harmonics(rng, 0.25)), 1.08)
    lobes, depth = int(pick(rng, 3, 4, 6, 7, 8, 9)), rng.uniform(0.06, 0.22)
    wave = np.cos(lobes * TURN)
    if rng.random() < 0.5:
        wave = 2 * np.abs(np.cos(lobes / 2 * TURN)) - 1
    return radius / around(angle, 0.85 + depth * wave)


def bevel(t: Array, rng: Random) -> Array:
    """0 on the rim, t = 1, rising to 1 inside: rounded, slanted, stepped or upright."""
    style, width = int(rng.integers(4)), rng.uniform(0.06, 0.35)
    rise = np.clip((1 - t) / width, 0, 1)
    if style == 0:
        return np.sqrt(rise * (2 - rise))
    if style == 1:
        return 0.3 + 0.7 * rise
    if style == 2:
        return 0.6 + 0.4 * (rise > 0.9) - 0.1 * (rise < 0.3)
    return 0.9 + 0.1 * np.clip(rise * 4, 0, 1)


def cells(x: Array, pitch: float, phase: float) -> tuple[Array, Array]:
    """Index of the cell of a row of cells and offset from its middle, -0.5..0.5."""
    place = x / pitch + phase
    index = np.rint(place)
    return index.astype(np.int32), place - index


def per_cell(i: Array, j: Array, rng: Random) -> Array:
    """A random number in 0..1 for each cell of a grid."""
    return rng.random((64, 64), np.float32)[i % 64, j % 64]


def brick(f: Array, g: Array, gap_f: float, gap_g: float) -> Array:
    """0 in the gap about a cell, rising to 1 inside, from offsets -0.5..0.5."""
    return np.clip(np.minimum((0.5 - np.abs(f)) / gap_f, (0.5 - np.abs(g)) / gap_g) - 0.6, 0, 1)


def knob(kind: int, u: Array, v: Array, turn: float) -> Array:
    """Height of a unit boss: half-ball, slotted head, hexagonal head, washer, block, cone, crossed head, dished key."""
    square = u * u + v * v
    across, upward = u * math.cos(turn) + v * math.sin(turn), v * math.cos(turn) - u * math.sin(turn)
    if kind == 0:
        return dome(square)
    if kind == 1:
        return dome(square**2) * (0.7 - 0.5 * (np.abs(across) < 0.16))
    if kind == 2:
        third = 0.866 * np.abs(upward)
        reach = np.maximum(np.abs(across), np.abs(across) / 2 + third)
        return np.clip((0.9 - reach) * 8, 0, 0.7) + 0.1 * (square < 1)
    if kind == 3:
        return np.clip((1 - square) * 4, 0, 0.6) - 0.5 * (square < 0.25)
    if kind == 4:
        return np.clip((0.85 - np.maximum(np.abs(across), np.abs(upward))) * 6, 0, 0.9)
    if kind == 5:
        return np.clip(1 - np.sqrt(square), 0, 0.8) * 1.2
    if kind == 6:
        cross = (np.minimum(np.abs(across), np.abs(upward)) < 0.14) & (square < 0.4)
        return dome(square**2) * (0.7 - 0.4 * cross)
    return np.clip((0.85 - np.maximum(np.abs(across), np.abs(upward))) * 5, 0, 0.7) * (
        0.7 + 0.3 * np.minimum(square, 1)
    )


KNOBS = 8


def set_knobs(
    height: Array, x: Array, y: Array, places: list[tuple[float, float]], size: float, rise: float, rng: Random
) -> Array:
    """Bosses of one kind set on a surface in place; returns where they are, 0..1."""
    kind, cover = int(rng.integers(KNOBS)), np.zeros_like(x)
    aligned = rng.random() < 0.5
    for cx, cy in places:
        window = window_of(x, y, cx, cy, size * 1.5)
        if window is None:
            continue
        turn = 0.0 if aligned else rng.uniform(0, np.pi)
        u, v = (x[window] - cx) / size, (y[window] - cy) / size
        boss = knob(kind, u, v, turn)
        height[window] += rise * boss * (height[window] > 0)
        cover[window] = np.maximum(cover[window], boss > 0)
    return cover


def strokes(x: Array, y: Array, rng: Random, count: int, reach: float, width: float) -> Array:
    """Letter-like marks of straight and round strokes, 0..1, in rows or around the middle."""
    marks = np.zeros_like(x)
    circle = rng.random() < 0.5
    size = min(reach * 0.28, 0.16)
    for index in range(count):
        if circle:
            angle = 2 * np.pi * index / count
            cx, cy, turn = reach * 0.8 * math.cos(angle), reach * 0.8 * math.sin(angle), angle + np.pi / 2
        else:
            columns = max(int(math.sqrt(count * 2)), 1)
            cx = ((index % columns) / max(columns - 1, 1) - 0.5) * 1.5 * reach
            cy, turn = (index // columns - count / columns / 2 + 0.5) * size * 2.4, 0.0
            if math.hypot(cx, cy) > reach:
                continue
        window = window_of(x, y, cx, cy, size * 1.3)
        if window is None:
            continue
        dx, dy = x[window] - cx, y[window] - cy
        u, v = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
        glyph = np.full_like(u, 9)
        for _ in range(int(rng.integers(1, 4))):
            if rng.random() < 0.35:
                bow = np.hypot(u, v) - size * 0.6
                glyph = np.minimum(glyph, np.where(u * pick(rng, -1, 1) < size * 0.3, np.abs(bow), 9))
            else:
                ax, bx = pick(rng, -0.6, 0, 0.6) * size, pick(rng, -0.6, 0, 0.6) * size
                ay, by = -size * 0.9, size * pick(rng, 0.0, 0.9)
                part = np.clip(((u - ax) * (bx - ax) + (v - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2), 0, 1)
                glyph = np.minimum(glyph, np.hypot(u - ax - part * (bx - ax), v - ay - part * (by - ay)))
        marks[window] = np.maximum(marks[window], np.clip((width - glyph) / (0.5 * width), 0, 1))
    return marks.astype(np.float32)


def lying(x: Array, y: Array, rng: Random) -> tuple[Array, Array, float]:
    """A line that lies straight, in an arc or in waves: way along it, distance beside it, and half its length."""
    style = int(rng.integers(3))
    if style == 0:
        return x, y, rng.uniform(0.75, 0.95)
    if style == 1:
        bow = rng.uniform(0.5, 0.65)
        span = rng.uniform(1.2, 2.4)
        radius, angle = polar(x, y + bow * 0.3)
        return bow * wrap(angle - np.pi / 2), radius - bow, bow * span
    strength, frequency, phase = rng.uniform(0.08, 0.2), rng.uniform(2.5, 5), rng.uniform(0, 6)
    slope = strength * frequency * np.cos(frequency * x + phase)
    return x, (y - strength * np.sin(frequency * x + phase)) / np.sqrt(1 + slope * slope), rng.uniform(0.75, 0.9)


# The families --------------------------------------------------------------------------------------------------------


def pebble(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A lump with an uneven rim, undulations and, often, pits or grains."""
    radius, angle = polar(x, y / rng.uniform(0.6, 1))
    t = radius / np.minimum(0.9 * around(angle, harmonics(rng, 0.18)), 1.05)
    square = t * t if rng.random() < 0.5 else t**3
    height = 0.1 + rng.uniform(0.3, 0.6) * dome(square)
    height = height + rng.uniform(0, 0.05) * waves(x, y, rng, rng.uniform(4, 10))
    height = height + rng.uniform(0, 0.012) * waves(x, y, rng, rng.uniform(15, 40))
    size = rng.uniform(0.015, 0.06)
    marks, cover = scatter(x, y, rng, int(pick(rng, 0, 12, 40)), 0, 0.85, (size, size * 1.8))
    return np.where(t < 1, height + pick(rng, -0.6, -0.4, 0.5) * marks, 0), coat(x, y, rng, cover)


def cushion(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A stuffed or cast block, plain or quilted, with buttons or a seam."""
    a, b = rng.uniform(0.7, 0.85), rng.uniform(0.45, 0.8)
    p, q = (x / a) ** 2, (y / b) ** 2
    square = p * p + q * q if rng.random() < 0.5 else p**3 + q**3
    height = 0.1 + rng.uniform(0.25, 0.5) * np.sqrt(dome(square))
    seams = np.zeros_like(x)
    pitch, turn = rng.uniform(0.18, 0.5), rng.uniform(0, np.pi)
    for side in range(int(rng.integers(0, 3))):
        way = turn + side * pick(rng, np.pi / 2, np.pi / 3)
        _, offset = cells(x * math.cos(way) + y * math.sin(way), pitch, rng.random())
        seams = np.maximum(seams, groove(offset * pitch, rng.uniform(0.015, 0.05)))
    piping = groove(square - rng.uniform(0.5, 0.9), 0.05) * pick(rng, 0, 1)
    height = height - rng.uniform(0.02, 0.07) * seams + 0.03 * piping
    return np.where(square < 1, height, 0), coat(x, y, rng, seams, piping)


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


def bracket(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A machined part: joined blocks with bevels, holes, pockets, slots and bosses."""
    thick = rng.uniform(0.12, 0.3)
    t = outline(x, y, rng)
    height = np.where(t < 1, thick * bevel(t, rng), 0)
    if rng.random() < 0.5:
        corner = (x > rng.uniform(-0.1, 0.4)) & (y > rng.uniform(-0.1, 0.3))
        height = np.where(corner, 0, height)
    for _ in range(int(rng.integers(1, 4))):
        (cx, cy), (a, b) = rng.uniform(-0.4, 0.4, 2).tolist(), rng.uniform(0.08, 0.35, 2).tolist()
        box = np.maximum(np.abs(x - cx) / a, np.abs(y - cy) / b)
        if rng.random() < 0.5:
            box = np.sqrt(((x - cx) / a) ** 2 + ((y - cy) / b) ** 2)
        level = thick * pick(rng, 0.4, 0.6, 1.4, 2.0)
        wall = np.clip((1 - box) * 10, 0, 1) * (height > 0)
        height = height + wall * (level - height)
    marks = np.zeros_like(x)
    size = rng.uniform(0.05, 0.1)
    for cx, cy in rng.uniform(-0.65, 0.65, (int(rng.integers(2, 7)), 2)).tolist():
        distance = np.hypot(x - cx, np.maximum(np.abs(y - cy) - size * pick(rng, 0, 1.5), 0)) / size
        marks = np.maximum(marks, distance < 1.5)
        height = np.where(distance < 1, height * pick(rng, 0, 0.5), height)
        height = height - np.clip(1.5 - distance, 0, 0.4) * size * (height > 0)
    return height, coat(x, y, rng, marks)


def riveted(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A plate with rows of rivets, screws or bolts, and joints between its panels."""
    t = outline(x, y, rng)
    height = np.where(t < 1, rng.uniform(0.12, 0.3) * bevel(t, rng), 0)
    height = height + rng.uniform(0, 0.2) * np.maximum(1 - t * t, 0)
    pitch, size = rng.uniform(0.18, 0.5), rng.uniform(0.035, 0.09)
    if rng.random() < 0.3:
        count, reach = int(rng.integers(5, 20)), rng.uniform(0.45, 0.65)
        turns = 2 * np.pi * np.arange(count) / count
        places = [(reach * math.cos(a), reach * math.sin(a)) for a in turns]
    else:
        steps = np.arange(-1, 1.01, pitch) + rng.uniform(0, pitch)
        places = [(a + (row % 2) * pitch / 2, b) for row, b in enumerate(steps.tolist()) for a in steps.tolist()]
        places = [place for place in places if math.hypot(*place) < 0.95]
    joints = np.zeros_like(x)
    for _ in range(int(rng.integers(0, 4))):
        turn = pick(rng, 0, np.pi / 2)
        joints = np.maximum(joints, groove(x * math.cos(turn) + y * math.sin(turn) - rng.uniform(-0.5, 0.5), 0.012))
    height = np.where(t < 1, np.maximum(height - 0.05 * joints, 0.04), 0)
    cover = set_knobs(height, x, y, places, min(size, pitch * 0.4), rng.uniform(0.04, 0.1), rng)
    return height, coat(x, y, rng, cover, joints)


def mat(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A slab with a woven, waffled, hammered, knurled or corrugated face."""
    t = outline(x, y, rng)
    body = rng.uniform(0.12, 0.25) * bevel(t, rng) + rng.uniform(0, 0.25) * np.maximum(1 - t * t, 0)
    pitch, style = rng.uniform(0.09, 0.28), int(rng.integers(6))
    i, f = cells(x, pitch, rng.random())
    j, g = cells(y, pitch * rng.uniform(0.7, 1.4), rng.random())
    if style == 0:
        sign = 1 - 2 * ((i + j) % 2)
        over, under = dome((2.2 * f) ** 2), dome((2.2 * g) ** 2)
        swell_f, swell_g = np.cos(np.pi * f), np.cos(np.pi * g)
        face = np.maximum(over * (0.6 + 0.4 * sign * swell_g), under * (0.6 - 0.4 * sign * swell_f))
    elif style == 1:
        face = np.maximum(groove(0.5 - np.abs(f), 0.16), groove(0.5 - np.abs(g), 0.16))
    elif style == 2:
        face = 1 - np.abs(waves(x, y, rng, 3 / pitch, 3))
    elif style == 3:
        face = 1 - np.abs(f + g) - np.abs(f - g)
    elif style == 4:
        face = np.abs(2 * cells(x + 0.6 * pitch * np.abs(2 * g), pitch, 0)[1])
    else:
        face = dome((f * f + g * g) * rng.uniform(4, 9)) * pick(rng, -1, 1)
    height = body + rng.uniform(0.015, 0.3) * pitch * face
    return np.where(t < 1, height, 0), coat(x, y, rng, face)


def hose(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A tube with rings, corrugations or a coil around it, straight or bent, with end pieces or none."""
    s, d, half = lying(x, y, rng)
    pair = rng.random() < 0.3
    radius, pitch = rng.uniform(0.12, 0.2) if pair else rng.uniform(0.16, 0.32), rng.uniform(0.06, 0.18)
    d = d + 1.1 * radius * pair
    q = np.clip(d / radius, -1.3, 1.3)
    lean = pick(rng, 0.0, rng.uniform(-1, 1))
    phase = s / pitch + lean * q
    wave = np.cos(2 * np.pi * phase)
    sharp = pick(rng, 0.7, 1, 4)
    ribs = np.clip(wave * sharp, -1, 1)
    if rng.random() < 0.25:
        ribs = np.where(np.rint(phase).astype(np.int32) % int(rng.integers(2, 5)) == 0, ribs, -0.5)
    r = radius * (1 + rng.uniform(0.03, 0.14) * ribs)
    ends = (np.abs(s) > half - rng.uniform(0.05, 0.2)) & (rng.random() < 0.5)
    r = np.where(ends, radius * rng.uniform(0.8, 1.2), r)
    tube = r * r - d * d
    height = np.where((tube > 0) & (np.abs(s) < half), radius * rng.uniform(0.5, 1) + np.sqrt(np.maximum(tube, 0)), 0)
    if pair:
        other = r * r - (d - 2.2 * radius) ** 2
        height = np.maximum(height, (other > 0) * (np.abs(s) < half) * (0.5 * radius + np.sqrt(np.maximum(other, 0))))
    return height, coat(x, y, rng, np.maximum(ribs, 0), ends)


def beads(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A string of beads or links on a loop, a spiral or a wave, of one or several kinds in turn."""
    style, size = int(rng.integers(3)), rng.uniform(0.11, 0.2)
    spacing = size * rng.uniform(1.75, 2.1)
    way = np.linspace(0, 1, 3000)
    if style == 0:
        a, b = rng.uniform(0.6, 0.8), rng.uniform(0.4, 0.8)
        px, py = a * np.cos(2 * np.pi * way), b * np.sin(2 * np.pi * way)
    elif style == 1:
        turns = rng.uniform(1.2, 2.5)
        reach = 0.12 + 0.7 * np.sqrt(way)
        px, py = reach * np.cos(2 * np.pi * turns * way), reach * np.sin(2 * np.pi * turns * way)
    else:
        px, py = -0.85 + 1.7 * way, rng.uniform(0.1, 0.4) * np.sin(rng.uniform(3, 8) * way + rng.uniform(0, 6))
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(px), np.diff(py)))])
    at = np.searchsorted(length, np.arange(0, length[-1] - spacing * (0.6 if style == 0 else 0), spacing))
    height, group = np.zeros_like(x), np.zeros_like(x)
    kinds, wire = rng.integers(0, 4, int(rng.integers(1, 4))), size * rng.uniform(0.3, 0.6)
    for index, knot in enumerate(at.tolist()):
        cx, cy = float(px[knot]), float(py[knot])
        step = min(knot + 5, len(px) - 1)
        turn = math.atan2(py[step] - py[step - 5], px[step] - px[step - 5])
        window = window_of(x, y, cx, cy, size * 1.8)
        if window is None:
            continue
        dx, dy = (x[window] - cx) / size, (y[window] - cy) / size
        u, v = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
        kind = int(kinds[index % len(kinds)])
        if kind == 0:
            bead = 1 + dome(u * u + v * v) - (u * u + v * v >= 1)
        elif kind == 1:
            square = (u / 1.15) ** 2 + (v / 0.75) ** 2
            bead = (1 + 0.8 * dome(square)) * (square < 1)
        elif kind == 2:
            box = np.maximum(np.abs(u), np.abs(v))
            bead = np.clip((0.95 - box) * 6, 0, 1) + np.clip((0.95 - box) * 2, 0, 0.7)
        else:
            ring = (np.hypot(np.maximum(np.abs(u) - 0.4, 0), v) - 0.7) / 0.32
            bead = (1.1 + 0.4 * dome(ring * ring)) * (np.abs(ring) < 1)
        height[window] = np.maximum(height[window], bead * size)
        group[window] = np.where(bead > 0, index % 2, group[window])
        link = (np.abs(v * size) < wire / 2) & (np.abs(u) < 1.4)
        height[window] = np.maximum(height[window], link * size)
    return height, coat(x, y, rng, group)


def leaf(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A blade with a midrib and side veins, a toothed rim, curled; or a feather."""
    q = y - rng.uniform(-0.12, 0.12) * np.cos(rng.uniform(1, 2.5) * x)
    s = np.clip((x + 0.9) / 1.8, 0, 1)
    steps = np.linspace(0, 1, 1024)
    width = rng.uniform(0.3, 0.7) * np.sin(np.pi * steps ** rng.uniform(0.5, 1.2)) ** rng.uniform(0.5, 1)
    teeth, bite = int(rng.integers(10, 40)), pick(rng, 0, rng.uniform(0.02, 0.1))
    width = width * (1 - bite * ((steps * teeth) % 1)) + 1e-4
    t = np.abs(q) / along(s, width)
    pitch, lean = rng.uniform(0.05, 0.2), rng.uniform(0.5, 1.3)
    _, offset = cells(x - lean * np.abs(q), pitch, rng.random())
    side = groove(offset * pitch, rng.uniform(0.006, 0.02)) * np.clip(1.1 - t, 0, 1)
    mid = groove(q, 0.025 * (1.3 - rng.uniform(0.3, 0.9)))
    veins = np.maximum(mid, side * rng.uniform(0.5, 1))
    cup = rng.uniform(-0.2, 0.25)
    height = 0.25 + cup * (np.minimum(t, 1) ** 2 - 0.5) + rng.uniform(0, 0.1) * np.sin(rng.uniform(2, 5) * x)
    height = height + pick(rng, -1, 1) * rng.uniform(0.02, 0.05) * veins + 0.03 * np.cos(2 * np.pi * offset) * 0.5
    blade = np.where((t < 1) & (np.abs(x) < 0.9), height, 0)
    stalk = (np.abs(q) < 0.035) & (x > -1.05) & (x < 0.5)
    return np.where(stalk, np.maximum(blade, 0.2), blade), coat(x, y, rng, veins)


def paving(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """Bricks, tiles or planks in rows with grooves between them, each a little higher or lower."""
    t = outline(x, y, rng)
    high, wide = rng.uniform(0.12, 0.4), rng.uniform(0.2, 0.8)
    j, g = cells(y, high, rng.random())
    i, f = cells(x + wide * pick(rng, 0, 0.5, 0.33) * j.astype(np.float32), wide, rng.random())
    gap = rng.uniform(0.012, 0.035)
    face = brick(f, g, gap / wide, gap / high)
    own = per_cell(i, j, rng)
    height = rng.uniform(0.15, 0.25) + rng.uniform(0, 0.08) * own + rng.uniform(0.04, 0.1) * (face - 1)
    height = height + rng.uniform(0, 0.015) * waves(x, y, rng, 25) * face
    pillow = pick(rng, 0, 0.06) * (1 - 2 * f * f - 2 * g * g)
    return np.where(t < 1, (height + pillow) * bevel(t, rng), 0), coat(x, y, rng, own, 1 - face)


def keypad(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A case with a grid of keys, some wide, and a window or none."""
    a, b = rng.uniform(0.75, 0.85), rng.uniform(0.45, 0.75)
    p, q = (x / a) ** 2, (y / b) ** 2
    case = p**4 + q**4
    height = rng.uniform(0.12, 0.22) * bevel(case, rng) + rng.uniform(0, 0.1) * x
    rows, columns = int(rng.integers(3, 7)), int(rng.integers(3, 10))
    high, wide = 1.7 * b / rows, 1.7 * a / columns
    j, g = cells(y, high, 0.5 * (rows % 2 == 0))
    _, f = cells(x + pick(rng, 0, 0.3) * wide * (j % 2).astype(np.float32), wide, 0.5 * (columns % 2 == 0))
    gap = rng.uniform(0.1, 0.22)
    key = brick(f, g, gap, gap * wide / high)
    if rng.random() < 0.4:
        key = np.clip((0.2 - (f * f + g * g)) * 10, 0, 1)
    area = (np.abs(x) < 0.85 * a) & (np.abs(y) < 0.85 * b)
    window = (y > 0.4 * b) & (rng.random() < 0.4)
    key = key * area * ~window
    dish = (f * f + g * g) * rng.uniform(-0.1, 0.15)
    height = height + key * (rng.uniform(0.05, 0.13) + dish) - np.float32(0.05) * (window & area)
    legends = groove(np.abs(f - pick(rng, -1, 0, 1) * g) - rng.uniform(0, 0.15), 0.05)
    return np.where(case < 1, height, 0), coat(x, y, rng, key, legends * key, window & area)


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


def rope(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """Twisted or plaited strands, straight, bent or coiled up."""
    style, radius = int(rng.integers(3)), rng.uniform(0.18, 0.34)
    pitch, phase = rng.uniform(0.15, 0.35), rng.random()
    if style == 0:
        r, angle = polar(x, y)
        turns = rng.uniform(0.16, 0.26)
        i, f = cells(r + turns * angle / (2 * np.pi), turns, 0)
        s, d, radius = (i * turns) * angle, f * turns, turns * 0.52
        there = (r < 0.9) & (r > turns * pick(rng, 0, 1))
    else:
        s, d, half = lying(x, y, rng)
        there = np.abs(s) < half
    q = np.clip(d / radius, -1, 1)
    if style == 2:
        height, strand = np.zeros_like(x), np.zeros_like(x)
        for index in range(3):
            way = 2 * np.pi * (s / (2.5 * pitch) + index / 3)
            beside = (q - 0.5 * np.sin(way)) / 0.45
            level = (0.5 + 0.5 * dome(beside**2) + 0.25 * np.cos(2 * way)) * (np.abs(beside) < 1)
            strand = np.where(level > height, index / 2, strand)
            height = np.maximum(height, level)
        height = height * radius
    else:
        lean = rng.uniform(0.6, 1.2)
        _, f = cells(s + lean * radius * np.arcsin(q), pitch, phase)
        strand = np.abs(2 * f)
        fibres = 0.02 * np.cos(rng.uniform(20, 50) * f + 10 * q)
        height = radius * (0.5 + dome(q * q) * (1 - rng.uniform(0.15, 0.35) * strand**2 + fibres))
        height = np.where(np.abs(d) < radius, height, 0)
    return np.where(there, height, 0), coat(x, y, rng, strand)


def honeycomb(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """Six-sided cells: deep, filled, domed, or columns of several heights."""
    t = outline(x, y, rng)
    pitch = rng.uniform(0.13, 0.3)
    (i, f), (j, g) = cells(x, pitch, 0), cells(y, pitch * 1.732, 0)
    (k, m), (n, o) = cells(x, pitch, 0.5), cells(y, pitch * 1.732, 0.5)
    first = f * f + 3 * g * g < m * m + 3 * o * o
    across, upward = np.where(first, f, m), np.where(first, g, o) * 1.732
    own = per_cell(np.where(first, i, k + 17), np.where(first, j, n + 29), rng)
    reach = 2 * np.maximum(np.abs(across), np.abs(across) / 2 + 0.866 * np.abs(upward))
    wall = np.clip((reach - rng.uniform(0.7, 0.88)) * 12, 0, 1)
    style, base = int(rng.integers(4)), rng.uniform(0.18, 0.35)
    if style == 0:
        face = base - rng.uniform(0.08, 0.15) * (1 - wall)
    elif style == 1:
        face = base - np.where(own < rng.uniform(0.2, 0.6), rng.uniform(0.06, 0.14), 0.02) * (1 - wall)
    elif style == 2:
        face = base + 0.35 * pitch * dome(reach**2) - 0.04 * wall
    else:
        face = base + rng.uniform(0.04, 0.12) * own - 0.06 * wall
    height = face + rng.uniform(0, 0.15) * np.maximum(1 - t * t, 0)
    return np.where(t < 1, height, 0), coat(x, y, rng, wall, own)


def terraces(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """Steps: a stepped mound, a flight, a winding stair, or layers along contour lines."""
    t = outline(x, y, rng)
    levels, style = int(rng.integers(3, 10)), int(rng.integers(4))
    if style == 0:
        rise = 1 - t
    elif style == 1:
        rise = np.clip(0.5 + 0.6 * x, 0, 0.999)
    elif style == 2:
        rise = (np.arctan2(y, x) + np.pi) / (2 * np.pi + 1e-3)
    else:
        rise = np.clip(0.5 + 0.45 * waves(x, y, rng, rng.uniform(2.5, 5), 3), 0, 0.999)
    place = np.clip(rise, 0, 0.999) * levels
    level = np.floor(place)
    within = place - level
    edge = np.clip(within / rng.uniform(0.03, 0.4), 0, 1)
    height = 0.1 + rng.uniform(0.3, 0.6) / levels * (level + edge)
    nose = groove(within - 0.15, 0.06) * pick(rng, 0, 1)
    treads = np.cos(2 * np.pi * within * 4) * pick(rng, 0, 0.008)
    return np.where(t < 1, height + 0.015 * nose + treads, 0), coat(x, y, rng, 1 - edge, level % 2, nose)


def berries(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A heap of balls, drops, scales or crystals on a mound."""
    t = outline(x, y, rng)
    mound = rng.uniform(0.1, 0.5) * dome(t * t)
    size = rng.uniform(0.08, 0.2)
    height, own = np.where(t < 0.92, 0.1 + 0.7 * mound, 0), np.zeros_like(x)
    style, spread = int(rng.integers(4)), rng.uniform(0, 0.35)
    golden = np.pi * (3 - math.sqrt(5))
    count = int(0.9 / size**2)
    for index in range(count):
        radius, angle = 0.85 * math.sqrt((index + 0.5) / count), golden * index
        cx = radius * math.cos(angle) + spread * size * rng.normal()
        cy = radius * math.sin(angle) + spread * size * rng.normal()
        window = window_of(x, y, cx, cy, size * 1.6)
        if window is None or math.hypot(cx, cy) > 0.95:
            continue
        u, v = (x[window] - cx) / size, (y[window] - cy) / size
        if style == 0:
            grain = dome(u * u + v * v)
        elif style == 1:
            out = (u * cx + v * cy) / max(radius, 0.01)
            grain = dome((u * u + v * v) * 0.8) * (0.6 + 0.4 * np.clip(out, -1, 1))
        elif style == 2:
            turn = rng.uniform(0, np.pi)
            a, b = u * math.cos(turn) + v * math.sin(turn), v * math.cos(turn) - u * math.sin(turn)
            grain = np.clip(1 - np.maximum(np.abs(a), np.abs(b)), 0, 1) * 1.2
        else:
            grain = np.clip(1 - (u * u + v * v), 0, 1)
        lump = np.where((grain > 0) & (t[window] < 1), 0.08 + mound[window] + size * grain, 0)
        own[window] = np.where(lump > height[window], rng.random(), own[window])
        height[window] = np.maximum(height[window], lump)
    return height, coat(x, y, rng, own)


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


def radiator(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A block with fins or pins, cut across, and a plain margin for screws."""
    a, b = rng.uniform(0.7, 0.82), rng.uniform(0.5, 0.8)
    block = np.maximum(np.abs(x) / a, np.abs(y) / b)
    pitch, duty = rng.uniform(0.08, 0.22), rng.uniform(0.15, 0.32)
    _, f = cells(x + pick(rng, 0, 0.05) * np.cos(5 * y), pitch, rng.random())
    fin = np.clip((duty - np.abs(f)) * 12, 0, 1)
    cross = int(rng.integers(3))
    if cross:
        _, g = cells(y, pitch if cross == 1 else rng.uniform(0.3, 0.6), rng.random())
        fin = fin * np.clip((0.5 - np.abs(g)) * 12 - (3 if cross == 1 else 0.5), 0, 1)
    margin = rng.uniform(0.85, 1)
    fin = fin * (block < margin)
    taper = 1 - pick(rng, 0, 0.5) * (x / a) ** 2
    height = np.where(block < 1, rng.uniform(0.08, 0.15) + rng.uniform(0.06, 0.25) * fin * taper, 0)
    corners = [(sx * 0.88 * a, sy * 0.88 * b) for sx in (-1, 1) for sy in (-1, 1)]
    cover = set_knobs(height, x, y, corners if rng.random() < 0.5 else [], 0.06, 0.06, rng)
    return height, coat(x, y, rng, fin, cover)


def board(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A board with boxes, cylinders and pins set on a grid, and tracks between them."""
    a, b = rng.uniform(0.7, 0.82), rng.uniform(0.5, 0.8)
    edge = np.maximum(np.abs(x) / a, np.abs(y) / b)
    height = np.where(edge < 1, rng.uniform(0.08, 0.14), 0).astype(np.float32)
    own, tracks = np.zeros_like(x), np.zeros_like(x)
    for _ in range(int(rng.integers(0, 6))):
        turn = pick(rng, 0, np.pi / 2, np.pi / 4)
        line = x * math.cos(turn) + y * math.sin(turn) - rng.uniform(-0.5, 0.5)
        tracks = np.maximum(tracks, groove(line, 0.012))
    height = np.where(edge < 1, height + pick(rng, -0.02, 0.02) * tracks, 0)
    size = rng.uniform(0.08, 0.2)
    for cx in np.arange(-a + size, a, 2.2 * size).tolist():
        for cy in np.arange(-b + size, b, 2.2 * size).tolist():
            if rng.random() < 0.35:
                continue
            w, h, rise = (rng.uniform(0.3, 1, 3) * size).tolist()
            window = window_of(x, y, cx, cy, size * 1.6)
            if window is None:
                continue
            u, v = x[window] - cx, y[window] - cy
            box = np.hypot(u / w, v / w) if rng.random() < 0.3 else np.maximum(np.abs(u) / w, np.abs(v) / h)
            part = rise * np.clip((1 - box) * 12, 0, 1)
            pins = 0.3 * rise * (np.cos(90 * v) > 0) * (np.abs(np.abs(u) - w * 1.1) < 0.15 * w) * (np.abs(v) < h)
            height[window] += np.maximum(part, pins) * (height[window] > 0)
            own[window] = np.where(box < 1, rng.uniform(0.5, 1), own[window])
    return height, coat(x, y, rng, tracks, own)


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


def figure(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A toy or casting: a body with limbs, knobs and eyes, the same on both sides."""
    height, own = np.zeros_like(x), np.zeros_like(x)
    cx = 0.0
    for index in range(int(rng.integers(5, 11))):
        a, b = (rng.uniform(0.08, 0.3, 2) if index else rng.uniform(0.35, 0.6, 2)).tolist()
        cx, cy = (rng.uniform(-0.65, 0.65), rng.uniform(0, 0.5)) if index else (0.0, 0.0)
        turn, kind, rise = rng.uniform(0, np.pi), int(rng.integers(4)), rng.uniform(0.12, 0.4) * (1 if index else 1.3)
        group, ribs = rng.random(), rng.uniform(30, 60)
        for side in (1, -1) if index else (1,):
            window = window_of(x, y, cx, side * cy, math.hypot(a, b))
            if window is None:
                continue
            dx, dy = x[window] - cx, side * y[window] - cy
            u, v = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
            if not index:
                u, v = dx, dy
            square = (u / a) ** 2 + (v / b) ** 2
            if kind == 0:
                part = 0.12 + rise * dome(square)
            elif kind == 1:
                part = 0.15 + rise * dome(square**3)
            elif kind == 2:
                square = np.maximum((u / a) ** 2, (v / b) ** 2)
                part = 0.1 + rise * np.clip((1 - square) * 3, 0, 1)
            else:
                part = 0.12 + rise * dome(square) + 0.012 * np.cos(ribs * u)
            part = np.where(square < 1, part, 0)
            own[window] = np.where(part > height[window], group, own[window])
            height[window] = np.maximum(height[window], part)
    places = [(cx + 0.05, 0.12), (cx + 0.05, -0.12)]
    eyes = set_knobs(height, x, y, places, rng.uniform(0.04, 0.07), 0.05, rng)
    return np.where(np.hypot(x, y) < 1.05, height, 0), coat(x, y, rng, own, eyes)


FAMILIES: dict[str, Form] = {
    "pebble": pebble,
    "cushion": cushion,
    "lid": lid,
    "gear": gear,
    "wheel": wheel,
    "bracket": bracket,
    "riveted plate": riveted,
    "mat": mat,
    "hose": hose,
    "beads": beads,
    "leaf": leaf,
    "paving": paving,
    "keypad": keypad,
    "coin": coin,
    "rope": rope,
    "honeycomb": honeycomb,
    "terraces": terraces,
    "berries": berries,
    "bowl": bowl,
    "radiator": radiator,
    "board": board,
    "propeller": propeller,
    "figure": figure,
}

WORDS: dict[str, tuple[str, ...]] = {
    "pebble": ("pebble", "stone", "potato", "lump"),
    "cushion": ("cushion", "pillow", "pad"),
    "lid": ("lid", "knob", "vase", "turned part"),
    "gear": ("gear", "toothed wheel", "cog"),
    "wheel": ("wheel", "tyre", "spoked wheel"),
    "bracket": ("bracket", "machined part", "metal part"),
    "riveted plate": ("riveted plate", "plate with screws", "panel"),
    "mat": ("mat", "woven mat", "waffle", "textured slab"),
    "hose": ("hose", "ribbed tube", "pipe", "spring"),
    "beads": ("beads", "necklace", "chain"),
    "leaf": ("leaf", "feather", "leaf with veins"),
    "paving": ("paving", "brick wall", "tiles"),
    "keypad": ("keypad", "keyboard", "remote control"),
    "coin": ("coin", "medal", "badge"),
    "rope": ("rope", "braid", "cord"),
    "honeycomb": ("honeycomb", "comb", "hexagon tiles"),
    "terraces": ("terraces", "steps", "stairs"),
    "berries": ("berries", "raspberry", "cluster of balls", "heap of grains"),
    "bowl": ("bowl", "dish", "cup", "tray"),
    "radiator": ("radiator", "heat sink", "cooling fins"),
    "board": ("board", "circuit board", "electronic part"),
    "propeller": ("propeller", "fan", "turbine"),
    "figure": ("figure", "toy", "casting"),
}
"""What a family's shapes are called."""


# Defects -------------------------------------------------------------------------------------------------------------


def add_pretraining_defect(
    shape: Shape, toward: Array, rng: Random, kind: str | None = None, share: tuple[float, float] = (0.02, 0.12)
) -> str:
    """Change the shape by a defect of a kind, or of one drawn at random, where the viewer in direction `toward` [3]
    sees it, and mark where; returns its kind.

    share: least and largest part of the shape's ground area that it covers, about; of thin kinds and holes, a third.
    """
    if kind is None:
        kind = list(DEFECT_WORDS)[int(rng.integers(len(DEFECT_WORDS)))]
    part_of = math.exp(rng.uniform(math.log(share[0]), math.log(share[1]))) / (3 if kind in THIN else 1)
    radius = math.sqrt(np.count_nonzero(shape.inside) * CELL**2 * part_of / np.pi)
    if kind in BREAKS:
        # About half of a disc on the rim lies on the shape.
        radius *= 1.35
        place = find_rim(shape, radius, toward, rng)
        window, u, v = patch_at(place, radius, rng)
        part = BREAKS[kind](u, v, radius, rng, shape.height[window])
        change_patch(shape, window, part, floor=0 if kind == "bite" else 0.03)
        return kind
    window, u, v = patch_at(find_place(shape, radius, toward, rng), radius, rng)
    if kind in DEFECTS:
        distance, change, paint_over, opacity = DEFECTS[kind](u, v, radius, rng)
        if kind in ("stain", "contamination"):
            inside = (distance < 1) & (shape.height[window] > 0)
            paint_over = foreign(shape.colour[window][inside].mean(axis=0), rng)
        part = distance, change * rng.uniform(0.35, 1.3), paint_over, np.minimum(opacity * rng.uniform(0.7, 1.2), 1)
    else:
        part = WEARS[kind](u, v, radius, rng, shape.height[window])
    change_patch(shape, window, part)
    return kind


def foreign(own: Array, rng: Random) -> Colour:
    """A colour unlike one's own [3]."""
    while True:
        rgb = tone(rng, int(rng.integers(6)))
        if np.abs(np.asarray(rgb) - own).max() > 0.25:
            return rgb


def find_rim(shape: Shape, radius: float, toward: Array, rng: Random) -> tuple[float, float]:
    """A random place on the rim, or on that of a hole, rather on the viewer's side."""
    rows, columns = np.nonzero(shape.inside)
    steps = np.arange(12) * np.pi / 6
    step_x, step_y = radius * 0.6 / CELL * np.cos(steps), radius * 0.6 / CELL * np.sin(steps)
    best, place = -np.inf, (0, 0)
    for index in rng.integers(len(rows), size=60).tolist():
        row, column = int(rows[index]), int(columns[index])
        circle_rows = np.clip(np.rint(row + step_y).astype(int), 0, CELLS - 1)
        circle_columns = np.clip(np.rint(column + step_x).astype(int), 0, CELLS - 1)
        outside = shape.height[circle_rows, circle_columns] == 0
        facing = float(np.mean(outside * (np.cos(steps) * toward[0] + np.sin(steps) * toward[1])))
        score = facing - abs(float(outside.mean()) - 0.4)
        if score > best:
            best, place = score, (row, column)
    return place[1] * CELL - EXTENT, place[0] * CELL - EXTENT


# Each: as those of `shapes`, and the heights [h,w] that are there.
Wear = Callable[[Array, Array, float, Random, Array], DefectPart]
BLACK = (0.0, 0.0, 0.0)


def chip(u: Array, v: Array, radius: float, rng: Random, height: Array) -> DefectPart:
    """A splinter off the rim, which leaves a hollow, uneven face."""
    distance = disc(u, v, radius, rng, 0.12)
    face = 1 + 0.2 * waves(u / radius, v / radius, rng, 6)
    change = -radius * rng.uniform(0.5, 1.2) * np.maximum(1 - distance**2, 0) * np.maximum(face, 0.4)
    return limited(distance, change, height, rng)


def bite(u: Array, v: Array, radius: float, rng: Random, height: Array) -> DefectPart:
    """A piece missing down to the ground, with a broken face around the gap."""
    distance = disc(u, v, radius, rng, 0.12) + 0.06 * waves(u / radius, v / radius, rng, rng.uniform(6, 14))
    change = -height * np.clip((1 - distance) / rng.uniform(0.2, 0.4), 0, 1)
    return limited(distance, change, height, rng)


def scratch(u: Array, v: Array, radius: float, rng: Random, height: Array) -> DefectPart:
    """A shallow, curved groove sixteen times as long as it is wide, alone or with another beside it."""
    width = radius * math.sqrt(np.pi / 16)
    half = 8 * width
    line = rng.uniform(-1.5, 1.5) * width * (u / half) ** 2 + 0.5 * width * np.sin(u / half * 3 + rng.uniform(0, 6))
    across = np.abs(v - line)
    if rng.random() < 0.4:
        across = np.minimum(across, np.abs(v - line - width * rng.uniform(1.2, 3) - 0.1 * u))
    distance = np.maximum(across / (width / 2), np.abs(u) / half)
    change = -rng.uniform(0.3, 0.8) * width * np.clip(1.2 - distance, 0, 1)
    shade = rng.uniform(0.1, 0.9)
    return distance, change, (shade, shade, shade), pick(rng, 0, 0.5) * np.clip(1.5 - distance, 0, 1)


def roughness(u: Array, v: Array, radius: float, rng: Random, height: Array) -> DefectPart:
    """A patch of corroded, torn or grainy surface."""
    distance = disc(u, v, radius, rng, 0.16)
    grain = int(rng.integers(2, 6))
    noise = uniform_filter(rng.standard_normal(u.shape, np.float32), grain) * grain
    change = rng.uniform(0.008, 0.025) * (noise - rng.uniform(0, 1.5))
    return distance, change, *discoloured(distance, rng)


def step(u: Array, v: Array, radius: float, rng: Random, height: Array) -> DefectPart:
    """A fold: one side of a line has risen, the other has sunk."""
    distance = disc(u, v, radius, rng, 0.1)
    line = u - 0.2 * radius * np.sin(v / radius * rng.uniform(1, 4))
    rise = np.clip(line / (rng.uniform(0.04, 0.25) * radius), -1, 1)
    change = rng.uniform(0.2, 0.5) * radius * np.maximum(1 - distance**2, 0) * (rise + rng.uniform(-0.5, 1))
    return distance, change, BLACK, np.zeros_like(u)


def melted(u: Array, v: Array, radius: float, rng: Random, height: Array) -> DefectPart:
    """A patch where the structure has run together and sunk in or swollen."""
    distance = disc(u, v, radius, rng, 0.14)
    width = max(int(radius / CELL * rng.uniform(0.4, 0.8)), 3)
    there = (height > 0).astype(np.float32)
    near, weight = height, there
    for _ in range(2):
        near, weight = uniform_filter(near, width), uniform_filter(weight, width)
    smooth = near / np.maximum(weight, 1e-3)
    swell = pick(rng, -1, 1) * rng.uniform(0.1, 0.35) * radius * np.maximum(1 - distance**2, 0)
    change = np.clip((1 - distance) * 4, 0, 1) * (smooth - height) + swell
    return distance, change, *discoloured(distance, rng)


def lumps(u: Array, v: Array, radius: float, rng: Random, height: Array) -> DefectPart:
    """Several drops, blisters or grains close to each other."""
    distance, change = np.full_like(u, 9), np.zeros_like(u)
    for _ in range(int(rng.integers(3, 9))):
        size, angle, way = radius * rng.uniform(0.25, 0.5), rng.uniform(0, 2 * np.pi), radius * rng.uniform(0, 1.1)
        apart = np.hypot(u - way * math.cos(angle), v - way * math.sin(angle)) / size
        distance = np.minimum(distance, apart)
        change = np.maximum(change, rng.uniform(0.4, 0.9) * size * dome(apart**2))
    return distance, change, *discoloured(distance, rng)


def worn(u: Array, v: Array, radius: float, rng: Random, height: Array) -> DefectPart:
    """Teeth, threads, letters or a crown worn down to one level."""
    distance = disc(u, v, radius, rng, 0.1)
    inside = (distance < 1) & (height > 0)
    level = float(np.quantile(height[inside], rng.uniform(0.2, 0.5))) - rng.uniform(0.05, 0.25) * radius
    plane = level + rng.uniform(-0.15, 0.15) * u + rng.uniform(0, 0.01)
    return limited(distance, np.minimum(plane - height, 0), height, rng)


def limited(distance: Array, change: Array, height: Array, rng: Random) -> DefectPart:
    """A defect that reaches only as far as something is taken away; its fresh face may have another colour."""
    reached = np.where(np.minimum(-change, height) > 0.004, distance, np.inf)
    return reached, change, *discoloured(reached, rng)


def discoloured(distance: Array, rng: Random) -> tuple[Colour, Array]:
    """Another colour on half of the defects."""
    strength = pick(rng, 0, rng.uniform(0.2, 0.8))
    return tone(rng, int(rng.integers(6))), strength * (distance < 1).astype(np.float32)


BREAKS: dict[str, Wear] = {"chip": chip, "bite": bite}
"""Kinds on the rim."""

WEARS: dict[str, Wear] = {
    "scratch": scratch,
    "roughness": roughness,
    "step": step,
    "melted": melted,
    "lumps": lumps,
    "worn": worn,
}
THIN = {"crack", "cut", "scratch", "hole"}

DEFECT_WORDS: dict[str, tuple[str, ...]] = {
    "dent": ("a dent", "dented", "pressed in", "with a hollow", "with a depression"),
    "bump": ("a bump", "bumpy", "with a bulge", "bulging", "with a swelling"),
    "hole": ("a hole", "pierced", "with a puncture", "perforated", "drilled through"),
    "crack": ("a crack", "cracked", "broken", "with a fissure", "fractured", "split"),
    "cut": ("a cut", "cut", "with a slit", "sliced", "with a gash"),
    "contamination": ("a contamination", "contaminated", "with a foreign body", "with dirt on it", "dirty", "soiled"),
    "stain": ("a stain", "stained", "with a spot of colour", "discoloured", "smudged"),
    "chip": ("a chip", "chipped", "with a broken edge", "with a splinter off", "chipped at the rim"),
    "bite": ("a missing piece", "incomplete", "with a piece broken off", "with a bite", "partly missing"),
    "scratch": ("a scratch", "scratched", "with a scrape", "scored", "with scratch marks"),
    "roughness": ("a rough patch", "rough", "corroded", "with a torn surface", "grainy", "eroded"),
    "step": ("a fold", "folded", "with a step", "warped", "bent", "creased"),
    "melted": ("a melted patch", "melted", "smeared", "with lost detail", "deformed", "blurred"),
    "lumps": ("lumps", "lumpy", "with extra lumps", "with drops on it", "blistered"),
    "worn": ("a worn patch", "worn", "flattened", "ground down", "with worn teeth", "abraded"),
}
"""How each kind of defect is put into words: what it is, and what an object with it is like."""
