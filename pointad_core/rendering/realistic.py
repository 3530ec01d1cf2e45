"""Realistic projection of PointCLIP V2: depth images of a cloud's voxels, densified, smoothed and squeezed.

In each of ten views the points fall into a grid of voxels that holds their depths. A 3-D maximum closes the gaps
between the points, a 3-D Gaussian smooths, and the maximum along the viewing axis is the image: nearer is darker,
the background is white. A point is visible where its own voxel is about as near as what the image shows there.

The constants are those of PointCLIP V2's part segmentation, which takes 2048 points: its windows are made for so
many. A cloud is projected by as many of its points, drawn at random; the others take the pixels and the visibility,
and so the scores, of the nearest of these.

Two things differ from its published implementation: a point's pixel is looked up in the row and column that it was
drawn in, and of points in one voxel the nearest stays, so that the order of the points does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from pointad_core.clouds.subsets import nearest, random_subset
from pointad_core.rendering import views
from pointad_core.rendering.renders import Renders
from pointad_core.rendering.squares import largest_of
from pointad_core.rendering.visibility import fill_in

POINTS = 2048
"""Points of a cloud that are projected."""

SIDE, DEPTH = 224, 112
"""Voxels of the grid across and along the viewing axis."""
STEPS = 256
"""Steps of depth in a layer: the grid holds 16-bit integers, whose maxima take a quarter of the time of floats."""
OBJECT = 0.7
"""Share of the grid's side that the object's largest extent takes."""
NEARNESS = 0.3
"""Depth of the object's back, in units of its largest extent: the image tells it from the empty background."""
WINDOW = (5, 11, 11)
"""Voxels (depth, row, column) of the maximum that densifies the grid."""
SIGMAS = (2.0, 1.0, 1.0)
"""Widths in voxels of the Gaussian, which takes five voxels along each axis."""
REACH = 2
CROP = (20, 204)
"""Rows and columns of the grid that become the image."""
_SLAB = 16
"""Rows that are smoothed at a time."""
TOLERANCE = 0.1
"""How much a visible point's voxel may differ from the image, of the view's nearest depth."""

QUARTERS = (0, 90, 180, 270)
FIRST = [[0, quarter, 0] for quarter in 2 * QUARTERS] + [[0, 0, -90], [0, 0, 90]]
SECOND = [[0, 45, 20]] * 4 + [[0, 0, 20]] * 4 + [[0, 12, 12]] * 2
"""Turns of the ten views, each [0, about x, about y] in degrees and one after the other: around the object from
above, around it, from its top and bottom."""


def angles(views: Mapping[str, Any]) -> list[list[float]]:
    """The ten views as rows [tilt, about x, about y] in degrees: the view set's tilt, and each axis's turns added."""
    pairs = zip(FIRST, SECOND, strict=True)
    return [[float(views["tilt"]), float(a[1] + b[1]), float(a[2] + b[2])] for a, b in pairs]


def rotations(tilt: float) -> torch.Tensor:
    """Rotation matrices f8[10,3,3] of the views; tilt: degrees by which the data set is turned about x before any.

    A quarter turn about z comes first: it lays the object's upward axis along the rows of the image.
    """
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    return views.rotations(SECOND) @ views.rotations(FIRST) @ quarter @ views.rotations([[tilt, 0, 0]])


@dataclass(frozen=True)
class Places:
    """Voxels of n points in one view, i8[n] each, and their depths i4[n] in 1/256 of a layer, larger is nearer."""

    layers: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    depths: torch.Tensor


def place(points: torch.Tensor, rotation: torch.Tensor) -> Places:
    """Voxels of points [n,3] turned by a rotation f8[3,3]: x runs along rows, y along columns, z towards the eye.

    The turned points' box is centred and its longest edge scaled to 2; then x and y to 0.7 of the grid.
    """
    turned = points.to(torch.float64) @ rotation.T
    low, high = turned.aminmax(dim=0)
    unit = (turned - (low + high) / 2) * (2 / (high - low).max())
    rows, columns = (((unit[:, axis] * OBJECT + 1) / 2 * SIDE).ceil().clamp(1, SIDE - 2).long() for axis in (0, 1))
    depths = ((unit[:, 2] + 1) / 2 + NEARNESS) / (1 + NEARNESS) * (DEPTH - 2)
    # The grid's last layer but two is the last that a point is looked up in.
    layers = depths.ceil().clamp(1, DEPTH - 3).long()
    return Places(layers, rows, columns, (depths.clamp(1, DEPTH - 2) * STEPS).round().to(torch.int32))


def gaussian(sigma: float) -> list[float]:
    """Weights of a Gaussian at offsets 0, 1, 2 that sum to 1 over -2..2."""
    weights = [math.exp(-(offset**2) / (2 * sigma**2)) for offset in range(REACH + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    return [weight / total for weight in weights]


def _smooth(grid: torch.Tensor, sigma: float, axis: int) -> torch.Tensor:
    own, *others = gaussian(sigma)
    smooth = grid * own
    length = grid.shape[axis]
    for offset, weight in enumerate(others, start=1):
        if offset < length:
            there, here = grid.narrow(axis, offset, length - offset), grid.narrow(axis, 0, length - offset)
            smooth.narrow(axis, 0, length - offset).add_(there, alpha=weight)
            smooth.narrow(axis, offset, length - offset).add_(here, alpha=weight)
    return smooth


def _densify(grid: torch.Tensor, size: int, axis: int) -> torch.Tensor:
    # Nothing is below zero: zeros beyond the grid change no maximum.
    margin = [0, 0] * (grid.ndim - 1 - axis) + [size // 2, size // 2]
    return largest_of(F.pad(grid, margin), size, axis)


def _squeeze(
    grid: torch.Tensor, layers: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth a grid [Z,R,C] and take its maximum over Z: f4[R,C]; and the smoothed value at n voxels: f4[n].

    A few rows at a time, which stay in the processor's cache and never become a whole grid of floats.
    """
    near = torch.empty(grid.shape[1:], dtype=torch.float32, device=grid.device)
    own = torch.empty(len(layers), dtype=torch.float32, device=grid.device)
    for first in range(0, grid.shape[1], _SLAB):
        last = min(first + _SLAB, grid.shape[1])
        start = max(first - REACH, 0)
        slab = grid[:, start : last + REACH].to(torch.float32)
        slab = _smooth(slab, SIGMAS[1], 1)[:, first - start : last - start]
        slab = _smooth(_smooth(slab, SIGMAS[0], 0), SIGMAS[2], 2)
        near[first:last] = slab.amax(0)
        here = ((rows >= first) & (rows < last)).nonzero()[:, 0]
        own[here] = slab[layers[here], rows[here] - first, columns[here]]
    return near, own


def draw(places: Places, anomalous: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image and ground truth f4[224,224] and bool[224,224] of one view, and which points are visible, bool[n].

    anomalous: bool[n]. Image: 0 for the nearest surface to 1 for the background. Ground truth: where the nearest
    point in the densifying window is anomalous.
    """
    voxels = (places.layers, places.rows, places.columns)
    # Beyond the object's box and the reach of both windows the grid is empty, and stays so.
    low, shape = [], []
    for axis, (index, size) in enumerate(zip(voxels, (DEPTH, SIDE, SIDE), strict=True)):
        margin = WINDOW[axis] // 2 + REACH
        first, last = max(int(index.min()) - margin, 0), min(int(index.max()) + margin, size - 1)
        low.append(first)
        shape.append(last - first + 1)
    layers, rows, columns = (index - first for index, first in zip(voxels, low, strict=True))
    pixels = rows * shape[2] + columns

    grid = torch.zeros(shape[0] * shape[1] * shape[2], dtype=torch.int32, device=pixels.device)
    grid.scatter_reduce_(0, layers * (shape[1] * shape[2]) + pixels, places.depths, "amax")
    grid = grid.to(torch.int16).view(shape)
    for axis in range(3):
        grid = _densify(grid, WINDOW[axis], axis)
    near, own = _squeeze(grid, layers, rows, columns)
    scale = near.max()
    near, own = near / scale, own / scale
    visible = near[rows, columns] - own < TOLERANCE

    # Below its depth each point has a bit that says it is normal: of equally near points the normal one wins.
    keys = places.depths << 1 | (~anomalous).int()
    truth = torch.zeros(shape[1] * shape[2], dtype=torch.int32, device=pixels.device)
    truth = truth.scatter_reduce_(0, pixels, keys, "amax").view(shape[1:])
    for axis in range(2):
        truth = _densify(truth, WINDOW[1 + axis], axis)

    image = near.new_ones(SIDE, SIDE)
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool, device=near.device)
    window = (slice(low[1], low[1] + shape[1]), slice(low[2], low[2] + shape[2]))
    image[window] = 1 - near
    mask[window] = (truth > 0) & (truth & 1 == 0)
    return image, mask, visible


def project(
    points: torch.Tensor, anomalous: torch.Tensor, tilt: float, resolution: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw a cloud in the ten views; crop and resize the images to `resolution` S pixels a side.

    points: [n,3]; anomalous: bool[n]; tilt: as in `rotations`. Returns images u1[10,S,S], ground truth u1[10,S,S],
    pixels i2[10,n,2] (column, row) and visible bool[10,n]. Raises InputError as `views.box` does.
    """
    views.box(points)  # for what it refuses
    first, last = CROP
    # Corners lie on corners: the crop's first and last cells are the image's first and last pixels.
    scale = (resolution - 1) / (last - first - 1)
    cells = torch.arange(resolution, device=points.device) / scale
    nearest_cells = (cells + 0.5).long().clamp(max=last - first - 1)
    drawn = []
    for rotation in rotations(tilt).to(points.device):
        places = place(points, rotation)
        image, mask, visible = draw(places, anomalous)
        crop = image[None, None, first:last, first:last]
        resized = F.interpolate(crop, size=(resolution, resolution), mode="bilinear", align_corners=True)[0, 0]
        truth = mask[first:last, first:last][nearest_cells][:, nearest_cells].to(torch.uint8)
        at = torch.stack([places.columns, places.rows], -1).to(torch.float64)
        pixels = ((at - first) * scale + 0.5).floor().clamp(0, resolution - 1).to(torch.int16)
        drawn.append(((resized * 255).round().to(torch.uint8), truth, pixels, visible))
    images, masks, pixels, visible = map(torch.stack, zip(*drawn, strict=True))
    return images, masks, pixels, visible


def render(cloud: Mapping[str, np.ndarray], options: Mapping[str, Any], device: torch.device | str = "cpu") -> Renders:
    """Realistic projections of a cloud.

    cloud: points f4[n,3], labels [n], nonzero is anomalous; options: resolution, views {tilt}. Raises InputError as
    `views.box` does.
    """
    points = torch.as_tensor(cloud["points"], device=device)
    chosen = random_subset(len(points), POINTS).to(points.device)
    some = points[chosen]
    anomalous = torch.as_tensor(cloud["labels"], device=device)[chosen] != 0
    images, masks, pixels, visible = project(some, anomalous, options["views"]["tilt"], int(options["resolution"]))
    visible, unseen = fill_in(visible, some)
    by = nearest(points, some)
    pixels, visible = pixels[:, by], visible[:, by]
    return Renders(images.cpu().numpy(), masks.cpu().numpy(), pixels.cpu().numpy(), visible.cpu().numpy(), unseen)
