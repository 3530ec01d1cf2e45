"""Tables of ablations as LaTeX and as rows (Sec. 5, Tables 6 to 10): rows are variations of a method or a data set.

Means, intervals and cells as in `tables`; a row's are those of its own method on its own variant of the data set.

The paper's own numbers stand in ``paper_ablations.csv`` (percent; "-" where the paper has a dash), by what stands for
its rows, all of them on MVTec3D-AD. Of Table 7 the paper's text has a picture alone. Table 6 prints its checkmarks in
the wrong columns; the rows are told by what the text of Sec. 5 says of them and by Tables 1 and 2: its first row is
CLIP + Rendering, its seventh, under three checkmarks, has the numbers of PointAD, which learns by all four losses of
the rendering layer. Table 10 prints "-" twice; the second is "--".
"""

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from pointad_core.evaluation.averages import average
from pointad_core.evaluation.captions import describe_backbone, describe_batch, describe_data, gather, warn
from pointad_core.evaluation.intervals import BOUNDS, Replicates, bounds, replicate
from pointad_core.evaluation.latex import escape
from pointad_core.evaluation.metrics import METRICS
from pointad_core.evaluation.tables import (
    BESIDE,
    GLOBAL,
    OBJECT,
    PAPER,
    PUBLISHED,
    Column,
    Group,
    fill_tabular,
    head_of,
    kind_of,
)

KINDS = {"3d": "Point detection", "m3d": "Multimodal detection"}
"""Heads of the modalities, as the paper's."""


@cache
def paper_ablations() -> dict[tuple[int, str, str, str, str], float | None]:
    """The paper's results as fractions by (table, row, data set, modality, metric of the paper); None for a dash."""
    with open(Path(__file__).with_name("paper_ablations.csv"), newline="", encoding="utf-8") as file:
        _, *lines = csv.reader(file)
    return {
        (int(table), row, dataset, modality, metric): None if value == "-" else round(float(value) / 100, 4)
        for table, row, dataset, modality, metric, value in lines
    }


def make_groups(rows: pd.DataFrame, replicates: Replicates, options: Mapping[str, Any]) -> dict[str, list[Group]]:
    """What a table shows by modality, a group for each data set; one without the modality or without labels is left
    out.

    rows, replicates: as for `tables.make_groups`; options:

    * name, caption (optional) and published (the paper's number of the table, optional).
    * groups: mappings of dataset and rows; of each row by what stands for it method, dataset (that is tested) and
      tested (categories by auxiliary class).
    * bases: by row the label of the method that it starts from; methods: by name trained, features, and where it has a
      network of its own word_vectors and pointnet.
    * datasets, features, seeds and intervals as there; datasets also with categories where not all are tested.
    * modalities: of KINDS; metrics: some of METRICS.

    Raises InputError for missing metrics.
    """
    found: dict[str, list[Group]] = {}
    for modality in options["modalities"]:
        for group in options["groups"]:
            results, drawn = {}, {}
            for label, row in group["rows"].items():
                setting = row["dataset"], group["dataset"], row["tested"]
                methods = {row["method"]: options["methods"][row["method"]]}
                means = average(rows, *setting, methods)
                means = means[means["modality"] == modality]
                if not means.empty:
                    results[label] = means[list(METRICS)].iloc[0]
                    drawn[label] = replicate(replicates, *setting, methods)[row["method"], modality]
            if results:
                dataset = options["datasets"][group["dataset"]]
                paper = {
                    (label, metric): paper_ablations()[key]
                    for label in results
                    for theirs, metric in PUBLISHED.items()
                    if (key := (options.get("published"), label, dataset.get("published"), modality, theirs))
                    in paper_ablations()
                }
                kind, name = kind_of(dataset), group["dataset"]
                frame = pd.DataFrame(results).T
                found.setdefault(modality, []).append(
                    Group(name, name, dataset["label"], kind, kind, frame, drawn, paper)
                )
    return found


def table_rows(groups: Mapping[str, Sequence[Group]], options: Mapping[str, Any]) -> pd.DataFrame:
    """A row per modality, data set and row: our metrics as fractions, the paper's where known, our intervals."""
    rows_of = {group["dataset"]: group["rows"] for group in options["groups"]}
    head = ("ablation", "modality", "data", "dataset", "row", "method", "tested")
    rows = [
        [options["name"], modality, group.data, group.dataset, label]
        + [rows_of[group.dataset][label]["method"], rows_of[group.dataset][label]["dataset"], *values]
        + [group.paper.get((label, metric)) for metric in PUBLISHED.values()]
        + bounds(group.drawn[label])
        for modality, of_modality in groups.items()
        for group in of_modality
        for label, *values in group.results.itertuples()
    ]
    return pd.DataFrame(rows, columns=[*head, *METRICS, *(f"published_{metric}" for metric in PUBLISHED), *BOUNDS])


def _columns(groups: Mapping[str, Sequence[Group]], options: Mapping[str, Any]) -> tuple[list[Column], int]:
    """Columns of a table, and how many lines of heads they have: modality, kind of metric, the data set if several.

    A metric without a value is left out.
    """
    several = len(options["groups"]) > 1
    columns: list[Column] = []
    for modality, of_modality in groups.items():
        for head in (PAPER, OBJECT, GLOBAL):
            for group in of_modality:
                for metric in options["metrics"]:
                    if head_of(metric) == head and group.results[metric].notna().any():
                        heads = (KINDS[modality], head, *([escape(group.label)] if several else []))
                        columns.append((heads, group, metric))
    return columns, 2 + several


def _describe_rows(described: Mapping[str, str]) -> str:
    """What is said of rows by their names; without the names where it is the same of all."""
    texts = list(dict.fromkeys(described.values()))
    return escape(texts[0]) if len(texts) == 1 else gather(described.items())


def _caption(groups: Mapping[str, Sequence[Group]], options: Mapping[str, Any]) -> str:
    datasets, methods, features = options["datasets"].values(), options["methods"], options["features"]
    backbones = {
        label: describe_backbone(methods[row["method"]], features)
        for group in options["groups"]
        for label, row in group["rows"].items()
    }
    parts = {
        "Rows start from": _describe_rows(options["bases"]),
        "Data": gather((entry["label"], describe_data(entry)) for entry in datasets),
        "Backbone": _describe_rows(backbones),
        "Auxiliary classes": gather((entry["label"], ", ".join(entry["auxiliary"])) for entry in datasets),
    }
    restricted = [(entry["label"], ", ".join(entry["categories"])) for entry in datasets if "categories" in entry]
    parts |= {"Tested": gather(restricted)} if restricted else {}
    parts["Seeds" if len(options["seeds"]) > 1 else "Seed"] = escape(", ".join(map(str, options["seeds"])))
    title = options.get("caption", options["name"])
    said = [
        f"{escape(title)}. Mean over unseen categories, then over auxiliary classes, in percent; best in bold, second "
        "underlined."
    ]
    if any(group.paper for of_modality in groups.values() for group in of_modality):
        said.append(BESIDE)
    if options["intervals"]:
        said.append(r"In brackets: 95\,\% intervals.")
    said += [rf"\textbf{{{name}.}} {text}." for name, text in parts.items()]
    named = [{**methods[row["method"]], "label": label} for label, row in options["groups"][0]["rows"].items()]
    if batch := describe_batch(row["label"] for row in named if row.get("batch")):
        said.append(escape(batch))
    if warning := warn([(entry["label"], entry, entry) for entry in datasets], named, features):
        said.append(rf"\textbf{{{warning}}}")
    return " ".join(said)


def table_tex(groups: Mapping[str, Sequence[Group]], options: Mapping[str, Any]) -> str:
    """A table environment, in percent; one without content is a sentence that says why. Options: `make_groups`."""
    lines = ["% Needs booktabs, graphicx and xcolor.", r"\begin{table}[htbp]", r"\centering", r"\small"]
    if "published" in options:
        lines.append(rf"\setcounter{{table}}{{{options['published'] - 1}}}")
    columns, n_heads = _columns(groups, options)
    if columns:
        rows = options["groups"][0]["rows"]
        labels = {label: escape(label) for label in rows}
        unranked = [label for label, row in rows.items() if options["methods"][row["method"]].get("batch")]
        lines += [
            rf"\caption{{{_caption(groups, options)}}}",
            rf"\label{{tab:{options['name']}}}",
            r"\par\medskip",
            fill_tabular("Row", labels, columns, (True,) * n_heads, options["intervals"], unranked),
        ]
    else:
        title = escape(options.get("caption", options["name"]))
        lines += [rf"\caption{{{title}.}}", "No data set of this table has scans with what its columns need."]
    return "\n".join([*lines, r"\end{table}", ""])
