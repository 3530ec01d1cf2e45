"""Clouds of scans in memory: what holds whatever the files behind them are."""

from pathlib import Path

import numpy as np
import pytest
from raw_files import plane_and_ball

from pointad_core.clouds.background import crop_ground, loses_defect
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
