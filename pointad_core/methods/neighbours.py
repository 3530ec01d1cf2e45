"""N(x) of Sec. 3.4: the k nearest other points of every point of a cloud, exactly.

On a CPU a k-d tree finds them. On a GPU, where a tree's branches would be slow, the points are sorted into the cells of
a cubic grid: all that lie nearer to a point than a cell's side are in the 3 x 3 x 3 cells around it, and three cells in
a row are one stretch of the sorted points. A point that has fewer than k so near looks again in cells twice as large;
the finest ones are such that few points share a cell, so that dense parts of a cloud are done with small ones and
sparse parts with large ones. Both compute distances in float64 by the same operations. Of equally near points at the
k-th place the tree takes any, the grid those of the first cells.
"""

import math

import numpy as np
import torch

MOST_SHARING = 32
"""Points in one cell of the finest grid at most, unless more of them coincide."""
MOST_HALVINGS = 20
"""Of the cloud's box, so that a cell's number has 63 bits at most."""
MOST_PAIRS = 1 << 21
"""Points and candidates whose distances are held at once; a pair takes some 150 bytes with all that it is found by."""


def find_neighbours(points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest other points of every point, nearest first, on the CPU.

    points: float [n, 3]. Returns indices int32 [n, k] and distances float64 [n, k] in the points' units. A point
    is never its own neighbour, also where others coincide with it. Raises ValueError unless 1 <= k <= n - 1.
    """
    from scipy.spatial import KDTree

    n, places = len(points), points.astype(np.float64)
    _check_count(k, n)
    distances, indices = KDTree(places).query(places, k=k + 1)
    keep = indices != np.arange(n)[:, None]
    # Among many coinciding points a point may not find itself: then its farthest find is one too many.
    keep[keep.all(axis=1), k] = False
    return indices[keep].reshape(n, k).astype(np.int32), distances[keep].reshape(n, k)


def _check_count(k: int, n: int) -> None:
    if not 1 <= k <= n - 1:
        raise ValueError(f"{k} neighbours asked for, {n} points allow 1 to {n - 1}")


def find_in_cells(points: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same on the device of the points: indices int32 [n, k], distances float64 [n, k].

    The order of the points makes no difference but among equally near ones. Raises ValueError as `find_neighbours`.
    """
    n, places = len(points), points.double()
    _check_count(k, n)
    extent = float((places.amax(0) - places.amin(0)).max()) or 1.0
    indices = torch.empty(n, k, dtype=torch.int32, device=points.device)
    distances = torch.empty(n, k, dtype=torch.float64, device=points.device)
    left = torch.arange(n, device=points.device)
    halvings = _count_halvings(places, extent)
    while len(left):
        side = extent / 2**halvings
        cells = _Cells(places, side)
        starts, lengths = cells.candidates(left)
        counts = lengths.sum(1)
        # A point is a candidate of its own. Whoever has few enough comes first: rows of about one length together.
        enough = (counts > k).nonzero()[:, 0]
        enough = enough[counts[enough].argsort(stable=True)]
        widths = counts[enough].cpu().numpy()
        done = torch.zeros(len(left), dtype=torch.bool, device=points.device)
        for part in _split(widths):
            rows = enough[part.start : part.stop]
            own = left[rows]
            width = int(widths[part.stop - 1])
            found, near = cells.nearest(own, starts[rows], lengths[rows], width, k)
            indices[own], distances[own] = found, near
            # Beyond the cells around it nothing is nearer than a side, less what rounding moves a cell's border by.
            done[rows] = near[:, -1] <= side * (1 - 1e-6)
        left = left[~done]
        halvings -= 1
    return indices, distances


def _count_halvings(places: torch.Tensor, extent: float) -> int:
    """How often the box is halved for the finest grid."""
    # On a surface that fills the box's side, so many points would share a cell on average as may share one at most.
    halvings = max(0, math.ceil(math.log2(len(places) / MOST_SHARING) / 2))
    while halvings < MOST_HALVINGS and _Cells(places, extent / 2**halvings).most() > MOST_SHARING:
        halvings += 1
    return halvings


def _split(widths: np.ndarray) -> list[slice]:
    """Stretches of rows whose widths ascend, each padded to its last width at most MOST_PAIRS."""
    parts, start = [], 0
    while start < len(widths):
        sizes = widths[start:].astype(np.int64) * np.arange(1, len(widths) - start + 1)
        stop = start + max(1, int(np.searchsorted(sizes, MOST_PAIRS, side="right")))
        parts.append(slice(start, stop))
        start = stop
    return parts


class _Cells:
    """Points sorted by the cells that they lie in, row by row."""

    def __init__(self, places: torch.Tensor, side: float) -> None:
        # A margin of one cell all round: the neighbours of a cell at the border are no other row's.
        self.cells = ((places - places.amin(0)) / side).long() + 1
        per_axis = int(self.cells.max()) + 2
        self.strides = torch.tensor([1, per_axis, per_axis**2], device=places.device)
        self.numbers, self.order = (self.cells * self.strides).sum(1).sort(stable=True)
        self.places = places
        self.sorted = places[self.order]

    def most(self) -> int:
        """Points in the fullest cell."""
        return int(torch.unique_consecutive(self.numbers, return_counts=True)[1].max())

    def candidates(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Where among the sorted points those around each of these begin, in nine rows of three cells, and how many
        they are: int64 [m, 9] both."""
        around = torch.arange(-1, 2, device=points.device)
        rows = (around[:, None] * self.strides[1] + around * self.strides[2]).flatten().sort().values
        middle = (self.cells[points] * self.strides).sum(1)[:, None] + rows
        starts = torch.searchsorted(self.numbers, middle - 1)
        return starts, torch.searchsorted(self.numbers, middle + 1, right=True) - starts

    def nearest(
        self, points: torch.Tensor, starts: torch.Tensor, lengths: torch.Tensor, width: int, k: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The k nearest of at most `width` candidates of these points: int32 and float64 [m, k]."""
        ends = lengths.cumsum(1)
        column = torch.arange(width, device=points.device).expand(len(points), -1).contiguous()
        row = torch.searchsorted(ends, column, right=True)
        there = row < 9
        place = column + (starts - ends + lengths).gather(1, row.clamp(max=8))
        place = torch.where(there, place, 0)
        found = self.order[place]
        x, y, z = (
            part[place] - own[:, None]
            for part, own in zip(self.sorted.unbind(1), self.places[points].unbind(1), strict=True)
        )
        squared = x * x + y * y + z * z
        squared = torch.where(there & (found != points[:, None]), squared, math.inf)
        near, kept = squared.sort(dim=1, stable=True)
        return found.gather(1, kept[:, :k]).int(), near[:, :k].sqrt()
