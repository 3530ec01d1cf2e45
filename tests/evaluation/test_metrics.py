"""Metrics against the naive versions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_oracles import (
    SIDE,
    draw_maps,
    link_points,
    naive_ap,
    naive_aupro,
    naive_auroc,
    naive_f1_max,
    naive_stretched,
)
from sklearn.metrics import average_precision_score, roc_auc_score

from pointad_core.evaluation import metrics


@pytest.mark.parametrize("levels", [None, 1, 3], ids=["distinct", "many-ties", "some-ties"])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_aupro_equals_a_sweep_over_every_score(seed, limit, levels):
    maps, masks, valid = draw_maps(np.random.default_rng(seed), levels)
    everywhere = [np.ones_like(mask) for mask in masks]
    assert metrics.aupro(maps, masks, limit=limit) == pytest.approx(naive_aupro(maps, masks, everywhere, limit))
    assert metrics.aupro(maps, masks, valid, limit) == pytest.approx(naive_aupro(maps, masks, valid, limit))


@settings(max_examples=60, deadline=None)
@given(
    negatives=st.lists(st.integers(-5, 5), min_size=1, max_size=12),
    positives=st.lists(st.integers(-5, 5), min_size=1, max_size=12),
)
def test_auroc_counts_pairs(negatives, positives):
    area = metrics.curve_area(np.array(negatives, dtype=np.float32), np.array(positives, dtype=np.float32))
    assert area == pytest.approx(naive_auroc(negatives, positives))


def test_auroc_equals_scikit_learn():
    rng = np.random.default_rng(5)
    scores = np.round(rng.normal(size=5000), 2).astype(np.float32)
    labels = rng.random(5000) < 0.1
    area = metrics.curve_area(scores[~labels], scores[labels])
    assert area == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), levels=st.sampled_from([None, 2]), limit=st.floats(0.01, 1.0))
def test_order_of_scores_is_all_that_counts(seed, levels, limit):
    rng = np.random.default_rng(seed)
    maps, masks, valid = draw_maps(rng, levels)
    value = metrics.aupro(maps, masks, valid, limit)
    assert 0 <= value <= 1 + 1e-12
    # A strictly growing map of the scores, made from their ranks: no rounding can merge two of them.
    distinct, ranks = np.unique(np.stack(maps), return_inverse=True)
    steps = np.cumsum(rng.uniform(0.1, 3, len(distinct)))
    transformed = list(steps[ranks].reshape(len(maps), SIDE, SIDE))
    assert metrics.aupro(transformed, masks, valid, limit) == pytest.approx(value, abs=1e-12)
    # Order of the scans, and flips of the image, change nothing either.
    order = rng.permutation(len(maps))
    flipped = [[part[i][::-1, ::-1] for i in order] for part in (maps, masks, valid)]
    assert metrics.aupro(*flipped, limit) == pytest.approx(value, abs=1e-12)


def test_constant_scores_are_one_threshold():
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[2:4, 2:4] = True
    # One straight line from (0, 0) to (1, 1): half of the limit, whatever the limit is.
    assert metrics.aupro([np.zeros((SIDE, SIDE))], [mask]) == pytest.approx(metrics.AUPRO_LIMIT / 2)
    assert metrics.aupro([mask.astype(float)], [mask]) == 1
    assert metrics.aupro([-mask.astype(float)], [mask]) == 0


def test_regions_touch_at_corners_and_are_not_split_by_missing_pixels():
    mask = np.zeros((5, 5), dtype=bool)
    mask[0, 0] = mask[1, 1] = mask[4, 0] = mask[4, 1] = mask[4, 2] = True
    weights = metrics.region_weights(mask)
    np.testing.assert_allclose(weights, [1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])
    valid = np.ones((5, 5), dtype=bool)
    valid[4, 1] = valid[1, 1] = False
    np.testing.assert_allclose(metrics.region_weights(mask, valid), [1, 1 / 2, 1 / 2])
    assert metrics.region_weights(np.zeros((5, 5), dtype=bool)).shape == (0,)


def test_large_regions_do_not_drown_small_ones():
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[:5, :5] = True
    mask[10, 10] = True
    scores = np.zeros((SIDE, SIDE))
    scores[10, 10] = 1
    # The lonely pixel is one region of two: half, and the rest rises with the background's ties.
    assert metrics.aupro([scores], [mask], limit=0.3) == pytest.approx(0.5 + 0.5 * 0.15)


def test_a_curve_needs_both_classes():
    for measure in (metrics.curve_area, metrics.average_precision, metrics.f1_max):
        with pytest.raises(ValueError, match="3 good and 0 defective"):
            measure(np.zeros(3), np.zeros(0))


def gather(maps, masks):
    points = metrics.PointScores()
    for scores, mask in zip(maps, masks, strict=True):
        points.add(scores, mask, metrics.region_weights(mask))
    return points


@pytest.mark.parametrize("levels", [None, 1, 3], ids=["distinct", "many-ties", "some-ties"])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_stretched_aupro_is_what_its_thresholds_find(seed, levels):
    maps, masks, _ = draw_maps(np.random.default_rng(seed), levels)
    assert gather(maps, masks).aupro_stretched() == pytest.approx(naive_stretched(maps, masks), abs=1e-12)


def test_a_threshold_does_not_find_what_lies_on_it():
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[2:4, 2:4] = True
    # In even steps of 0.01 from 0 to 2: the good pixels at 1 lie on a threshold, and two defective ones just above it.
    scores = np.linspace(0, 0.5, SIDE * SIDE).reshape(SIDE, SIDE)
    scores[0], scores[2, 2:4], scores[3, 2:4], scores[5, 5] = 1, 2, 1.005, 0
    maps = [scores.astype(np.float32)]
    assert gather(maps, [mask]).aupro_stretched() == pytest.approx(naive_stretched(maps, [mask]), abs=1e-12)


def test_the_stretched_aupro_falls_short_where_the_rate_leaps_over_the_limit():
    """An object in a quarter of the image, as with cable gland: the other pixels all have the lowest score."""
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 40), dtype=bool)
    mask[12:16, 12:16] = True
    scores = np.zeros((40, 40), dtype=np.float32)
    scores[10:30, 10:30] = rng.uniform(0.2, 1, (20, 20)) + 0.5 * mask[10:30, 10:30]
    exact, stretched = metrics.aupro([scores], [mask]), gather([scores], [mask]).aupro_stretched()
    last = (20 * 20 - mask.sum()) / (~mask).sum()
    assert last < metrics.AUPRO_LIMIT
    assert exact - stretched == pytest.approx((1 - stretched) * (1 - last / metrics.AUPRO_LIMIT), abs=0.005)
    assert exact - stretched > 0.005


def test_the_stretched_aupro_of_one_rate_is_undefined():
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[2:4, 2:4] = True
    assert np.isnan(gather([np.zeros((SIDE, SIDE))], [mask]).aupro_stretched())
    assert np.isnan(gather([mask.astype(np.float32)], [mask]).aupro_stretched())


@settings(max_examples=60, deadline=None)
@given(
    negatives=st.lists(st.integers(-5, 5), min_size=1, max_size=12),
    positives=st.lists(st.integers(-5, 5), min_size=1, max_size=12),
)
def test_precision_and_f1_take_every_threshold(negatives, positives):
    values, labels = negatives + positives, [False] * len(negatives) + [True] * len(positives)
    good, bad = np.sort(np.array(negatives, dtype=np.float32)), np.array(positives, dtype=np.float32)
    assert metrics.average_precision(good, bad) == pytest.approx(naive_ap(values, labels))
    assert metrics.f1_max(good, bad) == pytest.approx(naive_f1_max(values, labels))
    auroc, ap, f1 = metrics.object_metrics(np.array(values, dtype=float), np.array(labels))
    assert auroc == pytest.approx(naive_auroc(negatives, positives))
    assert ap == pytest.approx(naive_ap(values, labels))
    assert f1 == pytest.approx(naive_f1_max(values, labels))


def test_points_are_pooled_for_precision_and_f1():
    maps, masks, _ = draw_maps(np.random.default_rng(8), 3)
    points = gather(maps, masks)
    values, labels = np.concatenate(maps).ravel(), np.concatenate(masks).ravel()
    assert points.average_precision() == pytest.approx(naive_ap(values, labels))
    assert points.f1_max() == pytest.approx(naive_f1_max(values, labels))


@pytest.mark.parametrize("share", [0.05, 0.2, 0.6])
def test_points_are_linked_by_steps(share):
    rng = np.random.default_rng(int(100 * share))
    points = rng.uniform(size=(150, 3)).astype(np.float32)
    labels = (rng.random(150) < share).astype(np.uint8)
    expected = np.zeros(150)
    regions = link_points(points, labels)
    for region in regions:
        expected[region] = 1 / len(region)
    weights = metrics.linked_weights(points, labels)
    np.testing.assert_allclose(weights, expected[labels > 0])
    assert weights.sum() == pytest.approx(len(regions))
    order = rng.permutation(150)
    np.testing.assert_allclose(metrics.linked_weights(points[order], labels[order]), expected[order][labels[order] > 0])


def test_a_gap_of_more_than_the_reach_parts_two_regions():
    # Spacing 1, so that the reach is 2.5: 0 1 2, 4 and 7 8 of a line are defective.
    points = np.c_[np.arange(20.0), np.zeros(20), np.zeros(20)]
    labels = np.isin(np.arange(20), [0, 1, 2, 4, 7, 8]).astype(np.uint8)
    np.testing.assert_allclose(metrics.linked_weights(points, labels), [1 / 4] * 4 + [1 / 2] * 2)
    assert metrics.linked_weights(points, np.zeros(20)).shape == (0,)
    assert metrics.linked_weights(points, np.arange(20) == 3).tolist() == [1]


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_metrics_of_objects_are_those_of_scikit_learn_to_the_bit(decimals):
    rng = np.random.default_rng(6)
    for size in [2, 3, 4, *rng.integers(5, 200, 40)]:
        scores = rng.normal(size=size) if decimals is None else np.round(rng.normal(size=size), decimals)
        defective = rng.permutation(np.r_[True, False, rng.random(size - 2) < 0.6])
        auroc, ap, _ = metrics.object_metrics(scores, defective)
        assert auroc == roc_auc_score(defective, scores)
        assert ap == average_precision_score(defective, scores)
