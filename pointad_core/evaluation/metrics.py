"""I-AUROC, AP, P-AUROC and AUPRO (Sec. 4.1); all are fractions in [0, 1].

Local metrics come in two protocols, told apart by their columns' names:

* ``*_paper`` is what the paper and its field report: for organised scans every pixel of the S x S image counts,
  the empty background with it (its score is near zero and its label is good, which lifts P-AUROC and AUPRO);
  for unorganised clouds the points that were kept for rendering count.
* ``*_object`` counts object points only: for organised scans the pixels that hold a point, for unorganised
  clouds every point of the original file.

P-AUROC and AUPRO are the same weighted area under a curve over the false-positive rate and are computed from
one sort of the scores of good points (`curve_area`). An exact curve needs every score of a category at once:
four bytes a point, the one place where memory follows a category's size. AUPRO needs a pixel neighbourhood, so it is
undefined for unorganised clouds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

METRICS = ("i_auroc", "ap", "p_auroc_paper", "aupro_paper", "p_auroc_object", "aupro_object")
MODALITIES = ("3d", "m3d")
"""Without and with RGB."""
COLUMNS = ("category", "modality", "n_good", "n_defective", *METRICS)
"""Of a data set's metrics: a row is a category in one modality."""
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
