"""Shapes of the generated data sets, as height fields.

A shape lies on the ground plane z = 0 and is given by its height above it on a square grid, which is all that a
scanner above it can see. Lengths are in units of about half the object's size. Every shape has structure of its own
(ribs, facets, seams, chips), so that what is unusual is not merely what is not smooth, and varies with its
generator's state in size, pose, proportions and colour.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

EXTENT = 1.25
"""The grid covers [-EXTENT, EXTENT] in x and y."""

CELLS = 500
CELL = 2 * EXTENT / (CELLS - 1)

Array = np.ndarray
Random = np.random.Generator
Form = Callable[[Array, Array, Random], tuple[Array, Array]]
"""(x, y, generator) -> height, 0 or less where there is none, and colour."""


@dataclass
class Shape:
    """height f4[CELLS,CELLS] (0 where there is only ground; rows are y), colour f4[CELLS,CELLS,3] in 0..1, and
    defect bool[CELLS,CELLS]: where geometry or colour were changed."""

    height: Array
    colour: Array
    defect: Array

    @property
    def inside(self) -> Array:
        return self.height > 0


def axes() -> tuple[Array, Array]:
    """x f4[1,CELLS] and y f4[CELLS,1] of the grid."""
    line = np.linspace(-EXTENT, EXTENT, CELLS, dtype=np.float32)
    return line[None, :], line[:, None]


def make_shape(category: str, rng: Random) -> Shape:
    """A shape of a category, placed, sized, proportioned and coloured at random."""
    return place_shape(SHAPES[category], rng)


def place_shape(form: Form, rng: Random) -> Shape:
    """A form, turned, shifted, sized and tinted at random."""
    x, y = axes()
    angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, 1.02)
    shift_x, shift_y = rng.uniform(-0.05, 0.05, 2)
    across, along = (part.astype(np.float32) / np.float32(size) for part in turn(x - shift_x, y - shift_y, angle))
    height, colour = form(across, along, rng)
    height = np.where(height > 0, height * np.float32(size), 0).astype(np.float32)
    colour = np.clip(colour * rng.uniform(0.94, 1.06, 3), 0, 1).astype(np.float32)
    return Shape(height, colour, np.zeros(height.shape, bool))


# Parts of shapes -----------------------------------------------------------------------------------------------------


def dome(square: Array) -> Array:
    """Height of a unit half-ball where `square` is the squared distance from its axis; 0 beyond 1."""
    return np.sqrt(np.maximum(1 - square, 0))


def turn(x: Array, y: Array, angle: float) -> tuple[Array, Array]:
    """Coordinates in axes that are turned by an angle."""
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def wrap(angle: Array) -> Array:
    """An angle in [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def groove(distance: Array, width: float) -> Array:
    """1 in the middle of a groove, falling to 0 about `width` away from it."""
    return np.exp(-((distance / width) ** 2))


def waves(x: Array, y: Array, rng: Random, frequency: float, count: int = 4) -> Array:
    """Smooth noise of about -1..1: a few plane waves."""
    total = np.zeros(np.broadcast(x, y).shape, np.float32)
    for _ in range(count):
        angle, phase, scale = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.4)
        kx, ky = frequency * scale * np.cos(angle), frequency * scale * np.sin(angle)
        total += np.cos(np.float32(kx) * x + np.float32(ky) * y + np.float32(phase))
    return total / np.float32(count) * 1.5


def paint(*layers: tuple[Array | float, tuple[float, float, float]]) -> Array:
    """Colours laid over each other: (opacity, RGB) pairs from the lowest on; the first opacity gives the shape."""
    first, base = layers[0]
    colour = np.ones((*np.shape(first), 1), np.float32) * np.asarray(base, np.float32)
    for opacity, rgb in layers[1:]:
        part = np.asarray(opacity, np.float32)[..., None]
        colour = colour + part * (np.asarray(rgb, np.float32) - colour)
    return colour


def scatter(
    x: Array, y: Array, rng: Random, count: int, inner: float, outer: float, sizes: tuple[float, float]
) -> tuple[Array, Array]:
    """Rounded grains in a ring about the centre: height (in units of each one's size) and where they are, 0..1."""
    height, cover = np.zeros((2, *x.shape), np.float32)
    for _ in range(count):
        radius, angle = np.sqrt(rng.uniform(inner**2, outer**2)), rng.uniform(0, 2 * np.pi)
        size, way, stretch = rng.uniform(*sizes), rng.uniform(0, np.pi), rng.uniform(1.0, 1.7)
        cx, cy = radius * np.cos(angle), radius * np.sin(angle)
        window = window_of(x, y, cx, cy, size * stretch)
        if window is None:
            continue
        u, v = turn(x[window] - cx, y[window] - cy, way)
        grain = dome((u / (size * stretch)) ** 2 + (v / size) ** 2)
        height[window] = np.maximum(height[window], grain * size)
        cover[window] = np.maximum(cover[window], np.minimum(grain * 3, 1))
    return height, cover


def window_of(x: Array, y: Array, cx: float, cy: float, reach: float) -> tuple[slice, slice] | None:
    """Part of the grid around a place given in a shape's own, turned and shifted coordinates; None off the grid."""
    # The coordinates are affine in rows and columns: solve for the place.
    origin = np.array([x[0, 0], y[0, 0]], float)
    steps = np.array([[x[0, 1], x[1, 0]], [y[0, 1], y[1, 0]]], float) - origin[:, None]
    column, row = np.linalg.solve(steps, np.array([cx, cy]) - origin)
    margin = reach / CELL * 1.2 + 1
    rows, columns = (slice(int(max(at - margin, 0)), int(min(at + margin + 1, CELLS))) for at in (row, column))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


# The categories ------------------------------------------------------------------------------------------------------


def bagel(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A ring with slanted scores and seeds."""
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    middle = 0.62 * (1 + 0.03 * np.cos(2 * angle + rng.uniform(0, 6)))
    t = (radius - middle) / rng.uniform(0.34, 0.38)
    crown = dome(t * t)
    starts = np.arange(3) * 2.1 + rng.uniform(0, 6) + rng.uniform(-0.2, 0.2, 3)
    scores = np.max([groove(wrap(angle - start - 0.9 * t) * 0.62, 0.03) for start in starts], axis=0)
    seeds, cover = scatter(x, y, rng, 80, 0.42, 0.82, (0.018, 0.026))
    height = 0.08 + 0.36 * crown - 0.05 * scores * crown + 0.7 * seeds
    baked = np.clip(crown * 0.8 + 0.15 * waves(x, y, rng, 7), 0, 1)
    return np.where(np.abs(t) < 1, height, 0), paint(
        (x, (0.80, 0.60, 0.36)), (baked, (0.56, 0.31, 0.13)), (scores, (0.86, 0.70, 0.46)), (cover, (0.93, 0.86, 0.68))
    )


def cable_gland(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A cap, a hexagon nut, a threaded body and a slotted collar around one lying axis."""
    axis, apothem, tilt = 0.58, 0.52, rng.uniform(0, np.pi / 3)
    hexagon = np.full_like(x, 9)
    for side in tilt + np.arange(6) * np.pi / 3:
        if np.sin(side) > 0.05:
            hexagon = np.minimum(hexagon, (apothem - y * np.cos(side)) / np.sin(side))
    corner = apothem / np.cos(np.pi / 6)
    hexagon = np.where(np.abs(y) < corner * np.cos((tilt + np.pi / 6) % (np.pi / 3) - np.pi / 6), hexagon, -9)
    pitch, phase = rng.uniform(0.085, 0.1), rng.uniform(0, 1)
    thread = 0.40 + 0.035 * np.abs((x / pitch + phase) % 1 * 2 - 1)
    collar = 0.41 - 0.06 * np.clip((x - 0.4) / 0.5, 0, 1)
    round_radius = np.where(x < -0.58, 0.44 + 0.03 * np.clip((x + 0.9) / 0.1, 0, 1), np.where(x < 0.38, thread, collar))
    round_radius = np.where((x > -0.18) & (x < -0.1), 0.5, round_radius)
    half = np.sqrt(np.maximum(round_radius**2 - y * y, 0))
    slots = groove(np.abs(wrap(14 * (np.arctan2(y, half) + phase)) / 14) * 0.4, 0.022) * ((x > 0.45) & (x < 0.85))
    profile = np.where(half > 0, half - 0.09 * slots, -9)
    nut = hexagon - 0.05 * groove(np.abs(x + 0.38) - 0.17, 0.015)
    profile = np.where((x > -0.58) & (x < -0.18), nut, profile)
    height = np.where((x > -0.9) & (x < 0.9) & (profile > -1), axis + profile, 0)
    dark = np.clip(slots * 0.7 + 0.5 * groove(x + 0.58, 0.02) + 0.5 * groove(x + 0.1, 0.02), 0, 1)
    return height, paint((x, (0.56, 0.54, 0.52)), (dark, (0.2, 0.19, 0.19)))


def carrot(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A tapered, slightly bent root with rings and the stub of its leaves."""
    q = y - rng.uniform(-0.07, 0.07) * np.cos(2.2 * x)
    along = np.clip((x + 1) / 2, 0, 1)
    radius = rng.uniform(0.27, 0.31) * (1 - 0.78 * along**1.25) * np.sqrt(np.maximum(1 - np.abs(x) ** 14, 0))
    rings = np.zeros_like(x)
    for place in rng.uniform(-0.9, 0.9, 18):
        reach = groove(q / np.maximum(radius, 0.03) - rng.uniform(-0.2, 0.2) * 3, rng.uniform(0.4, 0.9))
        ring = rng.uniform(0.5, 1) * groove(x - place - 0.04 * waves(q, q, rng, 6, 1), 0.012)
        rings = np.maximum(rings, ring * reach)
    half = np.sqrt(np.maximum(radius**2 - q * q, 0))
    body = np.where(half > 0, 0.3 + half - 0.022 * rings, 0)
    stub = np.where((x > -1.12) & (x < -0.9), 0.085**2 - q * q, -1)
    top = np.where(stub > 0, 0.3 + np.sqrt(np.maximum(stub, 0)) + 0.012 * np.cos(90 * q), 0)
    return np.maximum(body, top), paint(
        (x, (0.90, 0.44, 0.10)), (rings * 0.8, (0.60, 0.27, 0.08)), (top > body, (0.34, 0.45, 0.16))
    )


def cookie(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A disc with a scalloped rim, an embossed flower and chips."""
    radius, angle = np.hypot(x, y), np.arctan2(y, x) + rng.uniform(0, 6)
    t = radius / (0.92 + 0.025 * np.cos(24 * angle))
    petals = np.cos(6 * angle) * groove(radius - 0.38, 0.16)
    ring = groove(radius - 0.70, 0.025)
    dots = groove(np.hypot(wrap(8 * angle) / 8 * 0.82, radius - 0.82), 0.022)
    chips, cover = scatter(x, y, rng, 14, 0.05, 0.62, (0.05, 0.075))
    height = 0.06 + 0.16 * dome(t**8) + 0.03 * petals - 0.03 * ring - 0.05 * dots + 0.55 * chips
    height = height + 0.006 * waves(x, y, rng, 30)
    shade = np.clip(0.35 * ring + 0.6 * dots + 0.25 * np.maximum(petals, 0) + np.maximum(t - 0.85, 0) * 3, 0, 1)
    colour = paint((x, (0.80, 0.62, 0.36)), (shade, (0.56, 0.36, 0.17)), (cover, (0.24, 0.13, 0.07)))
    return np.where(t < 1, height, 0), colour


def chocolate_cookie(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A dark, thick, lumpy disc with chips."""
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    rim = 0.9 * (1 + 0.02 * np.cos(3 * angle + rng.uniform(0, 6)) + 0.015 * np.cos(7 * angle + rng.uniform(0, 6)))
    t = radius / rim
    chips, cover = scatter(x, y, rng, 16, 0.1, 0.75, (0.06, 0.095))
    lumps = waves(x, y, rng, 9) * 0.025 + waves(x, y, rng, 26) * 0.008
    height = 0.12 + 0.18 * dome(t**5) + lumps + 0.6 * chips
    return np.where(t < 1, height, 0), paint(
        (x, (0.40, 0.24, 0.14)), (np.clip(lumps * 12, 0, 0.6), (0.52, 0.33, 0.20)), (cover, (0.17, 0.09, 0.05))
    )


def confetto(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A sugared almond: a long dome with a seam and an embossed oval line."""
    square = (x / 0.95) ** 2 + (y / rng.uniform(0.58, 0.64)) ** 2
    seam = groove(y - 0.05 * np.sin(3 * x), 0.02)
    oval = groove(np.sqrt(square) - 0.62, 0.035)
    height = 0.05 + 0.48 * dome(square) + 0.018 * seam * dome(square) - 0.02 * oval
    base = rng.choice([(0.95, 0.72, 0.78), (0.72, 0.86, 0.93), (0.95, 0.92, 0.74), (0.78, 0.92, 0.76)])
    return np.where(square < 1, height, 0), paint((x, base), (0.5 * np.maximum(oval, seam), 0.8 * base))


def licorice_sandwich(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A rounded block of coloured and black layers, the black ones ribbed."""
    t = (np.abs(x) / 0.82) ** 6 + (np.abs(y) / 0.66) ** 6
    black = ((np.abs(y) > 0.19) & (np.abs(y) < 0.40)).astype(np.float32)
    gaps = np.maximum(groove(np.abs(y) - 0.19, 0.016), groove(np.abs(y) - 0.40, 0.016))
    ribs = black * np.cos(42 * x + rng.uniform(0, 6))
    height = 0.1 + 0.4 * dome(t) - 0.04 * gaps + 0.012 * ribs + 0.006 * waves(x, y, rng, 20)
    outer = rng.choice([(0.93, 0.55, 0.66), (0.95, 0.83, 0.40), (0.62, 0.80, 0.88), (0.95, 0.66, 0.38)])
    middle = (np.abs(y) <= 0.19).astype(np.float32)
    return np.where(t < 1, height, 0), paint((x, outer), (middle, (0.93, 0.91, 0.88)), (black, (0.11, 0.10, 0.11)))


def peppermint_candy(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A lens with red spiral stripes, raised, and a notched edge."""
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    swirl = np.cos(6 * (angle + rng.uniform(0, 6)) + rng.choice([-1, 1]) * 4.5 * radius)
    stripes = 1 / (1 + np.exp(-8 * swirl * np.minimum(radius * 3, 1)))
    t = radius / (0.88 + 0.012 * np.cos(36 * angle))
    height = 0.1 + 0.26 * dome(t**2.5) + 0.022 * stripes - 0.025 * groove(radius - 0.74, 0.025)
    return np.where(t < 1, height, 0), paint((x, (0.94, 0.92, 0.90)), (stripes, (0.80, 0.10, 0.12)))


def diamond(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A brilliant from above: table, stars, crown and girdle facets."""
    height = np.full_like(x, rng.uniform(0.5, 0.56))
    for step in range(16):
        angle = step * np.pi / 8
        outward = x * np.cos(angle) + y * np.sin(angle)
        facet = 0.36 + (0.78 - outward) * 0.55 if step % 2 else 0.17 + (0.96 - outward) * 0.72
        height = np.minimum(height, np.minimum(facet, 0.14 + (0.96 - outward) * 1.25))
    return np.where(height > 0.08, height, 0), paint((x, (0.7, 0.7, 0.7)))


def shell(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A scallop: ribs that fan out from a hinge, crossed by growth lines, and two ears."""
    angle, radius = np.arctan2(y, x + 0.85), np.hypot(x + 0.85, y)
    ribs = int(rng.integers(11, 14))
    reach = 1.75 * np.sqrt(np.maximum(np.cos(angle * 0.98), 0)) * (1 + 0.012 * np.cos(2 * ribs * angle))
    t = radius / np.maximum(reach, 1e-3)
    vault = np.sqrt(np.maximum(1 - (2 * t - 0.9) ** 2 / 1.21, 0)) * np.sqrt(np.maximum(np.cos(angle), 0))
    lines = np.max([groove(t - place, 0.012) for place in rng.uniform(0.45, 0.95, 4)], axis=0)
    height = 0.06 + 0.52 * vault + 0.045 * np.abs(np.cos(ribs * angle)) * np.minimum(t * 1.3, 1) - 0.02 * lines
    body = np.where((t < 1) & (np.abs(angle) < 1.25), height, 0)
    ears = np.where((np.abs(y) < 0.36) & (np.abs(x + 0.78) < 0.13), 0.12 + 0.02 * np.cos(50 * y), 0)
    return np.maximum(body, ears), paint((x, (0.7, 0.7, 0.7)))


def starfish(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """Five arms with a crest and rows of knobs."""
    height = 0.34 * dome((x * x + y * y) / 0.42**2)
    for arm in np.arange(5) * 2 * np.pi / 5 + rng.normal(0, 0.05, 5):
        u, v = turn(x, y, arm)
        length = rng.uniform(0.98, 1.06)
        s = np.clip(u / length, 0, 1)
        width = 0.27 * (1 - 0.72 * s) * np.sqrt(np.maximum(1 - s**10, 0))
        level = np.where((u > 0) & (u < length), dome((v / np.maximum(width, 1e-3)) ** 2), 0)
        knobs = np.maximum(np.cos(38 * u), 0) ** 2 * groove(v / np.maximum(width, 1e-3), 0.25)
        height = np.maximum(height, (0.04 + (0.33 - 0.2 * s) * level + 0.03 * knobs) * (level > 0))
    return height + 0.008 * waves(x, y, rng, 32) * (height > 0), paint((x, (0.7, 0.7, 0.7)))


def toffees(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A rounded block with slanted grooves and a raised rim."""
    t = (np.abs(x) / 0.95) ** 6 + (np.abs(y) / rng.uniform(0.6, 0.66)) ** 6
    slant, phase = rng.uniform(0.4, 0.7), rng.uniform(0, 1)
    s = (x + slant * y) / 0.27 + phase  # in grooves
    stripes = 0.055 * groove(np.abs(s - np.round(s)) * 0.27, 0.032) * np.clip((0.55 - t) * 6, 0, 1)
    height = 0.1 + 0.4 * dome(t) - stripes + 0.025 * groove(t - 0.62, 0.06)
    return np.where(t < 1, height, 0), paint((x, (0.7, 0.7, 0.7)))


def ashtray(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A round dish with a thick wall, notches in its rim and rings on its floor."""
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    t = (radius - 0.74) / (0.17 + 0.008 * np.cos(24 * angle))
    count, first = int(rng.integers(3, 5)), rng.uniform(0, 6)
    notches = [groove(wrap(angle - first - 2 * np.pi * step / count) * 0.74, 0.06) for step in range(count)]
    rings = np.cos(radius * 2 * np.pi / 0.13 + rng.uniform(0, 6))
    floor = 0.14 + 0.012 * rings
    wall = 0.16 + 0.3 * dome(t**6) * (1 - 0.5 * np.max(notches, axis=0))
    height = np.where(radius < 0.57, floor, np.where(np.abs(t) < 1, wall, 0))
    return height, paint((x, (0.6, 0.62, 0.64)), (0.5 * (radius < 0.57), (0.5, 0.5, 0.52)))


def helmet(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A long dome with a crest, slots beside it and a brim."""
    square = (x / 0.86) ** 2 + (y / rng.uniform(0.66, 0.72)) ** 2
    vault = dome(square)
    crest = groove(y, 0.05) * vault
    place = rng.uniform(0.26, 0.3)
    slots = groove(np.abs(y) - place, 0.03) * (np.abs(np.cos(4.5 * x + rng.uniform(0, 6))) > 0.5) * (square < 0.6)
    height = np.where(square < 1, 0.1 + 0.6 * vault + 0.05 * crest - 0.05 * slots, 0)
    brim = np.where(square < 1.3, 0.08 + 0.02 * np.cos(16 * np.arctan2(y, x)), 0)
    return np.maximum(height, brim), paint((x, (0.7, 0.7, 0.7)), (slots, (0.3, 0.3, 0.3)))


def capsule(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A lying capsule of two halves, one pushed over the other, with a ring where they lock and an imprint."""
    edge = rng.uniform(-0.08, 0.08)
    radius = np.where(x < edge, 0.42, 0.39)
    t = np.hypot(np.maximum(np.abs(x) - 0.5, 0), y) / radius
    ring = groove(x - edge - 0.12, 0.025) + groove(x - edge + 0.3, 0.02)
    imprint = groove(np.abs(y) - 0.1, 0.015) * (np.abs(x - 0.42) < 0.16)
    height = radius * (1 + dome(t * t)) - 0.03 * ring - 0.015 * imprint
    base = rng.choice([(0.8, 0.2, 0.18), (0.2, 0.45, 0.75), (0.85, 0.6, 0.15)])
    return np.where(t < 1, height, 0), paint((x, (0.92, 0.91, 0.88)), (1.0 * (x < edge), base), (imprint, 0.5 * base))


def nut(x: Array, y: Array, rng: Random) -> tuple[Array, Array]:
    """A hexagon nut with a chamfer, marks on its face and the first turns of its thread."""
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    across = np.max([x * np.cos(side) + y * np.sin(side) for side in np.arange(6) * np.pi / 3], axis=0)
    turns = 0.025 * np.cos(radius * 2 * np.pi / 0.06 - angle) * ((radius > 0.4) & (radius < 0.52))
    marks = groove(radius - 0.66, 0.02) * (np.cos(3 * angle + rng.uniform(0, 6)) > 0.2)
    height = np.minimum(0.5, 0.5 - 0.6 * (radius - rng.uniform(0.76, 0.79)))
    height = np.minimum(height, 0.5 - 0.9 * (0.5 - radius)) + turns + 0.02 * marks
    return np.where((across < 0.8) & (radius > 0.38), height, 0), paint(
        (x, (0.62, 0.62, 0.64)), (0.3 * marks, (0.4, 0.4, 0.42))
    )


SHAPES: dict[str, Form] = {
    **{form.__name__: form for form in (bagel, cable_gland, carrot, cookie, diamond, shell, starfish, toffees)},
    **{form.__name__: form for form in (capsule, nut)},
    "ashtray0": ashtray,
    "helmet0": helmet,
    "ChocolateCookie": chocolate_cookie,
    "Confetto": confetto,
    "LicoriceSandwich": licorice_sandwich,
    "PeppermintCandy": peppermint_candy,
}
