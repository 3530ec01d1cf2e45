"""Pictures of scores: a contact sheet per category, and a gallery that sets methods side by side.

Maps show object points alone, on white. Organised scans are drawn on their grid, pixel for pixel what the metrics
see; unorganised clouds through the pixels of the frontal render. Matplotlib draws without a display, and the same
stores give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pointad_core import files, stores
from pointad_core.errors import InputError
from pointad_core.jobs import progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = "turbo"
DPI = 110
CELL = 1.7
"""Side of a panel in inches."""
SPREAD = 4
"""How far in pixels a point's score reaches into the gaps between projected points."""

_LABELS = {"3d": "3-D", "m3d": "M3D"}
_OBJECT = np.array([205, 205, 205], dtype=np.uint8)
_DEFECT = np.array([200, 30, 30], dtype=np.uint8)


@dataclass(frozen=True)
class Picture:
    """One scan as images; a map is float [h, w] with NaN off the object."""

    scan: str
    defective: bool
    render: np.ndarray
    rgb: np.ndarray | None
    truth: np.ndarray
    maps: dict[str, np.ndarray]
    objects: dict[str, float]


def find_frontal(views: Sequence[Sequence[float]]) -> int:
    """Index of the view least rotated after its tilt, from a list of [tilt, rotation x, rotation y] in degrees."""
    return min(range(len(views)), key=lambda k: (abs(views[k][1]) + abs(views[k][2]), k))


def choose_scans(clouds: stores.StoreReader, count: int) -> tuple[list[str], list[str]]:
    """Names of up to `count` defective scans, of as many kinds of defect as there are, and of all good ones."""
    kinds: dict[str, list[str]] = {}
    good = []
    for scan in clouds.scans:
        attributes = clouds.scan_attributes(scan)
        if attributes["defective"]:
            kinds.setdefault(str(attributes.get("defect", "")), []).append(scan)
        else:
            good.append(scan)
    # First scan of each kind, then the second of each, ...
    rounds = zip_longest(*(kinds[kind] for kind in sorted(kinds)))
    defective = [scan for scans in rounds for scan in scans if scan is not None][:count]
    return sorted(defective), good


def splat(values: np.ndarray, pixels: np.ndarray, visible: np.ndarray, silhouette: np.ndarray) -> np.ndarray:
    """Carry values of points to an image, and from there into the gaps between them.

    Args:
        values: [n]; where several points meet in a pixel the greatest is shown, so that no defect is covered.
        pixels: integer [n, 2], (column, row).
        visible: bool [n]; other points are left out.
        silhouette: bool [S, S], the pixels to fill: from the nearest shown point, up to SPREAD pixels away.

    Returns:
        float64 [S, S], NaN where nothing is shown.
    """
    from scipy import ndimage

    image = np.full(silhouette.shape, -np.inf)
    columns, rows = pixels[visible].T
    np.maximum.at(image, (rows, columns), values[visible])
    empty = np.isinf(image)
    distances, nearest = ndimage.distance_transform_edt(empty, return_indices=True)
    filled = image[tuple(nearest)]
    shown = ~empty | (silhouette & (distances <= SPREAD))
    return np.where(shown & np.isfinite(filled), filled, np.nan)


def _window(shown: np.ndarray) -> tuple[slice, slice]:
    """The smallest square around the True pixels, with a margin, inside the image."""
    size = shown.shape[0]
    if not shown.any():
        return slice(0, size), slice(0, size)
    edges = [np.flatnonzero(shown.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    side = min(size, int(1.08 * max(last - first + 1 for first, last in edges)) + 4)
    starts = [int(np.clip((first + last + 1 - side) // 2, 0, size - side)) for first, last in edges]
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)


def _colour_truth(shown: np.ndarray, defective: np.ndarray) -> np.ndarray:
    image = np.full((*shown.shape, 3), 255, dtype=np.uint8)
    image[shown] = _OBJECT
    image[defective] = _DEFECT
    return image


def load_picture(
    scores: Mapping[str, stores.StoreReader],
    clouds: stores.StoreReader,
    renders: stores.StoreReader,
    category: str,
    scan: str,
    modalities: Sequence[str] = tuple(_LABELS),
) -> Picture:
    """Gather one scan's images; maps and object scores are named by the key of `scores` and the modality's label.

    An empty key leaves the modality's label alone.
    """
    view = find_frontal(renders.attributes["views"])
    drawn = renders.load(scan, ["images", "pixels", "visible"])
    render = drawn["images"][view]
    silhouette = render < 255
    organised = bool(clouds.attributes["organised"])
    rgb = None
    maps, objects = {}, {}
    name = f"{category}/{scan}"
    if organised:
        arrays = ["grid", "mask", *(["rgb"] if "rgb" in clouds.arrays(scan) else [])]
        cloud = clouds.load(scan, arrays)
        defects = cloud["mask"] > 0
        valid = np.zeros(defects.shape, dtype=bool)
        valid.ravel()[cloud["grid"]] = True
        window = _window(valid | defects)
        truth = _colour_truth(valid, defects)[window]
        rgb = cloud["rgb"][window] if "rgb" in cloud else None
    else:
        pixels, visible = drawn["pixels"][view].astype(np.intp), drawn["visible"][view]
        from scipy import ndimage

        # A highlight can be as white as the background, between points too.
        silhouette[pixels[visible, 1], pixels[visible, 0]] = True
        silhouette |= ndimage.binary_closing(silhouette, iterations=SPREAD)
        labels = splat(clouds.load(scan, ["labels"])["labels"].astype(float), pixels, visible, silhouette)
        window = _window(silhouette)
        truth = _colour_truth(silhouette, labels > 0)[window]
    for label, reader in scores.items():
        attributes = reader.scan_attributes(name)
        for modality in modalities:
            if f"object_{modality}" not in attributes:
                continue
            key = f"map_{modality}" if organised else f"points_{modality}"
            values = reader.load(name, [key])[key]
            image = np.where(valid, values, np.nan) if organised else splat(values, pixels, visible, silhouette)
            title = " ".join(part for part in (label, _LABELS[modality] if len(modalities) > 1 else "") if part)
            maps[title] = image[window]
            objects[title] = float(attributes[f"object_{modality}"])
    return Picture(
        scan=scan,
        defective=bool(clouds.scan_attributes(scan)["defective"]),
        render=render[_window(silhouette)],
        rgb=rgb,
        truth=truth,
        maps=maps,
        objects=objects,
    )


def _limits(maps: Sequence[np.ndarray]) -> tuple[float, float]:
    """Range of the colours: nearly all of the values, so that a few outliers do not flatten the rest."""
    values = np.concatenate([image[np.isfinite(image)] for image in maps] or [np.zeros(0)])
    if not len(values):
        return 0.0, 1.0
    low, high = np.percentile(values, [1, 99.9])
    return float(low), float(high) if high > low else float(low) + 1e-6


def _write(place: Callable[..., Any], text: str, size: int) -> None:
    # Names of scans and labels are text, not formulas, whatever dollars they have.
    place(text, fontsize=size, parse_math=False)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _sheet(n_rows: int, n_columns: int, extra_width: float) -> tuple[Figure, np.ndarray]:
    # No pyplot: it keeps figures in a global state and looks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(CELL * n_columns + extra_width, CELL * n_rows + 0.75), dpi=DPI, layout="constrained", facecolor="white"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for panel in axes.flat:
        _bare(panel)
    return figure, axes


def _save(figure: Figure, output: str | Path) -> None:
    with files.replacing(output) as partial:
        # The software's version would change the bytes without changing the picture.
        figure.savefig(partial, format="png", metadata={"Software": None})


def _draw_row(
    panels: Sequence[Axes], picture: Picture, columns: Sequence[str], limits: Mapping[str, tuple[float, float]]
) -> Any:
    """Draw a scan's images from left to right; returns the last map drawn, for the colour bar."""
    drawn = None
    for panel, column in zip(panels, columns, strict=True):
        if column == "Render":
            panel.imshow(picture.render, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        elif column == "Ground truth":
            panel.imshow(picture.truth, interpolation="nearest")
        elif column == "RGB":
            if picture.rgb is not None:
                panel.imshow(picture.rgb, interpolation="nearest")
        elif column in picture.maps:
            low, high = limits[column]
            drawn = panel.imshow(picture.maps[column], cmap=COLOURS, vmin=low, vmax=high, interpolation="nearest")
            panel.set_xlabel(f"score {picture.objects[column]:.3f}", fontsize=7, labelpad=2)
    return drawn


def make_heatmaps(
    scores: str | Path,
    clouds: stores.Paths,
    renders: stores.Paths,
    category: str,
    output: str | Path,
    count: int = 4,
) -> None:
    """Draw a contact sheet of one category as PNG: a row a scan, up to `count` defective ones and a good one.

    Columns are the frontal render, RGB where there is, the ground truth, and the map of each modality with the
    object score below it. All maps share one range of colours.

    Args:
        scores, clouds, renders: stores of these kinds; clouds and renders also those of a category's shards.
        category: category to draw; `clouds` and `renders` are its own.

    Raises:
        InputError: for a category without scores, and for stores that are damaged or lack a scan.
    """
    with ExitStack() as stack:
        scored = stack.enter_context(stores.read(scores, "scores"))
        cloud_store = stack.enter_context(stores.read(clouds, "clouds"))
        render_store = stack.enter_context(stores.read(renders, "renders"))
        defective, good = choose_scans(cloud_store, count)
        chosen = [*defective, *good[:1]]
        if not chosen:
            raise InputError(f"{cloud_store.path}: category {category!r} has no scans to draw")
        pictures = [
            load_picture({"": scored}, cloud_store, render_store, category, scan) for scan in progress(chosen, category)
        ]
        title = f"{cloud_store.attributes.get('dataset', '')} {category}".strip()
    names = list(dict.fromkeys(name for picture in pictures for name in picture.maps))
    has_rgb = any(picture.rgb is not None for picture in pictures)
    columns = ["Render", *(["RGB"] if has_rgb else []), "Ground truth", *names]
    shared = _limits([image for picture in pictures for image in picture.maps.values()])
    figure, axes = _sheet(len(pictures), len(columns), extra_width=1.2)
    drawn = None
    for panels, picture in zip(axes, pictures, strict=True):
        drawn = _draw_row(panels, picture, columns, dict.fromkeys(names, shared)) or drawn
        _write(panels[0].set_ylabel, f"{picture.scan}\n{'defective' if picture.defective else 'good'}", 7)
    for panel, column in zip(axes[0], columns, strict=True):
        _write(panel.set_title, column, 9)
    _write(figure.suptitle, title, 10)
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=axes, shrink=0.6, extend="both", label="anomaly score, one range for all maps")
        bar.ax.tick_params(labelsize=7)
    _save(figure, output)


def make_gallery(
    entries: Sequence[Mapping[str, Any]], output: str | Path, count: int = 2, modality: str = "3d"
) -> None:
    """Draw methods side by side as PNG: a row a defective scan; render, ground truth, and a map per method.

    Methods are calibrated differently, so every map has its own range of colours, from its low to its high scores.

    Args:
        entries: one mapping per category, with the keys label (text at its rows), category, clouds and renders
            (paths), scores (path by method's label, in the order of the columns; the same methods in every entry),
            and optionally scans (names to show instead of `count` chosen ones).
        modality: "3d" or "m3d".

    Raises:
        InputError: if there is nothing to draw, and for stores that are damaged or lack a scan.
    """
    rows: list[tuple[str, Picture]] = []
    for entry in entries:
        with ExitStack() as stack:
            clouds = stack.enter_context(stores.read(entry["clouds"], "clouds"))
            renders = stack.enter_context(stores.read(entry["renders"], "renders"))
            scores = {
                label: stack.enter_context(stores.read(path, "scores")) for label, path in entry["scores"].items()
            }
            for scan in entry.get("scans") or choose_scans(clouds, count)[0]:
                rows.append(
                    (entry["label"], load_picture(scores, clouds, renders, entry["category"], scan, [modality]))
                )
    names = list(dict.fromkeys(name for _, picture in rows for name in picture.maps))
    if not names:
        raise InputError(f"no defective scan has {_LABELS[modality]} scores to draw")
    columns = ["Render", "Ground truth", *names]
    figure, axes = _sheet(len(rows), len(columns), extra_width=0.6)
    for panels, (label, picture) in zip(axes, rows, strict=True):
        _draw_row(panels, picture, columns, {name: _limits([image]) for name, image in picture.maps.items()})
        _write(panels[0].set_ylabel, f"{label}\n{picture.scan}", 7)
    for panel, column in zip(axes[0], columns, strict=True):
        _write(panel.set_title, column, 9)
    _save(figure, output)
