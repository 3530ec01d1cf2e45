"""An evaluation of exported maps, written from the published description of MVTec 3D-AD's: from files to numbers.

Maps are float tiffs at the data set's image size, found by the ground truth's paths. A threshold's false-positive rate
is the share of defect-free pixels above it, its overlap the mean over 8-connected ground-truth regions of the share of
the region above it; the curve is integrated up to a rate of 0.3, interpolated there, and divided by it.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

LIMIT = 0.3


def load(maps: Path, data: Path, category: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Map and ground truth of each test scan."""
    for path in sorted((data / category / "test").glob("*/gt/*.png")):
        defect, number = path.parts[-3], path.stem
        with Image.open(path) as image:
            truth = np.array(image) > 0
        with Image.open(maps / category / "test" / defect / f"{number}.tiff") as image:
            assert image.mode == "F"
            scores = np.array(image)
        assert scores.shape == truth.shape
        yield scores, truth


def evaluate(maps: Path, data: Path, category: str, thresholds: int | None = None) -> tuple[float, float]:
    """AUROC of pixels and area under the mean per-region overlap; at quantiles of the defect-free pixels' scores, or
    where no number of them is given at every score."""
    pairs = list(load(maps, data, category))
    good = np.sort(np.concatenate([scores[~truth] for scores, truth in pairs]))
    bad = np.concatenate([scores[truth] for scores, truth in pairs])
    regions = []
    for scores, truth in pairs:
        numbered, count = ndimage.label(truth, structure=np.ones((3, 3)))
        regions += [np.sort(scores[numbered == number]) for number in range(1, count + 1)]
    if thresholds is None:
        steps = np.unique(np.concatenate([good, bad]))[::-1]
    else:
        steps = good[np.linspace(0, len(good) - 1, thresholds).astype(int)][::-1]

    def share(ordered: np.ndarray) -> np.ndarray:
        return (len(ordered) - np.searchsorted(ordered, steps, side="left")) / len(ordered)

    rates = np.concatenate([[0], share(good), [1]])
    overlap = np.concatenate([[0], np.mean([share(region) for region in regions], axis=0), [1]])
    hits = np.concatenate([[0], share(np.sort(bad)), [1]])
    auroc = np.trapezoid(hits, rates)
    inside = rates <= LIMIT
    end = np.interp(LIMIT, rates, overlap)
    area = np.trapezoid([*overlap[inside], end], [*rates[inside], LIMIT]) / LIMIT
    return float(auroc), float(area)
