"""Means of metrics (Sec. 4.1): what is averaged, and in which order.

Each category's metrics over seeds; these over the categories that the prompts have not seen; these over the
auxiliary classes. Untrained systems see no category at all, yet are averaged over the same categories as the trained
ones. A mean is exact, so that the order of the rows changes no byte, and NaN, undefined, as soon as one value is. A
category without any metric, whose scans nobody labelled, is left out.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import pandas as pd

from pointad_core.errors import InputError
from pointad_core.evaluation.metrics import METRICS

NONE = "none"
"""Source and auxiliary class of systems that are not trained."""
RUN = ("method", "source", "auxiliary", "seed", "dataset")
"""What tells a run from all others: columns of text."""
RESULT = ("method", "modality")
"""What a mean over categories is of."""

Methods = Mapping[str, Mapping[str, Any]]
"""By name, in the order wanted; each key "trained" tells whether a method is, or has one run for all sources."""
Tested = Mapping[str, Sequence[str]]
"""Categories that the prompts have not seen, by the auxiliary class that these were trained on."""


def mean(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Mean of each of METRICS where the columns `by` agree; columns `by` and METRICS, rows as they first come."""
    return table.groupby(list(by), sort=False, as_index=False)[list(METRICS)].agg(fmean)


def average_seeds(
    rows: pd.DataFrame, dataset: str, source: str, auxiliary: str, methods: Methods, tested: Sequence[str]
) -> pd.DataFrame:
    """Each tested category's metrics, averaged over seeds.

    rows: columns RUN, category, modality and METRICS, those of other runs and categories are passed over; dataset: that
    was scored; source, auxiliary: where the prompts were trained, in one-vs-rest source = dataset; tested: categories
    to average. Returns columns RESULT, category and METRICS, in the order of methods, modalities and categories.
    Raises InputError if nothing is tested, or if a method was not scored on the data set, or a run of it not on all
    tested categories, so that the means would run over different ones.
    """
    if not tested:
        raise InputError(f"data set {dataset!r} has no category besides the auxiliary class {auxiliary!r} to test on")
    found = []
    for method, entry in methods.items():
        wanted = (source, auxiliary) if entry["trained"] else (NONE, NONE)
        own = rows[(rows[["method", "source", "auxiliary", "dataset"]] == [method, *wanted, dataset]).all(axis=1)]
        if own.empty:
            raise InputError(f"no metrics of method {method!r} on {dataset!r} for source and auxiliary {wanted}")
        for _, covered in own.groupby("seed")["category"]:
            if not set(tested) <= set(covered):
                raise InputError(
                    f"metrics on {dataset!r} cover different categories: {method!r} has {sorted(set(covered))}, "
                    f"tested are {sorted(tested)}; make them again"
                )
        own = own[own["category"].isin(list(tested))].sort_values(["modality", "category"], kind="stable")
        found.append(mean(own.dropna(subset=list(METRICS), how="all"), [*RESULT, "category"]))
    return pd.concat(found, ignore_index=True)


def average(rows: pd.DataFrame, dataset: str, source: str, tested: Tested, methods: Methods) -> pd.DataFrame:
    """Mean over tested categories, then over auxiliary classes: columns RESULT and METRICS. Else as `average_seeds`."""
    if not tested:
        raise InputError(f"data set {source!r} names no auxiliary class, so nothing can be trained on it")
    splits = [
        mean(average_seeds(rows, dataset, source, auxiliary, methods, categories), RESULT)
        for auxiliary, categories in tested.items()
    ]
    return mean(pd.concat(splits), RESULT)
