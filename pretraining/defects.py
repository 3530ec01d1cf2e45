"""Defects that the project's own small CLIP is pre-trained on.

Those of the generated data sets in all sizes and strengths, and further ones that break, wear, smear or fold what is
there. `DEFECT_WORDS` is what kinds are called in texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.ndimage import uniform_filter

from pointad_core.datasets.generator.defects import DEFECTS, DefectPart, change_patch, disc, find_place, patch_at
from pointad_core.datasets.generator.shapes import CELL, CELLS, EXTENT, Array, Random, Shape, dome, waves
from pretraining.parts import Colour, pick, tone


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


# Each: as those of the generated data sets, and the heights [h,w] that are there.
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
