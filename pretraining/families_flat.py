"""Families of slabs: plates, cases and blocks with a pattern, holes, keys or fins."""

from __future__ import annotations

import math

import numpy as np

from pointad_core.datasets.generator.shapes import Array, Random, dome, groove, waves, window_of
from pretraining.parts import bevel, brick, cells, coat, outline, per_cell, pick, set_knobs


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
