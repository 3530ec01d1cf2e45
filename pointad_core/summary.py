"""Summaries: macro mean over the unseen categories, then over the auxiliary classes (Sec. 4.1).

What is averaged, and in which order: each category's metrics over seeds; these over the categories that the
prompts have not seen (one-vs-rest leaves the auxiliary class out, cross-dataset nothing); these over the auxiliary
classes. Untrained systems see no category at all, yet are averaged over the same categories as the trained ones.

Every metrics CSV tells by its path what it holds: ``.../{method}/{source}/{auxiliary}/{seed}/{dataset}.csv``, with
source and auxiliary "none" for untrained systems.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from pointad_core import files
from pointad_core import methods as systems
from pointad_core.errors import InputError
from pointad_core.metrics import COLUMNS, METRICS, MODALITIES

NONE = "none"
"""Source and auxiliary class of systems that are not trained."""

Values = dict[str, float | None]
"""A value for each of METRICS; None where it is undefined."""


@dataclass(frozen=True)
class Row:
    """One row of a metrics CSV with what its path says of it."""

    method: str
    source: str
    auxiliary: str
    seed: str
    dataset: str
    category: str
    modality: str
    values: Values


def read_rows(metrics: Iterable[str | Path]) -> list[Row]:
    """Rows of metrics CSVs whose paths end in ``{method}/{source}/{auxiliary}/{seed}/{dataset}.csv``."""
    rows = []
    for path in map(Path, metrics):
        if len(path.parts) < 5:
            raise InputError(
                f"{path}: expected a path like {{method}}/{{source}}/{{auxiliary}}/{{seed}}/{{dataset}}.csv"
            )
        method, source, auxiliary, seed = path.parts[-5:-1]
        try:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            reader = csv.DictReader(lines)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise InputError(f"{path}: columns are {reader.fieldnames}, expected {list(COLUMNS)}")
            if not lines[-1].endswith("\n"):
                raise ValueError("cut short in its last line")
            for line in reader:
                # A row that is cut short lacks fields; where a metric is undefined one is empty.
                if None in line or None in line.values():
                    raise ValueError(f"line {reader.line_num} has not {len(COLUMNS)} fields")
                values = {name: float(line[name]) if line[name] else None for name in METRICS}
                rows.append(Row(method, source, auxiliary, seed, path.stem, line["category"], line["modality"], values))
        except (OSError, UnicodeDecodeError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: not a readable table of metrics ({error}); make it again") from error
    return rows


def _mean(values: Sequence[Values]) -> Values:
    """Mean of each metric; undefined as soon as one value is. Exact, so the order of the values cannot matter."""
    means: Values = {}
    for name in METRICS:
        column = [value[name] for value in values]
        means[name] = None if None in column else fmean(value for value in column if value is not None)
    return means


def average_seeds(
    rows: Iterable[Row], dataset: str, source: str, auxiliary: str, methods: Mapping[str, Mapping[str, Any]]
) -> dict[tuple[str, str], dict[str, Values]]:
    """Each unseen category's metrics, averaged over seeds.

    Args:
        rows: as read; those of other data sets, sources and auxiliary classes are passed over.
        dataset: data set that was scored.
        source, auxiliary: where the prompts were trained. One-vs-rest is source = dataset.
        methods: the config's methods by name; each key "system" tells whether a method is trained.

    Returns:
        For (method, modality), in the order of `methods`: values by category, sorted.

    Raises:
        InputError: if a method was not scored on the data set or has no unseen category there, or if the means
            would run over different categories.
    """
    found: dict[tuple[str, str], dict[str, Values]] = {}
    covered: dict[frozenset[str], str] = {}
    rows = [row for row in rows if row.dataset == dataset]
    for method, entry in methods.items():
        wanted = (source, auxiliary) if systems.find(entry["system"]).trained else (NONE, NONE)
        own = [row for row in rows if row.method == method and (row.source, row.auxiliary) == wanted]
        if not own:
            raise InputError(f"no metrics of method {method!r} on {dataset!r} for source and auxiliary {wanted}")
        unseen = [row for row in own if source != dataset or row.category != auxiliary]
        if not unseen:
            raise InputError(
                f"data set {dataset!r} has no category besides the auxiliary class {auxiliary!r}; "
                f"one-vs-rest needs at least one"
            )
        for seed in {row.seed for row in unseen}:
            covered.setdefault(frozenset(row.category for row in unseen if row.seed == seed), method)
        if len(covered) > 1:
            few, many = sorted(covered, key=len)[:2]
            raise InputError(
                f"metrics on {dataset!r} cover different categories: {covered[few]!r} has {sorted(few)}, "
                f"{covered[many]!r} has {sorted(many)}; make them again"
            )
        for modality in MODALITIES:
            of_modality = sorted((row for row in unseen if row.modality == modality), key=lambda row: row.category)
            if of_modality:
                found[method, modality] = {
                    category: _mean([row.values for row in same])
                    for category, same in groupby(of_modality, key=lambda row: row.category)
                }
    return found


def average(
    rows: Sequence[Row],
    dataset: str,
    source: str,
    auxiliaries: Sequence[str],
    methods: Mapping[str, Mapping[str, Any]],
) -> dict[tuple[str, str], Values]:
    """Mean over unseen categories, then over auxiliary classes, for each (method, modality); see `average_seeds`."""
    if not auxiliaries:
        raise InputError(f"data set {source!r} names no auxiliary class, so nothing can be trained on it")
    collected: dict[tuple[str, str], list[Values]] = {}
    for auxiliary in auxiliaries:
        for key, categories in average_seeds(rows, dataset, source, auxiliary, methods).items():
            collected.setdefault(key, []).append(_mean(list(categories.values())))
    return {key: _mean(values) for key, values in collected.items()}


def write_csv(output: str | Path, columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV whole or not at all; None becomes an empty field, numbers keep their shortest exact form."""
    with files.replacing(output) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def make_summary_auxiliary(
    metrics: Sequence[str | Path],
    output: str | Path,
    dataset: str,
    auxiliary: str,
    methods: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write one auxiliary class's one-vs-rest result: every unseen category (mean over seeds), then their mean.

    Args:
        metrics: CSVs of all methods on the data set (trained ones with this auxiliary class, all seeds).
        output: CSV; fractions in [0, 1], the mean in the rows with category "mean".
        dataset, auxiliary: as in the paths of `metrics`.
        methods: the config's methods, in the order wanted.
    """
    lines = []
    for (method, modality), categories in average_seeds(
        read_rows(metrics), dataset, dataset, auxiliary, methods
    ).items():
        for category, values in {**categories, "mean": _mean(list(categories.values()))}.items():
            lines.append({"method": method, "modality": modality, "category": category, **values})
    write_csv(output, ("method", "modality", "category", *METRICS), lines)


def make_summary_dataset(
    metrics: Sequence[str | Path],
    output: str | Path,
    dataset: str,
    sources: Mapping[str, Sequence[str]],
    methods: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write one data set's result: mean over unseen categories, then auxiliary classes, per method and modality.

    Args:
        metrics: CSVs of all methods on the data set, for all auxiliary classes and seeds.
        output: CSV; fractions in [0, 1].
        dataset: as in the paths of `metrics`.
        sources: auxiliary classes by the data set they are trained on: {dataset: [...]} is one-vs-rest, another
            key is cross-dataset. Untrained systems stand in every source's rows, averaged over its categories.
        methods: the config's methods, in the order wanted.
    """
    rows = read_rows(metrics)
    lines = []
    for source, auxiliaries in sources.items():
        for (method, modality), values in average(rows, dataset, source, auxiliaries, methods).items():
            lines.append({"source": source, "method": method, "modality": modality, **values})
    write_csv(output, ("source", "method", "modality", *METRICS), lines)
