"""The Gaussian filter G of Sec. 3.6.2, on the organised grid and in 3-D.

The paper does not give its width; the published implementation filters 336 x 336 maps with 4 pixels. Unorganised
clouds have no grid, and filtering their scores in the order in which they are stored would mix points that have
nothing to do with each other: they are filtered over their neighbours in space, with a width matched to the grid's.
"""

import numpy as np

MOST_CELLS = 1e8
"""Of the grid on which a cloud's scores are filtered; it takes 8 bytes a cell three times."""
PAPER_RESOLUTION = 336  # side of the maps for which sigma is given in pixels


def _gaussian(grid: np.ndarray, width: float, mode: str) -> np.ndarray:
    """Separable Gaussian filter of a float32 grid, ending at 4 widths; beyond the grid `mode`, zeros if "constant"."""
    from scipy import ndimage  # imported at the first cloud: a stage should be at work soon after its start

    return ndimage.gaussian_filter(np.asarray(grid, dtype=np.float32), width, mode=mode, truncate=4.0)


def smooth_map(scores: np.ndarray, sigma: float, over: np.ndarray | None = None) -> np.ndarray:
    """Filter an organised map.

    scores: float [S, S], 0 at missing pixels, over which the filter runs as well, as in the published protocol;
    sigma: pixels at S = 336, scaled with S. Borders reflect, the kernel ends at 4 sigma. Returns float32 [S, S].

    over: bool [S, S], the pixels with a point, for a filter that does not darken the object's border: at these it gives
    the weighted mean over these alone, the smoothed scores divided by the smoothed mask; at all others what it gives
    without.
    """
    width = sigma * len(scores) / PAPER_RESOLUTION
    smoothed = _gaussian(scores, width, "reflect")
    if over is None:
        return smoothed
    within, share = (_gaussian(values, width, "reflect") for values in (np.where(over, scores, 0), over))
    return np.divide(within, share, out=smoothed, where=over)


def width_in_space(points: np.ndarray, sigma: float) -> float:
    """`sigma`, pixels at S = 336, in units of a cloud's points [n, 3]."""
    # Objects fill 1 / 1.4 of the image by their largest extent, so a pixel is 1.4 / 336 of that.
    return sigma * float(np.ptp(points, axis=0).max()) * 1.4 / PAPER_RESOLUTION


def smooth_points(scores: np.ndarray, points: np.ndarray, sigma: float) -> np.ndarray:
    """Filter the scores of an unorganised cloud: Gaussian-weighted mean over the neighbours in space.

    scores: float [n]; points: float [n, 3]; sigma: pixels of an organised map of the same object at S = 336.
    Scores and counts are spread trilinearly over a grid of half a sigma, filtered there axis by axis, and read back;
    their quotient is the weighted mean to about a percent of the scores' range, in time linear in n where the sum over
    all neighbours within 4 sigma takes thousands per point. Where the grid would fill the memory sigma is so small that
    these neighbours are few, and the sum is taken. Stays within the range of the scores and does not depend on the
    order of the points. Returns float32 [n].
    """
    scores = np.asarray(scores, dtype=np.float64)
    width = width_in_space(points, sigma)
    if width == 0.0:  # one point, all in one place, or no filter asked for
        return (np.full_like(scores, scores.mean()) if sigma > 0 else scores).astype(np.float32)

    # In cells of the grid, two a sigma, from the cloud's corner: the result does not change with its position.
    places = (points - points.min(axis=0).astype(np.float64)) * (2.0 / width)
    if np.prod(places.max(axis=0) + 2) > MOST_CELLS:
        return _sum_neighbours(scores, points, width)
    cells = np.floor(places).astype(np.intp)
    fractions, shape = places - cells, tuple(cells.max(axis=0) + 2)
    corners = [
        (np.ravel_multi_index((cells + offset).T, shape), np.where(offset, fractions, 1 - fractions).prod(axis=1))
        for offset in np.ndindex(2, 2, 2)
    ]

    # Spreading and reading back each widen the kernel by a sixth of a squared cell.
    on_grid = np.sqrt(2.0**2 - 1 / 3)

    def spread(values: np.ndarray) -> np.ndarray:
        grid = np.zeros(np.prod(shape))
        for index, share in corners:
            grid += np.bincount(index, weights=share * values, minlength=grid.size)
        # Beyond the grid there are no points: zeros are exact there.
        return _gaussian(grid.reshape(shape), on_grid, "constant").ravel()

    def read(grid: np.ndarray) -> np.ndarray:
        return sum(share * grid[index] for index, share in corners)

    smoothed = read(spread(scores)) / read(spread(np.ones_like(scores)))
    return np.clip(smoothed, scores.min(), scores.max()).astype(np.float32)


def _sum_neighbours(scores: np.ndarray, points: np.ndarray, width: float) -> np.ndarray:
    """Mean of scores f8 [n] over the neighbours within 4 widths, by the weights of the filter: float32 [n]."""
    from scipy.spatial import KDTree

    tree = KDTree(points)
    near = tree.sparse_distance_matrix(tree, 4 * width, output_type="coo_matrix")
    weights = np.exp(-np.square(near.data) / (2 * width**2))
    total, norm = (np.bincount(near.row, weights * part, len(scores)) for part in (scores[near.col], 1.0))
    return (total / norm).astype(np.float32)
