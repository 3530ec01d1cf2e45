"""The splatter's shaded views, and behind them the depth image of each (after GS-CLIP; not the paper's).

Light tells how a surface turns, depth how far it stands out: a system that reads these renders takes both as views of
equal weight, the 2 K of them in place of K. A depth image is drawn from the same camera, points and squares as the
shaded view, so that masks, pixels and visible points are the same. Depth is spread over the grey levels, from 0 at the
nearest that a view shows to 255 at the farthest. What no point covers is white as in a shaded view, so that the
object's far rim meets it without an edge.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pointad_core.rendering import shaded, splat
from pointad_core.rendering.depth import grey
from pointad_core.rendering.views import Cloud, Projection, Renders, project, rotations
from pointad_core.rendering.visibility import draw_squares


def angles(views: Mapping[str, Any]) -> list[list[float]]:
    """The views of a view set as rows [tilt, about x, about y] in degrees: shaded, and once more as depth images."""
    return 2 * shaded.angles(views)


def draw(projection: Projection, size: int, resolution: int) -> torch.Tensor:
    """Depth images u1[K,S,S] of all views; size: that of a point in window pixels."""
    fronts = draw_squares(projection, projection.levels, size)
    images = torch.full_like(fronts, 255, dtype=torch.uint8)
    for image, front in zip(images, fronts, strict=True):
        covered = front >= 0
        # Of a few far corners all may lie out of a view's frame.
        if covered.any():
            image[covered] = 255 - grey(front[covered])
    return shaded.shrink(images[:, None], resolution)[:, 0]


def render(cloud: Cloud, options: Mapping[str, Any], device: torch.device | str = "cpu") -> Renders:
    """Render a cloud from every view of a view set, K shaded views and then K depth images; options and errors as of
    `shaded.render`."""
    found = splat.render(cloud, options, device)
    points, window = torch.as_tensor(cloud["points"], device=device), options["window"]
    turns = rotations(shaded.angles(options["views"])).to(device)
    # One view at a time: the buffer of a window is large.
    parts = [
        draw(project(points, turn, window), int(options["point_size"]), options["resolution"])
        for turn in turns.split(1)
    ]
    images = np.concatenate([found.images, torch.cat(parts).cpu().numpy()])
    masks, pixels, visible = (np.concatenate([part, part]) for part in (found.masks, found.pixels, found.visible))
    return Renders(images, masks, pixels, visible, found.unseen)
