"""Report: a run's tables as pages, its losses as pictures and what its jobs took, for `snakemake --report`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from pointad_core.errors import InputError
from pointad_core.evaluation.report import draw_curves, results_page, runtimes_page
from pointad_core.storage import files

TIMED = ("s", "max_rss")
"""Columns of a benchmark file: seconds, and the most memory in MB, "-" or empty for a job that was too short to see."""


def make_pages(tables: Mapping[str, str], outputs: Sequence[str | Path], batch: Sequence[str] = ()) -> None:
    """Write a page for each table. tables: titles by the path of a CSV of results, in the order of `outputs`; batch: as
    of `results_page`."""
    for (path, title), output in zip(tables.items(), outputs, strict=True):
        _write_text(results_page(title, _read(path), batch), output)


def make_curves(curves: Mapping[str, Mapping[str, str]], output: str | Path, title: str) -> None:
    """Draw curves of training as PNG. curves: CSVs by method and by what a training is called."""
    read = {method: {name: _read(path) for name, path in paths.items()} for method, paths in curves.items()}
    with files.replacing(output) as partial:
        draw_curves(read, title).savefig(partial, format="png", metadata={"Software": None})


def make_runtimes(folder: str | Path, stages: Sequence[str], output: str | Path) -> None:
    """Write a page of what the jobs took whose benchmarks lie in a folder, by stage, `stages` first and in this order.

    Raises InputError where there is no benchmark at all.
    """
    paths = sorted(Path(folder).rglob("*.tsv"))
    if not paths:
        raise InputError(f"{folder}: no benchmark of any job; a run writes them")
    jobs: list[tuple[str, str, float, float]] = []
    for path in paths:
        row = _read(path, sep="\t", na_values=["-"]).iloc[0]
        stage, *rest = path.relative_to(folder).with_suffix("").parts
        seconds, memory = (float(row[name]) for name in TIMED)
        jobs.append((stage, "/".join(rest), seconds, memory))
    order = {stage: number for number, stage in enumerate(stages)}
    jobs.sort(key=lambda job: (order.get(job[0], len(order)), job[0]))
    note = "Every job of which this folder of results has a benchmark, whichever run made it."
    table = pd.DataFrame(jobs, columns=["stage", "job", *TIMED])
    _write_text(runtimes_page("Run times by stage", note, table), output)


def _read(path: str | Path, **options: object) -> pd.DataFrame:
    """A table of one of this project's CSVs; InputError for one that cannot be read."""
    # Only an empty field is no value: a category may be called "None".
    try:
        return pd.read_csv(path, **{"keep_default_na": False, "na_values": [""], **options})
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable table ({error}); make it again") from error


def _write_text(text: str, output: str | Path) -> None:
    with files.replacing(output) as partial:
        partial.write_text(text, encoding="utf-8")
