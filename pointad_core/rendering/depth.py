"""Depth images: each cloud once, from the front, as a two-dimensional method sees it (AnomalyCLIP, Sec. 4.1).

Depth is taken along the view set's axis, after its tilt and before any other turn; it is spread over the grey levels
from 0 at the farthest point to 255 at the nearest. Where no point is, the image is 0: the object's far rim then meets
the empty background without an edge, where the opposite order would make its nearest parts look like holes.

An organised scan is an image already: the points stay at their pixels of the grid. Points of an unorganised cloud are
drawn as squares with a z-test by the renders' camera; a point that another one hides reads the pixel that hides it.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pointad_core.rendering.views import Cloud, Renders, bounds, find_anomalous, project, rotations
from pointad_core.rendering.visibility import draw_squares, square_size, tolerance


def angles(views: Mapping[str, Any]) -> list[list[float]]:
    """The only view of a view set: its tilt."""
    return [[float(views["tilt"]), 0.0, 0.0]]


def grey(nearness: torch.Tensor) -> torch.Tensor:
    """Grey levels u1 [m] from 0 to 255 of nearness [m], larger is nearer; all 255 where all are equally near."""
    low, high = nearness.aminmax()
    if low == high:
        return torch.full_like(nearness, 255, dtype=torch.uint8)
    return ((nearness - low).double() / (high - low).double() * 255).round().to(torch.uint8)


def render(cloud: Cloud, options: Mapping[str, Any], device: torch.device | str = "cpu") -> Renders:
    """Depth image of a cloud.

    options: resolution, views {tilt}, point_size in pixels of a window of `window` pixels. All points count as visible
    in the only view; `unseen` are those that others hide. Raises InputError as `bounds` does, without a grid as `box`.
    """
    resolution = options["resolution"]
    points = torch.as_tensor(cloud["points"], device=device)
    anomalous = find_anomalous(cloud, device)
    rotation = rotations(angles(options["views"])).to(device)
    image, mask = torch.zeros((2, resolution, resolution), dtype=torch.uint8, device=device)
    if "grid" in cloud:
        bounds(points)  # for what it refuses
        # In the points' own precision: a flat scan is flat whatever the rounding of a half turn's sine.
        nearness = (points.to(torch.float64) @ rotation[0, 2]).to(torch.float32)
        grid = torch.as_tensor(cloud["grid"], device=device).long()
        rows, columns = grid // resolution, grid % resolution
        image[rows, columns], mask[rows, columns] = grey(nearness), anomalous.to(torch.uint8)
        pixels, hidden = torch.stack([columns, rows], dim=-1), 0
    else:
        size = max(1, math.ceil(options["point_size"] * resolution / options["window"]))
        size = square_size(points, size, resolution)
        projection = project(points, rotation, resolution)
        # Below its nearness each point has a bit that says it is normal: of equally near points a normal one wins.
        front = draw_squares(projection, projection.levels << 1 | (~anomalous).to(torch.int32), size)[0]
        covered = front >= 0
        image[covered], mask[covered] = grey(front[covered] >> 1), 1 - (front[covered] & 1).to(torch.uint8)
        pixels = projection.pixels(resolution)[0]
        behind = (front[pixels[:, 1], pixels[:, 0]] >> 1) - projection.levels[0]
        hidden = int((behind > tolerance(size, resolution)).sum())
    image, mask, pixels = (array[None].cpu() for array in (image, mask, pixels.to(torch.int16)))
    return Renders(image.numpy(), mask.numpy(), pixels.numpy(), np.ones((1, len(points)), dtype=bool), hidden)
