"""The unit and the place of a scan's coordinates, brought to what all that follows presupposes.

Lengths such as 5 mm off a plane, the radius of normals and the kernel's sigma are in the unit of the scan's layout, and
clouds are kept in float32, which far from the origin has few digits left for the scan itself.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path

import numpy as np

from pointad_core.datasets.scans import Organised, Unorganised
from pointad_core.errors import InputError
from pointad_core.formats.unit import UNITS, metres_of

logger = logging.getLogger(__name__)

Raw = Organised | Unorganised

FAR = 1000
"""A scan that lies more than so many extents from the origin is moved to it: of the 24 bits of a float32, less than 14
are left for the scan itself there, coarser than points are apart. Nearer by, as all published scans are, none is."""

LEAST_STEPS = 10
"""A scan whose file has rounded it to fewer steps than these across has lost its shape."""


def extent_of(points: np.ndarray) -> float:
    """Longest side of a box around points [n,3], without the outer hundredth of them at each end of each axis.

    A few stray points do not count, so that a scan with some has the unit and the place that it has without.
    """
    low, high = np.percentile(points, (1, 99), axis=0)
    return float((high - low).max())


def to_unit(raw: Raw, unit: str | float | None, layout_unit: str, extents: Sequence[float], path: Path) -> Raw:
    """A scan in its layout's unit.

    unit: that of its file, as `formats.unit.metres_of` takes it, None for the layout's own; extents: least and
    greatest extent in the layout's unit that a scan can have. Raises InputError for any other extent: the unit is then
    not what it was taken for, and is not guessed either.
    """
    factor = metres_of(layout_unit if unit is None else unit) / metres_of(layout_unit)
    found = extent_of(valid_points(raw))
    if found == 0:
        raise InputError(f"{path}: its points lie all in one place")
    if not extents[0] <= found * factor <= extents[1]:
        # The extent of an organised scan may be that of points which stand for missing ones.
        marks = "; or `missing`, if it has missing points of a value of its own" if isinstance(raw, Organised) else ""
        given = f"`unit: {unit}`" if unit is not None else f"the layout's unit, {layout_unit}"
        raise InputError(
            f"{path}: its extent is {found:.4g}, and with {given}, that would be {found * factor:.4g} {layout_unit}; "
            f"expected {extents[0]:g} to {extents[1]:g} {layout_unit}. {advise(found, layout_unit, extents)}{marks}"
        )
    taken = f"taken as {layout_unit}" if unit is None else f"by `unit: {unit}` {found * factor:.4g} {layout_unit}"
    logger.info("%s: extent %.4g, %s", path, found, taken)
    return raw if factor == 1 else with_points(raw, raw.points * factor)


def advise(found: float, layout_unit: str, extents: Sequence[float]) -> str:
    """What `unit` of a data set would make an extent, of a file in an unknown unit, one that a scan can have."""
    usual = sqrt(extents[0] * extents[1])
    sizes = {name: found * metres / UNITS[layout_unit] for name, metres in UNITS.items()}
    fitting = [name for name, size in sizes.items() if extents[0] <= size <= extents[1]]
    # The likeliest first: the one that makes it of middling size.
    fitting.sort(key=lambda name: max(sizes[name] / usual, usual / sizes[name]))
    named = [f"`unit: {name}`, which makes it {sizes[name]:.4g} {layout_unit}" for name in fitting[:2]]
    usual_number = usual * UNITS[layout_unit] / found
    number = (
        "a number, the metres that one unit of the file stands for (of a normalised scan one that makes it a usual "
        f"size, such as {usual_number:.1g})"
    )
    return f"Set `unit` of the data set: {'; '.join([*named, number])}"


def to_origin(raw: Raw, path: Path) -> Raw:
    """A scan at the origin, where it lies more than `FAR` extents from it; any other as it is.

    Raises InputError for one of whose shape nothing is left in its file, since its numbers were too large for 32 bits.
    """
    points = valid_points(raw)
    middle, size = np.median(points, axis=0), extent_of(points)
    away = float(np.abs(middle).max())
    if away <= FAR * size:
        return raw
    logger.info("%s: coordinates up to %.8g for an extent of %.4g; moved to the origin", path, away, size)
    step = float(np.spacing(np.float32(away)))
    if step > size / FAR and np.array_equal(points, points.astype(np.float32)):
        told = (
            f"{path}: the file has its coordinates in steps of {step:.2g}, as 32 bits are too few for numbers up to "
            f"{away:.8g}: a scan saved with 64 bits, or moved to the origin before it is saved, has all its points"
        )
        if step > size / LEAST_STEPS:
            raise InputError(f"{told}; of an extent of {size:.4g}, no shape is left")
        logger.warning("%s", told)
    return with_points(raw, raw.points - middle)


def valid_points(raw: Raw) -> np.ndarray:
    """The points [n,3] that a scan has."""
    return raw.points[raw.valid] if isinstance(raw, Organised) else raw.points


def with_points(raw: Raw, points: np.ndarray) -> Raw:
    """A scan with other coordinates; missing points stay at (0, 0, 0)."""
    if isinstance(raw, Organised):
        points = np.where(raw.valid[..., None], points, 0)
    return replace(raw, points=points)
