"""Table 5 of the paper, what a scan costs each system beside how well it scores, as LaTeX and as rows.

The paper's own times and memory stand in ``paper_overhead.csv``; its accuracies are those of its Tables 1 and 2, and of
the unsupervised systems, which stand in Table 5 alone, in ``paper_numbers.csv`` under table 5. Table 5 prints the pairs
of CLIP + Rendering in each other's columns, and as the global one of PointCLIP V2 its local one of Table 2: they are
read as in Table 1. The global pair of SDM is left out: of all it alone has an AP below its I-AUROC, and looks like a
local one.
"""

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from pointad_core.errors import InputError
from pointad_core.evaluation.averages import average
from pointad_core.evaluation.captions import describe_backbone, describe_data, gather, warn
from pointad_core.evaluation.latex import escape, percent, tabular
from pointad_core.evaluation.metrics import METRICS
from pointad_core.evaluation.tables import PUBLISHED, paper_numbers

COST = ("seconds", "scans_per_second", "memory_mb")
PAPER_DATASET = "mvtec3d"
PAPER_DEVICE = "an NVIDIA RTX 3090 with 24 GB"
_LOCAL = {PUBLISHED["p_auroc"]: "P-AUROC", PUBLISHED["aupro"]: "stretched AUPRO"}
_GLOBAL = {PUBLISHED["i_auroc"]: "I-AUROC", PUBLISHED["ap"]: "AP"}
_MEMORY = {
    "gpu": "What PyTorch's tensors took of the GPU at most, by its own counter",
    "process": "The most that the system's process held of the main memory, with the interpreter, the libraries and "
    "the loading of the weights",
}


@cache
def paper_overhead() -> dict[tuple[str, str], float]:
    """The paper's times and memory by method and COST."""
    with open(Path(__file__).with_name("paper_overhead.csv"), newline="", encoding="utf-8") as file:
        return {(line["method"], name): float(line[name]) for line in csv.DictReader(file) for name in COST}


def read_measured(path: str | Path) -> pd.DataFrame:
    """What was measured of a method, a row a score; InputError for a file that is none of `stages.overhead`."""
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable table of measurements ({error}); make it again") from error
    if missing := {"scan", *COST[::2], "memory_of", "device", "threads", "precision"} - set(table):
        raise InputError(f"{path}: lacks the columns {', '.join(sorted(missing))}; make it again")
    return table


def steps_of(measured: pd.DataFrame) -> list[str]:
    """Names of the steps whose seconds a table of measurements has."""
    names = list(measured)
    return names[names.index("seconds") + 1 : names.index("memory_mb")]


def overhead_rows(
    measured: Mapping[str, pd.DataFrame], metrics: pd.DataFrame, options: Mapping[str, Any]
) -> pd.DataFrame:
    """A row a method: medians of what it took, the most of what it held, our metrics, and the paper's where known.

    measured: by method the columns of `stages.overhead.COLUMNS`, a row a score; metrics: rows as for
    `averages.average`; options:

    * dataset, category: what is measured; modality: "3d" or "m3d"; scans, warm_up, repeats: how.
    * methods: by name label, published (row of the paper or None), features, unsupervised, trained (it has a source:
      of an unsupervised system its train split), and tested: for its source the tested categories by auxiliary class
      ("each" of an unsupervised system); what captions.describe_backbone takes as well.
    * datasets: by name label, and where it applies published or generated.
    * features: by name model, and what its weights are.

    A system without metrics in this modality has none. Raises InputError where nothing was measured.
    """
    dataset = options["datasets"][options["dataset"]]
    rows = []
    for name, method in options["methods"].items():
        table = measured[name]
        if table.empty:
            raise InputError(f"overhead: nothing was measured of method {name!r}")
        medians = table[["seconds", *steps_of(table)]].median()
        ((source, tested),) = method["tested"].items()
        found = average(metrics, options["dataset"], source, tested, {name: method})
        found = found[found["modality"] == options["modality"]]
        ours = found[list(METRICS)].iloc[0].to_dict() if len(found) else dict.fromkeys(METRICS, float("nan"))
        last = table.iloc[-1]
        rows.append(
            {
                "table": 5,
                "data": next((kind for kind in ("generated", "published") if dataset.get(kind)), "own data"),
                "dataset": options["dataset"],
                "category": options["category"],
                "modality": options["modality"],
                "method": name,
                "seconds": medians["seconds"],
                "scans_per_second": 1 / medians["seconds"],
                "memory_mb": table["memory_mb"].max(),
                **medians.drop("seconds"),
                **ours,
                **_paper(method, dataset, options["modality"]),
                "memory_of": last["memory_of"],
                "device": last["device"],
                "threads": int(last["threads"]),
                "precision": last["precision"],
                "scans": table["scan"].nunique(),
                "measurements": len(table),
            }
        )
    return pd.DataFrame(rows)


def _paper(method: Mapping[str, Any], dataset: Mapping[str, Any], modality: str) -> dict[str, float | None]:
    """The paper's numbers of a method; of none where the data are not those of its Table 5."""
    row = method.get("published") if dataset.get("published") == PAPER_DATASET else None
    # It took its time of points alone.
    cost = {f"published_{name}": paper_overhead().get((str(row), name)) if modality == "3d" else None for name in COST}
    # Of zero-shot systems Table 5 repeats Table 1; where a number of theirs is M3D's, Table 2 has it.
    tables = (1, 5) if modality == "3d" else (2,)
    found = {
        f"published_{metric}": next(
            (
                paper_numbers()[key]
                for table in tables
                if (key := (table, row, PAPER_DATASET, theirs)) in paper_numbers()
            ),
            None,
        )
        for theirs, metric in PUBLISHED.items()
    }
    return cost | found


def _number(value: float, name: str) -> str:
    if value is None or isnan(value):
        return "-"
    if name in METRICS:
        return percent(value)
    if name == "memory_mb":
        return f"{value:.0f}"
    return f"{value:.2f}" if name == "scans_per_second" or value >= 1 else f"{value:.3f}"


def _cell(row: Mapping[str, Any], name: str) -> str:
    cell, paper = _number(row[name], name), row.get(f"published_{name}")
    if paper is None or isnan(paper):
        return cell
    # The paper gives hundredths of a second.
    text = f"{paper:.2f}" if name == "seconds" else _number(paper, name)
    return rf"{cell} {{\scriptsize\textcolor{{gray}}{{({text})}}}}"


def overhead_tex(rows: pd.DataFrame, steps: Sequence[str], options: Mapping[str, Any]) -> str:
    """Table 5 as a table environment. rows, options: of and as for `overhead_rows`; steps: their columns."""
    blocks = {
        "A scan": {"seconds": "time, s", "scans_per_second": "scans/s", "memory_mb": "memory, MB"},
        "Of which, s": {step: step for step in steps if rows[step].notna().any()},
        "Local": _LOCAL,
        "Global": _GLOBAL,
    }
    columns = {name: title for block in blocks.values() for name, title in block.items()}
    heads = [([(title, len(block)) for title, block in blocks.items()], True)]
    cells = [["Method", *columns.values()]]
    for row in rows.to_dict("records"):
        method = options["methods"][row["method"]]
        label = f"{escape(method['label'])} ({'Un.' if method['unsupervised'] else 'ZS'})"
        cells.append([label, *(_cell(row, name) for name in columns)])
    lines = ["% Needs booktabs, graphicx and xcolor.", r"\begin{table}[htbp]", r"\centering", r"\small"]
    lines += [r"\setcounter{table}{4}", rf"\caption{{{_caption(rows, options)}}}", r"\label{tab:overhead}"]
    return "\n".join([*lines, r"\par\medskip", tabular(heads, cells), r"\end{table}", ""])


def _caption(rows: pd.DataFrame, options: Mapping[str, Any]) -> str:
    dataset, methods = options["datasets"][options["dataset"]], options["methods"].values()
    inside = "3-D alone" if options["modality"] == "3d" else "3-D and with RGB"
    times = "once" if options["repeats"] == 1 else f"{options['repeats']} times"
    said = [
        "Computation overhead at batch 1: from a scan's points in memory to scores of its points and of the object,",
        f"{inside}; median over {options['scans']} scans of {escape(options['category'])}, each {times}, after "
        f"{options['warm_up']} to warm up. Each step is a median of its own, so that they need not add up; what the",
        "workflow keeps in files between its stages is computed, and no file is read or written.",
        "Local and global: means over the data set, as in Table "
        f"{'1' if options['modality'] == '3d' else '2'}, in percent. ZS: zero-shot, tested on unseen categories.",
    ]
    if any(method["unsupervised"] for method in methods):
        said.append("Un.: unsupervised, learnt on the good scans of each category's train split, and tested on all.")
    labels = {name: method["label"] for name, method in options["methods"].items()}
    places = [(labels[row["method"]], _place(row)) for row in rows.to_dict("records")]
    memory = [(labels[row["method"]], _MEMORY[row["memory_of"]]) for row in rows.to_dict("records")]
    parts = {
        "Device": _one_or_each(places),
        "Memory": _one_or_each(memory) + r", in MB of 2\textsuperscript{20} bytes",
        "Data": gather([(dataset["label"], describe_data(dataset))]),
        "Backbone": gather((entry["label"], describe_backbone(entry, options["features"])) for entry in methods),
    }
    if any(rows[f"published_{name}"].notna().any() for name in COST):
        said.append(rf"\textcolor{{gray}}{{Grey in parentheses}}: the paper's own number, on {PAPER_DEVICE}.")
    said += [rf"\textbf{{{name}.}} {text}." for name, text in parts.items()]
    if warning := warn([(dataset["label"], dataset, dataset)], methods, options["features"]):
        said.append(rf"\textbf{{{warning}}}")
    return " ".join(said)


def _place(row: Mapping[str, Any]) -> str:
    """What a method was measured on, and in which numbers its vision tower ran where these are not float32."""
    told = f"{row['device']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}"
    usual = pd.isna(row["precision"]) or row["precision"] == "float32"
    return told if usual else f"{told}, CLIP's vision tower in {row['precision']}"


def _one_or_each(described: Sequence[tuple[str, str]]) -> str:
    """What all share without their names, or who has which."""
    texts = {text for _, text in described}
    return escape(texts.pop()) if len(texts) == 1 else gather(described)
