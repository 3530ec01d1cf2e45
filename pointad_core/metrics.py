"""Metrics of one data set's scores: I-AUROC, AP, P-AUROC and AUPRO per category and modality (Sec. 4.1).

Local metrics come in two protocols, told apart by their columns' names:

* ``*_paper`` is what the paper and its field report: for organised scans every pixel of the S x S image counts,
  the empty background with it (its score is near zero and its label is good, which lifts P-AUROC and AUPRO);
  for unorganised clouds the points that were kept for rendering count.
* ``*_object`` counts object points only: for organised scans the pixels that hold a point, for unorganised
  clouds every point of the original file.

AUPRO needs a pixel neighbourhood, so it is empty for unorganised clouds; M3D rows exist where there is RGB.
All values are fractions in [0, 1].

P-AUROC and AUPRO are the same weighted area under a curve over the false-positive rate and are computed from
one sort of the scores of good points (`curve_area`). An exact curve needs every score of a category at once:
four bytes a point, the one place where memory follows a category's size.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pointad_core import files, stores
from pointad_core.errors import InputError
from pointad_core.jobs import progress

logger = logging.getLogger("pointad_core")

Part = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Scores, labels and region weights (None without regions) of a scan's points."""

METRICS = ("i_auroc", "ap", "p_auroc_paper", "aupro_paper", "p_auroc_object", "aupro_object")
MODALITIES = ("3d", "m3d")
COLUMNS = ("category", "modality", "n_good", "n_defective", *METRICS)

AUPRO_LIMIT = 0.3
"""False-positive rate up to which the per-region overlap is integrated."""


def curve_area(
    negatives: np.ndarray, positives: np.ndarray, weights: np.ndarray | None = None, limit: float = 1.0
) -> float:
    """Area under the weighted hit rate over the false-positive rate from 0 to `limit`, divided by `limit`.

    The curve has one vertex per distinct score of either class, so equal scores form one threshold, and is
    linear between vertices, at `limit` as well. Its area is a sum over positives: one whose score is passed by a
    fraction a of the negatives, and reached or passed by b, is counted from rate b on and rises linearly from a
    to b. So it takes one sort of the negatives and a search for each positive instead of a sweep of thresholds.

    Args:
        negatives: scores of good points, [n], any order; n >= 1.
        positives: scores of defective points, [m]; m >= 1.
        weights: what each positive adds to the hit rate, [m], scaled to sum 1 here; all equal where None.
        limit: in (0, 1]. With equal weights and limit 1 the area is AUROC.

    Raises:
        ValueError: if either class is empty, for which the rates do not exist.
    """
    if not len(negatives) or not len(positives):
        raise ValueError(f"a curve needs both classes, got {len(negatives)} good and {len(positives)} defective")
    negatives = np.sort(negatives)
    before = (len(negatives) - np.searchsorted(negatives, positives, side="right")) / len(negatives)
    after = (len(negatives) - np.searchsorted(negatives, positives, side="left")) / len(negatives)
    # Ties that straddle the limit: the triangle under the rise from `before` to the limit.
    straddling = (before < limit) & (after > limit)
    rise = np.where(straddling, after - before, 1.0)
    triangle = np.where(straddling, (limit - before) ** 2 / (2 * rise), 0.0)
    area = np.where(after <= limit, limit - (before + after) / 2, triangle)
    if weights is None:
        return float(np.mean(area) / limit)
    return float(np.sum(area * weights) / np.sum(weights) / limit)


def region_weights(mask: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Weight of every defective pixel in the mean per-region overlap: one over the size of its region.

    Regions are the 8-connected components of `mask`. With `valid` they are found on the whole mask first and
    cut down to valid pixels afterwards, so that a missing pixel does not split a defect in two; a region
    without a valid pixel drops out.

    Args:
        mask: ground truth, [S, S], nonzero = defective.
        valid: bool [S, S], the pixels that count.

    Returns:
        float64, one value per defective (and valid) pixel in row-major order. They sum to the number of regions.
    """
    from scipy import ndimage

    regions, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    counted = regions > 0 if valid is None else (regions > 0) & valid
    regions = regions[counted]
    return 1.0 / np.bincount(regions)[regions] if len(regions) else np.zeros(0)


@dataclass
class PointScores:
    """Scores of a category's points, split by label, as far as its scans have been read."""

    negatives: list[np.ndarray] = field(default_factory=list)
    positives: list[np.ndarray] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)

    def add(self, scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Append a scan: scores and labels of one shape, and `region_weights` where regions exist."""
        defective = labels > 0
        self.negatives.append(scores[~defective])
        self.positives.append(scores[defective])
        if weights is not None:
            self.weights.append(weights)

    def auroc(self) -> float:
        """Area under the ROC curve over all points added."""
        return curve_area(np.concatenate(self.negatives), np.concatenate(self.positives))

    def aupro(self, limit: float = AUPRO_LIMIT) -> float:
        """Area under the mean per-region overlap over the false-positive rate up to `limit`, divided by it."""
        weights = np.concatenate(self.weights)
        return curve_area(np.concatenate(self.negatives), np.concatenate(self.positives), weights, limit)


def aupro(
    maps: Iterable[np.ndarray],
    masks: Iterable[np.ndarray],
    valid: Iterable[np.ndarray] | None = None,
    limit: float = AUPRO_LIMIT,
) -> float:
    """Exact AUPRO of score maps [S, S] against masks [S, S], over all maps together.

    Args:
        maps: finite scores, higher = more anomalous.
        masks: nonzero = defective; each 8-connected component is a region.
        valid: bool maps of the pixels that count; all of them where None.
        limit: false-positive rate up to which the overlap is integrated, in (0, 1].
    """
    points = PointScores()
    if valid is None:
        for scores, mask in zip(maps, masks, strict=True):
            points.add(scores, mask, region_weights(mask))
    else:
        for scores, mask, counted in zip(maps, masks, valid, strict=True):
            points.add(scores[counted], mask[counted], region_weights(mask, counted))
    return points.aupro(limit)


def object_metrics(scores: np.ndarray, defective: np.ndarray) -> tuple[float, float]:
    """I-AUROC and average precision of object scores [n] against bool labels [n]; both classes must be there."""
    # Imported here: it costs two seconds, and reading the scans can start before.
    from sklearn.metrics import average_precision_score, roc_auc_score

    return float(roc_auc_score(defective, scores)), float(average_precision_score(defective, scores))


def _require_finite(values: np.ndarray | float, what: str, path: Path, scan: str) -> None:
    if not np.all(np.isfinite(values)):
        raise InputError(f"{path}: {what} of scan {scan!r} is not finite everywhere (NaN or infinity); score it again")


def _require_both(path: Path, category: str, what: str, good: int, defective: int) -> None:
    if good and defective:
        return
    found = "no defective" if good else "no good" if defective else "no"
    raise InputError(
        f"{path}: category {category!r} has {found} {what} ({good} good, {defective} defective); "
        f"metrics compare good with defective ones and are undefined without both"
    )


def _load_points(
    scored: stores.StoreReader, name: str, clouds: stores.StoreReader, scan: str, modality: str
) -> list[Part]:
    """A scan's points in the paper's protocol and on the object alone."""
    if clouds.attributes["organised"]:
        key = f"map_{modality}"
        scores = scored.load(name, [key])[key]
        truth = clouds.load(scan, ["grid", "mask"])
        mask, grid = truth["mask"], truth["grid"]
        if scores.shape != mask.shape:
            raise InputError(
                f"{scored.path}: {key} of scan {name!r} is {scores.shape}, but its ground truth in {clouds.path} is "
                f"{mask.shape}; score it again"
            )
        _require_finite(scores, key, scored.path, name)
        valid = np.zeros(mask.shape, dtype=bool)
        valid.ravel()[grid] = True
        return [
            (scores, mask, region_weights(mask)),
            (scores[valid], mask[valid], region_weights(mask, valid)),
        ]
    parts: list[Part] = []
    for key, label in ((f"points_{modality}", "labels"), (f"original_{modality}", "original_labels")):
        scores = scored.load(name, [key])[key]
        labels = clouds.load(scan, [label])[label]
        if scores.shape != labels.shape:
            raise InputError(
                f"{scored.path}: {key} of scan {name!r} has {len(scores)} points, but {label} in {clouds.path} has "
                f"{len(labels)}; score it again"
            )
        _require_finite(scores, key, scored.path, name)
        parts.append((scores, labels, None))
    return parts


def _category_rows(
    scored: stores.StoreReader, category: str, paths: stores.Paths
) -> list[dict[str, str | int | float]]:
    prefix = f"{category}/"
    names = [name for name in scored.scans if name.startswith(prefix)]
    if not names:
        raise InputError(f"{scored.path}: no scores of category {category!r}; score it again")
    rows: list[dict[str, str | int | float]] = []
    with stores.read(paths, "clouds") as clouds:
        path = clouds.path
        scans = clouds.scans
        if sorted(prefix + scan for scan in scans) != sorted(names):
            odd = sorted({prefix + scan for scan in scans} ^ set(names))
            raise InputError(f"{scored.path}: scans differ from those of {path}, first at {odd[0]!r}; score it again")
        attributes = {scan: scored.scan_attributes(prefix + scan) for scan in scans}
        defective = np.array([bool(attributes[scan]["defective"]) for scan in scans])
        n_defective = int(defective.sum())
        n_good = len(scans) - n_defective
        _require_both(path, category, "scans", n_good, n_defective)
        for modality in MODALITIES:
            key = f"object_{modality}"
            if modality != "3d" and not any(key in values for values in attributes.values()):
                continue
            lacking = [scan for scan in scans if key not in attributes[scan]]
            if lacking:
                raise InputError(f"{scored.path}: scan {prefix + lacking[0]!r} has no {key}; score it again")
            for scan in scans:
                _require_finite(attributes[scan][key], key, scored.path, prefix + scan)
            objects = np.array([attributes[scan][key] for scan in scans], dtype=np.float64)
            paper, on_object = PointScores(), PointScores()
            for scan in progress(scans, f"{category} {modality}"):
                parts = _load_points(scored, prefix + scan, clouds, scan, modality)
                for points, part in zip((paper, on_object), parts, strict=True):
                    points.add(*part)
            i_auroc, ap = object_metrics(objects, defective)
            row: dict[str, str | int | float] = {
                "category": category,
                "modality": modality,
                "n_good": n_good,
                "n_defective": n_defective,
                "i_auroc": i_auroc,
                "ap": ap,
            }
            for protocol, points in (("paper", paper), ("object", on_object)):
                counts = [sum(map(len, part)) for part in (points.negatives, points.positives)]
                _require_both(path, category, f"points ({protocol} protocol)", *counts)
                row[f"p_auroc_{protocol}"] = points.auroc()
                row[f"aupro_{protocol}"] = points.aupro() if points.weights else ""
            rows.append(row)
    return rows


def make_metrics(scores: str | Path, clouds: Mapping[str, stores.Paths], output: str | Path) -> None:
    """Write the metrics of a data set's scores as CSV: one row per category and modality, columns `COLUMNS`.

    Args:
        scores: store of kind "scores".
        clouds: store of kind "clouds" of every category to report, or those of its shards, by the category's name.
        output: CSV; numbers in their shortest exact form, so that the same scores give the same bytes.

    Raises:
        InputError: for scores that are not finite or do not belong to the clouds, and for a category whose
            scans or points are all good or all defective, which leaves the metrics undefined.
    """
    rows = []
    with stores.read(scores, "scores") as scored:
        for category, paths in clouds.items():
            rows += _category_rows(scored, category, paths)
            logger.info("%s: %s", category, "; ".join(_describe(row) for row in rows if row["category"] == category))
    with files.replacing(output) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _describe(row: Mapping[str, str | int | float]) -> str:
    values = ", ".join(f"{name} {row[name]:.3f}" for name in METRICS if row[name] != "")
    return f"{row['modality']} {values}"
