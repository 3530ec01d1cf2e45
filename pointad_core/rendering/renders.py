"""What a renderer makes of a cloud: views, their ground truth and the point-pixel maps (Sec. 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Renders:
    """All views of a cloud of n points.

    images: u1[K,S,S], grey; the background is white, that of depth images black
    masks: u1[K,S,S], 1 where the view shows anomalous points
    pixels: i2[K,n,2], (column, row) of each point, clipped to the image
    visible: bool[K,n]; a point that no view shows has the flags of its nearest shown neighbour
    unseen: number of such points
    """

    images: np.ndarray
    masks: np.ndarray
    pixels: np.ndarray
    visible: np.ndarray
    unseen: int
