"""Clouds against naive versions of the data sets' pre-processing, and every bad scan refused by name."""

import logging
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from raw_files import eyecandies_sample, mvtec_scan, pcd, plane_and_ball, png, rows, write

from pointad_core.clouds.cloud import make_cloud
from pointad_core.datasets.registry import LAYOUTS, reader
from pointad_core.datasets.scans import Organised, Scan
from pointad_core.errors import InputError
from pointad_core.stages.clouds import make_clouds
from pointad_core.storage import stores

OPTIONS = {"resolution": 42, "normals": {"radius": 0.1, "neighbours": 20}, "seed": 7}
UNORGANISED = OPTIONS | {"normals": {"radius": 5, "neighbours": 20}, "n_points": 150, "sampling": "farthest"}


def entry(layout: str) -> dict:
    """A layout as the workflow passes it, which looks for its reader first."""
    reader(layout)
    return {"name": layout, **asdict(LAYOUTS[layout])}


def run(root: Path, layout: str, category: str, options: dict, name: str = "clouds.zarr.zip") -> Path:
    output = root / "out" / name
    make_clouds(root, output, "ours", entry(layout), category, options, {"why": "a test"})
    return output


def load(path: Path, scan: str | None = None) -> dict[str, np.ndarray]:
    with stores.read(path, "clouds") as store:
        scan = scan or store.scans[0]
        return store.load(scan, store.arrays(scan))


def ball_on_plane(root: Path, side: int = 60, **kwargs) -> tuple:
    """A defective scan of a ball on a plane with a ramp up to it, and a spot far above that is no part of the ball."""
    points, rgb, gt, ball = plane_and_ball(side, **kwargs)
    middle = slice(side // 2 - side // 8, side // 2 + side // 8)
    width = side // 3
    ramp = points[middle, 12:width]
    top = 0.65 + 0.2 * ramp[..., 1] + 0.1 * ramp[..., 0] - np.linspace(0.003, 0.0065, width - 12, dtype=np.float32)
    ramp[..., 2] = np.where(ramp[..., 2] != 0, np.minimum(ramp[..., 2], top), 0)
    # Too small for a cluster of 30 points.
    points[12:16, 12:16, 2] = 0.55
    mvtec_scan(root, "bolt/test/dent/000", points, rgb, gt)
    return points, rgb, gt, ball


# Organised scans -----------------------------------------------------------------------------------------------------


def test_the_plane_and_all_but_the_object_are_removed(tmp_path):
    points, rgb, gt, _ = ball_on_plane(tmp_path, 120)
    cloud = load(run(tmp_path, "mvtec3d", "bolt", OPTIONS))

    # The plane is known: z = 0.65 + 0.2 y + 0.1 x. What is farther than 5 mm from it and no speck stays.
    x, y, z = points.astype(np.float64).transpose(2, 0, 1)
    valid = (points != 0).any(axis=2)
    off = valid & (np.abs(z - 0.65 - 0.2 * y - 0.1 * x) / np.sqrt(1 + 0.2**2 + 0.1**2) >= 0.005)
    speck = np.zeros_like(valid)
    speck[12:16, 12:16] = True
    kept = off & ~speck
    black = valid & ~kept

    # 120 x 120 becomes 200 x 200: forty pixels to each side; then pixel by pixel, floor(i 200 / 42).
    at = [int(i * 200 / 42) - 40 for i in range(42)]
    expected = {"mask": np.zeros((42, 42), np.uint8), "rgb": np.zeros((42, 42, 3), np.uint8)}
    grid, places, labels = [], [], []
    for i, row in enumerate(at):
        for j, column in enumerate(at):
            if not (0 <= row < 120 and 0 <= column < 120):
                continue
            expected["mask"][i, j] = gt[row, column] > 0
            expected["rgb"][i, j] = 0 if black[row, column] else rgb[row, column]
            if kept[row, column]:
                grid.append(42 * i + j)
                places.append(points[row, column])
                labels.append(gt[row, column] > 0)
    assert len(grid) > 50
    assert sum(labels) > 3
    np.testing.assert_array_equal(cloud["grid"], grid)
    np.testing.assert_array_equal(cloud["points"], places)
    np.testing.assert_array_equal(cloud["labels"], labels)
    np.testing.assert_array_equal(cloud["mask"], expected["mask"])
    np.testing.assert_array_equal(cloud["rgb"], expected["rgb"])
    types = {name: array.dtype.str.lstrip("<|") for name, array in cloud.items()}
    assert types == {"points": "f4", "normals": "f4", "labels": "u1", "grid": "i4", "mask": "u1", "rgb": "u1"}


def test_what_a_store_says_of_its_scans(tmp_path):
    points, rgb, gt, _ = plane_and_ball()
    for name in ("good/001", "good/000", "dent/000"):
        mvtec_scan(tmp_path, f"bolt/test/{name}", points, rgb, gt if "dent" in name else 0 * gt)
    with stores.read(run(tmp_path, "mvtec3d", "bolt", OPTIONS), "clouds") as store:
        assert store.scans == ["dent/000", "good/000", "good/001"]
        about = {key: store.attributes[key] for key in ("dataset", "category", "layout", "organised", "resolution")}
        assert about == {
            "dataset": "ours", "category": "bolt", "layout": "mvtec3d", "organised": True, "resolution": 42
        }  # fmt: skip
        assert store.attributes["provenance"]["why"] == "a test"
        original = int((points != 0).any(axis=2).sum())
        assert store.scan_attributes("dent/000") == {
            "name": "dent/000", "defective": True, "defect": "dent", "n_original": original
        }  # fmt: skip
        assert not store.scan_attributes("good/001")["defective"]


def test_scans_without_labels_and_photographs_are_stored_as_such(tmp_path, caplog):
    points, rgb, gt, _ = plane_and_ball()
    for name in ("scans/000", "good/000"):
        files = mvtec_scan(tmp_path, f"bolt/test/{name}", points, rgb, gt)
        for role in ("rgb", "gt"):
            shutil.rmtree(files[role].parent)
    with caplog.at_level(logging.INFO):
        path = run(tmp_path, "mvtec3d", "bolt", OPTIONS)
    assert "1 of 2 scans are without labels, neither good nor defective" in caplog.messages
    assert "2 of 2 scans are without a photograph, without M3D" in caplog.messages
    with stores.read(path, "clouds") as store:
        assert store.scan_attributes("scans/000")["defective"] is None
        assert store.scan_attributes("good/000")["defective"] is False
        assert store.arrays("scans/000") == ["grid", "normals", "points"]
        assert store.arrays("good/000") == ["grid", "labels", "mask", "normals", "points"]
    # What is there is what it is with all of them.
    shutil.rmtree(tmp_path / "bolt")
    mvtec_scan(tmp_path, "bolt/test/scans/000", points, rgb, gt)
    whole, bare = load(run(tmp_path, "mvtec3d", "bolt", OPTIONS, "whole.zarr.zip")), load(path, "scans/000")
    for name, array in bare.items():
        np.testing.assert_array_equal(array, whole[name])


def test_points_without_labels_are_stored_as_such(tmp_path):
    write(tmp_path / "duck/test/1_bulge.pcd", pcd(np.random.default_rng(0).uniform(-9, 9, (200, 3))))
    path = run(tmp_path, "real3d", "duck", UNORGANISED)
    with stores.read(path, "clouds") as store:
        assert store.scan_attributes("bulge/1")["defective"] is None
        assert store.arrays("bulge/1") == ["nearest", "normals", "points"]


def test_what_a_reader_notes_of_a_scan_stands_in_the_log(tmp_path, monkeypatch, caplog):
    points, _, _, ball = plane_and_ball()
    raw = Organised(points.astype(float), points.any(axis=2), None, ball, notes=("37 points are missing, by zeros",))
    scan = Scan("dent/7", "dent", {"points": tmp_path / "7.tiff"})
    module = SimpleNamespace(find_scans=lambda *_: [scan], read=lambda scan, mark, unit: raw)
    monkeypatch.setitem(sys.modules, "pointad_core.datasets.noted", module)
    layout = {"name": "noted", "module": "datasets.noted", "scene": "plane", "unit": "m", "extents": [0.01, 1]}
    with caplog.at_level(logging.INFO):
        make_clouds(tmp_path, tmp_path / "out.zip", "ours", layout, "x", OPTIONS, {})
    assert f"{tmp_path / '7.tiff'}: 37 points are missing, by zeros" in caplog.messages


def test_a_layout_is_its_module_and_its_scene(tmp_path, monkeypatch):
    points, _, _, ball = plane_and_ball()
    raw = Organised(points.astype(float), points.any(axis=2), np.ones((60, 60, 3), np.uint8), ball)
    scan = Scan("dent/7", "dent", {"points": tmp_path / "7"})
    splits = []

    def find_scans(root, category, shard, split):
        splits.append(split)
        return [scan]

    module = SimpleNamespace(find_scans=find_scans, read=lambda scan, mark, unit: raw)
    monkeypatch.setitem(sys.modules, "pointad_core.datasets.another", module)
    for scene in ("plane", "ground"):
        layout = {"name": "another", "module": "datasets.another", "scene": scene, "unit": "m", "extents": [0.01, 1]}
        make_clouds(tmp_path, tmp_path / "clouds.zarr.zip", "ours", layout, "bolt", OPTIONS, {})
        expected = make_cloud(raw, OPTIONS | {"scene": scene}, scan.path)
        cloud = load(tmp_path / "clouds.zarr.zip", "dent/7")
        assert cloud.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(cloud[name], array)
        with stores.read(tmp_path / "clouds.zarr.zip", "clouds") as store:
            assert (store.attributes["layout"], store.attributes["organised"]) == ("another", True)
    make_clouds(tmp_path, tmp_path / "train.zarr.zip", "ours", {**layout, "split": "train"}, "bolt", OPTIONS, {})
    assert splits == ["test", "test", "train"]


def test_ground_truth_outweighs_the_folder(tmp_path, caplog):
    points, rgb, gt, _ = plane_and_ball()
    mvtec_scan(tmp_path, "bolt/test/good/000", points, rgb, gt)
    mvtec_scan(tmp_path, "bolt/test/dent/000", points, rgb, 0 * gt)
    with caplog.at_level(logging.WARNING, "pointad_core"):
        path = run(tmp_path, "mvtec3d", "bolt", OPTIONS)
    with stores.read(path, "clouds") as store:
        assert store.scan_attributes("good/000")["defective"]
        assert not store.scan_attributes("dent/000")["defective"]
    assert [record.args[0].parent.parent.name for record in caplog.records] == ["dent", "good"]


def test_a_scan_is_the_same_whatever_was_before_it(tmp_path):
    points, rgb, gt, _ = plane_and_ball()
    # A background like that of the test above.
    edge = (points != 0).any(axis=2)
    edge[10:-10, 10:-10] = False
    points[edge, 2] += np.random.default_rng(0).uniform(-0.02, 0.02, edge.sum())
    mvtec_scan(tmp_path, "bolt/test/dent/000", points, rgb, gt)
    mvtec_scan(tmp_path, "bolt/test/good/000", points, rgb, 0 * gt)
    path = run(tmp_path, "mvtec3d", "bolt", OPTIONS)
    first, whole = path.read_bytes(), load(path, "good/000")
    assert run(tmp_path, "mvtec3d", "bolt", OPTIONS).read_bytes() == first
    shutil.rmtree(tmp_path / "bolt/test/dent")
    alone = load(run(tmp_path, "mvtec3d", "bolt", OPTIONS), "good/000")
    for name in whole:
        np.testing.assert_array_equal(alone[name], whole[name])


def test_scans_without_background_are_taken_as_they_are(tmp_path):
    points, rgb, gt, ball = plane_and_ball()
    points[~ball] = 0
    mvtec_scan(tmp_path, "bolt/test/dent/000", points, rgb, gt)
    with pytest.raises(InputError, match="background: none"):
        run(tmp_path, "mvtec3d", "bolt", OPTIONS)
    cloud = load(run(tmp_path, "mvtec3d", "bolt", OPTIONS | {"background": "none", "resolution": 100}))
    np.testing.assert_array_equal(cloud["points"], points[(points != 0).any(axis=2)])
    np.testing.assert_array_equal(cloud["rgb"][20:80, 20:80], rgb)


def test_normals_are_those_of_the_nearest_points(tmp_path):
    ball_on_plane(tmp_path)
    cloud = load(run(tmp_path, "mvtec3d", "bolt", OPTIONS))
    points = cloud["points"].astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(cloud["normals"], axis=1), 1, rtol=1e-6)
    for index in range(0, len(points), 5):
        distance = np.linalg.norm(points - points[index], axis=1)
        near = points[np.argsort(distance, kind="stable")[:20]]
        values, vectors = np.linalg.eigh(np.cov(near.T))
        if values[1] > 1.5 * values[0] and np.ptp(np.sort(distance)[19:21]) > 1e-9:
            assert abs(vectors[:, 0] @ cloud["normals"][index]) == pytest.approx(1, abs=1e-4)


# Eyecandies ----------------------------------------------------------------------------------------------------------


def candy(root: Path, sample: str = "03", lift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A box on the ground 1.5 m below a camera that looks down by 45 degrees; depth f8, pose and mask."""
    rows_, columns = np.mgrid[:512, :512]
    direction = np.stack([(columns - 256) / 711.11, (rows_ - 256) / 711.11, np.ones((512, 512))], axis=2)
    down = np.array([0, np.sqrt(0.5), np.sqrt(0.5)])
    ground = 1.5 / (direction @ down)
    roof = (1.5 - 0.3) / (direction @ down)
    on_roof = (np.abs(columns - 256) < 90) & (np.abs(rows_ - 250) < 80)
    depth = np.where(on_roof, roof, ground) + lift
    low, high = depth.min(), depth.max()
    pose = np.eye(4)
    angle = 0.4
    pose[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    pose[:3, 3] = 0.1, 0.7, -0.4
    files = eyecandies_sample(root, sample, True, True)
    depth16 = np.round((depth - low) / (high - low) * 65535).astype(np.uint16)
    write(files["depth.png"], png(depth16))
    write(files["info_depth.yaml"], f"normalization: {{min: {low!r}, max: {high!r}}}".replace("np.float64", ""))
    write(files["info_depth.yaml"], f"normalization:\n  min: {float(low)!r}\n  max: {float(high)!r}\n")
    write(files["pose.txt"], "\n".join(" ".join(repr(float(number)) for number in row) for row in pose))
    mask = np.zeros((512, 512), np.uint8)
    mask[240:262, 200:230] = 255
    mask[10:30, 10:60] = 255
    write(files["mask.png"], png(mask))
    return depth16 / 65535 * (high - low) + low, pose, mask


def test_the_ground_around_a_candy_is_cropped(tmp_path):
    depth, pose, mask = candy(tmp_path)
    cloud = load(run(tmp_path, "eyecandies", "Gum", OPTIONS))

    # World points one by one; then the crop with the line on the ground as z axis.
    world = {}
    intrinsics = np.linalg.inv([[711.11, 0, 256], [0, 711.11, 256], [0, 0, 1]])
    for row in range(512):
        for column in (256,) if row in (0, 511) else ():
            world[row, column] = pose[:3, :3] @ (intrinsics @ [column, row, 1] * depth[row, column]) + pose[:3, 3]
    at = [int(i * 512 / 42) for i in range(42)]
    for row in at:
        for column in at:
            world[row, column] = pose[:3, :3] @ (intrinsics @ [column, row, 1] * depth[row, column]) + pose[:3, 3]
    # Element 256 of the flattened map is in its first row, element -256 in its last.
    far, near = world[0, 256], world[511, 256]
    angle = np.arctan2(far[1] - near[1], far[2] - near[2])
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    turned = turn @ (far - near)
    assert turned[1] == pytest.approx(0, abs=1e-12)
    assert turned[2] > 0

    grid, places, labels = [], [], []
    for i, row in enumerate(at):
        for j, column in enumerate(at):
            x, y, z = world[row, column]
            _, height, along = turn @ (world[row, column] - near)
            if height > -0.02 or along > 1.8 or abs(x) > 1:
                continue
            grid.append(42 * i + j)
            places.append([0.1 * x, -0.1 * z, 0.1 * y])
            labels.append(mask[row, column] > 0)
    assert len(grid) > 100
    assert 0 < sum(labels) < len(labels)
    np.testing.assert_array_equal(cloud["grid"], grid)
    np.testing.assert_allclose(cloud["points"], places, rtol=2e-6, atol=1e-8)
    np.testing.assert_array_equal(cloud["labels"], labels)
    # Ground truth and picture are whole, also where the ground was.
    np.testing.assert_array_equal(cloud["mask"], mask[np.ix_(at, at)] > 0)
    assert (cloud["rgb"].reshape(-1, 3).any(axis=1)).mean() > 0.9


def test_candies_without_background_stay_whole(tmp_path):
    candy(tmp_path)
    cloud = load(run(tmp_path, "eyecandies", "Gum", OPTIONS | {"background": "none"}))
    assert len(cloud["points"]) == 42 * 42


# Unorganised scans ---------------------------------------------------------------------------------------------------


def duck(root: Path, n: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    points = np.random.default_rng(seed).uniform(-15, 15, (n, 3)).astype(np.float32)
    labels = points[:, 0] > 8
    write(root / "duck/test/1_bulge.pcd", pcd(points, "binary"))
    write(root / "duck/gt/1_bulge.txt", rows(points, labels))
    return points, labels


@pytest.mark.parametrize("sampling", ["farthest", "voxel"])
def test_sampled_clouds_keep_the_way_back(tmp_path, sampling):
    points, labels = duck(tmp_path)
    path = run(tmp_path, "real3d", "duck", UNORGANISED | {"sampling": sampling})
    cloud = load(path)
    n = len(cloud["points"])
    assert n == 150 if sampling == "farthest" else 100 < n <= 150
    distance = np.linalg.norm(points[:, None].astype(float) - cloud["points"][None], axis=2)
    np.testing.assert_array_equal(cloud["nearest"], distance.argmin(axis=1))
    index = distance.argmin(axis=0)
    assert (np.diff(index) > 0).all()
    np.testing.assert_array_equal(cloud["points"], points[index])
    np.testing.assert_array_equal(cloud["labels"], labels[index])
    np.testing.assert_array_equal(cloud["original_labels"], labels)
    types = {name: array.dtype.str.lstrip("<|") for name, array in cloud.items()}
    assert types == {"points": "f4", "normals": "f4", "labels": "u1", "nearest": "i4", "original_labels": "u1"}
    with stores.read(path, "clouds") as store:
        assert store.scan_attributes("bulge/1")["n_original"] == 600
        assert not store.attributes["organised"]


def test_small_clouds_are_kept_whole(tmp_path):
    points, labels = duck(tmp_path, n=100)
    cloud = load(run(tmp_path, "real3d", "duck", UNORGANISED))
    np.testing.assert_array_equal(cloud["points"], points)
    np.testing.assert_array_equal(cloud["nearest"], np.arange(100))
    np.testing.assert_array_equal(cloud["labels"], labels)


# Bad input -----------------------------------------------------------------------------------------------------------


def nothing(points, rgb, gt):
    points[:] = 0


def bare_ring(points, rgb, gt):
    points[:10] = points[-10:] = 0
    points[:, :10] = points[:, -10:] = 0
    points[0, :40] = np.c_[np.linspace(0.01, 0.02, 40), np.full(40, 0.02), np.full(40, 0.65)]


def one_place(points, rgb, gt):
    points[:] = (0.01, 0.02, 0.65)


def only_plane(points, rgb, gt):
    points[..., 2] = np.where(points[..., 2] != 0, 0.65 + 0.2 * points[..., 1] + 0.1 * points[..., 0], 0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nothing, "the scan is empty"),
        (bare_ring, "40 points in the outer 10 rows and columns, at least 50"),
        (one_place, "lie all in one place"),
        (only_plane, "no object found"),
    ],
)
def test_a_bad_scan_is_named_and_nothing_is_left(tmp_path, spoil, message):
    points, rgb, gt, _ = plane_and_ball()
    mvtec_scan(tmp_path, "bolt/test/dent/000", points.copy(), rgb, gt)
    spoil(points, rgb, gt)
    files = mvtec_scan(tmp_path, "bolt/test/dent/001", points, rgb, gt)
    with pytest.raises(InputError, match=message) as error:
        run(tmp_path, "mvtec3d", "bolt", OPTIONS)
    assert str(files["xyz"]) in str(error.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_bad_scan_leaves_the_store_of_before(tmp_path):
    ball_on_plane(tmp_path)
    path = run(tmp_path, "mvtec3d", "bolt", OPTIONS)
    before = path.read_bytes()
    (tmp_path / "bolt/test/dent/xyz/000.tiff").write_bytes(b"II*\0")
    with pytest.raises(InputError, match=r"000.tiff"):
        run(tmp_path, "mvtec3d", "bolt", OPTIONS)
    assert path.read_bytes() == before
    assert [file.name for file in (tmp_path / "out").iterdir()] == [path.name]


def test_a_candy_without_ground_is_named(tmp_path):
    depth = np.zeros((512, 512), np.uint16)
    depth[100:400] = 40000
    files = eyecandies_sample(tmp_path, "03", True, True)
    write(files["depth.png"], png(depth))
    write(files["info_depth.yaml"], "normalization: {min: 0, max: 2}")
    with pytest.raises(InputError, match="no depth in the middle of the first or last image row") as error:
        run(tmp_path, "eyecandies", "Gum", OPTIONS)
    assert str(files["depth.png"]) in str(error.value)
    write(files["depth.png"], png(np.full((512, 512), 7, np.uint16)))
    write(files["info_depth.yaml"], "normalization: {min: 1, max: 1}")
    with pytest.raises(InputError, match="no point is left"):
        run(tmp_path, "eyecandies", "Gum", OPTIONS)


@pytest.mark.parametrize(
    ("layout", "category", "options", "message"),
    [
        ("mvtec3d", "bolt", OPTIONS | {"background": "blur"}, "background is 'blur', expected one of remove, none"),
        (
            "real3d",
            "duck",
            UNORGANISED | {"sampling": "random"},
            "sampling is 'random', expected one of farthest, voxel",
        ),
        ("mvtec3d", "screw", OPTIONS, "screw: no such category"),
        ("ply", "duck", OPTIONS, "layout 'ply' is unknown"),
    ],
)
def test_unknown_names_are_refused(tmp_path, layout, category, options, message):
    ball_on_plane(tmp_path)
    duck(tmp_path)
    with pytest.raises(InputError, match=message):
        run(tmp_path, layout, category, options)


def test_nothing_is_written_into_the_data(tmp_path):
    ball_on_plane(tmp_path / "data")
    duck(tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    for layout, category, options in (("mvtec3d", "bolt", OPTIONS), ("real3d", "duck", UNORGANISED)):
        make_clouds(tmp_path / "data", tmp_path / "out" / category, "ours", entry(layout), category, options, {})
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")} == before


# Real scans ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif("POINTAD_SAMPLE" not in os.environ, reason="POINTAD_SAMPLE names no folder with cable_gland/")
def test_background_of_real_scans(tmp_path):
    root = Path(os.environ["POINTAD_SAMPLE"])
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    options = {"resolution": 336, "normals": {"radius": 0.1, "neighbours": 50}, "seed": 111}
    make_clouds(root, tmp_path / "clouds.zarr.zip", "sample", entry("mvtec3d"), "cable_gland", options, {})
    with stores.read(tmp_path / "clouds.zarr.zip", "clouds") as store:
        assert len(store.scans) == 12
        for scan in store.scans:
            cloud = store.load(scan, ["points", "labels", "mask", "grid", "normals"])
            # A part of 5 to 7 cm alone in the middle: about a sixth of the picture, nothing at its border.
            assert 10_000 < len(cloud["points"]) < 25_000
            row, column = np.divmod(cloud["grid"], 336)
            assert min(row.min(), column.min()) > 15
            assert max(row.max(), column.max()) < 320
            assert (np.ptp(cloud["points"], axis=0) < 0.07).all()
            assert store.scan_attributes(scan)["defective"] == (not scan.startswith("good"))
            # The annotators marked the object: most of each defect is on points that stay.
            if cloud["mask"].any():
                assert cloud["labels"].sum() > 0.6 * cloud["mask"].sum()
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
