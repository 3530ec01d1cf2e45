"""What columns, fields and properties are called, and those with labels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pointad_core.errors import InputError

SYNONYMS = {
    "x": ("px", "pos_x", "position_x", "coord_x", "xcoord", "x_coordinate", "points:0", "points_0"),
    "y": ("py", "pos_y", "position_y", "coord_y", "ycoord", "y_coordinate", "points:1", "points_1"),
    "z": ("pz", "pos_z", "position_z", "coord_z", "zcoord", "z_coordinate", "points:2", "points_2"),
    "red": ("r", "diffuse_red"),
    "green": ("g", "diffuse_green"),
    "blue": ("b", "diffuse_blue"),
    "label": (
        "labels",
        "scalar_label",
        "scalar_labels",
        "gt",
        "ground_truth",
        "mask",
        "anomaly",
        "defect",
        "is_defect",
    ),
}
"""Other names of columns, as programs write them, in lower case."""

COORDINATES = ("x", "y", "z")
RGB = ("red", "green", "blue")

HUGE = 1e9
"""Above it a label is none, but a constant for "no value"."""


def canonical(name: str) -> str:
    """A name in lower case, as in `SYNONYMS` where it is one of these."""
    name = name.strip().lower()
    return next((key for key, others in SYNONYMS.items() if name in others), name)


def as_labels(path: Path, column: np.ndarray, place: Callable[[int], str]) -> np.ndarray:
    """Labels bool[N] of a column: 0 is good, any other whole number above it, as 1 or 255, a defect.

    place: where the value of a row stands in the file, in words. Raises InputError for what is neither, and for kinds
    of points of which none is 0.
    """
    with np.errstate(invalid="ignore"):
        fine = (column >= 0) & (column == np.trunc(column)) & (column < HUGE)
    if not fine.all():
        row = int(np.argmin(fine))
        raise InputError(
            f"{path}: {place(row)}: label {column[row]:g}, expected 0 for a good point and a whole number above it "
            "for a defect"
        )
    if (column > 0).all() and (column != column[0]).any():
        found = ", ".join(f"{value:g}" for value in np.unique(column)[:5])
        raise InputError(f"{path}: {place(0)}: labels are {found}, and none is 0, which says good")
    return column > 0
