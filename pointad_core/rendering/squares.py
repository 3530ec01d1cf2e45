"""Points as squares of one size: at every pixel of the window the largest value of those that cover it.

All squares have one size, so drawing them is a maximum over a sliding window: each point puts its value at the first
pixel of its square, and the maximum over the window that looks back over one square's width is, at every pixel, the
largest value that covers it. With nearness as the value that is a depth buffer.
"""

from __future__ import annotations

import torch

from pointad_core.rendering.views import Projection


def draw_squares(projection: Projection, values: torch.Tensor, size: int) -> torch.Tensor:
    """The largest value over each window pixel, i4[K,W,W]; -1 where no point covers it.

    values: i4[K,n], not negative. A point covers the pixels whose centre lies within half the size of its place,
    size x size of them; points out of the frame cover none.
    """
    window, views = projection.window, values.shape[0]
    # A margin before the first row and column takes the squares that begin outside.
    margin = size - 1
    side = window + margin
    left, top = ((c - size / 2).ceil().clamp_(-margin, window - 1) for c in (projection.columns, projection.rows))
    start = ((top + margin) * side + (left + margin)).to(torch.int64)
    values = torch.where(projection.inside, values, -1)
    canvas = torch.full((views, side * side), -1, dtype=torch.int32, device=values.device)
    canvas = canvas.scatter_reduce_(1, start, values, "amax").view(views, side, side)
    for axis in (1, 2):
        canvas = largest_of(canvas, size, axis)
    return canvas


def largest_of(canvas: torch.Tensor, size: int, axis: int) -> torch.Tensor:
    """Maximum over `size` neighbours along an axis, which gets size - 1 shorter: in log2(size) doubling steps."""
    covered = 1
    while covered < size:
        step = min(covered, size - covered)
        length = canvas.shape[axis] - step
        canvas = torch.maximum(canvas.narrow(axis, step, length), canvas.narrow(axis, 0, length))
        covered += step
    return canvas
