"""Exact AUPRO of a category's maps against a sweep of thresholds that labels the regions anew at each.

Run as ``python tests/benchmarks/aupro.py [--maps 130] [--size 336] [--thresholds 200]``. Both see the same seeded
maps in one process; the sweep is what public code for this metric does, so its value differs a little: it
samples the curve and stretches the sampled rates below the limit to [0, 1] instead of interpolating at the limit.
"""

import argparse
import time

import numpy as np
from scipy import ndimage

from pointad_core.evaluation.metrics import AUPRO_LIMIT, aupro


def draw_maps(n_maps: int, size: int, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Smooth float32 score maps that see the defects dimly, and masks of a few blobs in four scans of five."""
    rng = np.random.default_rng(seed)
    maps = np.empty((n_maps, size, size), dtype=np.float32)
    masks = np.zeros((n_maps, size, size), dtype=bool)
    rows, columns = np.mgrid[:size, :size]
    for scores, mask in zip(maps, masks, strict=True):
        if rng.random() < 0.8:
            for _ in range(rng.integers(1, 5)):
                row, column = rng.uniform(0.2, 0.8, 2) * size
                radius = rng.uniform(0.01, 0.06) * size
                mask |= (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        noise = ndimage.gaussian_filter(rng.normal(size=(size, size)), size / 50)
        seen = ndimage.gaussian_filter(mask.astype(float), 4) * rng.uniform(0, 2)
        scores[...] = noise / noise.std() + seen
    return maps, masks


def sweep(maps: np.ndarray, masks: np.ndarray, n_thresholds: int, limit: float = AUPRO_LIMIT) -> float:
    """AUPRO from equidistant thresholds, one pass over all maps and regions for each."""
    rates, overlaps = [], []
    for threshold in np.linspace(maps.min(), maps.max(), n_thresholds):
        found = maps > threshold
        shares: list[float] = []
        for hit, mask in zip(found, masks, strict=True):
            regions, count = ndimage.label(mask, structure=np.ones((3, 3)))
            if count:
                shares.extend(ndimage.mean(hit, regions, np.arange(1, count + 1)))
        overlaps.append(np.mean(shares))
        rates.append((found & ~masks).sum() / (~masks).sum())
    x, y = np.array(rates)[::-1], np.array(overlaps)[::-1]
    x, y = x[x < limit], y[x < limit]
    x = (x - x.min()) / (x.max() - x.min())
    return float(np.trapezoid(y, x))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=130)
    parser.add_argument("--size", type=int, default=336)
    parser.add_argument("--thresholds", type=int, default=200)
    options = parser.parse_args()
    maps, masks = draw_maps(options.maps, options.size)
    print(f"{options.maps} maps of {options.size} x {options.size}, {masks.mean():.2%} of the pixels defective")
    timings = {}
    for name, function in (
        ("exact, one sort", lambda: aupro(maps, masks)),
        (f"{options.thresholds} thresholds", lambda: sweep(maps, masks, options.thresholds)),
    ):
        start = time.perf_counter()
        value = function()
        timings[name] = time.perf_counter() - start
        print(f"{name:>16}: {timings[name]:8.2f} s   AUPRO {value:.5f}", flush=True)
    fast, slow = timings.values()
    print(f"{'ratio':>16}: {slow / fast:8.1f} x")


if __name__ == "__main__":
    main()
