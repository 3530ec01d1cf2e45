"""What an object's score is made of, for whoever asks why a scan is called defective (Sec. 3.6.2).

A^s is put together from the cloud's global probability and the maximum of its smoothed scores. The filter is linear, so
that this maximum is the mean of what the branches say about its place, their points weighted as the filter weighs them;
with RGB it is the mean of what the branches say and what the photograph does. With an `object_share` the same holds of
the mean over the points with the highest scores. Where the filter goes over points alone, what it makes of a score
depends on the place, and parts are filtered as the scores are.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np

from pointad_core.methods.interface import Settings
from pointad_core.methods.scoring import Answers, highest_points, of_points, score_branches, smooth_image
from pointad_core.methods.smoothing import PAPER_RESOLUTION, width_in_space


def object_parts(
    answers: Answers,
    arrays: Mapping[str, np.ndarray],
    cloud: Mapping[str, np.ndarray],
    resolution: int,
    settings: Settings,
) -> dict[str, float]:
    """Parts of a scan's object scores; arrays: what `scoring.score_scan` returns of it, the rest as there.

    global_3d and maximum_3d, and implicit_3d and explicit_3d of a system that has these branches: their mean is
    maximum_3d. With RGB also global_m3d, maximum_m3d, those of the branches at its place, or points_m3d of a system
    that has none, and rgb_m3d: maximum_m3d is the mean of rgb_m3d and the branches' mean. With an `object_share`
    highest_3d and highest_m3d stand in place of the maxima, and the branches' parts are means over the same points.
    """
    if settings.object_share or settings.smoothing_over == "points":
        return _parts_by_filter(answers, arrays, cloud, resolution, settings)
    branches = answers.branches or {"points": answers.points}
    scores = {name: _lay(branch, cloud, resolution) for name, branch in branches.items()}
    shares = dict.fromkeys(scores, 1 / len(scores))
    whole, sigma = answers.probability, settings.smoothing_sigma
    found = arrays["points_3d" if "grid" not in cloud else "map_3d"].ravel()
    parts = {"global_3d": whole, "maximum_3d": float(found.max())}
    if len(scores) > 1:
        parts |= _at_maximum("3d", found, _weigh(cloud, resolution, int(found.argmax()), sigma), scores, shares)
    if answers.rgb is not None and "map_m3d" in arrays:
        of_rgb, image = answers.rgb
        whole_image = settings.rgb_map == "pixels"
        scores["rgb"] = image.ravel() if whole_image else _lay(image.ravel()[cloud["grid"]], cloud, resolution)
        shares = {**{name: share / 2 for name, share in shares.items()}, "rgb": 0.5}
        found = arrays["map_m3d"].ravel()
        parts |= {"global_m3d": 0.5 * of_rgb + 0.5 * whole, "maximum_m3d": float(found.max())}
        # All of it has been through the filter twice.
        weights = _weigh(cloud, resolution, int(found.argmax()), sigma, times=2)
        parts |= _at_maximum("m3d", found, weights, scores, shares)
    return parts


def _parts_by_filter(
    answers: Answers,
    arrays: Mapping[str, np.ndarray],
    cloud: Mapping[str, np.ndarray],
    resolution: int,
    settings: Settings,
) -> dict[str, float]:
    """`object_parts` from each part's own smoothed scores."""
    smoothed, whole = score_branches(answers, cloud, resolution, settings), answers.probability
    of_rgb = smoothed.pop("rgb", None)

    def highest(modality: str, found: np.ndarray, maps: Mapping[str, np.ndarray]) -> dict[str, float]:
        if settings.object_share:
            word, values = "highest", {name: of_points(image, cloud) for name, image in maps.items()}
            scores = of_points(found, cloud)
            places = highest_points(scores, settings.object_share)
        else:
            word, values = "maximum", {name: image.ravel() for name, image in maps.items()}
            scores = found.ravel()
            places = scores.argmax(axis=0, keepdims=True)
        means = {word: scores, **values}
        return {f"{name}_{modality}": float(part[places].mean(dtype=np.float64)) for name, part in means.items()}

    found = arrays["points_3d" if "grid" not in cloud else "map_3d"]
    parts = {"global_3d": whole, **highest("3d", found, smoothed)}
    if answers.rgb is not None and of_rgb is not None and "map_m3d" in arrays:
        branches = {**(smoothed or {"points": found}), "rgb": of_rgb}
        twice = {name: smooth_image(image, cloud, settings) for name, image in branches.items()}
        parts |= {"global_m3d": 0.5 * answers.rgb[0] + 0.5 * whole, **highest("m3d", arrays["map_m3d"], twice)}
    return parts


def _lay(scores: np.ndarray, cloud: Mapping[str, np.ndarray], resolution: int) -> np.ndarray:
    """Scores of points [n] as the filter sees them: of an organised scan all pixels, flat, 0 where no point is."""
    if "grid" not in cloud:
        return scores
    image = np.zeros(resolution * resolution)
    image[cloud["grid"]] = scores
    return image


def _weigh(cloud: Mapping[str, np.ndarray], resolution: int, place: int, sigma: float, times: int = 1) -> np.ndarray:
    """What each of the scores of `_lay` counts at a place after the filter, up to a factor."""
    if "grid" in cloud:
        filtered = np.linalg.matrix_power(_filter_line(resolution, sigma), times)
        return np.outer(*(filtered[side] for side in divmod(place, resolution))).ravel()
    apart = np.square(cloud["points"] - cloud["points"][place]).sum(axis=1, dtype=np.float64)
    width = width_in_space(cloud["points"], sigma)
    return np.exp(-apart / (2 * width**2)) if width > 0 else (apart == 0).astype(np.float64)


@cache
def _filter_line(resolution: int, sigma: float) -> np.ndarray:
    """The filter of a line of pixels, f8 [S, S]: what each counts, by columns, at each, by rows."""
    from scipy.ndimage import gaussian_filter

    # Of the lines that stand side by side as columns.
    width = sigma * resolution / PAPER_RESOLUTION
    lines: np.ndarray = gaussian_filter(np.eye(resolution), (width, 0), mode="reflect", truncate=4.0)
    return lines


def _at_maximum(
    modality: str, found: np.ndarray, weights: np.ndarray, scores: Mapping[str, np.ndarray], shares: Mapping[str, float]
) -> dict[str, float]:
    """What each part says at the maximum, on a scale on which their weighted mean is the maximum."""
    sums = {name: float(weights @ values) for name, values in scores.items()}
    total = sum(shares[name] * value for name, value in sums.items())
    scale = float(found.max()) / total if total > 0 else 0.0
    return {f"{name}_{modality}": scale * value for name, value in sums.items()}
