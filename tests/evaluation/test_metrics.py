"""Metrics against the naive versions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_oracles import SIDE, draw_maps, naive_aupro, naive_auroc
from sklearn.metrics import roc_auc_score

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
    with pytest.raises(ValueError, match="3 good and 0 defective"):
        metrics.curve_area(np.zeros(3), np.zeros(0))
