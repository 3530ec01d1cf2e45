"""The renderers by their names in the config; light, for the workflow reads it while it is parsed."""

from __future__ import annotations

RENDERER_MODULES = {
    "splat": "splatter",
    "open3d": "open3d_renderer",
    "depth": "depth_renderer",
    "realistic": "realistic_projection",
}
"""Module of each renderer, imported by name: an edit in one leaves the others' renders alone.

The first two offer `draw`. The others have views, pixels and visibility of their own and offer
`view_list(views)`, the angles of their views where a view set {tilt, x, y} is asked for, and
`render(cloud, options, device)`, which gives `Renders` of the arrays points, normals, labels and, of an organised
scan, grid, and refuses what it cannot draw with an InputError.
"""

RENDERERS = ("splat", "open3d")
"""Those of shaded views of a view set."""
