"""Tables 1-4 of the paper as LaTeX and as rows.

One-vs-rest in 3-D and M3D (Tables 1 and 2), cross-dataset in 3-D and M3D (Tables 3 and 4); means as in `averages`.
Under each stand the exact AUPRO, the local metrics on object points only, and others on request. Intervals of means,
and of the differences between any two methods, are those of `intervals`.

The paper's own numbers stand in ``paper_numbers.csv`` (percent; "-" where the paper has a dash); its AUPRO is the
stretched one, which its code computes (`metrics`). Its printed tables have headers with columns missing or moved; what
is there was read with the body's columns in the order P-AUROC, AUPRO per data set (P-AUROC alone for Real3D-AD), then
I-AUROC, AP per data set. Cells that are lost or contradict each other in print are left out; Real3D-AD's I-AUROC and AP
of PointAD+ in Table 1 and its AP in Table 3 come from the text of Sec. 4.2; Table 4's columns are read as Eyecandies
alone (Real3D-AD has no RGB).
"""

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, groupby
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pointad_core.errors import InputError
from pointad_core.evaluation.averages import Methods, average
from pointad_core.evaluation.captions import describe_backbone, describe_batch, describe_data, gather, warn
from pointad_core.evaluation.intervals import BOUNDS, Replicates, bounds, replicate
from pointad_core.evaluation.latex import escape, percent, rank, tabular
from pointad_core.evaluation.metrics import METRICS, TITLES

TABLES = {1: ("3d", "one_vs_rest"), 2: ("m3d", "one_vs_rest"), 3: ("3d", "cross_dataset"), 4: ("m3d", "cross_dataset")}
"""Modality and setting of each table of the paper."""
PAPER_SOURCE = "mvtec3d"
"""Published data set on which the paper's cross-dataset prompts were trained (Sec. 4.2)."""
PUBLISHED = {"i_auroc": "i_auroc", "ap": "ap", "p_auroc": "p_auroc_paper", "aupro": "aupro_stretched"}
"""Our metric for each of the paper's."""
PAPER, OBJECT, GLOBAL = "Local, the paper's protocol", "Local, object points only", "Global"
"""Heads of a table's columns."""
BESIDE = (
    r"\textcolor{gray}{Grey in parentheses}: the paper's own number; of AUPRO it stands beside the stretched one, "
    "which the paper's code computes."
)
"""What a caption says of the paper's numbers."""
_EXACT = r"""\textbf{The same scores, measured otherwise.} AUPRO is the exact area up to a false-positive rate of 0.3;
the stretched one above has 200 thresholds, and the rates below 0.3 stretched to 0 to 1. Object points only: without the
background, of organised scans the pixels that hold a point, of point clouds all original points. The paper's protocol
counts every pixel of the image; of point clouds, the kept points."""
_FURTHER = r"""\textbf{Further metrics}, none of which the paper has. Linked AUPRO: a region of a point cloud is
defective points within 2.5 mean spacings of each other."""


@cache
def paper_numbers() -> dict[tuple[int, str, str, str], float | None]:
    """The paper's results as fractions by (table, method, data set, metric); None where it prints a dash.

    Metrics are i_auroc, ap, p_auroc and aupro; the local ones in the paper's protocol. Unknown cells are absent.
    """
    with open(Path(__file__).with_name("paper_numbers.csv"), newline="", encoding="utf-8") as file:
        _, *lines = csv.reader(file)
    return {
        (int(table), method, dataset, metric): None if value == "-" else round(float(value) / 100, 4)
        for table, method, dataset, metric, value in lines
    }


@dataclass(frozen=True, eq=False)
class Group:
    """One data set's columns in a table."""

    source: str
    dataset: str
    label: str
    data: str
    """Where it comes from: "generated", "published" or "own data"."""
    note: str
    """The same, and how many categories it has, and how many of them are left out of the means."""
    results: pd.DataFrame
    """METRICS, with the methods as index."""
    drawn: dict[str, np.ndarray]
    """Replicates of METRICS by method, as in `intervals.Means`."""
    paper: dict[tuple[str, str], float | None]
    """The paper's value by method and metric of ours, where it is comparable and known; None for a dash."""


Column = tuple[tuple[str, ...], Group, str]
"""A column of a tabular: the heads above it, and a metric of a group."""


def kind_of(dataset: Mapping[str, Any]) -> str:
    """Where a data set comes from, as in `Group.data`."""
    return next((kind for kind in ("generated", "published") if dataset.get(kind)), "own data")


def make_groups(number: int, rows: pd.DataFrame, replicates: Replicates, options: Mapping[str, Any]) -> list[Group]:
    """What a table shows, in the order of its pairs; a data set without the table's modality, or without labels, is
    left out.

    number: 1 to 4, see TABLES; rows: as for `averages.average`, at least those of the table's runs; replicates: those
    of these rows; options: what the table compares, and what it says of that:

    * pairs: mappings of source, dataset and tested (categories by auxiliary class of the source); none where there is
      no experiment of the table's setting.
    * methods: by name label, trained, published (row of the paper or None) and features (one of the names below); for
      a system with a network of its own also word_vectors and pointnet (paths or None); batch, true of one in the
      setting of `captions.BATCH`, which is not ranked.
    * datasets: by name label, auxiliary (classes), n_categories, and where it applies published (name among the
      paper's data sets) or generated (scans and seed).
    * features: by name model, and what its weights are: checkpoint, pretrained or random_seed.
    * seeds: of the trained methods.
    * intervals: whether the LaTeX shows intervals.
    * further_metrics: those of METRICS that the LaTeX shows besides.

    Raises InputError for missing metrics, and for a "published" that the paper does not have.
    """
    for section, position in (("methods", 1), ("datasets", 2)):
        known = sorted({key[position] for key in paper_numbers()})
        for name, entry in options[section].items():
            if entry.get("published") not in (None, *known):
                raise InputError(f"{section}.{name}.published is {entry['published']!r}, the paper has {known}")
    modality, setting = TABLES[number]
    methods, datasets = options["methods"], options["datasets"]
    cross = setting == "cross_dataset"
    several = cross and len({pair["source"] for pair in options["pairs"]}) > 1
    groups = []
    for pair in options["pairs"] if methods else []:
        source, dataset = datasets[pair["source"]], datasets[pair["dataset"]]
        means = average(rows, pair["dataset"], pair["source"], pair["tested"], methods)
        results = means[means["modality"] == modality].set_index("method")[list(METRICS)]
        if results.empty:
            continue
        drawn = replicate(replicates, pair["dataset"], pair["source"], pair["tested"], methods)
        drawn_of = {name: drawn[name, modality] for name in results.index}
        comparable = not dataset.get("generated") and (not cross or source.get("published") == PAPER_SOURCE)
        paper = {
            (name, metric): paper_numbers()[key]
            for name, method in methods.items()
            for theirs, metric in PUBLISHED.items()
            if (key := (number, method.get("published"), dataset.get("published"), theirs)) in paper_numbers()
            if comparable
        }
        label = f"{source['label']} → {dataset['label']}" if several else dataset["label"]
        data = kind_of(dataset)
        note = f"{data}, {dataset['n_categories']} {'category' if dataset['n_categories'] == 1 else 'categories'}"
        own = rows[(rows["dataset"] == pair["dataset"]) & (rows["modality"] == modality)]
        measured = set(own.dropna(subset=list(METRICS), how="all")["category"])
        if lacking := {category for tested in pair["tested"].values() for category in tested} - measured:
            note += f", {len(lacking)} without {'photographs or ' if modality == 'm3d' else ''}labels"
        groups.append(Group(pair["source"], pair["dataset"], label, data, note, results, drawn_of, paper))
    return groups


def table_rows(number: int, groups: Sequence[Group]) -> pd.DataFrame:
    """A row per data set and method: our metrics as fractions, the paper's where known, and our metrics' intervals."""
    modality, setting = TABLES[number]
    head = ("table", "setting", "modality", "data", "source", "dataset", "method")
    rows = [
        [number, setting, modality, group.data, group.source, group.dataset, method, *values]
        + [group.paper.get((method, metric)) for metric in PUBLISHED.values()]
        + bounds(group.drawn[method])
        for group in groups
        for method, *values in group.results.itertuples()
    ]
    return pd.DataFrame(rows, columns=[*head, *METRICS, *(f"published_{metric}" for metric in PUBLISHED), *BOUNDS])


def difference_rows(number: int, groups: Sequence[Group]) -> pd.DataFrame:
    """A row per data set and two of its methods: what the first has more of each metric, as fractions, with intervals.

    The later of two methods stands first, so that with the baselines before it a method's gain is positive.
    """
    modality, setting = TABLES[number]
    rows = [
        [
            *(number, setting, modality, group.source, group.dataset, method, other),
            *(group.results.loc[method] - group.results.loc[other]),
            *bounds(group.drawn[method] - group.drawn[other]),
        ]
        for group in groups
        for other, method in combinations(group.results.index, 2)
    ]
    head = ("table", "setting", "modality", "source", "dataset", "method", "minus")
    return pd.DataFrame(rows, columns=[*head, *METRICS, *BOUNDS])


def _cells(group: Group, metric: str, methods: Iterable[str], unranked: Collection[str]) -> list[str]:
    """A column's cells: ours, the best bold and the second underlined, and the paper's in grey."""
    # Where the paper prints a dash, so do we; our value stands in the CSV.
    shown = [group.paper.get((method, metric), 0) is not None for method in methods]
    values = group.results[metric].reindex(list(methods)).where(shown)
    cells = []
    ranked = values.mask(values.index.isin(list(unranked)))
    for (method, value), command in zip(values.items(), rank(ranked), strict=True):
        cell = rf"\{command}{{{percent(value)}}}" if command else percent(value)
        paper = group.paper.get((method, metric))
        cells.append(cell if paper is None else rf"{cell} {{\scriptsize\textcolor{{gray}}{{({percent(paper)})}}}}")
    return cells


def _interval(group: Group, method: str, metric: str) -> str:
    """An interval in percent, or nothing where there is none, or no value beside it."""
    if method not in group.drawn or group.paper.get((method, metric), 0) is None:
        return ""
    low, high = (bounds(group.drawn[method])[BOUNDS.index(f"{metric}_{end}")] for end in ("low", "high"))
    return "" if isnan(low) else rf"{{\scriptsize [{percent(low)}, {percent(high)}]}}"


def _interleave(upper: Iterable[str], lower: Iterable[str]) -> list[str]:
    return [cell for pair in zip(upper, lower, strict=True) for cell in pair]


def _columns(groups: Sequence[Group], blocks: Mapping[str, Sequence[str]]) -> list[Column]:
    """Blocks of metrics by title side by side, each with its data sets' columns; one without values is left out."""
    return [
        ((title, escape(group.label), rf"\scriptsize {group.note}"), group, metric)
        for title, metrics in blocks.items()
        for group in groups
        for metric in metrics
        if group.results[metric].notna().any()
    ]


def fill_tabular(
    head: str,
    labels: Mapping[str, str],
    columns: Sequence[Column],
    ruled: Sequence[bool],
    intervals: bool,
    unranked: Collection[str] = (),
) -> str:
    """A tabular with the rows of these names, by what stands for them in LaTeX; with intervals each has a second row.

    head: what stands above them; ruled: of each line of heads, whether there is a rule under its heads; unranked: names
    of rows that are never bold or underlined, and count for no other row's being so.
    """
    names = list(labels.values())
    cells = [_cells(group, metric, labels, unranked) for _, group, metric in columns]
    if intervals:
        names = _interleave(names, [""] * len(names))
        ends = [[_interval(group, name, metric) for name in labels] for _, group, metric in columns]
        cells = [_interleave(*pair) for pair in zip(cells, ends, strict=True)]
    cells = [[TITLES[metric], *column] for (_, _, metric), column in zip(columns, cells, strict=True)]
    lines = []
    for level, rule in enumerate(ruled):
        # Columns next to each other under one head, as long as those above it are one, too.
        spans = [(heads, len(list(found))) for heads, found in groupby(column[0][: level + 1] for column in columns)]
        lines.append(([(heads[-1], width) for heads, width in spans], rule))
    return tabular(lines, list(zip([head, *names], *cells, strict=True)))


def _tabular(groups: Sequence[Group], methods: Methods, blocks: Mapping[str, Sequence[str]], intervals: bool) -> str:
    labels = {name: escape(method["label"]) for name, method in methods.items()}
    # A rule under each head of the upper rows; the note belongs to the label above it.
    unranked = [name for name, method in methods.items() if method.get("batch")]
    return fill_tabular("Method", labels, _columns(groups, blocks), (True, False, True), intervals, unranked)


def _caption(title: str, setting: str, modality: str, groups: Sequence[Group], options: Mapping[str, Any]) -> str:
    datasets, methods, features = options["datasets"], options["methods"].values(), options["features"]
    sources = [datasets[name] for name in dict.fromkeys(group.source for group in groups)]
    involved = [datasets[name] for name in dict.fromkeys(name for g in groups for name in (g.source, g.dataset))]
    parts = {
        "Data": gather((entry["label"], describe_data(entry)) for entry in involved),
        "Backbone": gather((entry["label"], describe_backbone(entry, features)) for entry in methods),
        "Auxiliary classes": escape("; ".join(f"{s['label']}: {', '.join(s['auxiliary'])}" for s in sources)),
        "Seeds" if len(options["seeds"]) > 1 else "Seed": escape(", ".join(map(str, options["seeds"]))),
    }
    where = "unseen categories" if setting == "one-vs-rest" else "the target's categories"
    said = [f"{title}: mean over {where}, then over auxiliary classes, in percent; best in bold, second underlined."]
    if any(group.paper for group in groups):
        said.append(BESIDE)
    if options["intervals"]:
        said.append(
            r"In brackets: 95\,\% intervals, over scans within categories, auxiliary classes and seeds, where there is "
            "more than one."
        )
    shown = [(group.source, group.dataset) for group in groups]
    absent = [pair["dataset"] for pair in options["pairs"] if (pair["source"], pair["dataset"]) not in shown]
    if absent and modality == "3d":
        parts["Not shown, for lack of labels"] = escape(", ".join(datasets[name]["label"] for name in absent))
    said += [rf"\textbf{{{name}.}} {text}." for name, text in parts.items()]
    if batch := describe_batch(entry["label"] for entry in methods if entry.get("batch")):
        said.append(escape(batch))
    columns = [(group.label, datasets[group.source], datasets[group.dataset]) for group in groups]
    if warning := warn(columns, methods, features):
        said.append(rf"\textbf{{{warning}}}")
    return " ".join(said)


def head_of(metric: str) -> str:
    """The head under which a metric stands."""
    if metric in ("i_auroc", "ap", "f1_max"):
        return GLOBAL
    return OBJECT if metric.endswith("_object") else PAPER


def table_tex(number: int, groups: Sequence[Group], options: Mapping[str, Any]) -> str:
    """A table environment, in percent; one without content is a sentence that says why. Options as for `make_groups`.

    Beside a value stands the paper's, where data set and method name their published counterpart.
    """
    modality, setting = TABLES[number]
    setting = setting.replace("_", "-")
    kind = "3-D" if modality == "3d" else "multimodal 3-D (M3D, RGB plugged in)"
    title = f"Zero-shot {kind} anomaly detection, {setting}"
    lines = ["% Needs booktabs, graphicx and xcolor.", r"\begin{table}[htbp]", r"\centering", r"\small"]
    lines.append(rf"\setcounter{{table}}{{{number - 1}}}")
    if groups:
        paper = {PAPER: ("p_auroc_paper", "aupro_stretched"), GLOBAL: ("i_auroc", "ap")}
        exact = {PAPER: ("aupro_paper",), OBJECT: ("p_auroc_object", "aupro_object")}
        further = {
            head: [name for name in options["further_metrics"] if head_of(name) == head]
            for head in (PAPER, OBJECT, GLOBAL)
        }
        lines += [
            rf"\caption{{{_caption(title, setting, modality, groups, options)}}}",
            rf"\label{{tab:{setting}-{modality}}}",
            r"\par\medskip",
            _tabular(groups, options["methods"], paper, options["intervals"]),
            r"\par\bigskip",
            _EXACT,
            r"\par\medskip",
            _tabular(groups, options["methods"], exact, options["intervals"]),
        ]
        if any(group.results[name].notna().any() for group in groups for names in further.values() for name in names):
            lines += [
                r"\par\bigskip",
                _FURTHER,
                r"\par\medskip",
                _tabular(groups, options["methods"], further, options["intervals"]),
            ]
    else:
        note = f"No data set of this setting has what {modality.upper()} needs."
        if modality == "3d":
            note = "No data set of this setting has scans with labels, by which scores are measured."
        if not options["pairs"]:
            note = f"The configuration asks for no {setting} experiment."
        elif not options["methods"]:
            note = "The configuration has no method that is trained."
        lines += [rf"\caption{{{title}.}}", note]
    return "\n".join([*lines, r"\end{table}", ""])
