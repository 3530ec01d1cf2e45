"""Realistic projection of PointCLIP V2: depth images of a cloud's voxels, densified, smoothed and squeezed.

In each of ten views the points fall into a grid of voxels that holds their depths. A 3-D maximum closes the gaps
between the points, a 3-D Gaussian smooths, and the maximum along the viewing axis is the image: nearer is darker, the
background is white. A point is visible where its own voxel is about as near as what the image shows there.

The constants are those of PointCLIP V2's part segmentation, made for 2048 points. A cloud is projected by as many of
its points, drawn at random; the others take the pixels and the visibility, and so the scores, of the nearest of these.

Two things differ from its published implementation: a point's pixel is looked up in the row and column that it was
drawn in, and of points in one voxel the nearest stays, so that the order of the points does not matter.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from pointad_core.clouds.subsets import nearest, random_subset
from pointad_core.rendering import views
from pointad_core.rendering.views import Cloud, Renders
from pointad_core.rendering.visibility import fill_in, largest_of

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
REACH = 2
"""Widths in voxels of the Gaussian, and how far it goes to either side."""
CROP = (20, 204)
"""Rows and columns of the grid that become the image."""
TOLERANCE = 0.1
"""How much a visible point's voxel may differ from the image, of the view's nearest depth."""

FIRST = [[0, quarter, 0] for quarter in 2 * (0, 90, 180, 270)] + [[0, 0, -90], [0, 0, 90]]
SECOND = [[0, 45, 20]] * 4 + [[0, 0, 20]] * 4 + [[0, 12, 12]] * 2
"""Turns of the ten views, each [0, about x, about y] in degrees and one after the other: around the object from
above, around it, from its top and bottom."""


def angles(views: Mapping[str, Any]) -> list[list[float]]:
    """The ten views as rows [tilt, about x, about y] in degrees: the view set's tilt, and each axis's turns added."""
    tilt = float(views["tilt"])
    return [[tilt, float(a[1] + b[1]), float(a[2] + b[2])] for a, b in zip(FIRST, SECOND, strict=True)]


def rotations(tilt: float) -> torch.Tensor:
    """Rotation matrices f8[10,3,3] of the views; tilt: degrees by which the data set is turned about x before any.

    A quarter turn about z comes first: it lays the object's upward axis along the rows of the image.
    """
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    return views.rotations(SECOND) @ views.rotations(FIRST) @ quarter @ views.rotations([[tilt, 0, 0]])


class Places(NamedTuple):
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


def _smooth(grid: torch.Tensor, sigma: float, axis: int) -> torch.Tensor:
    weights = [math.exp(-(offset**2) / (2 * sigma**2)) for offset in range(REACH + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    smooth = grid * (weights[0] / total)
    for offset in range(1, REACH + 1):
        length = grid.shape[axis] - offset
        first, last = grid.narrow(axis, 0, length), grid.narrow(axis, offset, length)
        smooth.narrow(axis, 0, length).add_(last, alpha=weights[offset] / total)
        smooth.narrow(axis, offset, length).add_(first, alpha=weights[offset] / total)
    return smooth


def _densify(grid: torch.Tensor, window: Sequence[int]) -> torch.Tensor:
    for axis, size in enumerate(window):
        # Nothing is below zero: zeros beyond the grid change no maximum.
        margin = [0, 0] * (grid.ndim - 1 - axis) + [size // 2, size // 2]
        grid = largest_of(F.pad(grid, margin), size, axis)
    return grid


def draw(places: Places, anomalous: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image and ground truth f4[224,224] and bool[224,224] of one view, and which points are visible, bool[n].

    anomalous: bool[n]. Image: 0 for the nearest surface to 1 for the background. Ground truth: where the nearest
    point in the densifying window is anomalous.
    """
    # Beyond the object's box and the reach of both windows the grid is empty, and stays so.
    low, shape = [], []
    for index, width, size in zip(places[:3], WINDOW, (DEPTH, SIDE, SIDE), strict=True):
        margin = width // 2 + REACH
        low.append(max(int(index.min()) - margin, 0))
        shape.append(min(int(index.max()) + margin + 1, size) - low[-1])
    layers, rows, columns = (index - first for index, first in zip(places[:3], low, strict=True))
    grid = places.depths.new_zeros(shape)
    grid.view(-1).scatter_reduce_(0, (layers * shape[1] + rows) * shape[2] + columns, places.depths, "amax")
    grid = _densify(grid.to(torch.int16), WINDOW).to(torch.float32)
    for axis in (1, 0, 2):
        grid = _smooth(grid, SIGMAS[axis], axis)
    near = grid.amax(0)
    scale = near.max()
    near, own = near / scale, grid[layers, rows, columns] / scale
    visible = near[rows, columns] - own < TOLERANCE
    image = near.new_ones(SIDE, SIDE)
    image[low[1] : low[1] + shape[1], low[2] : low[2] + shape[2]] = 1 - near

    # Below its depth each point has a bit that says it is normal: of equally near points the normal one wins.
    truth = places.depths.new_zeros(SIDE, SIDE)
    pixels = places.rows * SIDE + places.columns
    truth.view(-1).scatter_reduce_(0, pixels, places.depths << 1 | (~anomalous).int(), "amax")
    truth = _densify(truth, WINDOW[1:])
    return image, (truth > 0) & (truth & 1 == 0), visible


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
    cells = (torch.arange(resolution, device=points.device) / scale + 0.5).long().clamp(max=last - first - 1)
    drawn = []
    for rotation in rotations(tilt).to(points.device):
        places = place(points, rotation)
        image, mask, visible = draw(places, anomalous)
        crop = image[None, None, first:last, first:last]
        resized = F.interpolate(crop, size=(resolution, resolution), mode="bilinear", align_corners=True)[0, 0]
        truth = mask[first:last, first:last][cells][:, cells].to(torch.uint8)
        at = torch.stack([places.columns, places.rows], -1).to(torch.float64)
        pixels = ((at - first) * scale + 0.5).floor().clamp(0, resolution - 1).to(torch.int16)
        drawn.append(((resized * 255).round().to(torch.uint8), truth, pixels, visible))
    images, masks, pixels, shown = map(torch.stack, zip(*drawn, strict=True))
    return images, masks, pixels, shown


def render(cloud: Cloud, options: Mapping[str, Any], device: torch.device | str = "cpu") -> Renders:
    """Realistic projections of a cloud; options: resolution, views {tilt}. Raises InputError as `views.box` does."""
    points = torch.as_tensor(cloud["points"], device=device)
    chosen = random_subset(len(points), POINTS).to(points.device)
    some = points[chosen]
    anomalous = views.find_anomalous(cloud, device)[chosen]
    images, masks, pixels, shown = project(some, anomalous, options["views"]["tilt"], options["resolution"])
    visible, unseen = fill_in(shown, some)
    by = nearest(points, some)
    pixels, visible = pixels[:, by], visible[:, by]
    return Renders(images.cpu().numpy(), masks.cpu().numpy(), pixels.cpu().numpy(), visible.cpu().numpy(), unseen)
