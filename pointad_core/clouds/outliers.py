"""Stray points far from a cloud: a view shows all points, so that a single one far away shrinks the object to a dot."""

import logging
from pathlib import Path

import numpy as np

logger = logging.getLogger(__name__)

FACTOR = 4
"""A point is stray that lies more than so many times farther from the middle than 95 of 100 points do. The rule is
deliberately coarse: no part of an object that a view could still show is ever stray. Scans of objects, whatever their
shape, have 1.5 at most, a long thin one 1.1."""
SHARE = 95
"""Percentage of the points that say how large the object is."""


def find_stray(points: np.ndarray) -> np.ndarray:
    """Which of the points [n,3] are stray, bool[n]: farther from the median of all than `FACTOR` times their 95th
    percentile of that distance. Neither median nor percentile moves with them as long as they are less than 5 %."""
    if not len(points):
        return np.zeros(0, bool)
    distances = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    return distances > FACTOR * np.percentile(distances, SHARE)


def report_stray(points: np.ndarray, remove: bool, path: Path) -> np.ndarray:
    """The stray ones of the points [n,3], bool[n], if they are to be removed; none otherwise. The log tells of them."""
    stray = find_stray(points)
    if stray.any():
        middle = np.median(points[~stray], axis=0)
        usual, farthest = (np.linalg.norm(some - middle, axis=1).max() for some in (points[~stray], points[stray]))
        logger.warning(
            "%s: %d of %d points lie far away, up to %.4g from the middle where all others lie within %.4g; %s",
            *(path, stray.sum(), len(points), farthest, usual),
            "removed" if remove else "they make the object small in its views (`outliers: remove` takes them out)",
        )
    return stray & remove
