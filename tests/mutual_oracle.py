"""Mutual scores by a double loop over patches, in float64."""

import math

import numpy as np


def naive_neighbourhood(features, size):
    """[K, P, d] -> [K, P, d]: the mean over those neighbours that there are, of length 1."""
    features, reach = features.double().numpy(), size // 2
    grid = math.isqrt(features.shape[1])
    found = np.zeros_like(features)
    for k in range(len(features)):
        for place in range(grid * grid):
            row, column = divmod(place, grid)
            around = [
                features[k, r * grid + c]
                for r in range(row - reach, row + reach + 1)
                for c in range(column - reach, column + reach + 1)
                if 0 <= r < grid and 0 <= c < grid
            ]
            mean = np.mean(around, axis=0)
            found[k, place] = mean / np.linalg.norm(mean)
    return found


def naive(scans, name, others, sizes, share, part, every_view):
    """Scores [K, P] of a scan: for each patch the lowest share of its distances to the other scans."""
    scores = np.zeros(scans[name][part].shape[:2])
    for size in sizes:
        own = naive_neighbourhood(scans[name][part], size)
        there = {other: naive_neighbourhood(scans[other][part], size) for other in others}
        for k in range(len(own)):
            for place, patch in enumerate(own[k]):
                distances = []
                for other in others:
                    views = range(len(own)) if every_view else [k]
                    distances.append(min(np.linalg.norm(patch - p) / 2 for v in views for p in there[other][v]))
                kept = sorted(distances)[: max(1, math.floor(share * len(distances)))]
                scores[k, place] += np.mean(kept) / len(sizes)
    return scores
