"""Summaries: a data set's metrics averaged as in `evaluation.averages` (Sec. 4.1), files in, files out.

Every metrics CSV tells by its path what it holds, see PATH, with source and auxiliary "none" for untrained systems.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from pointad_core.errors import InputError
from pointad_core.evaluation.averages import RESULT, RUN, Methods, Tested, average, average_seeds, mean
from pointad_core.evaluation.metrics import COLUMNS, METRICS
from pointad_core.storage import files

PATH = "{method}/{source}/{auxiliary}/{seed}/{dataset}.csv"


def read_metrics(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Rows of metrics CSVs whose paths end as PATH: columns RUN, category, modality and METRICS, undefined is NaN."""
    rows: list[list[str | float]] = []
    for path in map(Path, paths):
        if len(path.parts) < 5:
            raise InputError(f"{path}: expected a path like {PATH}")
        try:
            text = path.read_text(encoding="utf-8")
            # Not pandas' reader: it fills up a row that is cut short, and takes names such as "None" for no value.
            head, *lines = csv.reader(text.splitlines() or [""])
            if head != list(COLUMNS):
                raise ValueError(f"columns are {head}, expected {list(COLUMNS)}")
            if not text.endswith("\n"):
                raise ValueError("cut short in its last line")
            for number, line in enumerate(lines, start=2):
                # A row that is cut short lacks fields; where a metric is undefined one is empty.
                if len(line) != len(COLUMNS):
                    raise ValueError(f"line {number} has not {len(COLUMNS)} fields")
                values = (float(field or "nan") for field in line[-len(METRICS) :])
                rows.append([*path.parts[-5:-1], path.stem, *line[:2], *values])
        except (OSError, ValueError, csv.Error) as error:
            raise InputError(f"{path}: not a readable table of metrics ({error}); make it again") from error
    return pd.DataFrame(rows, columns=[*RUN, "category", "modality", *METRICS])


def write_csv(table: pd.DataFrame, output: str | Path) -> None:
    """Write a CSV whole or not at all; NaN becomes an empty field, numbers keep their shortest exact form."""
    with files.replacing(output) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")


def make_summary_auxiliary(
    metrics: Sequence[str | Path], output: str | Path, dataset: str, auxiliary: str, methods: Methods, tested: list[str]
) -> None:
    """Write one auxiliary class's one-vs-rest result: every tested category (mean over seeds), then their mean.

    metrics: CSVs of all methods on the data set (trained ones with this auxiliary class, all seeds); output: CSV,
    fractions in [0, 1], the mean in the rows with category "mean"; dataset, auxiliary: as in the paths of `metrics`;
    tested: categories that the prompts of this auxiliary class have not seen.
    """
    found = average_seeds(read_metrics(metrics), dataset, dataset, auxiliary, methods, tested)
    parts = [found.iloc[:0]]
    for _, block in found.groupby(list(RESULT), sort=False):
        parts += [block, mean(block.assign(category="mean"), [*RESULT, "category"])]
    write_csv(pd.concat(parts), output)


def make_summary_dataset(
    metrics: Sequence[str | Path], output: str | Path, dataset: str, sources: Mapping[str, Tested], methods: Methods
) -> None:
    """Write one data set's result: mean over tested categories, then auxiliary classes, per method and modality.

    metrics: CSVs of all methods on the data set, for all auxiliary classes and seeds; sources: what is tested by the
    data set that was trained on: {dataset: {...}} is one-vs-rest, another key is cross-dataset. Untrained systems stand
    in every source's rows, averaged over its categories. The rest as above.
    """
    rows = read_metrics(metrics)
    parts = [average(rows, dataset, name, tested, methods).assign(source=name) for name, tested in sources.items()]
    write_csv(pd.concat(parts)[["source", *RESULT, *METRICS]], output)
