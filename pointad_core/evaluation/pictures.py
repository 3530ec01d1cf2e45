"""Pictures of scores: a scan as images and maps, and the contact sheet of a category.

Maps show object points alone, on white. Organised scans are drawn on their grid, pixel for pixel what the metrics
see; unorganised clouds through the pixels of the frontal render. Matplotlib draws without a display, and the same
arrays give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110
CELL = 1.7
"""Side of a panel in inches."""
SPREAD = 4
"""How far in pixels a point's score reaches into the gaps between projected points."""
LABELS = {"3d": "3-D", "rgb": "RGB", "m3d": "M3D"}
"""Titles of the modalities' maps."""
DEPTH = ", depth"
"""End of the name of a view that is a depth image."""
STATES = {True: "defective", False: "good", None: "unlabelled"}

_OBJECT = np.array([205, 205, 205], dtype=np.uint8)
_DEFECT = np.array([200, 30, 30], dtype=np.uint8)

Arrays = Mapping[str, np.ndarray]
Limits = Mapping[str, tuple[float, float]]
"""Range of the colours by a map's title."""


@dataclass(frozen=True)
class Picture:
    """One scan as images; a map is float [h, w] with NaN off the object. Of one that nobody labelled defective and
    truth are None, without a photograph rgb is."""

    scan: str
    defective: bool | None
    render: np.ndarray
    rgb: np.ndarray | None
    truth: np.ndarray | None
    maps: Arrays
    objects: Mapping[str, float]


def name_views(renders: Mapping[str, Any]) -> list[str]:
    """The views of a renders store by their turns, from the store's attributes."""
    views = renders["views"]
    shaded = len(views) // 2 if renders.get("renderer") == "splat_depth" else len(views)
    return [f"{x:g}°, {y:g}°" + DEPTH * (k >= shaded) for k, (_, x, y) in enumerate(views)]


def find_frontal(views: Sequence[Sequence[float]]) -> int:
    """Index of the view least rotated after its tilt, from a list of [tilt, rotation x, rotation y] in degrees."""
    return min(range(len(views)), key=lambda k: abs(views[k][1]) + abs(views[k][2]))


def carry_to_image(values: np.ndarray, pixels: np.ndarray, visible: np.ndarray, silhouette: np.ndarray) -> np.ndarray:
    """Carry values of points to an image, and from there into the gaps between them.

    values: [n], of which the greatest is shown where several points meet in a pixel, so that no defect is covered;
    pixels: integer [n, 2], (column, row); visible: bool [n], other points are left out; silhouette: bool [S, S], the
    pixels to fill, from the nearest shown point, up to SPREAD pixels away. Returns float64 [S, S], NaN where nothing
    is shown.
    """
    image = np.full(silhouette.shape, -np.inf)
    columns, rows = pixels[visible].T
    np.maximum.at(image, (rows, columns), values[visible])
    empty = np.isinf(image)
    distances, nearest = ndimage.distance_transform_edt(empty, return_indices=True)
    filled = image[tuple(nearest)]
    shown = ~empty | (silhouette & (distances <= SPREAD))
    return np.where(shown & np.isfinite(filled), filled, np.nan)


def find_silhouette(image: np.ndarray, pixels: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Where a view shows the object, bool [S, S]; image: u8 [S, S], white off the object; pixels: integer [n, 2],
    (column, row), and visible: bool [n], for a highlight can be as white as the background, between points too."""
    silhouette = image < 255
    columns, rows = pixels[visible].T
    silhouette[rows, columns] = True
    closed: np.ndarray = silhouette | ndimage.binary_closing(silhouette, iterations=SPREAD)
    return closed


def find_window(shown: np.ndarray) -> tuple[slice, slice]:
    """The smallest square around the True pixels, with a margin, inside the image."""
    size = shown.shape[0]
    if not shown.any():
        return slice(0, size), slice(0, size)
    edges = [np.flatnonzero(shown.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    side = min(size, int(1.08 * max(last - first + 1 for first, last in edges)) + 4)
    top, left = (int(np.clip((first + last + 1 - side) // 2, 0, size - side)) for first, last in edges)
    return slice(top, top + side), slice(left, left + side)


def make_picture(
    scan: str, defective: bool | None, view: Arrays, cloud: Arrays, scores: Arrays, objects: Mapping[str, float]
) -> Picture:
    """Lay out a scan's images, each in the smallest square around the object.

    view: the frontal render: images u8 [S, S], white off the object, pixels integer [n, 2] and visible bool [n];
    cloud: of an organised scan grid [n] and, where there are, mask [S, S] and rgb [S, S, 3], else labels [n], where
    there are; scores and objects: by the map's title its values, [S, S] of an organised scan, else [n], and the
    object's score.
    """
    silhouette = view["images"] < 255
    defects = np.zeros(silhouette.shape, dtype=bool)
    if "grid" in cloud:
        defects = cloud["mask"] > 0 if "mask" in cloud else defects
        shown = np.zeros(defects.shape, dtype=bool)
        shown.ravel()[cloud["grid"]] = True
        maps = {title: np.where(shown, values, np.nan) for title, values in scores.items()}
    else:
        pixels, visible = view["pixels"].astype(np.intp), view["visible"]
        shown = silhouette = find_silhouette(view["images"], pixels, visible)
        if "labels" in cloud:
            defects = carry_to_image(cloud["labels"].astype(float), pixels, visible, shown) > 0
        maps = {title: carry_to_image(values, pixels, visible, shown) for title, values in scores.items()}
    window = find_window(shown | defects)
    truth = np.full((*shown.shape, 3), 255, dtype=np.uint8)
    truth[shown] = _OBJECT
    truth[defects] = _DEFECT
    render, rgb = view["images"][find_window(silhouette)], cloud["rgb"][window] if "rgb" in cloud else None
    maps = {title: image[window] for title, image in maps.items()}
    return Picture(scan, defective, render, rgb, None if defective is None else truth[window], maps, objects)


def find_limits(maps: Sequence[np.ndarray]) -> tuple[float, float]:
    """Range of the colours: nearly all of the values, so that a few outliers do not flatten the rest."""
    values = np.concatenate([image[np.isfinite(image)] for image in maps] or [np.zeros(0)])
    if not len(values):
        return 0.0, 1.0
    low, high = np.percentile(values, [1, 99.9])
    return float(low), float(high) if high > low else float(low) + 1e-6


def _draw(
    rows: Sequence[tuple[str, Picture]], columns: Sequence[str], limits: Sequence[Limits], extra_width: float
) -> tuple[Figure, np.ndarray]:
    """A figure with a row of panels a picture, after its label; and its panels."""
    # No pyplot: it keeps figures in a global state and looks for a display.
    from matplotlib.figure import Figure

    size = (CELL * len(columns) + extra_width, CELL * len(rows) + 0.75)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
    bare = {"xticks": [], "yticks": [], "frame_on": False}
    axes = figure.subplots(len(rows), len(columns), squeeze=False, subplot_kw=bare)
    for panels, (label, picture), ranges in zip(axes, rows, limits, strict=True):
        _draw_row(panels, picture, columns, ranges)
        # Names of scans and labels are text, not formulas, whatever dollars they have.
        panels[0].set_ylabel(label, fontsize=7, parse_math=False)
    for panel, column in zip(axes[0], columns, strict=True):
        panel.set_title(column, fontsize=9, parse_math=False)
    return figure, axes


def _draw_row(panels: Sequence[Axes], picture: Picture, columns: Sequence[str], limits: Limits) -> None:
    """Draw a scan's images from left to right."""
    images = {"Render": picture.render, "RGB": picture.rgb, "Ground truth": picture.truth}
    for panel, column in zip(panels, columns, strict=True):
        if (image := images.get(column)) is not None:
            panel.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        elif column == "Ground truth":
            panel.text(0.5, 0.5, STATES[None], transform=panel.transAxes, ha="center", va="center", fontsize=8)
        elif column in picture.maps:
            low, high = limits[column]
            panel.imshow(picture.maps[column], cmap="turbo", vmin=low, vmax=high, interpolation="nearest")
            panel.set_xlabel(f"score {picture.objects[column]:.3f}", fontsize=7, labelpad=2)


def draw_sheet(pictures: Sequence[Picture], title: str) -> Figure:
    """A row a scan: render, RGB and ground truth where there are, and maps, which share one range of colours."""
    names = list(dict.fromkeys(name for picture in pictures for name in picture.maps))
    rgb = ["RGB"] if any(picture.rgb is not None for picture in pictures) else []
    truth = ["Ground truth"] if any(picture.truth is not None for picture in pictures) else []
    columns = ["Render", *rgb, *truth, *names]
    shared = dict.fromkeys(names, find_limits([image for picture in pictures for image in picture.maps.values()]))
    rows = [(f"{picture.scan}\n{STATES[picture.defective]}", picture) for picture in pictures]
    figure, axes = _draw(rows, columns, [shared] * len(rows), extra_width=1.2)
    figure.suptitle(title, fontsize=10, parse_math=False)
    if names:
        *_, drawn = (image for panel in axes[:, -len(names) :].flat for image in panel.images)
        # Beside a single row there is no room for it in one line.
        label = (" " if len(rows) > 1 else "\n").join(["anomaly score,", "one range for all maps"])
        bar = figure.colorbar(drawn, ax=axes, shrink=0.6, extend="both", label=label)
        bar.ax.tick_params(labelsize=7)
    return figure
