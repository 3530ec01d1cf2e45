"""Stage "renders": every cloud from every view, with its ground truth and its point-pixel maps (Sec. 3.3).

For each view the stage keeps a grey image, a ground-truth mask from the same camera, and for each point its pixel and
whether the view shows it. The image is drawn in a window of 1024 pixels a side and resized to the resolution S.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from pointad_core import jobs, splatter, stores, visibility
from pointad_core.errors import InputError
from pointad_core.renderers import RENDERERS
from pointad_core.views import Projection, project, rotations, view_angles

VISIBILITIES = ("soft", "strict")


@dataclass(frozen=True)
class Renders:
    """All views of a cloud of n points.

    images: u1[K,S,S], grey, white background
    masks: u1[K,S,S], 1 where the view shows anomalous points
    pixels: i2[K,n,2], (column, row) of each point, clipped to the image
    visible: bool[K,n]; a point that no view shows has the flags of its nearest shown neighbour
    unseen: number of such points
    """

    images: np.ndarray
    masks: np.ndarray
    pixels: np.ndarray
    visible: np.ndarray
    unseen: int


def _renderer(name: str) -> ModuleType:
    return importlib.import_module(f"pointad_core.{RENDERERS[name].module}")


def render(
    points: np.ndarray,
    normals: np.ndarray,
    labels: np.ndarray,
    angles: Sequence[Sequence[float]],
    resolution: int,
    point_size: int,
    window: int = 1024,
    renderer: str = "splat",
    visibility_test: str = "soft",
    device: torch.device | str = "cpu",
) -> Renders:
    """Render a cloud from every view of `views.view_angles`.

    points, normals: f4[n,3], unit normals in the points' frame; labels: [n], nonzero is anomalous;
    resolution: S; point_size: width of a point in window pixels. Deterministic on a given kind of device.
    Raises InputError for an empty or degenerate cloud, an unknown renderer or visibility, a point size below one
    pixel, a window smaller than the image, and where no view shows any point.
    """
    shaded = [name for name, entry in RENDERERS.items() if entry.shaded]
    for key, value, allowed in (("renderer", renderer, shaded), ("visibility", visibility_test, VISIBILITIES)):
        if value not in allowed:
            raise InputError(f"{key}: {value!r} is not one of {', '.join(allowed)}")
    if point_size < 1 or point_size != int(point_size):
        raise InputError(f"point_size: {point_size} is not a whole number of window pixels, 1 or more")
    if window < resolution:
        raise InputError(f"window: {window} pixels are fewer than the image's {resolution}")
    size = int(point_size)

    turns = rotations(angles).to(device)
    points_ = torch.as_tensor(points, device=device)
    normals_ = torch.as_tensor(normals, device=device)
    anomalous = torch.as_tensor(labels, device=device) != 0
    draw = _renderer(renderer).draw
    # One view at a time keeps a CPU's caches warm; a GPU, and Open3D's window, are better used by all views at once.
    at_once = 1 if renderer == "splat" and turns.device.type == "cpu" else len(turns)
    square = visibility.square_size(points_, size, window) if visibility_test == "soft" else 0

    images, masks, pixels, flags = [], [], [], []
    for block in turns.split(at_once):
        projection = project(points_, block, window)
        image, mask = draw(projection, splatter.rotate_normals(normals_, block), anomalous, size, resolution)
        images.append(image)
        masks.append(mask)
        pixels.append(projection.pixels(resolution).to(torch.int16))
        flags.append(_visible(projection, visibility_test, square, resolution))
    visible, unseen = visibility.fill_in(torch.cat(flags), points_)
    return Renders(
        images=torch.cat(images).cpu().numpy(),
        masks=torch.cat(masks).cpu().numpy(),
        pixels=torch.cat(pixels).cpu().numpy(),
        visible=visible.cpu().numpy(),
        unseen=unseen,
    )


def _visible(projection: Projection, test: str, square: int, resolution: int) -> torch.Tensor:
    if test == "soft":
        return visibility.soft(projection, square)
    return visibility.strict(projection, resolution)


def make_renders(
    clouds: str | Path, output: str | Path, options: Mapping[str, Any], provenance: Mapping[str, Any]
) -> None:
    """Render every scan of a store of clouds into a store of renders, one scan at a time.

    options: resolution, views {tilt, x, y} in degrees, renderer, and what that reads (`renderers`): point_size,
    visibility, window.
    Raises InputError as `render` does, naming the store and the scan.
    """
    name = options["renderer"]
    if name not in RENDERERS:
        raise InputError(f"renderer: {name!r} is not one of {', '.join(RENDERERS)}")
    shaded = RENDERERS[name].shaded
    angles = view_angles(**options["views"]) if shaded else _renderer(name).view_list(options["views"])
    device = jobs.pick_device()
    with stores.read(clouds, "clouds") as reader:
        origin = {key: reader.attributes[key] for key in ("dataset", "category")}
        names = ["points", "normals", "labels"]
        if not shaded and reader.attributes["organised"]:
            names.append("grid")
        attributes = {
            **origin,
            "views": angles,
            **{key: options[key] for key in ("resolution", "renderer", *RENDERERS[name].options)},
        }
        with stores.write(output, "renders", {**provenance, "device": device.type}, attributes) as writer:
            for scan in jobs.progress(reader.scans, f"renders {origin['category']}"):
                cloud = reader.load(scan, names)
                try:
                    if shaded:
                        renders = render(
                            **cloud,
                            angles=angles,
                            resolution=options["resolution"],
                            point_size=options["point_size"],
                            window=options["window"],
                            renderer=name,
                            visibility_test=options["visibility"],
                            device=device,
                        )
                    else:
                        renders = _renderer(name).render(cloud, options, device)
                except InputError as error:
                    raise InputError(f"{clouds}: scan {scan}: {error}") from error
                arrays = {
                    "images": renders.images,
                    "masks": renders.masks,
                    "pixels": renders.pixels,
                    "visible": renders.visible,
                }
                writer.add(scan, arrays, {"unseen": renders.unseen})
