"""Colours and parts that the families' shapes are put together from."""

from __future__ import annotations

import colorsys
import math

import numpy as np

from pointad_core.datasets.generator.shapes import CELLS, Array, Random, dome, paint, waves, window_of, wrap

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
