"""Which points each view shows (the mask M of the paper, Sec. 3.3), the same for all shaded renderers.

`strict` is the paper's: of the points that fall on one pixel of the image the nearest is visible, exactly one. Dense
clouds lose a third of their visible points to it, since neighbours on the surface share pixels.

`soft`, the default, asks whether the surface that the image shows at the point's place is the point's own: a point is
visible unless a depth buffer of squares is nearer there by more than a tolerance. Squares, and not bare points, so
that the back of an object does not show through the gaps between the points of its front.

As all squares have one size, drawing them is a maximum over a sliding window: each point puts its value at the first
pixel of its square, and the maximum over the window that looks back over a square's width is the largest that covers
a pixel. Of nearness that is the depth buffer.
"""

import math

import torch

from pointad_core.clouds.subsets import nearest
from pointad_core.errors import InputError
from pointad_core.rendering.views import STEPS, Projection, box, footprint

TOLERANCE = 2.0
"""Tolerance of the soft depth test in widths of a square at the middle of the object, a few point spacings.

A square reaches half a width from its centre, so a flat surface inclined by up to atan(2 * 2) = 76 degrees to the
image does not hide itself.
"""
POINTS_PER_CELL = 5.0
"""A square is wide enough when cells of its width hold so many points on average: then few squares of the front's
points leave a gap, wherever they fall."""


def square_size(points: torch.Tensor, size: int, window: int) -> int:
    """Width in window pixels of the depth buffer's squares: `size`, that of a point, or more where the cloud is sparse.

    points: [n,3] in any unit. Depends on how many cells of a grid the points occupy, not on their order.
    Raises InputError as `views.box` does.
    """
    axes, low, high = box(points)
    unit = (axes - low) / (high - low).amax()
    while size < window:
        cells = (unit / footprint(size, window)).to(torch.int64)
        per_side = int(cells.max()) + 1
        occupied = torch.unique((cells[0] * per_side + cells[1]) * per_side + cells[2])
        per_cell = len(points) / len(occupied)
        if per_cell >= POINTS_PER_CELL:
            break
        # On a surface the number of points in a cell grows with its width squared.
        size = max(size + 1, math.floor(size * math.sqrt(POINTS_PER_CELL / per_cell)))
    return min(size, window)


def tolerance(size: int, window: int) -> float:
    """How much nearer, in steps of `Projection.levels`, a square of `size` window pixels may be than what it shows."""
    return TOLERANCE * footprint(size, window) * STEPS


def draw_squares(projection: Projection, values: torch.Tensor, size: int) -> torch.Tensor:
    """The largest value over each window pixel, i4[K,W,W]; -1 where no point covers it.

    values: i4[K,n], not negative. A point covers the pixels whose centre lies within half the size of its place,
    size x size of them; points out of the frame cover none.
    """
    # A margin before the first row and column takes the squares that begin outside.
    margin = size - 1
    side = projection.window + margin
    places = projection.columns, projection.rows
    left, top = ((c - size / 2).ceil().clamp_(-margin, projection.window - 1) for c in places)
    start = ((top + margin) * side + (left + margin)).to(torch.int64)
    values = torch.where(projection.inside, values, -1)
    canvas = torch.full((len(values), side * side), -1, dtype=torch.int32, device=values.device)
    canvas = canvas.scatter_reduce_(1, start, values, "amax").view(-1, side, side)
    return largest_of(largest_of(canvas, size, 1), size, 2)


def largest_of(canvas: torch.Tensor, size: int, axis: int) -> torch.Tensor:
    """Maximum over `size` neighbours along an axis, which gets size - 1 shorter: in log2(size) doubling steps."""
    covered = 1
    while covered < size:
        step = min(covered, size - covered)
        length = canvas.shape[axis] - step
        canvas = torch.maximum(canvas.narrow(axis, step, length), canvas.narrow(axis, 0, length))
        covered += step
    return canvas


def soft(projection: Projection, size: int) -> torch.Tensor:
    """bool[K,n]: no square of `size` window pixels is nearer at the point's pixel by more than the tolerance."""
    window, levels = projection.window, projection.levels
    front = draw_squares(projection, levels, size).flatten(1)
    # The pixel that a square of one pixel would cover.
    columns, rows = ((c - 0.5).ceil().clamp_(0, window - 1) for c in (projection.columns, projection.rows))
    at_pixel = front.gather(1, (rows * window + columns).to(torch.int64))
    return projection.inside & (at_pixel - levels <= tolerance(size, window))


def strict(projection: Projection, resolution: int) -> torch.Tensor:
    """bool[K,n]: nearest along the viewing axis at its pixel of the image (S = resolution), the first if tied."""
    pixels = projection.pixels(resolution)
    cells = pixels[..., 1] * resolution + pixels[..., 0]
    depths = torch.where(projection.inside, projection.points[:, 2], -math.inf)
    best = depths.new_full((len(depths), resolution**2), -math.inf).scatter_reduce_(1, cells, depths, "amax")
    tied = projection.inside & (depths == best.gather(1, cells))
    n = depths.shape[1]
    order = torch.where(tied, torch.arange(n, device=depths.device), n)
    first = order.new_full(best.shape, n).scatter_reduce_(1, cells, order, "amin")
    return tied & (first.gather(1, cells) == order)


def fill_in(visible: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Give each point that no view shows the flags of its nearest shown neighbour in 3-D; it keeps its own pixels.

    visible: bool[K,n]; points: [n,3]. Returns the filled flags and how many points needed it.
    Raises InputError where no view shows any point.
    """
    seen = visible.any(0)
    unseen, shown = (~seen).nonzero()[:, 0], seen.nonzero()[:, 0]
    if not len(unseen):
        return visible, 0
    if not len(shown):
        raise InputError("no view shows any point of the cloud; check the view set and the cloud's coordinates")
    visible = visible.clone()
    visible[:, unseen] = visible[:, shown[nearest(points[unseen], points[shown])]]
    return visible, len(unseen)
