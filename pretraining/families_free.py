"""Families of no plain outline: lumps, heaps, leaves, figures, and what is strung or twisted."""

from __future__ import annotations

import math

import numpy as np

from pointad_core.datasets.generator.shapes import Array, Random, dome, groove, scatter, waves, window_of
from pretraining.parts import along, around, cells, coat, harmonics, lying, outline, pick, polar, set_knobs


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
