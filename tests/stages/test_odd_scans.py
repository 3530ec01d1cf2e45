"""Scans as people have them, made clouds: other units, other places, other missing points, stray points."""

import logging
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from raw_files import mvtec_scan, pcd, plane_and_ball, rows, write

from pointad_core.clouds.background import loses_defect
from pointad_core.clouds.cloud import make_cloud
from pointad_core.datasets.registry import LAYOUTS
from pointad_core.datasets.scans import Organised, Unorganised
from pointad_core.errors import InputError
from pointad_core.stages.clouds import make_clouds
from pointad_core.storage import stores
from workflow.plan import layout_of

ORGANISED = {"resolution": 60, "normals": {"radius": 0.1, "neighbours": 20}, "seed": 7}
UNORGANISED = {
    **ORGANISED, "normals": {"radius": 5, "neighbours": 20}, "n_points": 300, "sampling": "farthest"
}  # fmt: skip
NOWHERE = Path("in memory")


def make(root: Path, layout: str, **options: Any) -> list[dict[str, np.ndarray]]:
    """The clouds of a folder's only category, scan by scan."""
    output = root / "clouds.zarr.zip"
    base = UNORGANISED if layout == "real3d" else ORGANISED
    entry = layout_of({"datasets": {"ours": {"layout": layout, "split": "test"}}}, "ours")
    make_clouds(root, output, "ours", entry, "bolt", {**base, **options}, {})
    with stores.read(output, "clouds") as store:
        return [store.load(scan, store.arrays(scan)) for scan in store.scans]


def bolts(root: Path, change: Any = None, side: int = 60, missing: float = 0.1) -> Path:
    """A defective scan of half a ball on a plane, its points as `change` makes them."""
    points, rgb, gt, _ = plane_and_ball(side, missing)
    points = points if change is None else change(points)
    mvtec_scan(root, "bolt/test/dent/000", points.astype(np.float32), rgb, gt)
    return root


def free(root: Path, change: Any = None, fields: str = "f") -> Path:
    """A scan of a sphere of 30 mm, unorganised; fields: "f" or "d", numbers of 4 or 8 bytes."""
    points = np.random.default_rng(0).normal(size=(600, 3))
    points *= 15 / np.linalg.norm(points, axis=1, keepdims=True)
    points = points.astype(np.float32).astype(np.float64)
    labels = points[:, 0] > 8
    points = points if change is None else change(points)
    labels = np.r_[labels, np.zeros(len(points) - len(labels), bool)]
    content = pcd(points, "binary")
    if fields == "d":
        header = content[: content.index(b"DATA binary\n") + 12].replace(b"SIZE 4 4 4", b"SIZE 8 8 8")
        content = header + struct.pack(f"<{points.size}d", *points.ravel())
    write(root / "bolt/test/1_bulge.pcd", content)
    write(root / "bolt/gt/1_bulge.txt", rows(points, labels))
    return root


# Units ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1000), ("cm", 100), ("inch", 1 / 0.0254), (0.5, 2)])
@pytest.mark.parametrize("background", ["remove", "none"])
def test_another_unit_gives_the_same_cloud(tmp_path: Path, unit: str | float, factor: float, background: str) -> None:
    (metres,) = make(bolts(tmp_path / "m"), "mvtec3d", background=background)
    other = bolts(tmp_path / "other", lambda points: points * factor)
    if unit != 0.5:
        with pytest.raises(InputError, match=rf"000\.tiff: its extent is .*`unit: {unit}`"):
            make(other, "mvtec3d", background=background)
    (converted,) = make(other, "mvtec3d", background=background, unit=unit)
    np.testing.assert_array_equal(converted["grid"], metres["grid"])
    np.testing.assert_allclose(converted["points"], metres["points"], atol=1e-7)
    np.testing.assert_array_equal(converted["labels"], metres["labels"])
    cosines = np.abs(np.sum(converted["normals"] * metres["normals"], axis=1))
    assert np.mean(cosines > 0.999) > 0.99


def test_an_unorganised_scan_in_metres(tmp_path: Path) -> None:
    (millimetres,) = make(free(tmp_path / "mm"), "real3d")
    metres = free(tmp_path / "m", lambda points: points / 1000, "d")
    with pytest.raises(InputError, match=r"1_bulge\.pcd: its extent is 0\.0.*`unit: m`, which makes it"):
        make(metres, "real3d")
    (converted,) = make(metres, "real3d", unit="m")
    np.testing.assert_allclose(converted["points"], millimetres["points"], rtol=1e-5)
    np.testing.assert_array_equal(converted["nearest"], millimetres["nearest"])


# Places --------------------------------------------------------------------------------------------------------------


def test_utm_coordinates_lose_nothing(tmp_path: Path) -> None:
    (near,) = make(free(tmp_path / "near"), "real3d")
    place = np.array([500000, 4649776.25, 120])
    (far,) = make(free(tmp_path / "far", lambda points: points + place, "d"), "real3d")
    # To a millionth of a millimetre the same shape, whatever the seed of its sampling meets first.
    np.testing.assert_array_equal(far["nearest"], near["nearest"])
    away = far["points"] - near["points"].astype(np.float64)
    np.testing.assert_allclose(away - away.mean(axis=0), 0, atol=2e-6)
    assert np.abs(far["points"]).max() < 31
    np.testing.assert_array_equal(far["labels"], near["labels"])
    cosines = np.abs(np.sum(far["normals"] * near["normals"], axis=1))
    assert np.mean(cosines > 0.999) > 0.99


@pytest.mark.parametrize("background", ["remove", "none"])
def test_an_organised_scan_far_away(background: str) -> None:
    points, rgb, gt, _ = plane_and_ball(120)
    valid = points.any(axis=2)
    options = {**ORGANISED, "scene": "plane", "background": background}
    near = Organised(points.astype(np.float64), valid, rgb, gt > 0)
    far = Organised(np.where(valid[..., None], near.points + np.array([5e5, 4649776.25, 120]), 0), valid, rgb, gt > 0)
    clouds = [make_cloud(raw, options, NOWHERE) for raw in (near, far)]
    np.testing.assert_array_equal(clouds[0]["grid"], clouds[1]["grid"])
    away = clouds[1]["points"] - clouds[0]["points"].astype(np.float64)
    np.testing.assert_allclose(away - away.mean(axis=0), 0, atol=1e-7)


# Missing points ------------------------------------------------------------------------------------------------------


def marked(value: Any) -> Any:
    """Missing points written otherwise than (0, 0, 0): `value` in every coordinate, or "z" in z alone."""

    def change(points: np.ndarray) -> np.ndarray:
        missing = ~points.any(axis=2)
        points = points.copy()
        if value == "z":
            line = np.linspace(-0.05, 0.05, len(points))
            points[missing] = np.stack([*np.meshgrid(line, line), np.zeros(missing.shape)], axis=2)[missing]
        else:
            points[missing] = value
        return points

    return change


@pytest.mark.parametrize("value", [-1, 1e4, 65535, np.nan, "z"])
def test_missing_points_of_another_value(tmp_path: Path, value: Any, caplog: pytest.LogCaptureFixture) -> None:
    (expected,) = make(bolts(tmp_path / "zeros", side=120, missing=0.4), "mvtec3d")
    with caplog.at_level(logging.INFO, "pointad_core"):
        (cloud,) = make(bolts(tmp_path / "other", marked(value), side=120, missing=0.4), "mvtec3d")
    assert cloud.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(cloud[name], array, name)
    assert "points are missing" in caplog.text


@pytest.mark.parametrize("value", [-1, "z"])
def test_a_background_that_is_kept_is_refused(tmp_path: Path, value: Any) -> None:
    bolts(tmp_path, marked(value), side=120, missing=0.4)
    told = "`missing`.*`background: none`" if value == "z" else "its extent is 1.*; or `missing`"
    with pytest.raises(InputError, match=rf"dent/xyz/000\.tiff: .*{told}"):
        make(tmp_path, "mvtec3d", missing="none")
    (cloud,) = make(tmp_path, "mvtec3d", missing=0 if value == "z" else value)
    (expected,) = make(bolts(tmp_path / "zeros", side=120, missing=0.4), "mvtec3d")
    np.testing.assert_array_equal(cloud["points"], expected["points"])


# Defects that are lost -----------------------------------------------------------------------------------------------


def test_a_defect_without_points_is_told_and_a_category_of_them_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    points, rgb, gt, _ = plane_and_ball(120)
    elsewhere = np.zeros_like(gt)
    elsewhere[5:30, 5:30] = 255  # on the background
    for index, mask in enumerate((gt, gt, elsewhere)):
        mvtec_scan(tmp_path, f"bolt/test/dent/00{index}", points, rgb, mask)
    clouds = make(tmp_path, "mvtec3d")
    assert [loses_defect(cloud) for cloud in clouds] == [False, False, True]
    assert [record.args[0].name for record in caplog.records] == ["002.tiff"]
    assert "hardly a point is left where the ground truth marks a defect" in caplog.text
    for index in (3, 4):
        mvtec_scan(tmp_path, f"bolt/test/dent/00{index}", points, rgb, elsewhere)
    with pytest.raises(InputError, match=r"002\.tiff: hardly a point .* in 3 of 5 defective scans"):
        make(tmp_path, "mvtec3d")
    # Where nothing is removed nothing is lost.
    assert len(make(tmp_path, "mvtec3d", background="none")) == 5


# Stray points --------------------------------------------------------------------------------------------------------


def test_stray_points_of_an_organised_scan_become_background(caplog: pytest.LogCaptureFixture) -> None:
    points, rgb, gt, ball = plane_and_ball(120, missing=0)
    clean = np.where(ball[..., None], points, 0).astype(np.float64)
    valid = ball.copy()
    strayed = clean.copy()
    places = [(0, 0), (60, 60), (119, 3)]
    for row, column in places:
        strayed[row, column] = (3, 2, 9)
        valid[row, column] = True
    options = {**ORGANISED, "scene": "plane", "background": "none", "resolution": 200}
    raw = Organised(strayed, valid, rgb, gt > 0)
    kept = make_cloud(raw, options, NOWHERE)
    assert np.ptp(kept["points"], axis=0).max() > 3
    assert "in memory: 3 of" in caplog.text
    cloud = make_cloud(raw, {**options, "outliers": "remove"}, NOWHERE)
    assert np.ptp(cloud["points"], axis=0).max() < 0.06
    assert len(kept["points"]) - len(cloud["points"]) == 3
    assert np.isin(cloud["grid"], kept["grid"]).all()
    # Black in the picture, as all that is removed: 120 pixels stand in the middle of 200.
    assert not cloud["rgb"][100, 100].any()
    assert kept["rgb"][100, 100].any()
    np.testing.assert_array_equal(cloud["mask"], kept["mask"])


def test_stray_points_of_an_unorganised_scan_have_the_score_of_the_nearest(tmp_path: Path) -> None:
    (clean,) = make(free(tmp_path / "clean"), "real3d", n_points=600)
    strayed = free(tmp_path / "strayed", lambda points: np.r_[points, [[900, 0, 0], [0, -800, 0]]])
    (cloud,) = make(strayed, "real3d", n_points=600, outliers="remove")
    for name in ("points", "labels", "normals"):
        np.testing.assert_array_equal(cloud[name], clean[name])
    assert len(cloud["nearest"]) == len(cloud["original_labels"]) == 602
    np.testing.assert_array_equal(cloud["nearest"][:600], clean["nearest"])
    assert cloud["nearest"][600] == clean["points"][:, 0].argmax()
    assert cloud["nearest"][601] == clean["points"][:, 1].argmin()
    (whole,) = make(strayed, "real3d", n_points=602)
    assert len(whole["points"]) == 602


def test_what_is_there_today_stays_to_the_byte() -> None:
    """The published scans' places and sizes: neither moved nor converted, whatever unit, place or rest is looked at."""
    points, rgb, gt, _ = plane_and_ball()
    raw = Organised(points.astype(np.float64), points.any(axis=2), rgb, gt > 0)
    cloud = make_cloud(raw, {**ORGANISED, "scene": "plane"}, NOWHERE)
    assert {tuple(point) for point in cloud["points"]} <= {tuple(point) for point in points.reshape(-1, 3)}
    free_points = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    sampled = make_cloud(Unorganised(free_points.astype(np.float64), None), UNORGANISED, NOWHERE)
    np.testing.assert_array_equal(sampled["points"], free_points)
    assert all(layout.extents[0] < layout.extents[1] for layout in LAYOUTS.values())
