"""Results as a browser shows them: tables as pages, and curves of training. For the report of a run.

A page is one HTML file without a script and without anything from a network.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pointad_core.evaluation.captions import describe_batch
from pointad_core.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = Mapping[str, Mapping[str, pd.DataFrame]]
"""By method and by what its training is called: columns epoch, step and total, a row a step."""

COMPARED = ("method", "row", "tested")
"""Columns of words that tell what is compared in a table, its methods or the rows of an ablation."""
DPI = 110
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem; color: #1c2026; background: #fff; }
h1 { font-size: 1.3rem; margin: 0 0 .3rem; } p { margin: .2rem 0 .8rem; max-width: 60rem; color: #48505a; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top; white-space: nowrap; }
th { border-bottom: 2px solid #1c2026; position: sticky; top: 0; background: #fff; }
td.number, th.number { text-align: right; } tr.first td { border-top: 1px solid #b4b9c0; }
small { color: #69727d; }
"""


def page(title: str, notes: Sequence[str], head: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> str:
    """A page with one table.

    head: names of the columns, the first `texts` of which hold words and the others numbers; rows: cells as HTML. A
    line parts rows that differ in any column of words but the last.
    """
    lines = ["<!DOCTYPE html>", '<html lang="en">', '<meta charset="utf-8">', f"<title>{escape(title)}</title>"]
    lines += [f"<style>{_STYLE}</style>", f"<h1>{escape(title)}</h1>", *(f"<p>{escape(note)}</p>" for note in notes)]
    kinds = ["", *[' class="number"'] * (len(head) - texts)]
    columns = [kinds[max(0, position - texts + 1)] for position in range(len(head))]
    lines += ["<table>", "<thead><tr>"]
    lines += [f"<th{kind}>{escape(name)}</th>" for name, kind in zip(head, columns, strict=True)]
    lines += ["</tr></thead>", "<tbody>"]
    before: Sequence[str] = ()
    for row in rows:
        group = row[: max(0, texts - 1)]
        lines.append("<tr>" if group == before else '<tr class="first">')
        lines += [f"<td{kind}>{cell}</td>" for cell, kind in zip(row, columns, strict=True)]
        lines.append("</tr>")
        before = group
    return "\n".join([*lines, "</tbody>", "</table>", "</html>", ""])


def results_page(title: str, table: pd.DataFrame, batch: Collection[str] = ()) -> str:
    """A page of a table of results as it stands in a CSV: a row for each row, a column for each column.

    Metrics (METRICS) are shown in percent, with their interval (`<metric>_low`, `<metric>_high`) and the paper's number
    (`published_...`) in the same cell, and in bold where none is better of the rows that differ in no word but those of
    COMPARED. Columns of words that are the same in every row stand above the table. batch: methods of the setting of
    `captions.BATCH`, whose rows are never bold, and count for no other row's being so.
    """
    words = [name for name in table if _is_text(table[name])]
    same = [name for name in words if len(table) > 1 and table[name].nunique() == 1]
    words = [name for name in words if name not in same]
    beside = {f"{metric}_{end}" for metric in METRICS for end in ("low", "high")}
    beside |= {name for name in table if name.startswith("published_")}
    numbers = [name for name in table if name not in {*words, *same, *beside} and table[name].notna().any()]
    best = pd.DataFrame(False, index=table.index, columns=numbers)
    shared = [name for name in words if name not in COMPARED]
    groups = table.groupby(shared, dropna=False, sort=False) if shared else [((), table)]
    for name in (name for name in numbers if name in METRICS):
        for _, group in groups:
            ranked = group[name].mask(group["method"].isin(list(batch))) if batch and "method" in group else group[name]
            best.loc[group.index, name] = (ranked == ranked.max()) & (ranked.notna().sum() > 1)
    rows = [
        [escape(str(row[name])) for name in words] + [_cell(row, name, bool(best.loc[index, name])) for name in numbers]
        for index, row in table.iterrows()
    ]
    notes = [", ".join(f"{name}: {table[name].iloc[0]}" for name in same)] if same else []
    notes += (
        [told]
        if (told := describe_batch(name for name in batch if "method" in table and (table["method"] == name).any()))
        else []
    )
    return page(title, notes, [*words, *numbers], rows, len(words))


def _is_text(column: pd.Series) -> bool:
    """Words, or numbers that name something, such as a table's."""
    return not pd.api.types.is_float_dtype(column)


def _cell(row: pd.Series, name: str, best: bool) -> str:
    value = row[name]
    if pd.isna(value):
        return "-"
    if name not in METRICS:
        paper = row.get(f"published_{name}")
        return f"{value:.4g}" if pd.isna(paper) else f"{value:.4g} <small>(paper {paper:g})</small>"
    text = f"<b>{100 * value:.1f}</b>" if best else f"{100 * value:.1f}"
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    if pd.notna(low):
        text += f" <small>[{100 * low:.1f}, {100 * high:.1f}]</small>"
    paper = row.get(f"published_{name}", row.get(f"published_{name.removesuffix('_paper')}"))
    return text if pd.isna(paper) else f"{text} <small>(paper {100 * paper:.1f})</small>"


def runtimes_page(title: str, note: str, table: pd.DataFrame) -> str:
    """A page of what the jobs of each stage took. table: a row a job, columns stage, job, s (seconds), max_rss (MB)."""
    rows = []
    for stage, jobs in table.groupby("stage", sort=False):
        seconds = jobs["s"]
        longest = str(jobs.loc[seconds.idxmax(), "job"])
        figures = (f"{seconds.sum():.0f}", f"{seconds.median():.1f}", f"{seconds.max():.1f}")
        memory = "-" if jobs["max_rss"].isna().all() else f"{jobs['max_rss'].max():.0f}"
        rows.append([escape(str(stage)), escape(longest), str(len(jobs)), *figures, memory])
    head = ("stage", "longest job", "jobs", "all, s", "median, s", "longest, s", "most memory, MB")
    return page(title, [note], head, rows, 2)


def draw_curves(curves: Curves, title: str) -> Figure:
    """A panel for each method with its whole loss at every step, thin, and the mean over each epoch."""
    from matplotlib.figure import Figure

    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.9 * rows + 0.6), dpi=DPI, layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (method, trainings) in zip(panels, curves.items(), strict=False):
        for number, (name, curve) in enumerate(trainings.items()):
            colour = f"C{number % 10}"
            panel.plot(curve["step"], curve["total"], color=colour, linewidth=0.6, alpha=0.35)
            means = curve.groupby("epoch")[["step", "total"]].mean()
            panel.plot(means["step"], means["total"], color=colour, linewidth=1.6, marker=".", label=name)
        panel.set_title(method, fontsize=11)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.set_xlabel("step")
        panel.set_ylabel("loss")
        panel.legend(fontsize=8)
        values = np.concatenate([curve["total"].to_numpy() for curve in trainings.values()])
        if (values > 0).all() and values.max() > 100 * values.min():
            panel.set_yscale("log")
    for panel in panels[len(curves) :]:
        panel.set_axis_off()
    return figure
