"""Pages to turn a category's scans on, with the scores of every method: stores in, one HTML file out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from pointad_core.errors import InputError
from pointad_core.evaluation.pictures import LABELS, carry_to_image, find_frontal, find_silhouette, name_views
from pointad_core.evaluation.viewer import Shown, View, write_viewer
from pointad_core.stages.heatmaps import choose_scans
from pointad_core.storage import stores
from pointad_core.storage.jobs import progress

DEFECTIVE, SCANS = 6, 8
"""Scans that a page shows of a category of which none are named: at most so many defective ones, and in all."""


def make_viewers(
    scores: Mapping[str, str | Path],
    clouds: stores.Paths,
    renders: stores.Paths,
    category: str,
    output: str | Path,
    facts: Mapping[str, str] | None = None,
    scans: Sequence[str] | None = None,
) -> None:
    """Write the page of one category: some scans, each with the scores of every method and its views.

    scores: stores by the method's label, the first is shown first; clouds, renders: the category's stores, also those
    of its shards; facts: what the page says of every scan; scans: names to show, in this order, instead of chosen ones.
    Raises InputError for a scan that the category does not have, for a category without scans, and for stores that are
    damaged or lack a scan.
    """
    with ExitStack() as stack:
        cloud_store = stack.enter_context(stores.read(clouds, "clouds"))
        render_store = stack.enter_context(stores.read(renders, "renders"))
        score_stores = {label: stack.enter_context(stores.read(path, "scores")) for label, path in scores.items()}
        if scans is None:
            defective, others = choose_scans(cloud_store, DEFECTIVE)
            scans = [*defective, *others][:SCANS]
        cloud_store.check_scans(category, scans)
        if not scans:
            raise InputError(f"{cloud_store.path}: category {category!r} has no scans to show")
        shown = [
            load_shown(score_stores, cloud_store, render_store, category, scan, facts or {})
            for scan in progress(scans, category)
        ]
        title = f"{cloud_store.attributes['dataset']} {category}"
    write_viewer(output, shown, title)


def load_shown(
    scores: Mapping[str, stores.StoreReader],
    clouds: stores.StoreReader,
    renders: stores.StoreReader,
    category: str,
    scan: str,
    facts: Mapping[str, str],
) -> Shown:
    """A scan as the viewer takes it: scores by method and modality, object scores among its facts."""
    organised = bool(clouds.attributes["organised"])
    wanted = ("points", "labels", "grid", "rgb")
    cloud = clouds.load(scan, [name for name in wanted if name in clouds.arrays(scan)])
    about = clouds.scan_attributes(scan)
    values: dict[str, np.ndarray] = {}
    said = {"scan": scan, "kind": str(about["defect"]), "ground truth": name_label(about["defective"]), **facts}
    said["points in the file"] = f"{about['n_original']:,}"
    for label, reader in scores.items():
        name = f"{category}/{scan}"
        objects = reader.scan_attributes(name)
        for modality, title in LABELS.items():
            if f"object_{modality}" in objects:
                key = f"map_{modality}" if organised else f"points_{modality}"
                found = reader.load(name, [key])[key]
                values[f"{label} {title}"] = found.ravel()[cloud["grid"]] if organised else found
                said[f"object score, {label} {title}"] = f"{objects[f'object_{modality}']:.4g}"
    angles = renders.attributes["views"]
    return Shown(
        name=scan,
        points=cloud["points"],
        scores=values,
        colours=cloud["rgb"].reshape(-1, 3)[cloud["grid"]] if "rgb" in cloud else None,
        truth=cloud["labels"] > 0 if "labels" in cloud else None,
        facts=said,
        views=make_views(
            next(iter(values.items())),
            cloud,
            renders.load(scan, ["images", "pixels", "visible"]),
            name_views(renders.attributes),
        ),
        front=rotate(*angles[find_frontal(angles)]),
    )


def name_label(defective: bool | None) -> str:
    """What a page calls a scan's label, that of one which nobody labelled too."""
    return {True: "defective", False: "good", None: "unlabelled"}[defective]


def make_views(
    score: tuple[str, np.ndarray],
    cloud: Mapping[str, np.ndarray],
    drawn: Mapping[str, np.ndarray],
    names: Sequence[str],
) -> list[View]:
    """The photograph, where there is one, and every rendered view, with the map of one score.

    score: its name and values [n]; names: of the rendered views.
    """
    name, values = score
    views = []
    if "rgb" in cloud:
        photograph = np.full(cloud["rgb"].shape[:2], np.nan, np.float32)
        photograph.ravel()[cloud["grid"]] = values
        views.append(View(f"photograph, {name}", cloud["rgb"], photograph))
    for index, turned in enumerate(names):
        image, visible = drawn["images"][index], drawn["visible"][index].astype(bool)
        pixels = drawn["pixels"][index].astype(np.intp)
        silhouette = find_silhouette(image, pixels, visible)
        carried = carry_to_image(values, pixels, visible, silhouette).astype(np.float32)
        views.append(View(f"turned by {turned}", np.repeat(image[..., None], 3, axis=2), carried))
    return views


def rotate(tilt: float, x: float, y: float) -> np.ndarray:
    """The rotation f8 [3, 3] of a view, as `rendering.views.rotations`, without torch."""
    (ct, st), (cy, sy) = ((math.cos(angle), math.sin(angle)) for angle in map(math.radians, (tilt + x, y)))
    about_x = np.array([[1, 0, 0], [0, ct, -st], [0, st, ct]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return about_y @ about_x
