"""The renderers by their names in the config; light, for the workflow reads it while it is parsed."""

import importlib.util
from dataclasses import dataclass
from types import ModuleType

from pointad_core.errors import InputError


@dataclass(frozen=True)
class Renderer:
    """What the workflow must know of a renderer before it loads its module."""

    module: str
    """Its module in this package. It offers `angles(views)`, rows [tilt, about x, about y] in degrees of the views that
    it makes of a view set {tilt, x, y}, and `render(cloud, options, device)`, which makes `views.Renders` of a
    `views.Cloud`; what it cannot draw is an InputError."""
    shaded: bool
    """Draws shaded views of a view set. The others have views and visibility of their own and take only its tilt."""
    options: tuple[str, ...]
    """What it reads beside the resolution and the view set; shaded views read light and masks too, where they are
    other than usual."""


RENDERERS = {
    "splat": Renderer("rendering.splat", shaded=True, options=("point_size", "visibility", "window")),
    "open3d": Renderer("rendering.open3d", shaded=True, options=("point_size", "visibility", "window")),
    "splat_depth": Renderer("rendering.splat_depth", shaded=True, options=("point_size", "visibility", "window")),
    "depth": Renderer("rendering.depth", shaded=False, options=("point_size", "window")),
    "realistic": Renderer("rendering.realistic", shaded=False, options=()),
}


def load(module: str) -> ModuleType:
    """Import a renderer's module by its name in this package; raises InputError where there is no such module."""
    name = f"pointad_core.{module}"
    if importlib.util.find_spec(name) is None:
        known = ", ".join(renderer.module for renderer in RENDERERS.values())
        raise InputError(f"renderer: {module!r} is not one of {known}")
    return importlib.import_module(name)
