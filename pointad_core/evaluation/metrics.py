"""I-AUROC, AP, P-AUROC and AUPRO (Sec. 4.1); all are fractions in [0, 1].

Local metrics come in two protocols, told apart by their columns' names:

* ``*_paper`` is what the paper and its field report: for organised scans every pixel of the S x S image counts, the
  empty background with it (its score is near zero and its label is good, which lifts P-AUROC and AUPRO); for
  unorganised clouds the points that were kept for rendering count.
* ``*_object`` counts object points only: for organised scans the pixels that hold a point, for unorganised clouds
  every point of the original file.

P-AUROC and AUPRO are the same weighted area under a curve over the false-positive rate (`curve_area`). The exact curve
needs every score of a category at once: four bytes a point, the one place where memory follows a category's size. AUPRO
needs a pixel neighbourhood: there is none of unorganised clouds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import ndimage

METRICS = ("i_auroc", "ap", "p_auroc_paper", "aupro_paper", "p_auroc_object", "aupro_object")
MODALITIES = ("3d", "rgb", "m3d")
"""Without and with RGB."""
COLUMNS = ("category", "modality", "n_good", "n_defective", *METRICS)
"""Of a data set's metrics: a row is a category in one modality."""
AUPRO_LIMIT = 0.3
"""False-positive rate up to which the per-region overlap is integrated."""
Images = Sequence[np.ndarray]


def curve_area(
    negatives: np.ndarray, positives: np.ndarray, weights: np.ndarray | None = None, limit: float = 1.0
) -> float:
    """Area under the weighted hit rate over the false-positive rate from 0 to `limit`, divided by `limit`.

    The curve has one vertex per distinct score of either class, so equal scores form one threshold, and is linear
    between vertices, at `limit` as well. Its area is a sum over positives: one whose score is passed by a fraction a
    of the negatives, and reached or passed by b, is counted from rate b on and rises linearly from a to b. So it takes
    one sort of the negatives and a search for each positive instead of a sweep of thresholds.

    negatives, positives: scores of good points [n] and of defective ones [m], in any order; weights: what each positive
    adds to the hit rate, [m], scaled to sum 1 here, all equal where None; limit: in (0, 1]. With equal weights and
    limit 1 the area is AUROC. Raises ValueError if either class is empty, for which the rates do not exist.
    """
    return _curve_area(np.sort(negatives), positives, weights, limit)


def _curve_area(negatives: np.ndarray, positives: np.ndarray, weights: np.ndarray | None, limit: float) -> float:
    """`curve_area` of negatives that are sorted."""
    if not len(negatives) or not len(positives):
        raise ValueError(f"a curve needs both classes, got {len(negatives)} good and {len(positives)} defective")
    before = (len(negatives) - np.searchsorted(negatives, positives, side="right")) / len(negatives)
    after = (len(negatives) - np.searchsorted(negatives, positives, side="left")) / len(negatives)
    # Ties that straddle the limit: the triangle under the rise from `before` to the limit.
    rise = np.where(after > before, after - before, 1.0)
    triangle = np.maximum(limit - before, 0.0) ** 2 / (2 * rise)
    area = np.where(after <= limit, limit - (before + after) / 2, triangle)
    return float(np.average(area, weights=weights) / limit)


def region_weights(mask: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Weights in the mean per-region overlap, one over the size of its region: f8 of every defective pixel that counts.

    mask: ground truth [S, S], nonzero is defective; its regions are the 8-connected ones. valid: bool [S, S], the
    pixels that count: regions are found on the whole mask first and cut down to valid pixels afterwards, so that a
    missing pixel does not split a defect in two; one without a valid pixel drops out. The weights, in row-major order,
    sum to the number of regions.
    """
    regions, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    counted = regions > 0 if valid is None else (regions > 0) & valid
    regions = regions[counted]
    return 1.0 / np.bincount(regions)[regions]


@dataclass
class PointScores:
    """Scores of a category's points, split by label, as far as its scans have been read; those of good ones sorted."""

    negatives: list[np.ndarray] = field(default_factory=list)
    positives: list[np.ndarray] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)

    def add(self, scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Append a scan: scores and labels of one shape, and `region_weights` where regions exist."""
        defective = labels > 0
        self.negatives.append(np.sort(scores[~defective]))
        self.positives.append(scores[defective])
        if weights is not None:
            self.weights.append(weights)

    @cached_property
    def pooled(self) -> np.ndarray:
        """Scores of all good points, sorted: once every scan has been added."""
        scores = np.concatenate(self.negatives)
        scores.sort()
        return scores

    def auroc(self) -> float:
        """Area under the ROC curve over all points added."""
        return _curve_area(self.pooled, np.concatenate(self.positives), None, 1.0)

    def aupro(self, limit: float = AUPRO_LIMIT) -> float:
        """Area under the mean per-region overlap over the false-positive rate up to `limit`, divided by it."""
        return _curve_area(self.pooled, np.concatenate(self.positives), np.concatenate(self.weights), limit)


def aupro(maps: Images, masks: Images, valid: Images | None = None, limit: float = AUPRO_LIMIT) -> float:
    """Exact AUPRO of finite score maps [S, S] against masks [S, S], nonzero is defective, over all maps together.

    valid: bool [S, S] of each map, the pixels that count, all where None; limit: as in `curve_area`.
    """
    points = PointScores()
    everywhere = [np.ones(np.shape(mask), dtype=bool) for mask in masks]
    for scores, mask, counted in zip(maps, masks, everywhere if valid is None else valid, strict=True):
        points.add(scores[counted], mask[counted], region_weights(mask, counted))
    return points.aupro(limit)


def object_metrics(scores: np.ndarray, defective: np.ndarray) -> tuple[float, float]:
    """I-AUROC and average precision of object scores [n] against bool labels [n]; both classes must be there."""
    # Imported here: it costs two seconds, and reading the scans can start before.
    from sklearn.metrics import average_precision_score, roc_auc_score

    return float(roc_auc_score(defective, scores)), float(average_precision_score(defective, scores))
