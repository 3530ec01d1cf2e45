"""Shaded views of a cloud, whichever module draws them: in a window, resized to the resolution S (Sec. 3.3)."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F

from pointad_core.errors import InputError
from pointad_core.rendering import visibility
from pointad_core.rendering.views import Cloud, Projection, Renders, find_anomalous, project, rotations

GREY = 0.7
"""Grey level of every point before it is lit."""

LIGHTS = {"++": 1.2, "+": 1.1, "original": 1.0, "-": 0.75, "--": 0.5}
"""Power of the lamps, diffuse and specular alike, by the names of Table 10, in units of what they have otherwise. The
paper tells no numbers; these are a choice of this project."""

Draw = Callable[[Projection, torch.Tensor, torch.Tensor, int, int, float], tuple[torch.Tensor, torch.Tensor]]
"""Draws grey images u1[K,S,S] and masks u1[K,S,S] of 0 and 1 of all views: `draw(projection, normals, labels, size,
resolution, power)`, with unit normals f4[K,3,n], rotated with the points, labels bool[n], true for anomalous points,
the size of a point in window pixels, the resolution S, and the power of the lamps (`LIGHTS`)."""


def angles(views: Mapping[str, Any]) -> list[list[float]]:
    """The views of a view set as rows [tilt, about x, about y] in degrees, each about one axis: its x list, then its y.

    Raises InputError where there is none.
    """
    tilt = float(views["tilt"])
    rows = [[tilt, float(angle), 0.0] for angle in views["x"]] + [[tilt, 0.0, float(angle)] for angle in views["y"]]
    if not rows:
        raise InputError("view set: both x and y are empty; give at least one angle in degrees")
    return rows


def render(
    cloud: Cloud, options: Mapping[str, Any], device: torch.device | str = "cpu", *, draw: Draw, at_once: int = 0
) -> Renders:
    """Render a cloud from every view of a view set: all views at once, or on a CPU `at_once` of them (0: all).

    options: resolution S, views {tilt, x, y}, point_size, the width of a point in window pixels, visibility, "soft" or
    "strict", window, its side in pixels, light, one of `LIGHTS`, "original" where it is absent, and masks {point_size,
    window}, where the ground truth is not drawn with the image's own. Deterministic on a given kind of device.
    Raises InputError for options that are not allowed, as `views.box` does, and where no view shows any point.
    """
    resolution, point_size, window = options["resolution"], options["point_size"], options["window"]
    if options["visibility"] not in ("soft", "strict"):
        raise InputError(f"visibility: {options['visibility']!r} is not one of soft, strict")
    if (light := options.get("light", "original")) not in LIGHTS:
        raise InputError(f"light: {light!r} is not one of {' '.join(LIGHTS)}")
    apart = options.get("masks")
    check_window("", point_size, window, resolution)
    if apart is not None:
        check_window("masks.", apart["point_size"], apart["window"], resolution)
    turns = rotations(angles(options["views"])).to(device)
    points, normals = (torch.as_tensor(cloud[name], device=device) for name in ("points", "normals"))
    anomalous = find_anomalous(cloud, device)
    size, soft = int(point_size), options["visibility"] == "soft"
    square = visibility.square_size(points, size, window) if soft else 0
    drawn = []
    for block in turns.split(at_once if at_once and turns.device.type == "cpu" else len(turns)):
        projection = project(points, block, window)
        turned = rotate_normals(normals, block)
        pictures = draw(projection, turned, anomalous, size, resolution, LIGHTS[light])
        if apart is not None and anomalous.any():
            own = project(points, block, apart["window"])
            masks_size = int(apart["point_size"])
            pictures = pictures[0], draw(own, turned, anomalous, masks_size, resolution, LIGHTS[light])[1]
        shown = visibility.soft(projection, square) if soft else visibility.strict(projection, resolution)
        drawn.append((*pictures, projection.pixels(resolution).to(torch.int16), shown))
    images, masks, pixels, shown = map(torch.cat, zip(*drawn, strict=True))
    visible, unseen = visibility.fill_in(shown, points)
    return Renders(images.cpu().numpy(), masks.cpu().numpy(), pixels.cpu().numpy(), visible.cpu().numpy(), unseen)


def check_window(key: str, point_size: float, window: int, resolution: int) -> None:
    """Refuse points of no size, and a window smaller than the image; key: the section of the options, for messages."""
    if point_size < 1 or point_size != int(point_size):
        raise InputError(f"{key}point_size: {point_size} is not a whole number of window pixels, 1 or more")
    if window < resolution:
        raise InputError(f"{key}window: {window} pixels are fewer than the image's {resolution}")


def rotate_normals(normals: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """Normals f4[K,3,n] in the camera's frame, of normals [n,3] and rotations f8[K,3,3]."""
    return rotations.to(torch.float32) @ normals.to(torch.float32).T


def shrink(images: torch.Tensor, resolution: int) -> torch.Tensor:
    """Resize images u1[K,C,W,W] to u1[K,C,S,S] by antialiased bicubic interpolation."""
    if images.shape[-1] == resolution:
        return images
    if images.device.type != "cpu":
        return shrink_in_floats(images, resolution)
    return F.interpolate(images, size=(resolution, resolution), mode="bicubic", antialias=True)


def shrink_in_floats(images: torch.Tensor, resolution: int) -> torch.Tensor:
    """What `shrink` gives on a CPU, to a grey level, where there is no byte version of it: rounded and clamped after
    each of its two passes, since the first one's overshoot at a border must not reach the second."""
    small = images.to(torch.float32)
    for height in (images.shape[-2], resolution):
        small = F.interpolate(small, size=(height, resolution), mode="bicubic", antialias=True).round_().clamp_(0, 255)
    return small.to(torch.uint8)
