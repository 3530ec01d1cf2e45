"""Cells of a coarse grid: against PyTorch's averages of whole images, and pixels by loops."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pointad_core.methods.cells import pooling, thin_grid


@pytest.mark.parametrize(("resolution", "side"), [(30, 20), (30, 30), (20, 30), (31, 7)])
def test_thinning_is_by_nearest_neighbour(resolution, side):
    rng = np.random.default_rng(resolution + side)
    grid = np.flatnonzero(rng.random(resolution**2) < 0.4)
    chosen, pixels = thin_grid(grid, resolution, side)
    small = min(side, resolution)
    image = torch.zeros(resolution * resolution)
    image[grid] = torch.arange(1.0, len(grid) + 1)
    reduced = F.interpolate(image.reshape(1, 1, resolution, resolution), size=(small, small), mode="nearest")
    wanted = {pixel: int(value) - 1 for pixel, value in enumerate(reduced.flatten().tolist()) if value}
    assert dict(zip(pixels.tolist(), chosen.tolist(), strict=True)) == wanted


@pytest.mark.parametrize(("side", "cells"), [(224, 56), (30, 7), (12, 10), (10, 20)])
def test_pooling_is_that_of_whole_images(side, cells):
    rng = np.random.default_rng(side)
    pixels = np.flatnonzero(rng.random(side**2) < 0.3)
    features = rng.normal(size=(len(pixels), 5))
    image = torch.zeros(5, side * side, dtype=torch.float64)
    image[:, pixels] = torch.from_numpy(features.T)
    averaged = F.avg_pool2d(image.reshape(1, 5, side, side), 3, stride=1)
    wanted = F.adaptive_avg_pool2d(averaged, cells)[0].flatten(1).T
    np.testing.assert_allclose(pooling(pixels, side, cells) @ features, wanted, atol=1e-12)
