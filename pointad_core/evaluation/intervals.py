"""95 % intervals of means of metrics, and of differences between two methods' means.

The means of `averages`, taken in each replicate: of a category's metrics its scans are drawn anew (`bootstrap`), of a
mean over auxiliary classes the classes, and of each class the seeds. All methods have the same draws, so that a
difference between two is taken replicate by replicate, and what is hard for both cancels. An interval lies between the
2.5th and the 97.5th percentile of the replicates.

What there is one of, a class or a seed, is not drawn: the interval says nothing of how another would do. Two or three
are few, and an interval takes them for all there are. Categories are not drawn: the mean is of these. (Classes are
not tested on the same ones; see `replicate`.)
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pointad_core.evaluation.averages import NONE, RESULT, Methods, Tested
from pointad_core.evaluation.bootstrap import REPLICATES, resample
from pointad_core.evaluation.metrics import METRICS

LEVEL = 0.95
BOUNDS = tuple(f"{metric}_{end}" for metric in METRICS for end in ("low", "high"))
"""Columns of an interval's ends, in the order of METRICS."""
Replicates = Mapping[tuple[str, ...], np.ndarray]
"""By RUN, category and modality: [len(METRICS), REPLICATES], NaN where a metric is undefined."""
Means = dict[tuple[str, ...], np.ndarray]
"""Replicates of means, by method and modality, and the category where it is of one."""


def _weigh(parts: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Mean of replicates by parts, each with its weight in each replicate: [REPLICATES, parts]."""
    # A part without weight is not there, and need not be defined.
    total = np.zeros_like(parts[0])
    for part, weight in zip(parts, weights.T, strict=True):
        total += np.where(weight > 0, part * weight, 0.0)
    return total / len(parts)


def replicate_seeds(
    replicates: Replicates, dataset: str, source: str, auxiliary: str, methods: Methods, tested: Sequence[str]
) -> Means:
    """Replicates of `averages.average_seeds`, by method, modality and category; see there."""
    found: Means = {}
    for method, entry in methods.items():
        wanted = (method, *((source, auxiliary) if entry["trained"] else (NONE, NONE)))
        own = {key[3:]: value for key, value in replicates.items() if key[:3] == wanted and key[4] == dataset}
        seeds: dict[tuple[str, str], list[str]] = {}
        for seed, _, category, modality in sorted(own):
            # Without any value where nobody labelled its scans.
            if category in tested and not np.isnan(own[seed, dataset, category, modality]).all():
                seeds.setdefault((modality, category), []).append(seed)
        for (modality, category), names in sorted(seeds.items()):
            parts = [own[seed, dataset, category, modality].astype(np.float64) for seed in names]
            found[method, modality, category] = _weigh(parts, resample(f"seeds of {auxiliary}", len(parts)))
    return found


def replicate_categories(found: Means) -> Means:
    """Replicates of the mean over categories, by method and modality, of what `replicate_seeds` gives."""
    groups: dict[tuple[str, ...], list[np.ndarray]] = {}
    for (method, modality, _), values in found.items():
        groups.setdefault((method, modality), []).append(values)
    return {key: np.mean(parts, axis=0) for key, parts in groups.items()}


def replicate(replicates: Replicates, dataset: str, source: str, tested: Tested, methods: Methods) -> Means:
    """Replicates of `averages.average`, by method and modality; see there."""
    # By method and modality a mapping for each class, of categories to replicates.
    groups: dict[tuple[str, ...], list[dict[str, np.ndarray]]] = {}
    for auxiliary, categories in tested.items():
        splits: dict[tuple[str, ...], dict[str, np.ndarray]] = {}
        found = replicate_seeds(replicates, dataset, source, auxiliary, methods, categories)
        for (method, modality, category), values in found.items():
            splits.setdefault((method, modality), {})[category] = values
        for key, split in splits.items():
            groups.setdefault(key, []).append(split)
    means: Means = {}
    for key, parts in groups.items():
        # Classes are compared on categories that all are tested on: that carrot, left out of one class's mean, is a
        # hard category says nothing of the classes.
        common = set[str].intersection(*map(set, parts))
        effects = [np.mean([part[name] for name in sorted(common or part)], axis=0) for part in parts]
        mean = np.mean([np.mean(list(part.values()), axis=0) for part in parts], axis=0)
        drawn = _weigh(effects, resample("auxiliary classes", len(effects)))
        means[key] = np.clip(mean + drawn - np.mean(effects, axis=0), 0, 1)
    return means


def bounds(values: np.ndarray) -> list[float]:
    """Ends of the interval of each metric, as in BOUNDS, of replicates [len(METRICS), REPLICATES]; NaN if undefined.

    Replicates in which a metric is undefined, for want of a defective point, are left out, as long as most are not.
    Rounded to what a thousand replicates can tell, and more: so they are the same on any machine.
    """
    ends: list[float] = []
    for row in values:
        row = row[np.isfinite(row)]
        tail = 100 * (1 - LEVEL) / 2
        # Adding 0 makes one zero of two.
        few = len(row) < REPLICATES / 2
        ends += [float("nan")] * 2 if few else (np.percentile(row, [tail, 100 - tail]).round(6) + 0.0).tolist()
    return ends


def add_bounds(table: pd.DataFrame, means: Means) -> pd.DataFrame:
    """A table of means with columns BOUNDS behind its own; means by RESULT, and category where the table has it."""
    by = [*RESULT, "category"] if "category" in table else list(RESULT)
    ends = [bounds(means[key]) for key in table[by].itertuples(index=False, name=None)]
    return pd.concat([table, pd.DataFrame(ends, columns=list(BOUNDS), index=table.index, dtype=float)], axis=1)
