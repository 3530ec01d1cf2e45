"""Clouds of scans in memory: what holds whatever the files behind them are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from published_oracle import cubic, pad, resize, triangle
from raw_files import plane_and_ball

from pointad_core.clouds.background import crop_ground, pad_square
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


def test_what_a_photograph_shows_of_the_surroundings() -> None:
    raw = ball()
    gone = np.zeros_like(raw.valid)
    gone[3:6, 3:6], gone[28:32, 25:28] = True, True  # at the border, and on the ball
    raw = replace(raw, valid=raw.valid & ~gone, points=np.where(gone[..., None], 0, raw.points), rgb=raw.rgb | 1)
    options = OPTIONS | {"scene": "ground", "resolution": 60}
    whole = make_cloud(raw, options | {"background": "none"}, NOWHERE)
    assert whole["rgb"].all()
    for background in ("none", "remove"):
        cloud = make_cloud(raw, options | {"background": background, "surroundings": "black"}, NOWHERE)
        shown = np.zeros(60 * 60, bool)
        shown[cloud["grid"]] = True
        assert shown.any()
        np.testing.assert_array_equal(cloud["rgb"].reshape(-1, 3), np.where(shown[:, None], raw.rgb.reshape(-1, 3), 0))
    # Before a plane, what never had a point stays as it is unless it is asked away.
    kept, black = (
        make_cloud(raw, OPTIONS | {"scene": "plane", **keys}, NOWHERE) for keys in ({}, {"surroundings": "black"})
    )
    empty = pad_square(~raw.valid & np.ones_like(raw.valid))[::2, ::2]
    assert empty.any()
    assert kept["rgb"][empty].any()
    assert not black["rgb"][empty].any()
    shown = np.isin(np.arange(50 * 50), black["grid"]).reshape(50, 50)
    np.testing.assert_array_equal(black["rgb"], np.where(shown[..., None], kept["rgb"], 0))


@pytest.mark.parametrize("scene", ["plane", "ground"])
@pytest.mark.parametrize("resolution", [24, 50, 130])
def test_photographs_and_masks_are_reduced_as_in_the_published_code(scene: str, resolution: int) -> None:
    rng = np.random.default_rng(resolution)
    raw = ball()
    raw = replace(raw, rgb=rng.integers(1, 256, raw.rgb.shape, dtype=np.uint8), mask=rng.random(raw.valid.shape) < 0.5)
    raw.mask[:30] = raw.mask[:30].repeat(3, 1)[:, : raw.mask.shape[1]]  # stripes, and noise below
    options = OPTIONS | {"scene": scene, "background": "none", "resolution": resolution}
    nearest = make_cloud(raw, options, NOWHERE)
    cloud = make_cloud(raw, options | {"photographs": "bicubic", "masks": "bilinear"}, NOWHERE)
    rgb, mask = (image if scene == "ground" else pad(image) for image in (raw.rgb, raw.mask))
    # Pillow rounds to whole grey levels after each of its two passes.
    expected = resize(rgb, resolution, cubic)
    assert np.abs(cloud["rgb"] - expected).max() < 1.5
    assert np.abs(nearest["rgb"] - expected).mean() > 10
    share = resize(mask, resolution, triangle)
    sure = np.abs(share - 0.5) > 0.01
    np.testing.assert_array_equal(cloud["mask"][sure], share[sure] > 0.5)
    assert (nearest["mask"] != cloud["mask"]).any()
    np.testing.assert_array_equal(cloud["labels"], cloud["mask"].ravel()[cloud["grid"]])
    for same in ("points", "grid", "normals"):
        np.testing.assert_array_equal(cloud[same], nearest[same])


@pytest.mark.parametrize("key", ["photographs", "masks", "surroundings"])
def test_another_way_to_reduce_pictures_is_refused(key: str) -> None:
    with pytest.raises(InputError, match=f"{key} is 'lanczos', expected one of"):
        make_cloud(ball(), OPTIONS | {"scene": "plane", key: "lanczos"}, NOWHERE)


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
