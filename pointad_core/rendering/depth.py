"""Depth images: each cloud once, from the front, as a two-dimensional method sees it (AnomalyCLIP, Sec. 4.1).

Depth is taken along the view set's axis, after its tilt and before any other turn; it is spread over the grey levels
from 0 at the farthest point to 255 at the nearest. Where no point is, the image is 0: the object's far rim then meets
the empty background without an edge, where the opposite order would make its nearest parts look like holes.

An organised scan is an image already: the points stay at their pixels of the grid. Points of an unorganised cloud are
drawn as squares with a z-test by the renders' camera; a point that another one hides reads the pixel that hides it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pointad_core.rendering.renders import Renders
from pointad_core.rendering.squares import draw_squares
from pointad_core.rendering.views import bounds, project, rotations
from pointad_core.rendering.visibility import square_size, tolerance


def angles(views: Mapping[str, Any]) -> list[list[float]]:
    """The only view of a view set {tilt, x, y}: its tilt."""
    return [[float(views["tilt"]), 0.0, 0.0]]


def grey(nearness: torch.Tensor) -> torch.Tensor:
    """Grey levels u1 [m] from 0 to 255 of nearness [m], larger is nearer; all 255 where all are equally near."""
    low, high = nearness.aminmax()
    if low == high:
        return torch.full_like(nearness, 255, dtype=torch.uint8)
    return ((nearness - low).double() / (high - low).double() * 255).round().to(torch.uint8)


def draw_organised(
    nearness: torch.Tensor, labels: torch.Tensor, grid: torch.Tensor, resolution: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image u1[S,S], ground truth u1[S,S] and pixels i8[n,2] of points [n] at the flat pixels `grid` i8[n]."""
    image, mask = torch.zeros((2, resolution * resolution), dtype=torch.uint8, device=nearness.device)
    image[grid] = grey(nearness)
    mask[grid] = labels.to(torch.uint8)
    pixels = torch.stack([grid % resolution, grid // resolution], dim=-1)
    return image.view(resolution, resolution), mask.view(resolution, resolution), pixels


def draw_unorganised(
    points: torch.Tensor, labels: torch.Tensor, rotation: torch.Tensor, resolution: int, size: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """As `draw_organised`, and the number of hidden points; rotation: f8[1,3,3]; size: of a square, in pixels.

    Of points equally near at a pixel a normal one wins: no order of points plays a part.
    """
    projection = project(points, rotation, resolution)
    size = square_size(points, size, resolution)
    nearest = draw_squares(projection, projection.levels << 1 | (~labels).to(torch.int32), size)[0]
    covered = nearest >= 0
    image, mask = torch.zeros((2, resolution, resolution), dtype=torch.uint8, device=points.device)
    image[covered] = grey(nearest[covered] >> 1)
    mask[covered] = 1 - (nearest[covered] & 1).to(torch.uint8)
    pixels = projection.pixels(resolution)[0]
    behind = (nearest[pixels[:, 1], pixels[:, 0]] >> 1) - projection.levels[0]
    return image, mask, pixels, int((behind > tolerance(size, resolution)).sum())


def render(cloud: Mapping[str, np.ndarray], options: Mapping[str, Any], device: torch.device | str = "cpu") -> Renders:
    """Depth image of a cloud.

    cloud: points f4[n,3], labels [n], nonzero is anomalous, and of an organised scan grid i4[n]; options:
    resolution, views {tilt, x, y}, point_size in pixels of a window of `window` pixels. One view, in which every
    point counts as visible. Raises InputError for an empty cloud and coordinates that are not finite.
    """
    resolution = int(options["resolution"])
    points = torch.as_tensor(cloud["points"], device=device)
    labels = torch.as_tensor(cloud["labels"], device=device) != 0
    rotation = rotations(angles(options["views"])).to(device)
    hidden = 0
    if "grid" in cloud:
        bounds(points)  # for what it refuses
        # In the points' own precision: a flat scan is flat whatever the rounding of a half turn's sine.
        nearness = (points.to(torch.float64) @ rotation[0, 2]).to(torch.float32)
        grid = torch.as_tensor(cloud["grid"], device=device).long()
        image, mask, pixels = draw_organised(nearness, labels, grid, resolution)
    else:
        size = max(1, math.ceil(options["point_size"] * resolution / options["window"]))
        image, mask, pixels, hidden = draw_unorganised(points, labels, rotation, resolution, size)
    image, mask, pixels = (array[None].cpu() for array in (image, mask, pixels.to(torch.int16)))
    return Renders(image.numpy(), mask.numpy(), pixels.numpy(), np.ones((1, len(points)), dtype=bool), hidden)
