"""Tables 1-4 of the paper as LaTeX and CSV, and one document with all of them.

One-vs-rest in 3-D and M3D (Tables 1 and 2), cross-dataset in 3-D and M3D (Tables 3 and 4); averages as in
`summary`. Under each table stand the same local metrics on object points only.

The paper's own numbers stand in ``paper_numbers.csv`` (percent; "-" where the paper has a dash). Its printed
tables have headers with columns missing or moved; what is there was read with the body's columns in the order
P-AUROC, AUPRO per data set (P-AUROC alone for Real3D-AD), then I-AUROC, AP per data set. Cells that are lost or
contradict each other in print are left out; Real3D-AD's I-AUROC and AP of PointAD+ in Table 1 and its AP in
Table 3 come from the text of Sec. 4.2; Table 4's columns are read as Eyecandies alone (Real3D-AD has no RGB).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pointad_core import files
from pointad_core import methods as systems
from pointad_core.errors import InputError
from pointad_core.latex import escape, fit_width, percent, rank
from pointad_core.metrics import METRICS
from pointad_core.summary import Row, Values, average, read_rows, write_csv

PAPER_SOURCE = "mvtec3d"
"""Published data set on which the paper's cross-dataset prompts were trained (Sec. 4.2)."""


@cache
def paper_numbers() -> dict[tuple[int, str, str, str], float | None]:
    """The paper's results as fractions by (table, method, data set, metric); None where it prints a dash.

    Metrics are i_auroc, ap, p_auroc and aupro; the local ones in the paper's protocol. Unknown cells are absent.
    """
    with open(Path(__file__).with_name("paper_numbers.csv"), newline="", encoding="utf-8") as file:
        return {
            (int(line["table"]), line["method"], line["dataset"], line["metric"]): None
            if line["value"] == "-"
            else round(float(line["value"]) / 100, 4)
            for line in csv.DictReader(file)
        }


def _check_published(options: Mapping[str, Any]) -> None:
    for section, position in (("methods", 1), ("datasets", 2)):
        known = sorted({key[position] for key in paper_numbers()})
        for name, entry in options[section].items():
            published = entry.get("published")
            if published is not None and published not in known:
                raise InputError(f"{section}.{name}.published is {published!r}, the paper has {known}")


@dataclass(frozen=True)
class Group:
    """One data set's columns in a table."""

    dataset: str
    source: str
    label: str
    data: str
    """Where it comes from: "generated", "published" or "own data"."""
    n_categories: int
    published: str | None
    """Name among the paper's data sets, where its numbers are comparable."""
    regions: bool
    """AUPRO is defined."""
    results: dict[str, Values]
    """By method."""


TABLES = {
    1: ("3d", "one_vs_rest"),
    2: ("m3d", "one_vs_rest"),
    3: ("3d", "cross_dataset"),
    4: ("m3d", "cross_dataset"),
}
"""Modality and setting of each table of the paper."""

_NAMES = {"i_auroc": "I-AUROC", "ap": "AP", "p_auroc": "P-AUROC", "aupro": "AUPRO"}
_KINDS = {"3d": "3-D", "m3d": "multimodal 3-D (M3D, RGB plugged in)"}
_SETTINGS = {"one_vs_rest": "one-vs-rest", "cross_dataset": "cross-dataset"}


def _label(section: Mapping[str, Mapping[str, Any]], name: str) -> str:
    return str(section[name].get("label") or name)


def _is_random(features: Mapping[str, Any]) -> bool:
    return not (features.get("checkpoint") or features.get("pretrained"))


def _pairs(options: Mapping[str, Any], setting: str) -> list[tuple[str, str]]:
    """(source, target) data sets of a setting, in the config's order."""
    experiments = options["experiments"]
    if setting == "one_vs_rest":
        return [(dataset, dataset) for dataset in experiments.get("one_vs_rest") or []]
    return [
        (entry["source"], target) for entry in experiments.get("cross_dataset") or [] for target in entry["targets"]
    ]


def _compared(options: Mapping[str, Any], setting: str) -> dict[str, Mapping[str, Any]]:
    """Methods of a setting's tables; cross-dataset compares those that the paper compares there."""
    return {
        name: entry
        for name, entry in options["methods"].items()
        if setting == "one_vs_rest" or systems.find(entry["system"]).compared_across
    }


def _groups(number: int, rows: Sequence[Row], options: Mapping[str, Any]) -> list[Group]:
    modality, setting = TABLES[number]
    compared = _compared(options, setting)
    pairs = _pairs(options, setting)
    datasets = options["datasets"]
    groups = []
    for source, dataset in pairs if compared else []:
        entry = datasets[dataset]
        averages = average(rows, dataset, source, datasets[source]["auxiliary"], compared)
        results = {method: values for (method, kind), values in averages.items() if kind == modality}
        if not results:
            continue
        label = _label(datasets, dataset)
        if len({origin for origin, _ in pairs}) > 1 and setting == "cross_dataset":
            label = f"{_label(datasets, source)} → {label}"
        # A run does not score the category that its prompts were trained on.
        scored = {row.category for row in rows if row.dataset == dataset}
        count = len(scored.union(datasets[dataset]["auxiliary"] if source == dataset else ()))
        data = "generated" if entry.get("generated") else "published" if entry.get("published") else "own data"
        comparable = setting == "one_vs_rest" or datasets[source].get("published") == PAPER_SOURCE
        groups.append(
            Group(
                dataset=dataset,
                source=source,
                label=label,
                data=data,
                n_categories=count,
                published=entry.get("published") if comparable and not entry.get("generated") else None,
                regions=any(values["aupro_paper"] is not None for values in results.values()),
                results=results,
            )
        )
    return groups


def _paper_value(number: int, entry: Mapping[str, Any], group: Group, metric: str) -> tuple[bool, float | None]:
    """Whether the paper's cell is known, and its value (None: a dash)."""
    key = (number, entry.get("published") or "", group.published or "", metric)
    return key in paper_numbers(), paper_numbers().get(key)


def _tabular(
    number: int,
    groups: Sequence[Group],
    methods: Mapping[str, Mapping[str, Any]],
    blocks: Sequence[tuple[str, Sequence[str], str]],
) -> str:
    """A booktabs tabular: blocks (title, metrics, protocol) side by side, each with its data sets' columns."""
    columns: list[list[str]] = []
    heads: list[list[tuple[str, int]]] = [[], [], []]
    for title, metrics, protocol in blocks:
        width = 0
        for group in groups:
            own = [metric for metric in metrics if group.regions or metric != "aupro"]
            width += len(own)
            heads[1].append((escape(group.label), len(own)))
            noun = "category" if group.n_categories == 1 else "categories"
            heads[2].append((rf"\scriptsize {group.data}, {group.n_categories} {noun}", len(own)))
            for metric in own:
                suffix = f"{metric}_{protocol}" if protocol else metric
                values = [group.results[name][suffix] if name in group.results else None for name in methods]
                papers = [_paper_value(number, entry, group, metric) for entry in methods.values()]
                if protocol != "object":
                    # Where the paper prints a dash, so do we; our value stands in the CSV.
                    values = [None if paper == (True, None) else x for x, paper in zip(values, papers, strict=True)]
                cells = [_NAMES[metric]]
                for value, (_, paper), command in zip(values, papers, rank(values), strict=True):
                    text = "-" if value is None else percent(value)
                    cell = rf"\{command}{{{text}}}" if command else text
                    if paper is not None and protocol != "object":
                        cell += rf" {{\scriptsize\textcolor{{gray}}{{({percent(paper)})}}}}"
                    cells.append(cell)
                columns.append(cells)
        heads[0].append((title, width))
    lines = [rf"\begin{{tabular}}{{l{'c' * len(columns)}}}", r"\toprule"]
    for head in heads:
        lines.append("".join(rf" & \multicolumn{{{width}}}{{c}}{{{text}}}" for text, width in head) + r" \\")
        # One rule under each head of the upper rows; the note belongs to the label above it.
        if head is not heads[1]:
            start = 2
            rules = []
            for _, width in head:
                rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
                start += width
            lines.append("".join(rules))
    names = ["Method", *(escape(_label(methods, name)) for name in methods)]
    for index, line in enumerate(zip(names, *columns, strict=True)):
        lines.append(" & ".join(line) + r" \\")
        if index == 0:
            lines.append(r"\midrule")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return fit_width("\n".join(lines))


def _describe_data(entry: Mapping[str, Any]) -> str:
    if generated := entry.get("generated"):
        return f"generated ({generated['scans']} scans a category, seed {generated['seed']}), not the published data"
    return "the published data" if entry.get("published") else "the user's own data"


def _gather(described: Iterable[tuple[str, str]]) -> str:
    """Pairs (label, description) as text, labels with the same description together."""
    labels: dict[str, list[str]] = {}
    for label, description in described:
        labels.setdefault(description, []).append(label)
    return "; ".join(f"{', '.join(names)}: {description}" for description, names in labels.items())


def _has_random_weights(method: Mapping[str, Any], features: Mapping[str, Any]) -> bool:
    """Whether a method's numbers come from a backbone that was never trained."""
    return not method.get("word_vectors") and _is_random(features[method["features"]])


def _describe_backbone(method: Mapping[str, Any], features: Mapping[str, Any]) -> str:
    clip = _describe_clip(features[method["features"]])
    if systems.find(method["system"]).learns != "network":
        return clip
    words = f"word vectors of {Path(method['word_vectors']).name}" if method.get("word_vectors") else ""
    weights = f"weights from {Path(method['pointnet']).name}" if method.get("pointnet") else ""
    return (
        f"PointNet {weights or 'trained on the auxiliary class'}, "
        f"{words or f'the token embeddings of {clip} as word vectors'}"
    )


def _describe_clip(entry: Mapping[str, Any]) -> str:
    if entry.get("checkpoint"):
        weights = f"weights from checkpoint {Path(entry['checkpoint']).name}"
    elif entry.get("pretrained"):
        weights = f"pretrained weights {entry['pretrained']}"
    else:
        weights = f"random weights drawn from seed {entry.get('random_seed')}, never trained"
    return f"{entry['model']} ({weights})"


def _caption(number: int, groups: Sequence[Group], options: Mapping[str, Any]) -> str:
    modality, setting = TABLES[number]
    datasets, features = options["datasets"], options["features"]
    compared = _compared(options, setting)
    where = "unseen" if setting == "one_vs_rest" else "the target's"
    parts = [
        f"Zero-shot {_KINDS[modality]} anomaly detection, {_SETTINGS[setting]}: mean over {where} categories, "
        f"then over auxiliary classes, in percent; best in bold, second underlined."
    ]
    if any(
        _paper_value(number, entry, group, metric)[0]
        for group in groups
        for entry in compared.values()
        for metric in _NAMES
    ):
        parts.append(r"\textcolor{gray}{Grey in parentheses}: the paper's own number.")
    involved = list(dict.fromkeys(name for group in groups for name in (group.source, group.dataset)))
    data = _gather((_label(datasets, name), _describe_data(datasets[name])) for name in involved)
    backbones = _gather(
        (_label(compared, name), _describe_backbone(entry, features)) for name, entry in compared.items()
    )
    parts.append(rf"\textbf{{Data.}} {escape(data)}.")
    parts.append(rf"\textbf{{Backbone.}} {escape(backbones)}.")
    sources = list(dict.fromkeys(group.source for group in groups))
    auxiliaries = "; ".join(f"{_label(datasets, name)}: {', '.join(datasets[name]['auxiliary'])}" for name in sources)
    parts.append(r"\textbf{Auxiliary classes.} " + escape(auxiliaries) + ".")
    seeds = ", ".join(map(str, options["seeds"]))
    parts.append(rf"\textbf{{Seed{'s' if len(options['seeds']) > 1 else ''}.}} {escape(seeds)}.")
    generated = any(datasets[name].get("generated") for name in involved)
    untrained = any(_has_random_weights(entry, features) for entry in compared.values())
    if generated or untrained:
        cause = " and ".join(
            [text for text, holds in (("generated data", generated), ("untrained weights", untrained)) if holds]
        )
        parts.append(rf"\textbf{{These numbers come from {cause}; they are no results on the published data sets.}}")
    return " ".join(parts)


def _empty_note(number: int, options: Mapping[str, Any]) -> str:
    modality, setting = TABLES[number]
    if not _pairs(options, setting):
        return f"The configuration asks for no {_SETTINGS[setting]} experiment."
    if not _compared(options, setting):
        return "The configuration has no method that is trained."
    return f"No data set of this setting has what {modality.upper()} needs."


def _table_tex(number: int, groups: Sequence[Group], options: Mapping[str, Any]) -> str:
    modality, setting = TABLES[number]
    compared = _compared(options, setting)
    title = f"Zero-shot {_KINDS[modality]} anomaly detection, {_SETTINGS[setting]}."
    lines = [
        "% Needs booktabs, graphicx and xcolor.",
        r"\begin{table}[htbp]",
        r"\centering",
        r"\small",
        rf"\setcounter{{table}}{{{number - 1}}}",
    ]
    if not groups:
        lines += [rf"\caption{{{title}}}", _empty_note(number, options)]
    else:
        local = ("p_auroc", "aupro")
        lines += [
            rf"\caption{{{_caption(number, groups, options)}}}",
            rf"\label{{tab:{_SETTINGS[setting]}-{modality}}}",
            r"\par\medskip",
            _tabular(
                number,
                groups,
                compared,
                [
                    ("Local, the paper's protocol", local, "paper"),
                    ("Global", ("i_auroc", "ap"), ""),
                ],
            ),
            r"\par\bigskip",
            r"\textbf{Object points only}, the same scores: local metrics without the background. Organised scans: "
            r"pixels that hold a point;",
            r"point clouds: all original points. The paper's protocol above counts every pixel of the image; of point "
            r"clouds, the kept points.",
            r"\par\medskip",
            _tabular(number, groups, compared, [("Local, object points only", local, "object")]),
        ]
    lines.append(r"\end{table}")
    return "\n".join(lines) + "\n"


def make_table(
    number: int,
    metrics: Sequence[str | Path],
    tex: str | Path,
    csv_output: str | Path,
    options: Mapping[str, Any],
) -> None:
    """Write one of Tables 1-4 as a LaTeX table environment (percent) and as CSV (fractions).

    Beside a value stands the paper's, where data set and method name their published counterpart. A table
    without content (no RGB, no experiment of its setting) is written with a sentence that says why.

    Args:
        number: 1 to 4, see TABLES.
        metrics: CSVs of all methods, auxiliary classes and seeds for the table's data sets; more do no harm.
        tex: LaTeX to include after loading booktabs, graphicx and xcolor.
        csv_output: one row per method and data set: the six metrics, and the paper's numbers where known.
        options: the config's sections datasets, methods, features, experiments and seeds.

    Raises:
        InputError: for missing metrics, and for a "published" that the paper does not have.
    """
    _check_published(options)
    groups = _groups(number, read_rows(metrics), options)
    modality, setting = TABLES[number]
    lines: list[dict[str, Any]] = []
    for group in groups:
        for method, values in group.results.items():
            line = {"table": number, "setting": setting, "modality": modality, "data": group.data}
            line |= {"source": group.source, "dataset": group.dataset, "method": method, **values}
            for metric in _NAMES:
                line[f"published_{metric}"] = _paper_value(number, options["methods"][method], group, metric)[1]
            lines.append(line)
    head = ("table", "setting", "modality", "data", "source", "dataset", "method")
    write_csv(csv_output, (*head, *METRICS, *(f"published_{metric}" for metric in _NAMES)), lines)
    with files.replacing(tex) as partial:
        partial.write_text(_table_tex(number, groups, options), encoding="utf-8")


def make_document(tables: Sequence[str | Path], output: str | Path) -> None:
    """Write one LaTeX document with the given table files inside; it compiles with pdflatex on its own."""
    bodies = [Path(table).read_text(encoding="utf-8") for table in tables]
    text = "\n".join(
        [
            r"\documentclass[10pt]{article}",
            r"\usepackage[a4paper,landscape,margin=15mm]{geometry}",
            r"\usepackage{booktabs,graphicx,xcolor}",
            r"\pagestyle{empty}",
            r"\setlength{\tabcolsep}{4.5pt}",
            r"\renewcommand{\floatpagefraction}{0.4}",
            r"\begin{document}",
            "",
            *(body + "\\clearpage\n" for body in bodies),
            r"\end{document}",
            "",
        ]
    )
    with files.replacing(output) as partial:
        partial.write_text(text, encoding="utf-8")
