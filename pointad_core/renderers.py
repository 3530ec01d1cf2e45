"""The renderers by their names in the config; light, for the workflow reads it while it is parsed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Renderer:
    """What the workflow and the renders stage must know of a renderer."""

    module: str
    """Imported by name: an edit in one leaves the others' renders alone.

    The module of a shaded renderer offers `draw`. The others have views, pixels and visibility of their own and offer
    `view_list(views)`, the angles of their views where a view set {tilt} is asked for, and
    `render(cloud, options, device)`, which gives `Renders` of the arrays points, normals, labels and, of an organised
    scan, grid, and refuses what it cannot draw with an InputError.
    """
    shaded: bool
    """Draws shaded views of a view set."""
    options: tuple[str, ...]
    """What it reads beside the resolution and the view set's tilt."""


RENDERERS = {
    "splat": Renderer("splatter", shaded=True, options=("point_size", "visibility", "window")),
    "open3d": Renderer("open3d_renderer", shaded=True, options=("point_size", "visibility", "window")),
    "depth": Renderer("depth_renderer", shaded=False, options=("point_size", "window")),
    "realistic": Renderer("realistic_projection", shaded=False, options=()),
}
