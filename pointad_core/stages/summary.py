"""Summaries: a data set's metrics averaged as in `evaluation.averages` (Sec. 4.1), files in, files out.

Every metrics CSV tells by its path what it holds, see PATH, with source and auxiliary "none" for untrained systems; so
does the npz of its replicates, from which the means' intervals are made.
"""

import csv
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pointad_core.errors import InputError
from pointad_core.evaluation.averages import RESULT, RUN, Methods, Tested, average, average_seeds, mean
from pointad_core.evaluation.bootstrap import REPLICATES
from pointad_core.evaluation.intervals import (
    BOUNDS,
    Replicates,
    add_bounds,
    replicate,
    replicate_categories,
    replicate_seeds,
)
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


def read_replicates(paths: Iterable[str | Path], rows: pd.DataFrame) -> Replicates:
    """Replicates of npz files whose paths end as PATH but for the ending; rows: the metrics that they belong to."""
    found: dict[tuple[str, ...], np.ndarray] = {}
    for path in map(Path, paths):
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                for name, values in file.items():
                    if values.shape != (len(METRICS), REPLICATES):
                        raise ValueError(f"{name} is {values.shape}, expected {(len(METRICS), REPLICATES)}")
                    found[(*path.parts[-5:-1], path.stem, *name.rsplit("/", 1))] = values
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: not readable replicates of metrics ({error}); make them again") from error
    if odd := sorted(found.keys() ^ set(rows[[*RUN, "category", "modality"]].itertuples(index=False, name=None))):
        raise InputError(f"replicates differ from metrics, first at {'/'.join(odd[0])}; make them again")
    return found


def write_csv(table: pd.DataFrame, output: str | Path) -> None:
    """Write a CSV whole or not at all; NaN becomes an empty field, numbers keep their shortest exact form."""
    with files.replacing(output) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")


def make_summary_auxiliary(
    metrics: Sequence[str | Path],
    replicates: Sequence[str | Path],
    output: str | Path,
    dataset: str,
    auxiliary: str,
    methods: Methods,
    tested: list[str],
) -> None:
    """Write one auxiliary class's one-vs-rest result: every tested category (mean over seeds), then their mean.

    metrics: CSVs of all methods on the data set (trained ones with this auxiliary class, all seeds); replicates: their
    npz files; output: CSV, fractions in [0, 1], the mean in the rows with category "mean", and each value's 95 %
    interval (`evaluation.intervals`); dataset, auxiliary: as in the paths of `metrics`; tested: categories that the
    prompts of this auxiliary class have not seen.
    """
    setting = dataset, dataset, auxiliary, methods, tested
    rows = read_metrics(metrics)
    found = average_seeds(rows, *setting)
    drawn = replicate_seeds(read_replicates(replicates, rows), *setting)
    means = {(*key, "mean"): values for key, values in replicate_categories(drawn).items()}
    parts = [found.iloc[:0]]
    for _, block in found.groupby(list(RESULT), sort=False):
        parts += [block, mean(block.assign(category="mean"), [*RESULT, "category"])]
    write_csv(add_bounds(pd.concat(parts), drawn | means), output)


def make_summary_dataset(
    metrics: Sequence[str | Path],
    replicates: Sequence[str | Path],
    output: str | Path,
    dataset: str,
    sources: Mapping[str, Tested],
    methods: Methods,
) -> None:
    """Write one data set's result: mean over tested categories, then auxiliary classes, per method and modality.

    metrics: CSVs of all methods on the data set, for all auxiliary classes and seeds; replicates: their npz files;
    sources: what is tested by the data set that was trained on: {dataset: {...}} is one-vs-rest, another key is
    cross-dataset. Untrained systems stand in every source's rows, averaged over its categories. The rest as above.
    """
    rows = read_metrics(metrics)
    drawn = read_replicates(replicates, rows)
    parts = [
        add_bounds(
            average(rows, dataset, name, tested, methods), replicate(drawn, dataset, name, tested, methods)
        ).assign(source=name)
        for name, tested in sources.items()
    ]
    write_csv(pd.concat(parts)[["source", *RESULT, *METRICS, *BOUNDS]], output)
