"""Pictures of scores, a contact sheet per category and a gallery of methods side by side: stores in, PNG out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointad_core.errors import InputError
from pointad_core.evaluation.pictures import LABELS, Picture, draw_gallery, draw_sheet, find_frontal, make_picture
from pointad_core.storage import files, stores
from pointad_core.storage.jobs import progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def choose_scans(clouds: stores.StoreReader, count: int) -> tuple[list[str], list[str]]:
    """Names of up to `count` defective scans, of as many kinds of defect as there are, and of all good ones.

    Where there are fewer defective ones, those that nobody labelled come after them.
    """
    # Good scans are of the kind None.
    kinds: dict[str | None, list[str]] = {None: []}
    unlabelled = []
    for scan in clouds.scans:
        attributes = clouds.scan_attributes(scan)
        if attributes["defective"] is None:
            unlabelled.append(scan)
        else:
            kinds.setdefault(attributes["defect"] if attributes["defective"] else None, []).append(scan)
    good = kinds.pop(None)
    # First scan of each kind, then the second of each, ...
    rounds = zip_longest(*(scans for _, scans in sorted(kinds.items())))
    defective = sorted([scan for scans in rounds for scan in scans if scan is not None][:count])
    return [*defective, *unlabelled[: count - len(defective)]], good


def load_picture(
    scores: Mapping[str, stores.StoreReader],
    clouds: stores.StoreReader,
    renders: stores.StoreReader,
    category: str,
    scan: str,
    modalities: Sequence[str] = tuple(LABELS),
) -> Picture:
    """Gather one scan's images; maps and object scores are named by the key of `scores` and the modality's label.

    An empty key leaves the modality's label alone, a single modality goes without its label.
    """
    view = find_frontal(renders.attributes["views"])
    drawn = {key: array[view] for key, array in renders.load(scan, ["images", "pixels", "visible"]).items()}
    organised = bool(clouds.attributes["organised"])
    shown = ("grid", "mask", "rgb") if organised else ("labels",)
    arrays = [array for array in shown if array in clouds.arrays(scan)]
    name = f"{category}/{scan}"
    maps, objects = {}, {}
    for label, reader in scores.items():
        attributes = reader.scan_attributes(name)
        for modality in modalities:
            if f"object_{modality}" in attributes:
                key = f"map_{modality}" if organised else f"points_{modality}"
                title = " ".join(filter(None, (label, LABELS[modality] if len(modalities) > 1 else "")))
                maps[title] = reader.load(name, [key])[key]
                objects[title] = float(attributes[f"object_{modality}"])
    defective = clouds.scan_attributes(scan)["defective"]
    return make_picture(scan, defective, drawn, clouds.load(scan, arrays), maps, objects)


def _load_pictures(entry: Mapping[str, Any], count: int, good: int, modalities: Sequence[str]) -> list[Picture]:
    """Of an entry as in `make_gallery` the scans that it names, or up to `count` defective and `good` good ones."""
    category = entry["category"]
    with ExitStack() as stack:
        clouds, renders = (stack.enter_context(stores.read(entry[kind], kind)) for kind in ("clouds", "renders"))
        scores = {label: stack.enter_context(stores.read(path, "scores")) for label, path in entry["scores"].items()}
        scans = entry.get("scans")
        if scans is None:
            chosen, others = choose_scans(clouds, count)
            scans = [*chosen, *others[:good]]
        clouds.check_scans(category, scans)
        return [load_picture(scores, clouds, renders, category, scan, modalities) for scan in progress(scans, category)]


def _save(figure: Figure, output: str | Path) -> None:
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
    entry = {"scores": {"": scores}, "clouds": clouds, "renders": renders, "category": category, "scans": scans}
    pictures = _load_pictures(entry, count, 1, tuple(LABELS))
    if not pictures:
        raise InputError(f"{scores}: category {category!r} has no scans to draw")
    with stores.read(clouds, "clouds") as reader:
        title = f"{reader.attributes['dataset']} {category}"
    _save(draw_sheet(pictures, title), output)


def make_gallery(
    entries: Sequence[Mapping[str, Any]], output: str | Path, count: int = 2, modality: str = "3d"
) -> None:
    """Draw methods side by side as PNG: a row a defective or unlabelled scan; render, ground truth, a map per method.

    entries: one mapping per category, with the keys label (text at its rows), category, clouds and renders (paths),
    scores (path by method's label, in the order of the columns; the same methods in every entry), and optionally scans
    (names to show instead of `count` chosen ones); modality: "3d" or "m3d". Raises InputError if there is nothing to
    draw, for a scan that its category does not have, and for stores that are damaged or lack a scan.
    """
    rows = [(entry["label"], picture) for entry in entries for picture in _load_pictures(entry, count, 0, [modality])]
    if not any(picture.maps for _, picture in rows):
        raise InputError(f"no defective or unlabelled scan has {LABELS[modality]} scores to draw")
    _save(draw_gallery(rows), output)
