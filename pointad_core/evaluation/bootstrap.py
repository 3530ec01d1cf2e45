"""What chance does to a category's metrics: their values on scans drawn anew, `REPLICATES` times.

Scans are drawn with replacement from each stratum, which is those with one label, so that no replicate lacks a class.
Of n one draws n - 1: so the variance of a mean is right where n is small, and not by a factor (n - 1) / n too small
(Rao and Wu, JASA 83, 1988). The draws follow from the category's name and the strata's sizes alone: all methods,
auxiliary classes and seeds see the same ones, so that their replicates can be compared one by one.

A replicate weights scans. Of metrics of objects it is exact. Those of points are not computed a thousand times: each
scan's points are counted once in bins of scores that all scans share, and a replicate is a weighted sum of these
counts, integrated over the curve of `metrics.curve_area`, with each bin as one threshold. The stretched AUPRO has
thresholds of its own; a replicate keeps those of all scans.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from pointad_core.evaluation.metrics import AUPRO_LIMIT, stretched_area

REPLICATES = 1000
BINS = 256
"""Bins of scores, about; the k-th from above ends where (k / BINS)^2 of the good points are passed: narrow where curves
bend."""
Counts = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Points by scan and bin, as `count_bins` gives them."""


def resample(name: str, size: int) -> np.ndarray:
    """Weights of `size` units in each replicate: f8 [REPLICATES, size], each row with mean 1, which draws size - 1.

    name: of what is drawn; equal names and sizes draw alike. A single unit always counts: of what varies between
    such units nothing can be told.
    """
    drawn = max(size - 1, 1)
    key = int.from_bytes(hashlib.sha256(f"{name}\n{size}".encode()).digest()[:8])
    units = np.random.default_rng(key).integers(size, size=(REPLICATES, drawn))
    counts = np.bincount((units + size * np.arange(REPLICATES)[:, None]).ravel(), minlength=REPLICATES * size)
    return counts.reshape(REPLICATES, size) * (size / drawn)


def scan_weights(category: str, strata: Sequence[tuple[bool, ...]]) -> np.ndarray:
    """Weights of a category's scans in each replicate: f8 [REPLICATES, n], drawn within each of the strata [n]."""
    weights = np.empty((REPLICATES, len(strata)))
    for stratum in sorted(set(strata)):
        places = [place for place, other in enumerate(strata) if other == stratum]
        weights[:, places] = resample(f"{category} {stratum}", len(places))
    return weights


def object_replicates(scores: np.ndarray, defective: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """I-AUROC, AP and F1-max of objects that are weighted: f8 [R] each.

    scores: f8 [n]; defective: bool [n]; weights: f8 [R, n], none negative. Undefined, NaN, without either class.
    """
    order = np.argsort(-scores, kind="stable")
    scores, defective, weights = scores[order], defective[order], weights[:, order]
    # One threshold for equal scores, as with `object_metrics`.
    starts = np.flatnonzero(np.r_[True, scores[1:] != scores[:-1]])
    hits = np.add.reduceat(weights * defective, starts, axis=1)
    alarms = np.add.reduceat(weights * ~defective, starts, axis=1)
    hit, alarmed = hits.cumsum(axis=1), alarms.cumsum(axis=1)
    with np.errstate(invalid="ignore"):
        auroc = (alarms * (hit - hits / 2)).sum(axis=1) / (hit[:, -1] * alarmed[:, -1])
        # Thresholds that find nothing add nothing, also where no object has been reached yet.
        precision = hit / np.where(hits > 0, hit + alarmed, 1)
        both = np.where(alarmed[:, -1] > 0, hit[:, -1], np.nan)
        ap = (hits * precision).sum(axis=1) / both
        f1 = (2 * hit / (hit + alarmed + both[:, None])).max(axis=1)
    return auroc, ap, f1


def find_edges(negatives: Sequence[np.ndarray]) -> np.ndarray:
    """Scores at which bins begin, rising: shares of all good points, of which an even part of each scan is looked at.

    negatives: good points' scores by scan, each sorted. A score that many points have gets a bin of its own, so that
    it stays the one threshold that it is.
    """
    step = max(1, sum(map(len, negatives)) // 65536)
    some = np.sort(np.concatenate([scores[::-step] for scores in negatives]))
    shares = (np.arange(1, BINS) / BINS) ** 2
    edges = some[((1 - shares) * (len(some) - 1)).astype(int)]
    values, counts = np.unique(edges, return_counts=True)
    return np.union1d(values, np.nextafter(values[counts > 1], np.array(np.inf, edges.dtype)))


def count_bins(
    edges: np.ndarray, negatives: Sequence[np.ndarray], positives: Sequence[np.ndarray], shares: Sequence[np.ndarray]
) -> Counts:
    """Points by scan and bin, the highest scores first: f8 [n, bins] of good ones, defective ones, and their shares.

    negatives: good points' scores by scan, each sorted; positives, shares: those of defective points, and what each
    adds to the overlap of regions (`metrics.region_weights`), or none at all where there are no regions.
    """
    bins = len(edges) + 1
    found = [np.diff(np.r_[0, np.searchsorted(scores, edges, side="left"), len(scores)]) for scores in negatives]
    places = [np.searchsorted(edges, scores, side="right") for scores in positives]
    hits = [np.bincount(place, minlength=bins) for place in places]
    parts = [np.bincount(place, share, minlength=bins) for place, share in zip(places, shares, strict=bool(shares))]
    empty = np.zeros((len(hits), bins))
    counts = (np.array(counted, dtype=np.float64)[:, ::-1] if counted else empty for counted in (found, hits, parts))
    return next(counts), next(counts), next(counts)


def point_replicates(counts: Counts, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """P-AUROC, P-AP, P-F1-max and AUPRO (up to AUPRO_LIMIT) of scans that are weighted: f8 [R] each.

    weights: f8 [R, n]. Undefined, NaN, without either class or, AUPRO, without regions.
    """
    # Blocks whose arrays fit a cache take a third of the time.
    found = [_integrate(*counts, weights[start : start + 128]) for start in range(0, len(weights), 128)]
    return tuple(np.concatenate(values) for values in zip(*found, strict=True))


def stretched_replicates(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """The stretched AUPRO of scans that are weighted, f8 [R]; counts: in bins of `PointScores.stretched_edges`."""
    good, _, shares = counts
    # The last bin holds what no threshold finds.
    passed, covered = ((weights @ values).cumsum(axis=1) for values in (good, shares))
    with np.errstate(invalid="ignore"):
        rates, overlaps = (values[:, :-1] / values[:, -1:] for values in (passed, covered))
    return stretched_area(rates, overlaps)


def _integrate(
    good: np.ndarray, defective: np.ndarray, shares: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, ...]:
    """`point_replicates` of a block."""
    inside, hits = weights @ good, weights @ defective
    passed, hit = inside.cumsum(axis=1), hits.cumsum(axis=1)
    total, marked = passed[:, -1], np.where(passed[:, -1] > 0, hit[:, -1], np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Pairs in the right order, which within a bin count half.
        auroc = (hits * (total[:, None] - passed + inside / 2)).sum(axis=1) / (total * marked)
        ap = (hits * (hit / np.where(hits > 0, hit + passed, 1))).sum(axis=1) / marked
        f1 = (2 * hit / (hit + passed + marked[:, None])).max(axis=1)
        if not shares.any():
            return auroc, ap, f1, np.full(len(weights), np.nan)
        # The curve's trapezoids, one a bin, from that of the highest scores on: whole ones up to the limit, and then
        # the part before it of the next.
        risen = weights @ shares
        heights = risen.cumsum(axis=1) - risen / 2
        whole = passed <= AUPRO_LIMIT * total[:, None]
        area = (inside * heights * whole).sum(axis=1)
        last = np.arange(len(weights)), whole.argmin(axis=1)
        rest = AUPRO_LIMIT * total - (passed[last] - inside[last])
        area += rest * (heights[last] - risen[last] / 2 + risen[last] * rest / (2 * inside[last]))
        return auroc, ap, f1, area / (AUPRO_LIMIT * total * risen.sum(axis=1))
