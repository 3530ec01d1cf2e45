"""Clouds of scans in memory: what holds whatever the files behind them are."""

from pathlib import Path

import numpy as np
import pytest
from raw_files import plane_and_ball

from pointad_core.clouds.background import crop_ground
from pointad_core.clouds.cloud import make_cloud
from pointad_core.datasets.scans import Organised, Unorganised
from pointad_core.errors import InputError

OPTIONS = {"resolution": 50, "normals": {"radius": 0.1, "neighbours": 20}, "seed": 7}
NOWHERE = Path("in memory")


def ball() -> Organised:
    points, rgb, gt, _ = plane_and_ball()
    return Organised(points.astype(np.float64), (points != 0).any(axis=2), rgb, gt > 0)


def test_a_plane_is_removed_and_the_picture_padded() -> None:
    raw = ball()
    whole = make_cloud(raw, OPTIONS | {"scene": "plane", "background": "none"}, NOWHERE)
    cloud = make_cloud(raw, OPTIONS | {"scene": "plane"}, NOWHERE)
    assert 20 < len(cloud["points"]) < len(whole["points"]) / 2
    # 60 x 60 amid 100 x 100 pixels: the picture takes 30 of the grid's 50 rows.
    assert np.unique(whole["grid"] // 50).tolist() == list(range(10, 40))
    assert np.isin(cloud["grid"], whole["grid"]).all()
    # What was removed is black, and only that.
    kept = np.zeros(50 * 50, bool)
    kept[cloud["grid"]] = True
    gone = np.isin(np.arange(50 * 50), whole["grid"]) & ~kept
    assert not cloud["rgb"].reshape(-1, 3)[gone].any()
    np.testing.assert_array_equal(cloud["rgb"].reshape(-1, 3)[~gone], whole["rgb"].reshape(-1, 3)[~gone])


def test_the_ground_is_cropped_the_axes_are_turned_and_nothing_is_padded() -> None:
    raw = ball()
    whole = make_cloud(raw, OPTIONS | {"scene": "ground", "background": "none", "resolution": 60}, NOWHERE)
    np.testing.assert_array_equal(whole["grid"], np.flatnonzero(raw.valid))
    x, y, z = raw.points[raw.valid].T
    np.testing.assert_allclose(whole["points"], np.c_[0.1 * x, -0.1 * z, 0.1 * y], rtol=1e-6)
    cropped = make_cloud(raw, OPTIONS | {"scene": "ground", "resolution": 60}, NOWHERE)
    above = raw.valid & crop_ground(raw.points, raw.valid, NOWHERE)
    assert 0 < above.sum() < raw.valid.sum()
    np.testing.assert_array_equal(cropped["grid"], np.flatnonzero(above))
    np.testing.assert_array_equal(cropped["rgb"], raw.rgb)


def test_the_scan_stays_as_it_is() -> None:
    raw, before = ball(), ball()
    for scene in ("plane", "ground"):
        make_cloud(raw, OPTIONS | {"scene": scene, "background": "none"}, NOWHERE)
    make_cloud(raw, OPTIONS | {"scene": "plane"}, NOWHERE)
    for name in ("points", "valid", "rgb", "mask"):
        np.testing.assert_array_equal(getattr(raw, name), getattr(before, name))


def test_an_unorganised_scan_needs_no_scene() -> None:
    points = np.random.default_rng(0).normal(size=(300, 3))
    options = {"normals": {"radius": 5.0, "neighbours": 9}, "seed": 1, "n_points": 100, "sampling": "farthest"}
    cloud = make_cloud(Unorganised(points, points[:, 0] > 1), options, NOWHERE)
    assert cloud.keys() == {"points", "labels", "nearest", "original_labels", "normals"}
    assert cloud["points"].shape == cloud["normals"].shape == (100, 3)
    assert cloud["nearest"].max() == 99


def test_unknown_scenes_are_refused() -> None:
    with pytest.raises(InputError, match="scene is 'sky', expected one of plane, ground"):
        make_cloud(ball(), OPTIONS | {"scene": "sky"}, NOWHERE)
