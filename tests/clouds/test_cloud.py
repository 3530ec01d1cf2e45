"""Clouds of scans in memory: what holds whatever the files behind them are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from published_oracle import cubic, pad, resize, triangle
from raw_files import plane_and_ball

from pointad_core.clouds.background import crop_ground, loses_defect, pad_square
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


def farthest(points: np.ndarray, count: int, start: int) -> set[int]:
    """Farthest-point sampling, a point at a time."""
    chosen = [start]
    while len(chosen) < count:
        distances = [min(float(((p - points[c]) ** 2).sum()) for c in chosen) for p in points.astype(np.float64)]
        chosen.append(int(np.argmax(distances)))
    return set(chosen)


@pytest.mark.parametrize("density", [0.7, 0.2])
def test_a_density_takes_points_of_the_grid_and_leaves_the_pictures(density: float) -> None:
    raw = ball()
    whole = make_cloud(raw, OPTIONS | {"scene": "plane"}, NOWHERE)
    thin, again = (make_cloud(raw, OPTIONS | {"scene": "plane", "density": density}, NOWHERE) for _ in range(2))
    n = len(whole["points"])
    assert len(thin["points"]) == len(thin["normals"]) == round(density * n)
    for name in thin:
        np.testing.assert_array_equal(thin[name], again[name])
    left = np.flatnonzero(np.isin(whole["grid"], thin["grid"]))
    assert any(farthest(whole["points"], len(left), start) == set(left) for start in left)
    np.testing.assert_array_equal(thin["grid"], whole["grid"][left])
    np.testing.assert_array_equal(thin["points"], whole["points"][left])
    np.testing.assert_array_equal(thin["labels"], whole["mask"].ravel()[thin["grid"]])
    for name in ("mask", "rgb"):
        np.testing.assert_array_equal(thin[name], whole[name])
    # A low-resolution scan has the normals of the points that it has.
    assert not np.array_equal(thin["normals"], whole["normals"][left])


def test_a_density_of_an_unorganised_cloud_leaves_all_its_original_points() -> None:
    points = np.random.default_rng(0).normal(size=(300, 3))
    options = {"normals": {"radius": 5.0, "neighbours": 9}, "seed": 1, "n_points": 100}
    for sampling in ("farthest", "voxel"):
        whole, thin = (
            make_cloud(Unorganised(points, points[:, 0] > 1), options | more | {"sampling": sampling}, NOWHERE)
            for more in ({}, {"density": 0.3})
        )
        assert len(thin["points"]) == round(0.3 * len(whole["points"]))
        left = [int(np.flatnonzero((whole["points"] == p).all(axis=1))[0]) for p in thin["points"]]
        assert any(farthest(whole["points"], len(left), start) == set(left) for start in left)
        np.testing.assert_array_equal(thin["labels"], whole["labels"][left])
        np.testing.assert_array_equal(thin["original_labels"], points[:, 0] > 1)
        distances = ((points[:, None] - thin["points"][None].astype(np.float64)) ** 2).sum(axis=2)
        np.testing.assert_array_equal(thin["nearest"], distances.argmin(axis=1))


def test_all_points_are_the_cloud_as_it_is() -> None:
    points = np.random.default_rng(0).normal(size=(300, 3))
    flat = {"normals": {"radius": 5.0, "neighbours": 9}, "seed": 1, "n_points": 100, "sampling": "farthest"}
    for raw, options in ((ball(), OPTIONS | {"scene": "plane"}), (Unorganised(points, None), flat)):
        cloud, same = (make_cloud(raw, options | more, NOWHERE) for more in ({}, {"density": 1.0}))
        assert {name: array.tobytes() for name, array in cloud.items()} == {
            name: array.tobytes() for name, array in same.items()
        }


def test_a_share_is_above_none_and_at_most_all() -> None:
    for density in (0, -0.5, 1.01, float("nan")):
        with pytest.raises(InputError, match=r"density is .*, expected a share above 0, at most 1"):
            make_cloud(ball(), OPTIONS | {"scene": "plane", "density": density}, NOWHERE)
    least = make_cloud(ball(), OPTIONS | {"scene": "plane", "density": 1e-9}, NOWHERE)
    assert len(least["points"]) == 1


def test_a_thin_cloud_has_not_lost_its_defect() -> None:
    mask = np.ones((20, 20), np.uint8)
    labels = np.ones(40, np.uint8)
    assert not loses_defect({"mask": mask, "labels": labels}, 0.1)
    assert not loses_defect({"mask": mask, "labels": labels[:4]}, 0.05)
    assert loses_defect({"mask": mask, "labels": labels[:4]})
    assert loses_defect({"mask": mask, "labels": labels[:1]}, 0.1)


def test_unknown_scenes_are_refused() -> None:
    with pytest.raises(InputError, match="scene is 'sky', expected one of plane, ground"):
        make_cloud(ball(), OPTIONS | {"scene": "sky"}, NOWHERE)
