"""Replicates of a category's metrics, against metrics computed anew of scans that are repeated."""

from math import erf

import numpy as np
import pytest
from metric_oracles import draw_maps, naive_ap, naive_aupro, naive_auroc, naive_f1_max
from scipy import ndimage

from pointad_core.evaluation.bootstrap import (
    REPLICATES,
    count_bins,
    find_edges,
    object_replicates,
    point_replicates,
    resample,
    scan_weights,
    stretched_replicates,
)
from pointad_core.evaluation.metrics import PointScores, region_weights

TOLERANCES = np.array([1e-3, 7e-3, 6e-3, 1e-3])
"""Of P-AUROC, P-AP, P-F1-max and AUPRO from bins, where scores are continuous. Intervals are about a hundred times as
wide."""


def repeat(weights):
    """Places of the scans that a replicate draws, each as often as it does; strata are of one size."""
    return np.repeat(np.arange(len(weights)), np.rint(weights / weights[weights > 0].min()).astype(int))


def gather(maps, masks, valid):
    points = PointScores()
    for scores, mask, counted in zip(maps, masks, valid, strict=True):
        points.add(scores[counted], mask[counted], region_weights(mask, counted))
    return points


def bin_points(points):
    edges = find_edges(points.negatives)
    return count_bins(edges, points.negatives, points.positives, points.weights)


def exact_of(points):
    return points.auroc(), points.average_precision(), points.f1_max(), points.aupro()


def draw_scans(rng, count=8, side=72):
    """Smooth maps with blobs of their own, above a background of one score; half of the scans have defects."""
    rows, columns = np.mgrid[:side, :side]
    maps, masks, valid = [], [], []
    for number in range(count):
        mask = np.zeros((side, side), dtype=bool)
        for _ in range(2 * (number % 2)):
            row, column = rng.integers(20, side - 20, 2)
            mask |= (rows - row) ** 2 + (columns - column) ** 2 < rng.integers(2, 7) ** 2
        there = (rows - side / 2) ** 2 + (columns - side / 2) ** 2 < (0.4 * side) ** 2
        noise = 8 * ndimage.gaussian_filter(rng.normal(size=mask.shape), 3) + rng.normal()
        scores = np.where(there, noise + rng.normal(1.5) * mask, -9)
        maps.append(scores.astype(np.float32))
        masks.append(mask & there)
        valid.append(there)
    return maps, masks, valid


def test_weights_are_of_draws_and_have_the_variance_of_a_mean():
    weights = resample("bagel", 7)
    assert weights.shape == (REPLICATES, 7)
    assert weights.sum(axis=1) == pytest.approx(7)
    assert np.allclose(weights * 6 / 7, np.rint(weights * 6 / 7))
    values = np.random.default_rng(0).normal(size=7)
    means = np.concatenate([(resample(str(name), 7) * values).mean(axis=1) for name in range(30)])
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
    assert means.std() == pytest.approx(values.std(ddof=1) / np.sqrt(7), rel=0.02)


def test_draws_follow_from_name_and_size_alone():
    assert np.array_equal(resample("bagel", 5), resample("bagel", 5))
    assert not np.array_equal(resample("bagel", 5), resample("carrot", 5))
    assert (resample("bagel", 1) == 1).all()


def test_scans_are_drawn_within_their_strata():
    strata = [(bad,) for bad in (False, True, True, False, True, False, False)]
    weights = scan_weights("bagel", strata)
    for stratum in ((False,), (True,)):
        own = [other == stratum for other in strata]
        assert weights[:, own].sum(axis=1) == pytest.approx(sum(own))
    # One kind of scans more changes nothing for the others.
    more = scan_weights("bagel", [*strata, (True, True)])
    assert np.array_equal(more[:, :-1], weights)
    assert abs(np.corrcoef(weights[:, 0], weights[:, 1])[0, 1]) < 0.1


def test_objects_are_as_if_each_stood_there_as_often_as_it_is_drawn():
    rng = np.random.default_rng(1)
    scores, defective = rng.integers(0, 5, 12) / 4, np.arange(12) % 2 > 0
    weights = scan_weights("bagel", [(bool(bad),) for bad in defective])
    auroc, ap, f1 = object_replicates(scores, defective, weights)
    for number in range(100):
        drawn = repeat(weights[number])
        good, bad = (scores[drawn][defective[drawn] == label] for label in (False, True))
        assert auroc[number] == pytest.approx(naive_auroc(good, bad))
        assert ap[number] == pytest.approx(naive_ap(scores[drawn], defective[drawn]))
        assert f1[number] == pytest.approx(naive_f1_max(scores[drawn], defective[drawn]))


def test_without_a_class_nothing_is_defined():
    weights = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    for values in object_replicates(np.array([0.1, 0.2]), np.array([False, True]), weights):
        assert np.isnan(values).tolist() == [True, True, False]


@pytest.mark.parametrize("levels", [4, 9])
def test_points_of_few_scores_are_exact(levels):
    """Each score is a bin then, and each replicate what the naive metrics say of its scans."""
    maps, masks, valid = draw_maps(np.random.default_rng(levels), levels, count=6)
    masks[::2] = [np.zeros_like(mask) for mask in masks[::2]]
    weights = scan_weights("bagel", [(bool(mask.any()),) for mask in masks])
    auroc, ap, f1, overlap = point_replicates(bin_points(gather(maps, masks, valid)), weights)
    for number in range(12):
        drawn = repeat(weights[number])
        some = [[parts[place] for place in drawn] for parts in (maps, masks, valid)]
        pixels = [
            np.concatenate([m[ok & (mask == bad)] for m, mask, ok in zip(*some, strict=True)]) for bad in (False, True)
        ]
        assert auroc[number] == pytest.approx(naive_auroc(*pixels))
        labels = np.repeat([False, True], list(map(len, pixels)))
        assert ap[number] == pytest.approx(naive_ap(np.concatenate(pixels), labels))
        assert f1[number] == pytest.approx(naive_f1_max(np.concatenate(pixels), labels))
        assert overlap[number] == pytest.approx(naive_aupro(*some, 0.3))


@pytest.mark.parametrize("protocol", ["paper", "object"])
def test_bins_give_the_exact_metric_and_the_naive_bootstraps_interval(protocol):
    maps, masks, valid = draw_scans(np.random.default_rng(3))
    if protocol == "paper":
        valid = [np.ones_like(counted) for counted in valid]
    points = gather(maps, masks, valid)
    counts = bin_points(points)
    once = np.array([values.item() for values in point_replicates(counts, np.ones((1, len(maps))))])
    lost = np.array(exact_of(points)) - once
    assert (np.abs(lost) < TOLERANCES).all()
    weights = scan_weights("bagel", [(bool(mask.any()),) for mask in masks])[:150]
    exact = []
    for weight in weights:
        some = [[parts[place] for place in repeat(weight)] for parts in (maps, masks, valid)]
        exact.append(exact_of(gather(*some)))
    found = point_replicates(counts, weights) + lost[:, None]
    for values, naive, tolerance in zip(found, np.transpose(exact), TOLERANCES, strict=True):
        assert values == pytest.approx(naive, abs=tolerance)
        ends, expected = (np.percentile(drawn, [2.5, 97.5]) for drawn in (values, naive))
        assert ends == pytest.approx(expected, abs=tolerance)
        assert expected[1] - expected[0] > 90 * tolerance


def test_points_without_regions_have_no_overlap():
    maps, masks, valid = draw_scans(np.random.default_rng(4), count=4, side=60)
    points = gather(maps, masks, valid)
    weights = np.ones((3, 4))
    with_regions = point_replicates(bin_points(points), weights)
    points.weights.clear()
    *others, overlap = point_replicates(bin_points(points), weights)
    assert np.array_equal(others, with_regions[:3])
    assert np.isnan(overlap).all()


@pytest.mark.parametrize("highest", [np.inf, 1])
def test_the_stretched_aupro_keeps_the_thresholds_of_all_scans(highest):
    maps, masks, _ = draw_scans(np.random.default_rng(3))
    # Cut off, so that the highest threshold finds many points.
    maps = [np.minimum(scores, np.float32(highest)) for scores in maps]
    points = gather(maps, masks, [np.ones_like(mask) for mask in masks])
    counts = count_bins(points.stretched_edges, points.negatives, points.positives, points.weights)
    whole = stretched_replicates(counts, np.ones((1, len(maps))))
    assert whole.item() == pytest.approx(points.aupro_stretched(), abs=1e-12)
    weights = scan_weights("bagel", [(bool(mask.any()),) for mask in masks])[:150]
    found, exact = stretched_replicates(counts, weights), []
    for weight in weights:
        some = [[parts[place] for place in repeat(weight)] for parts in (maps, masks)]
        drawn = gather(*some, [np.ones_like(mask) for mask in some[1]])
        drawn.stretched_edges = points.stretched_edges
        exact.append(drawn.aupro_stretched())
    assert found == pytest.approx(np.array(exact), abs=1e-12)


def test_an_interval_holds_the_truth_nineteen_times_in_twenty():
    """Object scores of three categories with ten scans a kind, of two methods that find the same scans hard."""
    rng = np.random.default_rng(5)
    defective = np.arange(20) % 2 > 0
    shift, trials = 1.0, 300
    truth = (1 + erf(shift / 2)) / 2
    held, held_apart, widths, apart = 0, 0, [], []
    for trial in range(trials):
        means = np.zeros((2, REPLICATES))
        for category in range(3):
            weights = scan_weights(f"{trial} {category}", [(bool(bad),) for bad in defective])
            common = rng.normal(size=20) * np.sqrt(0.7) + shift * defective
            for method in range(2):
                scores = common + rng.normal(size=20) * np.sqrt(0.3)
                means[method] += object_replicates(scores, defective, weights)[0] / 3
        ends = np.percentile(means, [2.5, 97.5], axis=1).T
        low, high = np.percentile(means[1] - means[0], [2.5, 97.5])
        held += ends[0, 0] <= truth <= ends[0, 1]
        held_apart += low <= 0 <= high
        widths.append(high - low)
        apart.append(np.hypot(*(ends[:, 1] - ends[:, 0])))
    assert 0.92 < held / trials < 0.98
    assert held_apart / trials > 0.93
    # Of pairs, the difference is known better than from two intervals that know nothing of each other.
    assert np.mean(widths) < 0.75 * np.mean(apart)
