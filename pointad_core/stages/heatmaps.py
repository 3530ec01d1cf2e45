"""Pictures of scores, a contact sheet per category: stores in, PNG out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pointad_core.errors import InputError
from pointad_core.evaluation.captions import BATCH
from pointad_core.evaluation.pictures import LABELS, Picture, draw_sheet, find_frontal, make_picture
from pointad_core.storage import files, stores
from pointad_core.storage.jobs import progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def scans_by_label(clouds: stores.StoreReader) -> tuple[list[str], list[str], list[str]]:
    """Names of the defective scans, the first of each kind of defect, then the second of each, and so on; of those
    that nobody labelled; and of the good ones."""
    kinds: dict[str, list[str]] = {}
    unlabelled, good = [], []
    for scan in clouds.scans:
        attributes = clouds.scan_attributes(scan)
        if attributes["defective"] is None:
            unlabelled.append(scan)
        elif attributes["defective"]:
            kinds.setdefault(attributes["defect"], []).append(scan)
        else:
            good.append(scan)
    rounds = zip_longest(*(scans for _, scans in sorted(kinds.items())))
    return [scan for scans in rounds for scan in scans if scan is not None], unlabelled, good


def choose_scans(clouds: stores.StoreReader, count: int) -> tuple[list[str], list[str]]:
    """Names of up to `count` defective scans, of as many kinds of defect as there are, and of all good ones.

    Where there are fewer defective ones, those that nobody labelled come after them.
    """
    defective, unlabelled, good = scans_by_label(clouds)
    chosen = sorted(defective[:count])
    return [*chosen, *unlabelled[: count - len(chosen)]], good


def load_picture(
    scores: stores.StoreReader | None,
    clouds: stores.StoreReader,
    renders: stores.StoreReader,
    category: str,
    scan: str,
    further: Mapping[str, np.ndarray] | None = None,
) -> Picture:
    """Gather one scan's images; the maps of its scores and their objects' are named by the modality's label.

    further: maps by their titles, [S, S] of an organised scan, else [n], beside those of `scores`.
    """
    view = find_frontal(renders.attributes["views"])
    drawn = {key: array[view] for key, array in renders.load(scan, ["images", "pixels", "visible"]).items()}
    organised = bool(clouds.attributes["organised"])
    shown = ("grid", "mask", "rgb") if organised else ("labels",)
    arrays = [array for array in shown if array in clouds.arrays(scan)]
    maps, objects = dict(further or {}), {}
    if scores is not None:
        for modality, title in LABELS.items():
            if (found := load_map(scores, organised, f"{category}/{scan}", modality)) is not None:
                maps[title] = found
                objects[title] = float(scores.scan_attributes(f"{category}/{scan}")[f"object_{modality}"])
    defective = clouds.scan_attributes(scan)["defective"]
    return make_picture(scan, defective, drawn, clouds.load(scan, arrays), maps, objects)


def load_map(scores: stores.StoreReader, organised: bool, name: str, modality: str) -> np.ndarray | None:
    """Smoothed scores of a scan, [S, S] of an organised one, else [n]; None where it has none in this modality."""
    if f"object_{modality}" not in scores.scan_attributes(name):
        return None
    key = f"map_{modality}" if organised else f"points_{modality}"
    return scores.load(name, [key])[key]


def save_picture(figure: Figure, output: str | Path) -> None:
    """Write a figure as PNG; the same figure gives the same bytes."""
    with files.replacing(output) as partial:
        # The software's version would change the bytes without changing the picture.
        figure.savefig(partial, format="png", metadata={"Software": None})


def make_heatmaps(
    scores: stores.Paths,
    clouds: stores.Paths,
    renders: stores.Paths,
    category: str,
    output: str | Path,
    count: int = 4,
    scans: Sequence[str] | None = None,
) -> None:
    """Draw a contact sheet of one category as PNG: a row a scan, up to `count` defective ones and a good one.

    Columns are the frontal render, RGB and ground truth where there are, and the map of each modality with the object
    score below it. scores, clouds, renders: stores of these kinds, or those of the category's shards; scans: names to
    draw, in this order, instead of chosen ones. Raises InputError for a category without scores, for a scan that it
    does not have, and for stores that are damaged or lack a scan.
    """
    with (
        stores.read(scores, "scores") as scored,
        stores.read(clouds, "clouds") as cloud_store,
        stores.read(renders, "renders") as drawn,
    ):
        if scans is None:
            chosen, others = choose_scans(cloud_store, count)
            scans = [*chosen, *others[:1]]
        cloud_store.check_scans(category, scans)
        if not scans:
            raise InputError(f"{scores}: category {category!r} has no scans to draw")
        pictures = [load_picture(scored, cloud_store, drawn, category, scan) for scan in progress(scans, category)]
        title = f"{cloud_store.attributes['dataset']} {category}"
        if scored.attributes["provenance"].get("system", {}).get("batch"):
            title += f" ({BATCH})"
    save_picture(draw_sheet(pictures, title), output)
