"""Fewer or more views of a view set (Table 7), taken evenly; light, for the workflow reads it while it is planned.

The paper gives Table 7 as a picture and does not say which views its rows have. The reading here: each of a view set's
two arcs, about x and about y, keeps its ends. Fewer views are some of its own; more are the same arcs in smaller steps.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from pointad_core.errors import InputError


def take_views(views: Mapping[str, Any], n_views: int) -> dict[str, Any]:
    """A view set {tilt, x, y} of n_views (1 or more) views in the place of another; as many as it has are itself.

    Both arcs get views in proportion to their own. Each has an odd or an even number of them as it had before, so that
    the front, which only the arc with an odd number shows, is seen once; an even number of views of an odd set goes
    without it. Raises InputError where an arc has a single angle, of which more views cannot be taken.
    """
    x, y = list(views["x"]), list(views["y"])
    total = len(x) + len(y)
    if n_views == total:
        return dict(views)
    odd = len(x) % 2 if n_views % 2 == total % 2 else 0
    n_x = odd + 2 * round((Fraction(n_views * len(x), total) - odd) / 2) if y else n_views
    for axis, arc, count in (("x", x, n_x), ("y", y, n_views - n_x)):
        if count > len(set(arc)) == 1:
            raise InputError(f"n_views is {n_views}, but {count} of them cannot be spread over the one angle in {axis}")
    return {**views, "x": _spread(x, n_x), "y": _spread(y, n_views - n_x)}


def _spread(angles: Sequence[float], n: int) -> list[float]:
    """n angles from the first to the last of an arc's, in equal steps of their numbers: some of its own where they are
    fewer, with those between two of its own where they are more; a single one is its middle."""
    angles = sorted(angles)
    if not n or n == len(angles):
        return angles[:n]
    last = len(angles) - 1
    places = [Fraction(last * step, n - 1) for step in range(n)] if n > 1 else [Fraction(last, 2)]
    if n < len(angles):
        return [angles[round(place)] for place in places]
    found = []
    for place in places:
        before = min(int(place), last - 1)
        low, high = Fraction(angles[before]), Fraction(angles[before + 1])
        found.append(float(low + (place - before) * (high - low)))
    return found
