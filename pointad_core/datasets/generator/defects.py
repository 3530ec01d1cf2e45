"""Defects of the generated data sets: changes of a shape's height and colour in one place."""

from collections.abc import Callable

import numpy as np

from pointad_core.datasets.generator.shapes import (
    CELL,
    EXTENT,
    Array,
    Random,
    Shape,
    axes,
    make_shape,
    turn,
    waves,
    window_of,
)
from pointad_core.datasets.scans import GOOD

DefectPart = tuple[Array, Array, tuple[float, float, float], Array]
"""Distance [h,w] (below 1 in the defect), change of height [h,w], colour laid over, and its opacity [h,w]."""

Defect = Callable[[Array, Array, float, Random], DefectPart]
"""Takes coordinates [h,w] turned about the place, the radius of a disc of the defect's area and a generator."""


def make_scanned(category: str, defect: str, toward: Array, rng: Random) -> Shape:
    """A shape of a category, good or with a defect of a kind that the viewer in direction `toward` [3] sees."""
    shape = make_shape(category, rng)
    if defect != GOOD:
        add_defect(shape, defect, toward, rng)
    return shape


def add_defect(shape: Shape, kind: str, toward: Array, rng: Random) -> None:
    """Change the shape by one defect in a place that the viewer in direction `toward` [3] sees, and mark where.

    It covers 0.6 to 2 percent of the shape's ground area.
    """
    area = np.count_nonzero(shape.inside) * CELL**2 * rng.uniform(0.006, 0.02)
    radius = float(np.sqrt(area / np.pi))
    window, u, v = patch_at(find_place(shape, radius * 1.3, toward, rng), radius, rng)
    change_patch(shape, window, DEFECTS[kind](u, v, radius, rng))


def patch_at(place: tuple[float, float], radius: float, rng: Random) -> tuple[tuple[slice, slice], Array, Array]:
    """The part of the grid about a place in which a defect of this radius fits, with coordinates turned at random."""
    x, y = axes()
    window = window_of(x + 0 * y, y + 0 * x, *place, radius * 3.2)
    assert window is not None, "a place on the shape is a place on the grid"
    u, v = turn(x[:, window[1]] - place[0], y[window[0]] - place[1], rng.uniform(0, np.pi))
    return window, u.astype(np.float32), v.astype(np.float32)


def change_patch(shape: Shape, window: tuple[slice, slice], part: DefectPart, floor: float = 0.03) -> None:
    """Change geometry and colour in a part of the grid, and mark where.

    What is taken away never goes through the ground, which would leave a scanner nothing to see, unless `floor` is 0.
    """
    distance, change, paint_over, opacity = part
    height, colour = shape.height[window], shape.colour[window]
    where = (distance < 1) & (height > 0)
    height[where] = np.maximum(height + change, floor)[where]
    covered = (opacity * where)[..., None]
    colour += covered * (np.asarray(paint_over, np.float32) - colour)
    shape.defect[window] |= where


def find_place(shape: Shape, reach: float, toward: Array, rng: Random) -> tuple[float, float]:
    """A random place with the shape all around it within `reach`, turned to the viewer rather than away."""
    rows, columns = np.nonzero(shape.inside)
    around = np.arange(12) * np.pi / 6
    step_x, step_y = reach / CELL * np.cos(around), reach / CELL * np.sin(around)
    best, place = -np.inf, (0.0, 0.0)
    for index in rng.integers(len(rows), size=40):
        row, column = rows[index], columns[index]
        cells = np.round([row + step_y, column + step_x]).astype(int)
        circle = shape.height[tuple(np.clip(cells, 0, len(shape.height) - 1))]
        # Slopes of the plane through the circle.
        slope_x, slope_y = 2 * np.mean(circle * np.cos(around)) / reach, 2 * np.mean(circle * np.sin(around)) / reach
        normal = np.array([-slope_x, -slope_y, 1]) / np.sqrt(slope_x**2 + slope_y**2 + 1)
        score = float(normal @ toward) - np.mean(circle == 0)
        if score > best:
            best, place = score, (column * CELL - EXTENT, row * CELL - EXTENT)
        if score > 0.75:
            break
    return place


def disc(u: Array, v: Array, radius: float, rng: Random, wobble: float) -> Array:
    """Distance from the middle of a disc with an uneven rim, 1 on the rim."""
    angle = np.arctan2(v, u)
    uneven = 1 + wobble * (np.cos(2 * angle + rng.uniform(0, 6)) + 0.6 * np.cos(3 * angle + rng.uniform(0, 6)))
    return np.hypot(u, v) / (radius * uneven)


def dent(u: Array, v: Array, radius: float, rng: Random) -> DefectPart:
    distance = disc(u, v, radius, rng, 0.08)
    change = -rng.uniform(0.5, 0.7) * radius * np.maximum(1 - distance**2, 0)
    return distance, change, (0, 0, 0), np.zeros_like(u)


def bump(u: Array, v: Array, radius: float, rng: Random) -> DefectPart:
    distance = disc(u, v, radius, rng, 0.08)
    change = rng.uniform(0.5, 0.7) * radius * np.sqrt(np.maximum(1 - distance**2, 0))
    return distance, change, (0, 0, 0), np.zeros_like(u)


def hole(u: Array, v: Array, radius: float, rng: Random) -> DefectPart:
    distance = disc(u, v, radius * 0.95, rng, 0.05)
    change = -rng.uniform(1.2, 1.8) * radius * np.clip((1 - distance) * 6, 0, 1)
    return distance, change, (0.05, 0.04, 0.04), 0.75 * (distance < 0.9)


def crack(u: Array, v: Array, radius: float, rng: Random) -> DefectPart:
    """A zigzag seven times as long as it is wide."""
    width = radius * np.sqrt(np.pi / 7)
    length = 7 * width
    line = np.interp(u, np.linspace(-length / 2, length / 2, 9), rng.uniform(-0.6, 0.6, 9) * width)
    distance = np.maximum(np.abs(v - line) / (width / 2), np.abs(u) / (length / 2))
    change = -rng.uniform(1.0, 1.4) * width * np.clip(1 - distance, 0, 1)
    return distance, change, (0.06, 0.05, 0.05), 0.7 * np.clip(1.3 - 2 * distance, 0, 1)


def cut(u: Array, v: Array, radius: float, rng: Random) -> DefectPart:
    """A straight slit with steep sides, four times as long as it is wide."""
    width = radius * np.sqrt(np.pi / 4)
    distance = np.maximum(np.abs(v) / (width / 2), np.abs(u) / (2 * width))
    change = -rng.uniform(0.9, 1.2) * width * np.clip((1 - distance) * 2.5, 0, 1)
    return distance, change, (0.1, 0.09, 0.09), 0.4 * (distance < 0.7)


def contamination(u: Array, v: Array, radius: float, rng: Random) -> DefectPart:
    """A crumb of something else that lies on the surface."""
    distance = disc(u, v, radius * 0.95, rng, 0.16)
    rough = 1 + 0.35 * waves(u / radius, v / radius, rng, 5)
    change = radius * np.clip((1 - distance) * 4, 0, 1) * rng.uniform(0.35, 0.5) * np.maximum(rough, 0.4)
    colour = rng.choice([(0.15, 0.25, 0.55), (0.10, 0.35, 0.20), (0.45, 0.45, 0.47)])
    return distance, change, colour, 0.9 * (distance < 1)


def stain(u: Array, v: Array, radius: float, rng: Random) -> DefectPart:
    """A colour where it does not belong; the geometry stays as it is."""
    distance = disc(u, v, radius, rng, 0.14)
    colour = rng.choice([(0.10, 0.14, 0.42), (0.08, 0.30, 0.16), (0.32, 0.06, 0.30)])
    return distance, np.zeros_like(u), colour, 0.75 * np.clip((1 - distance) * 8, 0, 1)


DEFECTS: dict[str, Defect] = {kind.__name__: kind for kind in (dent, bump, hole, crack, cut, contamination, stain)}
