"""The metrics written naively: every distinct score a threshold, regions labelled anew at each."""

from collections import deque

import numpy as np

SIDE = 12


def find_regions(mask):
    """8-connected components of a mask as lists of (row, column), by flood fill."""
    left = {(int(r), int(c)) for r, c in np.argwhere(mask)}
    regions = []
    while left:
        queue = deque([left.pop()])
        region = [queue[0]]
        while queue:
            row, column = queue.popleft()
            for neighbour in [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                if neighbour in left:
                    left.remove(neighbour)
                    queue.append(neighbour)
                    region.append(neighbour)
        regions.append(region)
    return regions


def naive_aupro(maps, masks, valid, limit):
    """Mean over regions of the covered share against the share of good pixels hit, at every distinct score."""
    thresholds = sorted({float(v) for m, ok in zip(maps, valid, strict=True) for v in m[ok]}, reverse=True)
    rates, overlaps = [0.0], [0.0]
    for threshold in thresholds:
        hits = good = 0
        shares = []
        for scores, mask, ok in zip(maps, masks, valid, strict=True):
            found = scores.astype(np.float64) >= threshold
            hits += int((found & ~mask & ok).sum())
            good += int((~mask & ok).sum())
            for region in find_regions(mask):
                counted = [pixel for pixel in region if ok[pixel]]
                if counted:
                    shares.append(sum(bool(found[pixel]) for pixel in counted) / len(counted))
        rates.append(hits / good)
        overlaps.append(sum(shares) / len(shares))
    return integrate(rates, overlaps, limit)


def integrate(rates, overlaps, limit):
    """Area under a curve up to the limit, divided by it, trapezoid by trapezoid."""
    area = 0.0
    for x0, x1, y0, y1 in zip(rates, rates[1:], overlaps, overlaps[1:], strict=False):
        if x0 >= limit:
            break
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            x1 = limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def naive_auroc(negatives, positives):
    """Share of (defective, good) pairs in the right order, ties counting half."""
    wins = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p in positives for n in negatives)
    return wins / (len(negatives) * len(positives))


def draw_maps(rng, levels=None, count=3):
    """Random maps and masks with a few rectangular and lonely defects; scores from few levels give ties."""
    maps, masks, valid = [], [], []
    for _ in range(count):
        mask = np.zeros((SIDE, SIDE), dtype=bool)
        for _ in range(rng.integers(1, 4)):
            row, column = rng.integers(0, SIDE - 3, 2)
            mask[row : row + rng.integers(1, 4), column : column + rng.integers(1, 4)] = True
        mask[tuple(rng.integers(0, SIDE, 2))] = True
        # Thin enough for a missing pixel to cut it.
        row = rng.integers(0, SIDE)
        mask[row, : rng.integers(4, 9)] = True
        scores = rng.normal(size=(SIDE, SIDE)) + mask * rng.uniform(0, 2)
        if levels:
            scores = np.floor(scores * levels) / levels
        maps.append(scores.astype(np.float32))
        masks.append(mask)
        valid.append(rng.random((SIDE, SIDE)) < 0.7)
    return maps, masks, valid


def naive_ap(values, labels):
    """Sum over thresholds of the recall gained there times the precision there."""
    total, last = 0.0, 0.0
    for threshold in sorted(set(values), reverse=True):
        found = [label for value, label in zip(values, labels, strict=True) if value >= threshold]
        recall = sum(found) / sum(labels)
        total += (recall - last) * sum(found) / len(found)
        last = recall
    return total


def naive_f1_max(values, labels):
    """The largest F1 over all thresholds."""
    best = 0.0
    for threshold in set(values):
        found = [label for value, label in zip(values, labels, strict=True) if value >= threshold]
        best = max(best, 2 * sum(found) / (len(found) + sum(labels)))
    return best


def naive_stretched(maps, masks):
    """200 thresholds from the lowest score on in even steps; what is strictly above one is found; rates below 0.3
    are moved and scaled to [0, 1], and the trapezoids between them summed."""
    scores = np.array(maps, dtype=np.float64)
    good = ~np.array(masks, dtype=bool)
    step = (scores.max() - scores.min()) / 200
    curve = []
    for number in range(200):
        found = scores > scores.min() + step * number
        shares = [
            np.mean([hit[pixel] for pixel in region])
            for hit, mask in zip(found, masks, strict=True)
            for region in find_regions(mask)
        ]
        rate = (found & good).sum() / good.sum()
        if rate < 0.3:
            curve.append((rate, np.mean(shares)))
    rates, overlaps = np.array(curve[::-1]).T
    rates = (rates - rates.min()) / (rates.max() - rates.min())
    return sum(np.diff(rates) * (overlaps[1:] + overlaps[:-1]) / 2)


def link_points(points, labels):
    """Regions of a cloud as lists of places: labelled points in reach of each other, 2.5 mean spacings, by search."""
    points = np.array(points, dtype=np.float64)
    distances = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=-1))
    nearest = [min(distances[i, j] for j in range(len(points)) if j != i) for i in range(len(points))]
    reach = 2.5 * sum(nearest) / len(nearest)
    left, regions = {i for i, label in enumerate(labels) if label}, []
    while left:
        region = [left.pop()]
        for place in region:
            linked = {other for other in left if distances[place, other] <= reach}
            left -= linked
            region += sorted(linked)
        regions.append(region)
    return regions


def naive_linked(clouds, scores, labels, limit):
    """`naive_aupro` of clouds whose regions are `link_points`."""
    places = [link_points(points, marks) for points, marks in zip(clouds, labels, strict=True)]
    thresholds = sorted({float(value) for values in scores for value in values}, reverse=True)
    good = sum(int((np.array(marks) == 0).sum()) for marks in labels)
    rates, overlaps = [0.0], [0.0]
    for threshold in thresholds:
        rates.append(sum(int(((v >= threshold) & (m == 0)).sum()) for v, m in zip(scores, labels, strict=True)) / good)
        shares = [np.mean([v[i] >= threshold for i in r]) for v, rs in zip(scores, places, strict=True) for r in rs]
        overlaps.append(float(np.mean(shares)))
    return integrate(rates, overlaps, limit)
