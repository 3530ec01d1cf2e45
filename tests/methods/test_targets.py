"""Targets: the sums in the Dice losses, and the labels of clouds and renders."""

import numpy as np
import pytest
import torch
from cases import dice, random_scan
from toy import GRID, N_VIEWS, SIZE

from pointad_core.methods.segmentation import implicit_scores, upsample
from pointad_core.methods.targets import cloud_label, make_targets


def test_dice_sums_are_sums_over_maps_and_points():
    sample, labels, masks = random_scan(0)
    targets = make_targets(sample, labels, masks, True)
    p = torch.rand(N_VIEWS, GRID**2, generator=torch.Generator().manual_seed(9))
    maps, scores = upsample(p, SIZE), implicit_scores(p, sample.pixels, sample.visible, SIZE)
    for sums, values, truth, patches in (
        (targets.pixels, maps.flatten(1), masks.flatten(1), p),
        (targets.points, scores, labels, p.flatten()),
    ):
        torch.testing.assert_close((sums.predicted * patches).sum(-1), values.sum(-1), rtol=1e-5, atol=1e-4)
        torch.testing.assert_close((sums.overlap * patches).sum(-1), (values * truth).sum(-1), rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(sums.labelled, truth.sum(-1).float())
        assert sums.count == values.shape[-1]
    assert targets.defective_views.tolist() == [True, False, True]


def test_dice_over_all_pixels_counts_what_has_no_point_by_the_ground_truth():
    sample, labels, masks = random_scan(1)
    n = len(labels)
    rng = np.random.default_rng(1)
    grid = np.sort(rng.choice(SIZE * SIZE, n, replace=False))
    mask = torch.from_numpy((rng.random(SIZE * SIZE) < 0.3).astype(np.uint8))
    mask[grid] = labels.to(torch.uint8)
    alone = make_targets(sample, labels, masks, True)
    targets = make_targets(sample, labels, masks, True, mask.view(SIZE, SIZE))
    p = torch.rand(N_VIEWS, GRID**2, generator=torch.Generator().manual_seed(9))
    of_points = implicit_scores(p, sample.pixels, sample.visible, SIZE).double()
    abnormal, normal = torch.zeros(2, SIZE * SIZE, dtype=torch.float64)
    abnormal[grid], normal[grid] = of_points, 1 - of_points
    wanted = dice(normal, 1 - mask.double()) + dice(abnormal, mask.double())
    assert targets.points.dice(p.flatten()).item() == pytest.approx(wanted.item(), rel=1e-5)
    assert alone.points.dice(p.flatten()).item() < wanted.item() - 0.1
    assert alone.points.empty == (0, 0)


def test_the_label_of_a_cloud(caplog):
    some, none = np.array([0, 1, 0]), np.zeros(3)
    assert cloud_label(some, True, "bent/000")
    assert not cloud_label(none, False, "good/000")
    assert not caplog.records
    assert cloud_label(some, False, "good/001")
    assert cloud_label(none, True, "bent/001")
    assert ["good/001" in caplog.messages[0], "bent/001" in caplog.messages[1]] == [True, True]
