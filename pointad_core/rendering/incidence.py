"""Angles at which the views of a cloud meet its surface, for methods that weigh views; not the paper's."""

from collections.abc import Sequence

import numpy as np
import torch

from pointad_core.errors import InputError
from pointad_core.rendering.registry import RENDERERS
from pointad_core.rendering.shaded import rotate_normals
from pointad_core.rendering.views import EYE, project, rotations


def incidence(points: np.ndarray, normals: np.ndarray, angles: Sequence[Sequence[float]], renderer: str) -> np.ndarray:
    """Cosine f4[K,n], 0 to 1, of the angle between each point's normal and the way from it to each view's eye.

    points, normals: [n,3], normals unit, of either direction; angles: rows [tilt, x, y] of shaded views in degrees, as
    a store of renders has them; renderer: its name. Raises InputError for views of any other renderer, whose camera is
    not this one, and as `views.box` does.
    """
    if not RENDERERS[renderer].shaded:
        raise InputError(f"view_weights is 'incidence', for views of the renderer {renderer!r}; it takes shaded views")
    turns = rotations(angles)
    places = project(torch.from_numpy(points), turns, 1).points
    # The eye lies on the viewing axis.
    ways = torch.cat([-places[:, :2], EYE - places[:, 2:]], 1)
    cosines = (ways * rotate_normals(torch.from_numpy(normals), turns)).sum(1).abs() / ways.norm(dim=1)
    found: np.ndarray = cosines.clamp(max=1).to(torch.float32).numpy()
    return found
