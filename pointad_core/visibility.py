"""Which points each view shows (the mask M of the paper), the same for both renderers.

`strict` is the paper's: of the points that fall on one pixel of the image the nearest is visible, exactly one. Dense
clouds lose a third of their visible points to it, since neighbours on the surface share pixels.

`soft`, the default, asks whether the surface that the image shows at the point's place is the point's own: a point is
visible unless a depth buffer of squares is nearer there by more than a tolerance. Squares, and not bare points, so
that the back of an object does not show through the gaps between the points of its front.
"""

from __future__ import annotations

import math

import torch

from pointad_core.errors import InputError
from pointad_core.splatter import splat
from pointad_core.views import DEPTH_BITS, Projection, footprint

TOLERANCE = 1.5
"""Tolerance of the soft depth test in widths of a square at the middle of the object.

A square reaches half a width from its centre, so a flat surface inclined by up to atan(2 * 1.5) = 72 degrees to the
image does not hide itself; a square is a few point spacings wide, and so is the tolerance. It needs no unit.
"""
POINTS_PER_CELL = 3.0
"""A square is wide enough when cells of its width hold so many points on average: then few squares of the front's
points leave a gap, wherever they fall."""


def square_size(points: torch.Tensor, point_size: int, window: int) -> int:
    """Width in window pixels of the depth buffer's squares: the point size, or more where the cloud is sparse.

    points: [n,3] in any unit. Depends on how many cells of a grid the points occupy, not on their order.
    """
    points = points.to(torch.float64)
    low, high = points.aminmax(dim=0)
    unit = (points - low) / (high - low).amax()
    size = point_size
    while size < window:
        cells = (unit / footprint(size, window)).to(torch.int64)
        per_side = int(cells.max()) + 1
        keys = (cells[:, 0] * per_side + cells[:, 1]) * per_side + cells[:, 2]
        per_cell = len(keys) / len(torch.unique(keys))
        if per_cell >= POINTS_PER_CELL:
            break
        # On a surface the number of points in a cell grows with its width squared.
        size = max(size + 1, math.floor(size * math.sqrt(POINTS_PER_CELL / per_cell)))
    return min(size, window)


def soft(projection: Projection, size: int) -> torch.Tensor:
    """bool[K,n]: no square of `size` window pixels is nearer at the point's pixel by more than the tolerance."""
    window = projection.window
    levels = projection.levels
    nearest = splat(projection, levels, size).flatten(1)
    columns, rows = ((c + 0.5).floor().clamp_(0, window - 1) for c in (projection.columns, projection.rows))
    at_pixel = nearest.gather(1, (rows * window + columns).to(torch.int64))
    tolerance = TOLERANCE * footprint(size, window) * ((1 << DEPTH_BITS) - 1)
    return projection.inside & (at_pixel - levels <= tolerance)


def strict(projection: Projection, resolution: int) -> torch.Tensor:
    """bool[K,n]: nearest along the viewing axis at its pixel of the image (S = resolution), the first if tied."""
    views, n = projection.columns.shape
    pixels = projection.pixels(resolution)
    cells = pixels[..., 1] * resolution + pixels[..., 0]
    depths = torch.where(projection.inside, projection.points[:, 2], -math.inf)
    nearest = depths.new_full((views, resolution * resolution), -math.inf)
    nearest.scatter_reduce_(1, cells, depths, "amax")
    order = torch.arange(n, device=depths.device).expand(views, n)
    order = torch.where(projection.inside & (depths == nearest.gather(1, cells)), order, n)
    first = order.new_full((views, resolution * resolution), n)
    first.scatter_reduce_(1, cells, order, "amin")
    return (order < n) & (first.gather(1, cells) == order)


def fill_in(visible: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Give each point that no view shows the flags of its nearest shown neighbour in 3-D; it keeps its own pixels.

    visible: bool[K,n]; points: [n,3]. Returns the filled flags and how many points needed it.
    Raises InputError where no view shows any point.
    """
    seen = visible.any(0)
    unseen = (~seen).nonzero()[:, 0]
    if not len(unseen):
        return visible, 0
    shown = seen.nonzero()[:, 0]
    if not len(shown):
        raise InputError("no view shows any point of the cloud; check the view set and the cloud's coordinates")
    visible = visible.clone()
    visible[:, unseen] = visible[:, shown[nearest(points[unseen], points[shown])]]
    return visible, len(unseen)


def nearest(queries: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Index i8[m] of the point [n,3] nearest to each query [m,3]; of points equally near, the first.

    Exact, by branch and bound over blocks of queries and blocks of points together: both are sorted along a curve
    that fills space, so that 512, 64 and 8 neighbours in that order are blocks with small boxes. A pair of blocks is
    dropped when even the smallest distance between them is more than some point is sure to offer.
    """
    queries, points = queries.to(torch.float64), points.to(torch.float64)
    low, high = torch.cat([queries, points]).aminmax(dim=0)
    q_order, p_order = (_along_curve((x - low) / (high - low).amax().clamp(min=1e-300)) for x in (queries, points))
    points = points[p_order]
    found = torch.empty(len(queries), dtype=torch.int64, device=queries.device)
    # So many queries at a time, to bound the number of pairs held.
    for some in q_order.split(8192):
        found[some] = _nearest_in_order(queries[some], points, p_order)
    return found


_BLOCKS = (512, 64, 8, 1)
_BRANCH = 8


def _nearest_in_order(queries: torch.Tensor, points: torch.Tensor, rank: torch.Tensor) -> torch.Tensor:
    # For queries and points in the order of the curve: the lowest rank among the points nearest to each query.
    m = len(queries)
    queries, points = _fill_block(queries), _fill_block(points)
    rank = _fill_block(rank)
    q, p = (torch.arange(len(x) // _BLOCKS[0], device=x.device) for x in (queries, points))
    q, p = (index.flatten() for index in torch.meshgrid(q, p, indexing="ij"))
    branch = torch.arange(_BRANCH, device=queries.device)
    for block in _BLOCKS:
        if block != _BLOCKS[0]:
            # Every block of a pair falls into eight.
            q, p = q[:, None, None] * _BRANCH + branch[:, None], p[:, None, None] * _BRANCH + branch
            q, p = (index.flatten() for index in torch.broadcast_tensors(q, p))
        q_low, q_high = queries.view(-1, block, 3).aminmax(dim=1)
        p_low, p_high = points.view(-1, block, 3).aminmax(dim=1)
        # The smallest distance that the boxes allow, and the largest to one point of the block. Rounding cannot turn
        # these around: subtraction, squares and sums of them are monotone.
        at_least = torch.maximum(p_low[p] - q_high[q], q_low[q] - p_high[p]).clamp_(min=0).square_().sum(1)
        one = points[::block][p]
        at_most = torch.maximum((one - q_low[q]).abs_(), (q_high[q] - one).abs_()).square_().sum(1)
        bound = at_most.new_full((len(q_low),), math.inf).scatter_reduce_(0, q, at_most, "amin")
        kept = at_least <= bound[q]
        q, p = q[kept], p[kept]
    # What is left are points at the smallest distance.
    first = rank.new_full((len(queries),), torch.iinfo(rank.dtype).max)
    return first.scatter_reduce_(0, q, rank[p], "amin")[:m]


def _fill_block(rows: torch.Tensor) -> torch.Tensor:
    # Repeat the last row until a whole number of the largest blocks is full.
    missing = -len(rows) % _BLOCKS[0]
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])])


def _along_curve(unit: torch.Tensor) -> torch.Tensor:
    # Order of points of the unit cube along a Z curve: the bits of their coordinates, interleaved.
    cells = (unit * 1023).to(torch.int64)
    code = torch.zeros_like(cells[:, 0])
    for bit in range(10):
        for axis in range(3):
            code |= (cells[:, axis] >> bit & 1) << (3 * bit + axis)
    return code.argsort(stable=True)
