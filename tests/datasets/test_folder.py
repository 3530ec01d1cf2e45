"""The layout of one's own folder: what is found, and what is read of files of several kinds."""

import gzip
from pathlib import Path

import numpy as np
import open3d as o3d
import pytest
import raw_files
import tifffile
from PIL import Image

from pointad_core.datasets import folder, folder_organised
from pointad_core.datasets.registry import list_scans
from pointad_core.errors import InputError
from pointad_core.storage.shards import split


def cloud(seed: int = 0, n: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32) * 20


def ply(path: Path, points: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    geometry = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.astype(np.float64)))
    assert o3d.io.write_point_cloud(str(path), geometry)


@pytest.fixture
def bracket(tmp_path: Path) -> Path:
    """A category with files of several kinds."""
    at = tmp_path / "bracket"
    ply(at / "good/a.ply", cloud(0))
    (at / "good/a.ply").rename(at / "good/A.PLY")
    raw_files.write(at / "good/b.xyz", "\n".join(f"{x} {y} {z}" for x, y, z in cloud(1).tolist()))
    raw_files.write(at / "bad/c.pcd", raw_files.pcd(cloud(2), "binary"))
    raw_files.write(at / "bad/c.label.txt", raw_files.rows(cloud(2)[::-1], np.arange(400)[::-1] < 25))
    raw_files.write(at / "bad/d.csv.gz", "")
    with gzip.open(at / "bad/d.csv.gz", "wt") as file:
        file.write("x,y,z,label\n" + raw_files.rows(cloud(3), np.arange(400) < 30, ","))
    raw_files.write(at / "Dent/e.pcd", raw_files.pcd(cloud(4)))
    raw_files.write(at / "notes.md", "mine")
    raw_files.write(at / "good/.DS_Store", "x")
    raw_files.write(at / "good/report.pdf", "x")
    return at


def test_the_folders_say_what_a_scan_is(bracket):
    scans = folder.find(bracket.parent, "bracket")
    assert [(scan.name, scan.defect) for scan in scans] == [
        ("Dent/e", "Dent"),
        ("bad/c", "bad"),
        ("bad/d", "bad"),
        ("good/A", "good"),
        ("good/b", "good"),
    ]
    assert list_scans("folder", bracket.parent, "bracket")["bad/c"] == [
        str(bracket / "bad/c.pcd"),
        str(bracket / "bad/c.label.txt"),
    ]


def test_shards_share_the_scans(bracket):
    names = [scan.name for scan in folder.find(bracket.parent, "bracket")]
    shards = split(names, 2)
    assert len(shards) > 2
    for shard, members in shards.items():
        assert [scan.name for scan in folder.find(bracket.parent, "bracket", shard)] == members


def test_points_and_labels_of_each_kind(bracket):
    found = {scan.name: folder.read(scan) for scan in folder.find(bracket.parent, "bracket")}
    for name, seed, defective in (("good/A", 0, 0), ("good/b", 1, 0), ("bad/c", 2, 25), ("bad/d", 3, 30)):
        raw = found[name]
        np.testing.assert_allclose(raw.points, cloud(seed), atol=1e-5)
        np.testing.assert_array_equal(raw.labels, np.arange(400) < defective)
    np.testing.assert_allclose(found["Dent/e"].points, cloud(4), atol=1e-4)
    assert found["Dent/e"].labels is None


def test_a_file_that_says_its_unit_is_brought_to_the_layouts(tmp_path):
    rows = "\n".join(",".join(map(repr, point)) for point in cloud().astype(float).tolist())
    raw_files.write(tmp_path / "part/good/a.csv", f"x [cm],y [cm],z [cm]\n{rows}\n")
    (scan,) = folder.find(tmp_path, "part")
    np.testing.assert_allclose(folder.read(scan).points, cloud() * 10.0, rtol=1e-6)
    # What the config says wins, and is applied where the layouts' units are.
    np.testing.assert_allclose(folder.read(scan, None, "inch").points, cloud(), rtol=1e-6)


def test_a_good_folder_is_good_in_any_case(tmp_path):
    ply(tmp_path / "part/GOOD/a.ply", cloud())
    (scan,) = folder.find(tmp_path, "part")
    assert (scan.name, scan.defect) == ("good/a", "good")


def test_names_that_meet_are_refused(bracket):
    raw_files.write(bracket / "bad/c.xyz", "0 0 0")
    with pytest.raises(InputError, match=r"c\.xyz: would be called bad/c like .*c\.pcd; rename one"):
        folder.find(bracket.parent, "bracket")
    (bracket / "bad/c.xyz").unlink()
    raw_files.write(bracket / "bad/c.label.png", raw_files.png(np.zeros((4, 4), np.uint8)))
    with pytest.raises(InputError, match=r"c\.label\.\w+: the scan has c\.label\.\w+ as well; remove one"):
        folder.find(bracket.parent, "bracket")


@pytest.mark.parametrize("name", ["bad/lost.label.txt", "bad/lost.png"])
def test_what_belongs_to_no_scan_is_refused(bracket, name):
    raw_files.write(bracket / name, "x")
    with pytest.raises(InputError, match=r"lost.*: belongs to no scan; .* lost\.ply or the like, is missing"):
        folder.find(bracket.parent, "bracket")


def test_a_folder_without_scans_is_refused(tmp_path):
    (tmp_path / "part/good").mkdir(parents=True)
    with pytest.raises(
        InputError, match=r"no scans, expected good/\* or <defect>/\* with one of the endings \.pcd, \.ply"
    ):
        folder.find(tmp_path, "part")
    with pytest.raises(InputError, match="no such category"):
        folder.find(tmp_path, "other")


def test_a_mask_of_pixels_does_not_go_with_a_cloud(bracket):
    raw_files.write(bracket / "Dent/e.label.png", raw_files.png(np.zeros((20, 20), np.uint8)))
    with pytest.raises(InputError, match=r"marks pixels, but .* is a cloud without any"):
        folder.read(folder.find(bracket.parent, "bracket")[0])


def test_labels_alone_are_those_of_the_points_in_their_order(bracket):
    labels = np.random.default_rng(0).random(400) < 0.1
    raw_files.write(bracket / "Dent/e.label.txt", "\n".join(str(int(label)) for label in labels))
    np.testing.assert_array_equal(folder.read(folder.find(bracket.parent, "bracket")[0]).labels, labels)
    raw_files.write(bracket / "Dent/e.label.txt", "0\n1\n1\n")
    with pytest.raises(InputError, match=r"3 labels without coordinates, but .*e\.pcd has 400 points"):
        folder.read(folder.find(bracket.parent, "bracket")[0])


def test_labels_of_another_scan_are_refused(bracket):
    raw_files.write(bracket / "Dent/e.label.txt", raw_files.rows(cloud(9) + 100, np.arange(400) < 9))
    with pytest.raises(InputError, match=r"e\.label\.txt: does not match .*e\.pcd"):
        folder.read(folder.find(bracket.parent, "bracket")[0])


@pytest.fixture
def gridded(tmp_path: Path) -> Path:
    """An organised defective scan with a mask and a photograph, one without, and a good one."""
    at = tmp_path / "ball"
    for name, seed in (("bad/x", 0), ("bad/y", 1), ("good/z", 2)):
        points, rgb, gt, _ = raw_files.plane_and_ball(60, seed=seed)
        path = at / f"{name}.tiff"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Missing points as NaN, which the camera's software writes; by another library than the layout's reader.
        tifffile.imwrite(path, np.where((points != 0).any(2, keepdims=True), points, np.nan), photometric="minisblack")
        if seed == 0:
            Image.fromarray(rgb).save(at / f"{name}.png")
            Image.fromarray(gt).save(at / f"{name}.label.png")
    return at


def test_organised_scans_are_read_on_their_grid(gridded):
    marked, bare, good = map(folder_organised.read, folder_organised.find(gridded.parent, "ball"))
    points, rgb, gt, _ = raw_files.plane_and_ball(60, seed=0)
    valid = (points != 0).any(axis=2)
    np.testing.assert_array_equal(marked.valid, valid)
    np.testing.assert_array_equal(marked.points, points.astype(np.float64))
    np.testing.assert_array_equal(marked.rgb, rgb)
    np.testing.assert_array_equal(marked.mask, gt > 0)
    assert bare.rgb is None
    assert bare.mask is None
    assert not good.mask.any()
    assert any("missing" in note for note in marked.notes)


def test_organised_scans_are_read_as_points_as_well(gridded):
    marked, bare, _ = map(folder.read, folder.find(gridded.parent, "ball"))
    points, _, gt, _ = raw_files.plane_and_ball(60, seed=0)
    valid = (points != 0).any(axis=2)
    np.testing.assert_array_equal(marked.points, points[valid].astype(np.float64))
    np.testing.assert_array_equal(marked.labels, gt[valid] > 0)
    assert bare.labels is None


def test_a_label_text_marks_pixels_of_an_organised_scan(gridded):
    points, _, gt, _ = raw_files.plane_and_ball(60, seed=1)
    valid = (points != 0).any(axis=2)
    order = np.random.default_rng(0).permutation(np.count_nonzero(valid))
    text = raw_files.rows(points[valid][order], gt[valid][order] > 0)
    raw_files.write(gridded / "bad/y.label.txt", text)
    _, found, _ = map(folder_organised.read, folder_organised.find(gridded.parent, "ball"))
    np.testing.assert_array_equal(found.mask, valid & (gt > 0))


def test_a_cloud_is_not_organised(bracket):
    with pytest.raises(InputError, match="is a cloud of points and not organised; take the layout `folder`"):
        folder_organised.read(folder.find(bracket.parent, "bracket")[0])


def test_a_scan_without_a_point_is_refused(tmp_path):
    points = np.full((20, 20, 3), np.nan, np.float32)
    (tmp_path / "part/good").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "part/good/a.tiff", points, photometric="minisblack")
    for module in (folder, folder_organised):
        with pytest.raises(InputError, match=r"a\.tiff: the scan is empty; \d+ of \d+ points are missing"):
            module.read(module.find(tmp_path, "part")[0])
