"""What the small CLIP is trained on: views of generated things, with the pixels where they are damaged.

A thing is scanned in one of three ways, as in the three data sets (from above with missing points, at a slant, or
points all around a surface), and rendered by the project's own renderer from that way's view set. Everything that may
vary between data sets (point size, number of points, noise) varies.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import grey_erosion

from pointad_core.clouds.background import index_map, upright
from pointad_core.clouds.normals import estimate_normals
from pointad_core.datasets.eyecandies import unproject
from pointad_core.datasets.generator.camera import Camera, Picture, sample_surface, take_picture
from pointad_core.datasets.generator.point_clouds import REAL3D_UNIT, small_turn
from pointad_core.datasets.generator.scans import (
    EYECANDIES_DISTANCE,
    EYECANDIES_FOCAL,
    EYECANDIES_POSE,
    EYECANDIES_SIDE,
    EYECANDIES_UNIT,
    MVTEC_DISTANCE,
    MVTEC_FOCAL,
    MVTEC_SIDE,
    missing,
)
from pointad_core.datasets.generator.shapes import Shape, waves
from pointad_core.datasets.scans import GOOD
from pointad_core.rendering.splat import render
from pointad_core.storage import jobs, stores
from pretraining.defects import add_pretraining_defect
from pretraining.shapes import FAMILIES, make_pretraining_shape

Random = np.random.Generator

RESOLUTION = 336
GOOD_SHARE = 0.4
"""Share of things without any defect; of the others' views many show none either."""

SECOND_DEFECT = 0.25
"""How often a damaged thing has a second defect."""

DEFECT_SHARE = (0.004, 0.05)
"""Part of a thing's ground area that a defect covers, about."""

VIEWS = 3
"""Views kept of each thing, of the nine of its view set."""


@dataclass(frozen=True)
class Scanned:
    """A cloud before it is rendered: points f4[n,3], labels bool[n], and how that kind of data is rendered."""

    points: np.ndarray
    labels: np.ndarray
    way: Way


@dataclass(frozen=True)
class Way:
    """View set, and the neighbourhood of normals; the workflow's defaults for a layout."""

    tilt: float
    x: tuple[float, ...]
    y: tuple[float, ...]
    radius: float
    neighbours: int

    def some_views(self, count: int, rng: Random) -> dict[str, Any]:
        """A view set of some of the views, drawn at random."""
        chosen = rng.choice(len(self.x) + len(self.y), count, replace=False)
        x = [angle for index, angle in enumerate(self.x) if index in chosen]
        y = [angle for index, angle in enumerate(self.y, len(self.x)) if index in chosen]
        return {"tilt": self.tilt, "x": x, "y": y}


FROM_ABOVE = Way(180, (-45, -15, 0, 15, 45), (-30, -15, 15, 30), 0.1, 50)
AT_A_SLANT = Way(45, (-30, -15, 0, 10, 20), (-30, -15, 15, 30), 0.1, 50)
ALL_AROUND = Way(180, (-144, -108, -72, -36, 0, 36, 72, 108, 144), (), 0.8, 30)


def scan_from_above(make: Callable[[np.ndarray], Shape], rng: Random) -> Scanned:
    """As in MVTec 3D-AD: an area scanner's depth with missing points, in metres."""
    unit = rng.uniform(0.035, 0.055)
    side = (MVTEC_SIDE, MVTEC_SIDE)
    camera = Camera(np.radians(rng.uniform(72, 84)), MVTEC_DISTANCE / unit, MVTEC_FOCAL, side)
    shape = make(-camera.axes[2])
    picture = take_picture(shape, camera, (0.025, 0.025, 0.028))
    depth = picture.depth * np.float32(unit)
    depth = depth + np.float32(rng.uniform(2e-5, 1e-4)) * rng.standard_normal(side, np.float32)
    points = np.round((camera.rays() @ camera.axes.T.astype(np.float32)) * depth[..., None], 4).astype(np.float32)
    kept = picture.on_shape & ~missing(shape, picture, camera, rng)
    kept |= stray(points, depth, picture, rng)
    return organised(points, kept, picture, FROM_ABOVE)


def stray(points: np.ndarray, depth: np.ndarray, picture: Picture, rng: Random) -> np.ndarray:
    """bool[H,W]: pixels off the shape, close to it, that the scanner takes for points between it and the ground; moves
    them there. Real scans have such points around their silhouettes; half of those made here have none."""
    share, reach = max(rng.uniform(-0.8, 0.8), 0) ** 2, int(rng.integers(3, 8))
    near = grey_erosion(np.where(picture.on_shape, depth, np.inf), reach)
    some = ~picture.on_shape & np.isfinite(near) & (rng.random(depth.shape, np.float32) < share)
    # Not every one by itself: where the scanner errs, it errs on several pixels side by side.
    patches = waves(*np.meshgrid(np.arange(depth.shape[1]), np.arange(depth.shape[0])), rng, rng.uniform(0.1, 0.4), 4)
    some &= patches > rng.uniform(-0.6, 0.6)
    ratio = near[some] / depth[some]
    ratio += (1 - ratio) * np.float32(rng.uniform(0.1, 0.8)) * rng.random(ratio.shape, np.float32)
    points[some] *= ratio[:, None]
    return some


def scan_at_a_slant(make: Callable[[np.ndarray], Shape], rng: Random) -> Scanned:
    """As in Eyecandies: a rendered scene's exact depth, brought to the axes that its view set expects."""
    side = (EYECANDIES_SIDE, EYECANDIES_SIDE)
    camera = Camera(np.radians(rng.uniform(40, 50)), EYECANDIES_DISTANCE / EYECANDIES_UNIT, EYECANDIES_FOCAL, side)
    shape = make(-camera.axes[2])
    picture = take_picture(shape, camera, (0.55, 0.54, 0.53))
    points = upright(unproject(picture.depth.astype(np.float64) * EYECANDIES_UNIT, EYECANDIES_POSE))
    return organised(points.astype(np.float32), picture.on_shape, picture, AT_A_SLANT)


def scan_all_around(make: Callable[[np.ndarray], Shape], rng: Random) -> Scanned:
    """As in Real3D-AD: points spread over a surface, without any grid, in millimetres."""
    shape = make(np.array([0.0, 0.0, 1.0]))
    points, labels = sample_surface(shape, int(rng.integers(12_000, 28_000)), rng)
    points += rng.uniform(0.0004, 0.0015) * rng.standard_normal(points.shape)
    return Scanned((points @ small_turn(rng).T * REAL3D_UNIT).astype(np.float32), labels, ALL_AROUND)


SCANNERS = (*[scan_from_above] * 3, *[scan_at_a_slant] * 2, *[scan_all_around] * 2)
"""Drawn from at random; the first is the one that most real scans are made with."""


def organised(points: np.ndarray, kept: np.ndarray, picture: Picture, way: Way) -> Scanned:
    """An organised scan without its background, on the grid of the renders."""
    index = index_map(kept.shape, RESOLUTION)
    points, kept, mask = (array[index] for array in (points, kept, picture.defect))
    return Scanned(points[kept], mask[kept], way)


@dataclass(frozen=True)
class Thing:
    """Views of one generated thing: images u1[K,S,S], masks u1[K,S,S] (1 where damaged), its family and the kinds of
    its defects."""

    images: np.ndarray
    masks: np.ndarray
    family: str
    kinds: tuple[str, ...]


def make_views(family: str, rng: Random) -> Thing:
    """A thing of the family, scanned and rendered: all that varies is drawn from `rng`."""
    kinds: list[str] = []
    count = 0 if rng.random() < GOOD_SHARE else 2 if rng.random() < SECOND_DEFECT else 1

    def make(toward: np.ndarray) -> Shape:
        _, shape = make_pretraining_shape(rng, family)
        for _ in range(count):
            kinds.append(add_pretraining_defect(shape, toward, rng, share=DEFECT_SHARE))
        return shape

    scanned = SCANNERS[int(rng.integers(len(SCANNERS)))](make, rng)
    way = scanned.way
    normals = estimate_normals(scanned.points, way.radius, way.neighbours)
    views, point_size = way.some_views(VIEWS, rng), int(rng.integers(6, 14))
    options = {"views": views, "resolution": RESOLUTION, "point_size": point_size, "window": 1024, "visibility": "soft"}
    renders = render({"points": scanned.points, "normals": normals, "labels": scanned.labels}, options, "cpu")
    return Thing(renders.images, renders.masks, family, tuple(kinds))


HELD_OUT = ("berries", "bracket", "coin")
"""Families that the model never sees in training, by which it is judged."""

OFTEN = "fitting"
"""Family of which there is as much as of all others by fives: no other has so many kinds of structure."""


def in_turn() -> tuple[str, ...]:
    """Families that are trained on, in the order in which things are made: the frequent one before every five."""
    others = [family for family in FAMILIES if family not in (*HELD_OUT, OFTEN)]
    return tuple(name for index, family in enumerate(others) for name in ([OFTEN] * (index % 5 == 0) + [family]))


TRAINED = in_turn()


def make_lot(
    output: str | Path, seed: int, families: Sequence[str], first: int, count: int, provenance: Mapping[str, Any]
) -> None:
    """Write the views of things `first` to `first + count - 1` as a store; the families take turns.

    A thing depends on its family, the seed and its number alone. Arrays of a thing: images u1[K,S,S], masks bits
    [K,S*S/8]. Attributes: family, kinds.
    """
    with stores.write(output, "pretraining views", provenance, {"resolution": RESOLUTION}) as writer:
        for number in jobs.progress(range(first, first + count), f"views {Path(output).name}", "thing"):
            family = families[number % len(families)]
            thing = make_views(family, np.random.default_rng([seed, zlib.crc32(family.encode()), number]))
            arrays = {"images": thing.images, "masks": np.packbits(thing.masks.reshape(len(thing.masks), -1), axis=1)}
            writer.add(f"{number:06d}", arrays, {"family": thing.family, "kinds": list(thing.kinds) or [GOOD]})
