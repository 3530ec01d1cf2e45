"""From a scan's points and photograph to the cells of a coarse grid, and back to smoothed scores of its points.

As systems with memory banks are published, each pixel but the outermost becomes the mean of the 3 x 3 around it, and
then each cell the mean of its pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from pointad_core.errors import InputError
from pointad_core.methods.interface import CloudSample
from pointad_core.methods.smoothing import smooth_map, smooth_points

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


def to_cells(image: torch.Tensor, cells: int) -> torch.Tensor:
    """Means float32 [d, cells * cells] over the cells of a map float32 [d, h, w]."""
    return F.adaptive_avg_pool2d(F.avg_pool2d(image[None], 3, stride=1), cells)[0].flatten(1)


def colour_cells(maps: Sequence[torch.Tensor], cells: int) -> torch.Tensor:
    """Features float32 [cells * cells, d] of a photograph's cells, from its maps [d1, h1, w1], [d2, h2, w2], ..."""
    return torch.cat([to_cells(part, cells) for part in maps]).T


def check_photographs(without: int, scans: int) -> None:
    """InputError where some of a category's good scans have a photograph and others, `without`, have none."""
    if without not in (0, scans):
        raise InputError(f"{without} of {scans} good scans have no photograph, others have one")


def pooling(pixels: np.ndarray, side: int, cells: int) -> csr_array:
    """What makes means over cells of features of points: a sparse matrix, float64 [cells * cells, n].

    pixels: flat pixels of the points on the side x side grid, whose other pixels count as 0. Both means are linear, and
    the same for rows and columns.
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


def to_pixels(values: torch.Tensor, held: np.ndarray, sample: CloudSample) -> np.ndarray:
    """Values float32 [p] of those cells that `held`, bool [cells * cells], names, at the points of an organised scan,
    float32 [n]: bilinearly, 0 in all other cells."""
    cells, size = round(len(held) ** 0.5), (sample.resolution, sample.resolution)
    image = torch.zeros(cells * cells)
    image[torch.from_numpy(held)] = values
    whole = F.interpolate(image.reshape(1, 1, cells, cells), size=size, mode="bilinear", align_corners=False)
    return whole.flatten().numpy()[sample.grid]


def smooth_scores(scores: np.ndarray, sample: CloudSample, sigma: float) -> np.ndarray:
    """Scores float [n] of a scan's points after the filter: float32 [S, S] of an organised one, else [n]."""
    if sample.grid is None:
        return smooth_points(scores, sample.points, sigma)
    image = np.zeros(sample.resolution**2, dtype=np.float32)
    image[sample.grid] = scores
    return smooth_map(image.reshape(sample.resolution, sample.resolution), sigma)
