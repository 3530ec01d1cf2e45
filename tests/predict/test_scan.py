"""A scan is cleaned with a word for everything, and turned and scaled so that axes and units play no part."""

import gzip

import numpy as np
import open3d as o3d
import own_scans as shapes
import pytest
import raw_files
from PIL import Image

from pointad_core.errors import InputError
from pointad_core.predict import scan as scans
from pointad_core.predict.orientation import Facing, face
from pointad_core.predict.scan import Wanted, prepare, read_scan

FRONT = np.diag([1.0, -1.0, -1.0])


def test_what_is_missing_stray_or_background_is_said(tmp_path):
    points = shapes.camera_scan(240)
    points[:, :30] = 0
    points[100, 100:103] = [(5, 4, 3), (5, 4, 2), (5, 4, 1)]
    path = raw_files.write(tmp_path / "000.tiff", raw_files.tiff(points))
    found = read_scan(path)
    assert found.organised
    assert np.count_nonzero(~found.valid) == 30 * 240
    assert not found.kept[100, 100:103].any()
    assert found.valid[100, 100:103].all()
    assert not found.kept[120, 40]  # of the plane
    assert found.kept[120, 120]  # of the ball
    assert found.unit == "m"
    for told in ("7200 of 57600 points are missing", "3 stray points", "unit taken as m", "a plane fills"):
        assert any(told in note for note in found.notes), told
    whole = read_scan(path, None, Wanted(background="none", stray="keep"))
    np.testing.assert_array_equal(whole.kept, whole.valid)
    assert any("make the part small in its views" in note for note in whole.notes)


def test_the_photograph_is_taken_in_or_said_to_be_left_out(tmp_path):
    points = shapes.camera_scan(60)
    path = raw_files.write(tmp_path / "000.tiff", raw_files.tiff(points))
    rgb = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    picture = raw_files.write(tmp_path / "000.png", raw_files.png(rgb))
    none = Wanted(background="none")
    np.testing.assert_array_equal(read_scan(path, picture, none).photograph, rgb)
    assert read_scan(path, picture, Wanted(background="none", rgb=False)).photograph is None
    smaller = raw_files.write(tmp_path / "small.png", raw_files.png(rgb[:50]))
    found = read_scan(path, smaller, none)
    assert found.photograph is None
    assert any("was left out: it has 60 x 50 pixels, the scan 60 x 60" in note for note in found.notes)
    damaged = raw_files.write(tmp_path / "damaged.png", b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match=r"damaged\.png: not a readable image"):
        read_scan(path, damaged, none)


def test_a_photograph_of_points_in_no_order_is_said_to_be_left_out(tmp_path):
    path = shapes.write_ply(tmp_path / "a.ply", shapes.dome(900, np.random.default_rng(0)))
    picture = tmp_path / "a.jpg"
    told = f"the photograph {picture} was left out: points in no order have no pixels that it could be of"
    assert told in read_scan(path, picture).notes
    assert told not in read_scan(path).notes + read_scan(path, picture, Wanted(rgb=False)).notes


def test_a_photograph_is_read_as_those_of_data_sets_are(tmp_path):
    points, none = shapes.camera_scan(60), Wanted(background="none")
    path = raw_files.write(tmp_path / "000.tiff", raw_files.tiff(points))
    grey = np.random.default_rng(0).integers(0, 65535, (60, 60), dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    found = read_scan(path, tmp_path / "grey.png", none).photograph
    np.testing.assert_array_equal(found, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2))
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(found).save(tmp_path / "turned.jpg", exif=turned)
    with pytest.raises(InputError, match=r"turned\.jpg: its Exif data turn it \(orientation 6\); save it upright"):
        read_scan(path, tmp_path / "turned.jpg", none)


def test_a_scan_as_the_prompts_have_it_stays_as_it_is(tmp_path):
    points = shapes.camera_scan(60)
    path = raw_files.write(tmp_path / "000.tiff", raw_files.tiff(points))
    found = read_scan(path, None, Wanted(background="none"))
    facing = face(found.points[found.kept], found.points)
    raw = prepare(found, facing, 180, 0.09)
    np.testing.assert_array_equal(raw.points, points.astype(np.float64))
    assert raw.mask is None


def test_neither_unit_nor_place_nor_axes_change_what_is_prepared(tmp_path):
    rng = np.random.default_rng(3)
    points = shapes.tube(3000, rng)
    reference = None
    ways = [(1, 0, None), (0.001, 0, None), (1000, 0, None), (1, 5e6, None), (1 / 25.4, 0, "inch"), (0.1, 0, "cm")]
    for number, (scale, place, unit) in enumerate(ways):
        path = shapes.write_ply(tmp_path / f"{number}.ply", points * scale + place)
        found = read_scan(path, wanted=Wanted(unit=unit))
        raw = prepare(found, Facing(FRONT[[0, 2, 1]], False, ""), 180, 30)
        assert 30 / np.sqrt(10) <= np.ptp(raw.points, axis=0).max() <= 30 * np.sqrt(10)
        reference = raw.points if reference is None else reference
        np.testing.assert_allclose(raw.points, reference, atol=1e-6)


def test_the_front_comes_to_where_the_views_have_it():
    points = shapes.tube(500, np.random.default_rng(0))
    front = np.array([0.6, 0.8, 0.0])
    frame = np.stack([[0, 0, 1.0], np.cross(front, [0, 0, 1.0]), front])
    found = scans.Scan(None, points, np.ones(500, bool), np.ones(500, bool), None, None, None, None, ())
    for tilt in (180, 45, 0):
        turned = prepare(found, Facing(frame, False, ""), tilt, 30).points
        angle = np.deg2rad(tilt)
        tilted = turned @ np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]).T
        # The camera looks along -z.
        towards = points @ front
        np.testing.assert_allclose(tilted[:, 2] - tilted[0, 2], towards - towards[0], atol=1e-9)
        np.testing.assert_allclose(tilted[:, 0] - tilted[0, 0], points[:, 2] - points[0, 2], atol=1e-9)


@pytest.mark.parametrize(
    ("points", "told"),
    [
        (np.ones((1, 3)), r"1 point, at least 30 are needed"),
        (np.random.default_rng(0).normal(size=(29, 3)), "29 points, at least 30"),
        (np.full((500, 3), np.nan), "the scan is empty; 500 of 500 points are missing"),
        (np.tile([[1.0, 2.0, 3.0]], (500, 1)), "all 500 points lie in one place"),
        (np.linspace(0, 1, 500)[:, None] * [[1.0, 2.0, 3.0]], "all 500 points lie on one line"),
    ],
    ids=["one", "few", "NaN", "one place", "a line"],
)
def test_points_that_are_no_surface_are_refused_with_the_file(tmp_path, points, told):
    path = shapes.write_ply(tmp_path / "part.ply", points)
    with pytest.raises(InputError, match=told) as caught:
        read_scan(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_too_many_points_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(scans, "MOST", 1000)
    path = shapes.write_ply(tmp_path / "part.ply", shapes.sphere(1001, np.random.default_rng(0)))
    with pytest.raises(InputError, match=r"part\.ply: 1001 points, at most 1000 are looked at; thin the scan first"):
        read_scan(path)


def test_a_size_of_no_unit_is_said_and_no_matter(tmp_path):
    path = shapes.write_ply(tmp_path / "part.ply", shapes.sphere(600, np.random.default_rng(0)) * 1e-9)
    found = read_scan(path)
    assert found.unit is None
    assert any("unit unknown" in note for note in found.notes)
    assert read_scan(path, None, Wanted(unit="inch")).unit == "inch"


def test_few_points_are_said_to_be_few(tmp_path):
    path = shapes.write_ply(tmp_path / "part.ply", shapes.sphere(200, np.random.default_rng(0)))
    assert any("only 200 points: the map is coarse" in note for note in read_scan(path).notes)


def test_every_kind_of_file_comes_to_the_same_scan(tmp_path):
    """Files that other libraries write; as `formats` reads them, of which each kind has tests of its own."""
    points = shapes.dome(3000, np.random.default_rng(0)).astype(np.float32).astype(np.float64)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
    for name in ("a.ply", "a.pcd", "a.xyz", "a.pts"):
        o3d.io.write_point_cloud(str(tmp_path / name), cloud)
    np.savetxt(tmp_path / "a.csv", points, delimiter=",", header="x,y,z", comments="")
    np.savetxt(tmp_path / "a.txt", points)
    np.save(tmp_path / "a.npy", points)
    (tmp_path / "A.PLY.GZ").write_bytes(gzip.compress((tmp_path / "a.ply").read_bytes()))
    grid = shapes.camera_scan(120)
    np.save(tmp_path / "grid.npy", grid)
    raw_files.write(tmp_path / "grid.tiff", raw_files.tiff(grid))
    raw_files.write(tmp_path / "depth.png", raw_files.png((grid[..., 2] * 1e4).astype(np.uint16)))
    for path in sorted(tmp_path.iterdir()):
        wanted = Wanted(intrinsics=(400, 400, 60, 60), unit="mm") if path.suffix == ".png" else Wanted()
        found = read_scan(path, None, wanted)
        of_camera = path.name.startswith(("grid", "depth"))
        assert found.organised == of_camera, path
        places = np.where(found.kept[..., None], found.points, np.nan) if of_camera else None
        front = face(found.points[found.kept], places).frame[2]
        np.testing.assert_allclose(front, (0, 0, -1) if of_camera else (0, 0, 1), atol=0.02, err_msg=str(path))
        if not of_camera:
            np.testing.assert_allclose(found.points, points, atol=1e-4, err_msg=str(path))
            assert found.unit == "mm"


def test_a_coordinate_that_no_part_has_is_refused(tmp_path):
    points = shapes.dome(900, np.random.default_rng(0))
    points[7, 1] = -1e200
    path = shapes.write_ply(tmp_path / "a.ply", points)
    with pytest.raises(InputError, match=r"a\.ply: a coordinate is 1e\+200 in size, at most 1e\+30 can be"):
        read_scan(path)


def test_infinite_points_are_missing_ones_and_no_trouble(tmp_path):
    points = shapes.dome(900, np.random.default_rng(0))
    points[::3] = np.inf
    scan = read_scan(shapes.write_ply(tmp_path / "a.ply", points))
    raw = prepare(scan, face(scan.points[scan.kept], None, "x"), 180, 30.0)  # warnings are errors
    assert raw.points.shape == (600, 3)
    assert np.isfinite(raw.points).all()
