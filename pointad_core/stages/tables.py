"""Tables of the paper and of ablations as LaTeX and CSV, and one document with all: files in, files out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pointad_core.evaluation import ablations
from pointad_core.evaluation.latex import document
from pointad_core.evaluation.overhead import overhead_rows, overhead_tex, read_measured, steps_of
from pointad_core.evaluation.tables import difference_rows, make_groups, table_rows, table_tex
from pointad_core.stages.summary import read_metrics, read_replicates, write_csv
from pointad_core.storage import files


def make_table(
    number: int,
    metrics: Sequence[str | Path],
    replicates: Sequence[str | Path],
    tex: str | Path,
    csv_output: str | Path,
    differences: str | Path,
    options: Mapping[str, Any],
) -> None:
    """Write one of Tables 1-4 as a LaTeX table environment (percent) and as CSV (fractions).

    metrics: CSVs of all methods, auxiliary classes and seeds for the table's data sets, more do no harm; replicates:
    their npz files; tex: LaTeX to include after loading booktabs, graphicx and xcolor; csv_output: one row per method
    and data set, the six metrics, the paper's numbers where known, and 95 % intervals; differences: CSV with one row
    per two methods and data set; number and options, and the errors: see `evaluation.tables.make_groups`.
    """
    rows = read_metrics(metrics)
    groups = make_groups(number, rows, read_replicates(replicates, rows), options)
    write_csv(table_rows(number, groups), csv_output)
    write_csv(difference_rows(number, groups), differences)
    _write_text(table_tex(number, groups, options), tex)


def make_overhead_table(
    measured: Mapping[str, str],
    metrics: Sequence[str | Path],
    tex: str | Path,
    csv_output: str | Path,
    options: Mapping[str, Any],
) -> None:
    """Write Table 5: what a scan costs each system beside how well it scores.

    measured: by method the CSV of `stages.overhead`; metrics: CSVs of these methods on the data set, for all auxiliary
    classes and seeds; options: as for `evaluation.overhead.overhead_rows`.
    """
    tables = {name: read_measured(path) for name, path in measured.items()}
    rows = overhead_rows(tables, read_metrics(metrics), options)
    steps = steps_of(next(iter(tables.values())))
    write_csv(rows, csv_output)
    _write_text(overhead_tex(rows, steps, options), tex)


def make_ablation(
    metrics: Sequence[str | Path],
    replicates: Sequence[str | Path],
    tex: str | Path,
    csv_output: str | Path,
    options: Mapping[str, Any],
) -> None:
    """Write the table of an ablation as LaTeX (percent) and as CSV (fractions), a row per modality, data set and row.

    metrics and replicates: of all its rows' runs; options, and the errors: see `evaluation.ablations.make_groups`.
    """
    rows = read_metrics(metrics)
    groups = ablations.make_groups(rows, read_replicates(replicates, rows), options)
    write_csv(ablations.table_rows(groups, options), csv_output)
    _write_text(ablations.table_tex(groups, options), tex)


def make_document(bodies: Sequence[str | Path], output: str | Path, landscape: bool = True) -> None:
    """Write one LaTeX document with the given files of tables or figures inside."""
    _write_text(document((Path(body).read_text(encoding="utf-8") for body in bodies), landscape), output)


def _write_text(text: str, output: str | Path) -> None:
    with files.replacing(output) as partial:
        partial.write_text(text, encoding="utf-8")
