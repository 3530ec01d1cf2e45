"""The paper's figures of score maps (Figures 5-9): stores in; PDF, PNG, captions and a table of what is shown out.

A figure looks at categories' scans. A *look* is one method's run on a category, or one row of an ablation. Maps "3d"
and "m3d" are those of the scores stage, pixel for pixel; what scores are made of, such as "implicit", "explicit" and
"rgb", and the maps of views, are computed here as that stage computes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.errors import InputError
from pointad_core.evaluation.figures import (
    Line,
    Panel,
    caption_of,
    draw_figure,
    float_tex,
    name_map,
    scan_auroc,
    write_pdf,
)
from pointad_core.evaluation.pictures import Picture, find_silhouette, find_window, name_views
from pointad_core.methods.registry import STORED
from pointad_core.stages.heatmaps import load_map, load_picture, save_picture, scans_by_label
from pointad_core.stages.summary import write_csv
from pointad_core.storage import files, stores
from pointad_core.storage.jobs import logger, progress

COLUMNS = ("group", "dataset", "category", "scan", "look", "map", "p_auroc")
"""Of the table of what a figure shows; P-AUROC is of this map alone, over the object's points."""

Places = Mapping[str, str]
"""Where each store lies that a figure names."""
NOTHING = "–"
"""In place of a map that there is none of."""
Parts = tuple[Callable[[str], Mapping[str, np.ndarray]], Callable[[str], np.ndarray]]
"""Of a scan's name: its branches' maps by name, and the maps of its views, float [K, S, S]."""


@dataclass(frozen=True)
class Look:
    """A method's run on a category, or a row of an ablation, with its stores open."""

    title: str
    category: str
    clouds: stores.StoreReader
    renders: stores.StoreReader
    scores: stores.StoreReader
    open_parts: Callable[[], Parts] | None
    """None where all that is shown is stored."""

    @cached_property
    def _parts(self) -> Parts:
        assert self.open_parts is not None
        return self.open_parts()

    @property
    def organised(self) -> bool:
        return bool(self.clouds.attributes["organised"])

    def maps(self, scan: str, words: Sequence[str]) -> dict[str, np.ndarray]:
        """Maps by the config's words, [S, S] of an organised scan, else [n]; without those that there are none of."""
        stored = {word: load_map(self.scores, self.organised, f"{self.category}/{scan}", word) for word in words}
        lacking = [word for word, values in stored.items() if values is None and word not in STORED]
        computed = self._parts[0](scan) if lacking and self.open_parts else {}
        found = {word: computed.get(word, values) for word, values in stored.items()}
        return {word: values for word, values in found.items() if values is not None}

    def of_views(self, scan: str) -> np.ndarray:
        """The map of each view, float [K, S, S]."""
        return self._parts[1](scan)

    def aurocs(self, scan: str, words: Sequence[str]) -> dict[str, float]:
        """P-AUROC of a scan alone, over its object's points, by the map's word; none without labels of points."""
        truth = "mask" if self.organised else "labels"
        if truth not in self.clouds.arrays(scan):
            return {}
        cloud = self.clouds.load(scan, [truth, *(["grid"] if self.organised else [])])
        found = {}
        for word, values in self.maps(scan, words).items():
            pairs = (values, cloud[truth])
            scores, labels = (part.ravel()[cloud["grid"]] for part in pairs) if self.organised else pairs
            if (area := scan_auroc(scores, labels)) is not None:
                found[word] = area
        return found


@dataclass(frozen=True)
class Shown:
    """A scan of a figure."""

    group: str
    dataset: str
    display: str
    scan: str
    looks: Sequence[Look]


def _open_parts(look: Mapping[str, Any], system: Mapping[str, Any], places: Places, stack: ExitStack) -> Parts:
    """Functions that score a scan by branches and by views, as the scores stage would with this run's prompts."""
    import torch

    from pointad_core.methods.interface import Settings, State
    from pointad_core.methods.registry import System, load
    from pointad_core.methods.scoring import restore, score_branches, score_views
    from pointad_core.stages.samples import open_samples
    from pointad_core.stages.scores import ask_scan, scan_states

    entry = System(**system["system"])
    module, settings, device = load(entry), Settings.of(system["options"], entry.losses), torch.device("cpu")
    prompts = places[look["prompts"]] if look["prompts"] else None
    state = restore(entry, prompts, settings, system["model"], device)(look["display"])
    paths = {stage: [places[path] for path in found] for stage, found in look["stores"].items()}
    reader = stack.enter_context(open_samples(paths, entry, settings))
    reader.check_dimensions(state, prompts or system["model"]["model"])
    resolution = int(reader.clouds.attributes["resolution"])

    @cache
    def of_scan(scan: str) -> State:
        return next(scan_states(reader, [scan], entry, module, state, settings, device))

    def of_branches(scan: str) -> Mapping[str, np.ndarray]:
        answers, cloud, size = ask_scan(reader, scan, module, of_scan(scan), settings, entry.rgb, device)
        return score_branches(answers, cloud, size, settings)

    def of_views(scan: str) -> np.ndarray:
        return score_views(module, of_scan(scan), reader.sample(scan).on(device), resolution, settings)

    return of_branches, of_views


def _open_look(look: Mapping[str, Any], systems: Mapping[str, Any], places: Places, stack: ExitStack) -> Look:
    def open_stores(paths: Sequence[str], kind: str) -> stores.StoreReader:
        return stack.enter_context(stores.read([places[path] for path in paths], kind))

    found, system = look["stores"], systems[look["method"]]
    return Look(
        title=look["title"],
        category=look["category"],
        clouds=open_stores(found["clouds"], "clouds"),
        renders=open_stores(found["renders"], "renders"),
        scores=open_stores(look["scores"], "scores"),
        open_parts=(lambda: _open_parts(look, system, places, stack)) if system else None,
    )


# Which scans ----------------------------------------------------------------------------------------------------------


def rank_scans(
    looks: Sequence[Look], words: Sequence[str], rule: Mapping[str, Any], among: Sequence[str] | None
) -> list[tuple[float, str]]:
    """Defective scans of a category in the order in which a rule takes them, each after what it gains.

    rule: `pick`, "first" (a scan of each kind of defect, then a second of each) or "median" (by rank nearest to the
    category's median of the scans' mean P-AUROC over the maps shown, of an even number the lower one; gains are 0), or
    `better` and `than` (scans in which the P-AUROC of one map is greater than the other's, by what it is greater, the
    greatest first; a mean over the looks). among: names of the scans that count, None for all.
    """
    first, *_ = looks
    defective = [scan for scan in scans_by_label(first.clouds)[0] if among is None or scan in among]
    if rule.get("pick") == "first":
        return [(0.0, scan) for scan in defective]
    pair = [rule[key] for key in ("better", "than") if key in rule]
    areas: dict[str, list[dict[str, float]]] = {}
    for scan in progress(defective, first.category):
        areas[scan] = [look.aurocs(scan, pair or words) for look in looks]
    if pair:
        gains = {scan: [of[pair[0]] - of[pair[1]] for of in found if len(of) == 2] for scan, found in areas.items()}
        means = [(float(np.mean(of_scan)), scan) for scan, of_scan in gains.items() if of_scan]
        return sorted((mean for mean in means if mean[0] > 0), key=lambda mean: (-mean[0], mean[1]))
    values = {scan: [area for of_look in found for area in of_look.values()] for scan, found in areas.items()}
    ordered = sorted((float(np.mean(of_scan)), scan) for scan, of_scan in values.items() if of_scan)
    middle = (len(ordered) - 1) // 2
    places = sorted(range(len(ordered)), key=lambda place: (abs(place - middle), place))
    return [(0.0, ordered[place][1]) for place in places]


def choose_shown(group: Mapping[str, Any], looks: Sequence[Sequence[Look]], words: Sequence[str]) -> list[Shown]:
    """The scans of a group: each category's first choice, those that gain most first, then the second of each, ...

    looks: of each of the group's categories. Raises InputError for a named scan that a category does not have.
    """
    ranked = []
    for category, of_category in zip(group["categories"], looks, strict=True):
        if (named := category.get("named")) is not None:
            of_category[0].clouds.check_scans(category["name"], named)
            ranked.append([(0.0, scan) for scan in named])
        else:
            ranked.append(rank_scans(of_category, words, group["rule"], category.get("among")))
    chosen: list[tuple[int, str]] = []
    for turn in zip_longest(*ranked):
        takes = [(k, *take) for k, take in enumerate(turn) if take is not None]
        chosen += [(k, scan) for k, _, scan in sorted(takes, key=lambda take: -take[1])]
    chosen = chosen[: group["count"]]
    if "better" not in group["rule"]:
        chosen.sort(key=lambda place: place[0])  # scans of one category side by side
    about = group["categories"]
    return [Shown(group["label"], about[k]["dataset"], about[k]["display"], scan, looks[k]) for k, scan in chosen]


# What is drawn --------------------------------------------------------------------------------------------------------


def _picture(look: Look, scan: str, words: Sequence[str]) -> Picture:
    return load_picture(None, look.clouds, look.renders, look.category, scan, look.maps(scan, words))


def _truth(picture: Picture) -> Panel:
    return "unlabelled" if picture.truth is None else picture.truth


def lines_of_scans(shown: Sequence[Shown], words: Sequence[str]) -> list[Line]:
    """A column a scan: its render, photograph where maps show RGB, ground truth, and the maps look by look."""
    pictures = [[_picture(look, scan.scan, words) for look in scan.looks] for scan in progress(shown, "drawing")]
    lines = [Line("Render", [first.render for first, *_ in pictures])]
    if {"rgb", "m3d"} & set(words) and any(first.rgb is not None for first, *_ in pictures):
        lines.append(Line("Photograph", [first.rgb for first, *_ in pictures]))
    lines.append(Line("Ground truth", [_truth(first) for first, *_ in pictures]))
    titles = [look.title for look in shown[0].looks]
    for k, title in enumerate(titles):
        for word in words:
            name = [title] * (len(titles) > 1 or len(words) == 1) + [name_map(word)] * (len(words) > 1)
            lines.append(Line(" ".join(name), [of_scan[k].maps.get(word, NOTHING) for of_scan in pictures]))
    return lines


def lines_of_views(shown: Sequence[Shown], words: Sequence[str]) -> list[Line]:
    """Two lines a scan, its views and their maps; in the last column the ground truth and the map of the points."""
    lines = []
    for scan in progress(shown, "drawing"):
        (look,) = scan.looks
        picture = _picture(look, scan.scan, words)
        drawn = look.renders.load(scan.scan, ["images", "pixels", "visible"])
        images: list[Panel] = []
        maps: list[Panel] = []
        views = zip(drawn["images"], drawn["pixels"], drawn["visible"], look.of_views(scan.scan), strict=True)
        for image, pixels, visible, of_view in views:
            silhouette = find_silhouette(image, pixels, visible.astype(bool))
            window = find_window(silhouette)
            images.append(image[window])
            maps.append(np.where(silhouette, of_view, np.nan)[window])
        lines += [
            Line(scan.display, [*images, _truth(picture)]),
            Line(look.title, [*maps, picture.maps.get(words[0], NOTHING)]),
        ]
    return lines


def lines_of_looks(shown: Sequence[Shown], words: Sequence[str]) -> tuple[list[Line], list[str]]:
    """A column a look, after the ground truth, and their heads: a line a map of every scan, and above it the renders;
    of looks that see the same renders, as methods do, these stand once, before the ground truth."""
    alike = all(look.renders.path == scan.looks[0].renders.path for scan in shown for look in scan.looks)
    lines = []
    for scan in progress(shown, "drawing"):
        pictures = [_picture(look, scan.scan, words) for look in scan.looks]
        first, *_ = pictures
        if not alike:
            lines.append(Line(scan.display, [_truth(first), *(picture.render for picture in pictures)]))
        for k, word in enumerate(words):
            before: list[Panel] = [None]
            if alike:
                before = [first.render, _truth(first)] if k == 0 else [None, None]
            name = [scan.display] * (alike and k == 0) + [name_map(word)] * (len(words) > 1 or not alike)
            lines.append(Line(" ".join(name), [*before, *(picture.maps.get(word, NOTHING) for picture in pictures)]))
    titles = [look.title for look in shown[0].looks]
    return lines, [*(["Render"] if alike else []), "Ground truth", *titles]


def _name_views(shown: Sequence[Shown]) -> list[str]:
    """Heads of the views' columns: their turns where all scans have the same ones, else numbers."""
    angles = [scan.looks[0].renders.attributes["views"] for scan in shown]
    if len({len(views) for views in angles}) > 1:
        raise InputError("the scans of a figure of views have different numbers of views; draw them apart")
    alike = all(views == angles[0] for views in angles)
    turns = name_views(shown[0].looks[0].renders.attributes)
    return [*(turns if alike else [f"view {k + 1}" for k in range(len(turns))]), "points"]


def make_figure(
    figure: Mapping[str, Any],
    places: Places,
    pdf: str | Path,
    png: str | Path,
    tex: str | Path,
    text: str | Path,
    csv_output: str | Path,
) -> None:
    """Draw a figure as PDF and PNG; its caption as text and in a LaTeX float; a row for each map that it shows as CSV.

    figure: as `workflow.figures.figure_options` describes it; places: where each store lies that it names. Raises
    InputError for a scan that a category does not have, for a figure without a scan, and for stores that are damaged.
    """
    columns, words = figure["columns"], figure["maps"]
    with ExitStack() as stack:
        shown: list[Shown] = []
        spans: list[tuple[str, int]] = []
        for group in figure["groups"]:
            looks = [
                [_open_look(look, figure["systems"], places, stack) for look in category["looks"]]
                for category in group["categories"]
            ]
            chosen = choose_shown(group, looks, words)
            if not chosen:
                logger.warning("%s: no scan of its kind, and so no column", group["label"])
            else:
                spans.append((group["label"], len(chosen)))
            shown += chosen
        if not shown:
            raise InputError("a figure without scans: its categories have no defective scan that its rule takes")
        if columns == "views":
            lines, heads = lines_of_views(shown, words), _name_views(shown)
        elif columns == "methods":
            lines, heads = lines_of_looks(shown, words)
        else:
            lines, heads = lines_of_scans(shown, words), [scan.display for scan in shown]
        drawn = draw_figure(lines, heads, spans if columns == "scans" else (), figure["colours"])
        rows = [
            (scan.group, scan.dataset, look.category, scan.scan, look.title, word, found.get(word))
            for scan in shown
            for look in scan.looks
            for found in [look.aurocs(scan.scan, words)]
            for word in words
        ]
    import pandas as pd

    write_csv(pd.DataFrame(rows, columns=list(COLUMNS)), csv_output)
    save_picture(drawn, png)
    caption = caption_of(figure)
    for path, content in ((text, caption + "\n"), (tex, float_tex(figure["name"], caption))):
        with files.replacing(path) as partial:
            partial.write_text(content, encoding="utf-8")
    with files.replacing(pdf) as partial:
        write_pdf(drawn, partial)
