"""From an organised scan's points to the cells of a coarse grid, as systems with memory banks take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def thin_grid(grid: np.ndarray, resolution: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The points that a scan has at side x side pixels, by nearest neighbour, and their pixels there.

    grid: flat pixels of the points on the resolution x resolution grid, ascending. Both integer [m], ascending; all
    points where the grid is not larger than that.
    """
    side = min(side, resolution)
    index = np.full(resolution * resolution, -1)
    index[grid] = np.arange(len(grid))
    lines = np.arange(side) * resolution // side
    there = index.reshape(resolution, resolution)[lines[:, None], lines].ravel()
    pixels = np.flatnonzero(there >= 0)
    return there[pixels], pixels


def pooling(pixels: np.ndarray, side: int, cells: int) -> csr_array:
    """What makes means over cells of features of points: a sparse matrix, float64 [cells * cells, n].

    pixels: flat pixels of the points on the side x side grid, where no features are 0 elsewhere. As the published
    systems do it, each pixel but the outermost becomes the mean of the 3 x 3 around it, and then each cell the mean of
    its pixels; both are linear and the same for rows and columns, so that one matrix of all points does for both.
    """
    from scipy.sparse import csr_array

    line = pooling_line(side, cells)
    rows, columns = csr_array(line[:, pixels // side]), csr_array(line[:, pixels % side])
    cell_rows, cell_columns = np.divmod(np.arange(cells * cells), cells)
    return csr_array(rows[cell_rows].multiply(columns[cell_columns]))


def pooling_line(side: int, cells: int) -> np.ndarray:
    """The same in one dimension, [cells, side]: a mean of three pixels, and of what lies in each cell of these."""
    inner = side - 2
    threes = sum(np.eye(inner, side, k=offset) for offset in range(3)) / 3
    starts = np.arange(cells) * inner // cells
    ends = -(-(np.arange(1, cells + 1) * inner) // cells)
    within = (np.arange(inner) >= starts[:, None]) & (np.arange(inner) < ends[:, None])
    return within / within.sum(1, keepdims=True) @ threes
