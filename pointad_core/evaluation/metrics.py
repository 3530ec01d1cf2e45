"""Metrics of objects and of points (Sec. 4.1); all are fractions in [0, 1].

Of objects I-AUROC, AP and F1-max; of points P-AUROC, AUPRO, P-AP and P-F1-max. Metrics of points come in two protocols,
told apart by their columns' names:

* ``*_paper`` counts the points that the paper and its field count: for organised scans every pixel of the S x S image,
  the empty background with it (its score is near zero and its label is good, which lifts P-AUROC and AUPRO); for
  unorganised clouds the points that were kept for rendering.
* ``*_object`` counts object points only: for organised scans the pixels that hold a point, for unorganised clouds
  every point of the original file.

Both AUPROs are the exact area, which is what the paper's text names. Its published code, and with it its numbers, is
of another quantity: ``aupro_stretched`` (`PointScores.aupro_stretched`), which counts the pixels of ``*_paper``. With
that one the paper's numbers are compared. AUPRO needs a pixel neighbourhood: there is none of unorganised clouds, and
``aupro_linked`` is what others report of them, with regions of points that lie near each other (`linked_weights`), of
the kept points. The paper has no such number.

P-AUROC and AUPRO are the same weighted area under a curve over the false-positive rate (`curve_area`). The exact curve
needs every score of a category at once: four bytes a point, the one place where memory follows a category's size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy import ndimage

TITLES = {
    **{"i_auroc": "I-AUROC", "ap": "AP"},
    **{"p_auroc_paper": "P-AUROC", "aupro_paper": "AUPRO", "p_auroc_object": "P-AUROC", "aupro_object": "AUPRO"},
    **{"aupro_stretched": "stretched AUPRO", "aupro_linked": "linked AUPRO", "f1_max": "F1-max"},
    **{"p_ap_paper": "P-AP", "p_f1_max_paper": "P-F1-max", "p_ap_object": "P-AP", "p_f1_max_object": "P-F1-max"},
}
"""What tables call a metric; two protocols of one metric share a name, and stand under different heads."""
METRICS = tuple(TITLES)
MODALITIES = ("3d", "rgb", "m3d")
"""Of the cloud alone, of its photograph alone (unsupervised systems have that), and of both."""
COLUMNS = ("category", "modality", "n_good", "n_defective", *METRICS)
"""Of a data set's metrics: a row is a category in one modality."""
AUPRO_LIMIT = 0.3
"""False-positive rate up to which the per-region overlap is integrated."""
THRESHOLDS = 200
"""Of the stretched AUPRO."""
LINK = 2.5
"""Mean spacings of a cloud's points within which two defective points are one region."""
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


def linked_weights(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`region_weights` of an unorganised cloud, f8 of every defective point: one over the size of its region.

    points: [n, 3]; labels: [n], nonzero is defective. A region holds the defective points that are linked by steps of
    at most LINK times the cloud's mean spacing, which is the mean distance of a point to the nearest other one.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    marked = points[labels > 0]
    if len(marked) < 2:
        return np.ones(len(marked))
    spacing = KDTree(points, balanced_tree=False).query(points, k=2)[0][:, 1].mean()
    pairs = KDTree(marked).query_pairs(LINK * spacing, output_type="ndarray")
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(marked), len(marked)))
    _, regions = connected_components(links, directed=False)
    return 1.0 / np.bincount(regions)[regions]


def stretched_edges(lowest: float, highest: float, dtype: np.dtype[Any]) -> np.ndarray:
    """The lowest scores of this dtype above each of the stretched AUPRO's thresholds: rising, [THRESHOLDS]."""
    thresholds = float(lowest) + (float(highest) - float(lowest)) / THRESHOLDS * np.arange(THRESHOLDS)
    edges = thresholds.astype(dtype)
    return np.where(edges > thresholds, edges, np.nextafter(edges, np.array(np.inf, dtype)))


def stretched_area(rates: np.ndarray, overlaps: np.ndarray) -> np.ndarray:
    """Area under overlaps f8 [..., n] over false-positive rates f8 [..., n], which rise: of those rates below
    AUPRO_LIMIT, with the smallest of them moved to 0 and the largest to 1; NaN where all of them are one, or none is.
    """
    kept = rates < AUPRO_LIMIT
    steps = np.where(kept[..., 1:], np.diff(rates, axis=-1), 0.0)
    heights = (overlaps[..., 1:] + overlaps[..., :-1]) / 2
    with np.errstate(invalid="ignore"):
        return (steps * heights).sum(axis=-1) / steps.sum(axis=-1)


def _precisions(negatives: np.ndarray, positives: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At each distinct score of positives, from the highest on: positives that have it, that reach it, and all that do.

    negatives: sorted. Other thresholds find no more positives than the next of these, with more negatives.
    """
    if not len(negatives) or not len(positives):
        raise ValueError(f"precision needs both classes, got {len(negatives)} good and {len(positives)} defective")
    thresholds, found = np.unique(positives, return_counts=True)
    hits = found[::-1].cumsum()
    return found[::-1], hits, hits + len(negatives) - np.searchsorted(negatives, thresholds[::-1], side="left")


def average_precision(negatives: np.ndarray, positives: np.ndarray) -> float:
    """Mean over positives [m] of the precision at their score, against negatives [n], which are sorted."""
    found, hits, alarms = _precisions(negatives, positives)
    return float((found * (hits / alarms)).sum() / len(positives))


def f1_max(negatives: np.ndarray, positives: np.ndarray) -> float:
    """The largest F1 that a threshold reaches, of positives [m] against negatives [n], which are sorted."""
    _, hits, alarms = _precisions(negatives, positives)
    return float((2 * hits / (alarms + len(positives))).max())


@dataclass
class PointScores:
    """Scores of a category's points, split by label, as far as its scans have been read; those of good ones sorted.

    The metrics can be taken once every scan has been added.
    """

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
        """Scores of all good points, sorted."""
        scores = np.concatenate(self.negatives)
        scores.sort()
        return scores

    @cached_property
    def defective(self) -> np.ndarray:
        """Scores of all defective points."""
        return np.concatenate(self.positives)

    def auroc(self) -> float:
        """Area under the ROC curve over all points added."""
        return _curve_area(self.pooled, self.defective, None, 1.0)

    def aupro(self, limit: float = AUPRO_LIMIT) -> float:
        """Area under the mean per-region overlap over the false-positive rate up to `limit`, divided by it."""
        return _curve_area(self.pooled, self.defective, np.concatenate(self.weights), limit)

    @cached_property
    def stretched_edges(self) -> np.ndarray:
        """`stretched_edges` of all points added."""
        lowest, highest = min(self.pooled[0], self.defective.min()), max(self.pooled[-1], self.defective.max())
        return stretched_edges(lowest, highest, self.pooled.dtype)

    def aupro_stretched(self) -> float:
        """AUPRO as the paper's published code and its field compute it; NaN where no two rates are left.

        The thresholds divide the scores' range evenly, from the lowest score on, and points strictly above one are
        found. Rates below AUPRO_LIMIT are kept and stretched to [0, 1], instead of a curve up to the limit. Where the
        rate leaps over the limit, as where the object fills little of the image, it ends before it: the exact AUPRO is
        higher by about (1 - AUPRO) (1 - last / AUPRO_LIMIT) then, and depends less on the highest score.
        """
        order = np.argsort(self.defective)
        covered = np.r_[np.concatenate(self.weights)[order][::-1].cumsum()[::-1], 0.0]
        edges = self.stretched_edges[::-1]
        rates = 1 - np.searchsorted(self.pooled, edges, side="left") / len(self.pooled)
        overlaps = covered[np.searchsorted(self.defective[order], edges, side="left")] / covered[0]
        return float(stretched_area(rates, overlaps))

    def average_precision(self) -> float:
        """P-AP over all points added."""
        return average_precision(self.pooled, self.defective)

    def f1_max(self) -> float:
        """P-F1-max over all points added."""
        return f1_max(self.pooled, self.defective)


def aupro(maps: Images, masks: Images, valid: Images | None = None, limit: float = AUPRO_LIMIT) -> float:
    """Exact AUPRO of finite score maps [S, S] against masks [S, S], nonzero is defective, over all maps together.

    valid: bool [S, S] of each map, the pixels that count, all where None; limit: as in `curve_area`.
    """
    points = PointScores()
    everywhere = [np.ones(np.shape(mask), dtype=bool) for mask in masks]
    for scores, mask, counted in zip(maps, masks, everywhere if valid is None else valid, strict=True):
        points.add(scores[counted], mask[counted], region_weights(mask, counted))
    return points.aupro(limit)


def object_metrics(scores: np.ndarray, defective: np.ndarray) -> tuple[float, float, float]:
    """I-AUROC, AP and F1-max of object scores [n] against bool labels [n]; both classes must be there.

    I-AUROC and AP to the last bit as scikit-learn's `roc_auc_score` and `average_precision_score` have them, without
    its import, which takes longer than all that a job measures.
    """
    order = np.argsort(scores, kind="stable")[::-1]
    # One threshold for equal scores: where the last of them stands.
    last = np.r_[np.flatnonzero(np.diff(scores[order])), len(scores) - 1]
    hits = defective[order].cumsum(dtype=np.float64)[last]
    alarms = 1 + last - hits
    # A curve is the same without those of its vertices that lie in the middle of a line; its sum's last bit is not.
    corners = np.r_[True, (np.diff(alarms, 2) != 0) | (np.diff(hits, 2) != 0), True] if len(last) > 2 else slice(None)
    found, passed = (np.r_[0.0, counts[corners]] / counts[-1] for counts in (hits, alarms))
    recall, precision = np.r_[0.0, hits / hits[-1]][::-1], (hits / (hits + alarms))[::-1]
    ap = max(0.0, -np.sum(np.diff(recall) * precision))
    best = f1_max(np.sort(scores[~defective]), scores[defective])
    return float(np.trapezoid(found, passed)), float(ap), best
