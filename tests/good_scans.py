"""Scans of a dome for systems that learn from good ones, with or without a bump, and networks to read them with."""

import numpy as np
import torch
from torch.nn import functional as F

from pointad_core.methods.interface import CloudSample

SIDE = 84


def dome(seed, bump=False, photograph=True, organised=True, n=60):
    """A dome of 8 cm with waves; a bump of 6 mm, red in the photograph. The labels are `on_bump` of it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:n, :n] / n * 2 - 1
    inside = x**2 + y**2 < 0.9
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1)) + 0.02 * np.sin(9 * x + seed) + 0.003 * rng.normal(size=x.shape)
    if bump:
        z = z + 0.15 * np.exp(-((x - 0.3) ** 2 + (y - 0.2) ** 2) / 0.01)
    rows, columns = np.nonzero(inside)
    offset = (SIDE - n) // 2
    grid = ((rows + offset) * SIDE + columns + offset).astype(np.int32)
    points = (0.04 * np.stack([x, y, z], -1)[inside]).astype(np.float32)
    if not organised:
        return CloudSample(1000 * points, 1000.0, None, SIDE, None)
    image = None
    if photograph:
        image = np.zeros((SIDE * SIDE, 3), np.uint8)
        image[grid] = (100 + 40 * np.sin(8 * x[inside])[:, None] + rng.normal(0, 5, (len(grid), 3))).clip(0, 255)
        image[grid[on_bump(points) & bump]] = (250, 20, 20)
        image = image.reshape(SIDE, SIDE, 3)
    return CloudSample(points, 1.0, grid, SIDE, image)


def on_bump(points):
    """Which points of a dome float [n, 3], in metres, a bump covers."""
    return (points[:, 0] / 0.04 - 0.3) ** 2 + (points[:, 1] / 0.04 - 0.2) ** 2 < 0.02


def colours(photograph):
    """A tower: means and deviations of the colours in 12 x 12 cells, float32 [6, 12, 12]."""
    image = torch.from_numpy(photograph).permute(2, 0, 1)[None].float() / 255
    means = F.adaptive_avg_pool2d(image, 12)
    squares = F.adaptive_avg_pool2d(image**2, 12)
    return [torch.cat([means, (squares - means**2).clamp(min=0).sqrt()], dim=1)[0]]
