"""Readers and file lists against small files written byte by byte in the published layouts."""

import io
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from raw_files import POSE, eyecandies_sample, mvtec_scan, pcd, plane_and_ball, png, rows, tiff, write

from pointad_core.datasets.eyecandies import unproject
from pointad_core.datasets.registry import LAYOUTS, list_scans, reader
from pointad_core.datasets.scans import hash_content
from pointad_core.errors import InputError
from pointad_core.formats.labels import match_labels
from pointad_core.storage.shards import bits

STRAY = (".DS_Store", "Thumbs.db", "._000.tiff", "._000.png", "._482_bulge.pcd", "desktop.ini")


def stray(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            for name in STRAY:
                write(path / name, "x")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_nothing_that_decodes_files_is_imported_before_one_is_read():
    heavy = {"PIL", "tifffile", "yaml", "scipy", "open3d", "torch", "zarr"}
    code = (
        "import sys\n"
        "from pointad_core.datasets.generator import catalogue\n"
        "from pointad_core.datasets.registry import LAYOUTS, reader\n"
        "assert 'numpy' not in sys.modules\n"
        "for layout in LAYOUTS: reader(layout)\n"
        f"print(sorted({heavy} & set(sys.modules)))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize("module", ["datasets.generator.scans", "stages.clouds"])
def test_neither_generator_nor_stage_depends_on_all_layouts(module):
    """An edit of the registry or of one reader would otherwise make raw scans, or another layout's clouds, again."""
    modules = {f"pointad_core.{layout.module}" for layout in LAYOUTS.values()} | {"pointad_core.datasets.registry"}
    code = f"import sys, pointad_core.{module}; print(sorted({modules} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


# MVTec 3D-AD ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def mvtec(tmp_path):
    points, rgb, gt, _ = plane_and_ball()
    for name in ("good/000", "good/001", "bent_twice/000"):
        mvtec_scan(tmp_path, f"bolt/test/{name}", points, rgb, gt if "bent" in name else 0 * gt)
    write(tmp_path / "bolt/calibration/camera_parameters.json", "{}")
    write(tmp_path / "bolt/train/good/xyz/000.tiff", "not read")
    return tmp_path


def test_mvtec_reads_what_was_written(mvtec):
    stray(mvtec)
    before = snapshot(mvtec)
    points, rgb, gt, _ = plane_and_ball()
    scans = reader("mvtec3d").find_scans(mvtec, "bolt")
    assert [(scan.name, scan.defect) for scan in scans] == [
        ("bent_twice/000", "bent_twice"),
        ("good/000", "good"),
        ("good/001", "good"),
    ]
    raw = reader("mvtec3d").read(scans[0])
    np.testing.assert_array_equal(raw.points, points.astype(np.float64))
    np.testing.assert_array_equal(raw.valid, (points != 0).any(axis=2))
    np.testing.assert_array_equal(raw.rgb, rgb)
    # 253 is one kind of defect: whatever is above 0 counts.
    np.testing.assert_array_equal(raw.mask, gt == 253)
    assert not reader("mvtec3d").read(scans[1]).mask.any()
    assert snapshot(mvtec) == before


def n_files(listed):
    return sum(map(len, listed.values()))


def test_mvtec_lists_every_file_it_reads(mvtec):
    stray(mvtec)
    listed = list_scans("mvtec3d", mvtec, "bolt")
    scans = reader("mvtec3d").find_scans(mvtec, "bolt")
    assert listed == {scan.name: [str(path) for path in scan.files.values()] for scan in scans}
    assert n_files(listed) == 9
    assert str(mvtec / "bolt/test/good/gt/001.png") in listed["good/001"]


def test_a_coordinate_of_zero_is_a_point(tmp_path):
    points, rgb, gt, _ = plane_and_ball(missing=0)
    points[30, 30, :2] = 0
    mvtec_scan(tmp_path, "bolt/test/good/000", points, rgb, gt)
    (scan,) = reader("mvtec3d").find_scans(tmp_path, "bolt")
    assert reader("mvtec3d").read(scan).valid.all()


@pytest.mark.parametrize("role", ["xyz", "rgb", "gt"])
def test_a_file_without_its_partners_is_named(mvtec, role):
    (path,) = (mvtec / f"bolt/test/good/{role}").glob("001.*")
    path.unlink()
    with pytest.raises(InputError) as error:
        list_scans("mvtec3d", mvtec, "bolt")
    assert str(path) in str(error.value)


def test_a_scan_that_is_being_written_is_no_other_shards_business(mvtec):
    (mvtec / "bolt/test/good/rgb/001.png").unlink()
    find = reader("mvtec3d").find_scans
    own = bits("good/001")[:20]
    others = sorted({f"{scan.parent.parent.name}/{scan.stem}" for scan in mvtec.rglob("xyz/*.tiff")} - {"good/001"})
    assert others
    assert [scan.name for name in others for scan in find(mvtec, "bolt", bits(name)[:20])] == others
    with pytest.raises(InputError, match="001"):
        find(mvtec, "bolt", own)
    # Nor are its folders, of which the first is there before the others.
    (mvtec / "bolt/test/torn/xyz").mkdir(parents=True)
    assert [scan.name for name in others for scan in find(mvtec, "bolt", bits(name)[:20])] == others


def test_points_in_two_files_are_refused(mvtec):
    points = mvtec / "bolt/test/good/xyz/000.tiff"
    shutil.copy(points, points.with_suffix(".tif"))
    with pytest.raises(InputError, match=r"000\.tiff: the scan has 000\.tif as well"):
        reader("mvtec3d").find_scans(mvtec, "bolt")


def test_what_is_no_file_is_named(mvtec):
    points = mvtec / "bolt/test/good/xyz/000.tiff"
    points.unlink()
    points.symlink_to(mvtec / "gone.tiff")
    with pytest.raises(InputError, match=r"000\.tiff: a link that leads nowhere"):
        hash_content(mvtec, [str(points)])
    points.unlink()
    os.mkfifo(points)
    with pytest.raises(InputError, match=r"000\.tiff: is no file"):
        hash_content(mvtec, [str(points)])


def test_missing_folders_are_named(mvtec):
    with pytest.raises(InputError, match=str(mvtec / "nowhere")):
        list_scans("mvtec3d", mvtec / "nowhere", "bolt")
    with pytest.raises(InputError, match=r"nut.*no such category.*bolt"):
        list_scans("mvtec3d", mvtec, "nut")
    with pytest.raises(InputError, match=r"layout 'kitti' is unknown.*real3d"):
        list_scans("kitti", mvtec, "bolt")
    (mvtec / "empty/test").mkdir(parents=True)
    with pytest.raises(InputError, match=r"empty/test.*no scans"):
        list_scans("mvtec3d", mvtec, "empty")
    (mvtec / "bare").mkdir()
    with pytest.raises(InputError, match=r"bare/test: no such folder"):
        list_scans("mvtec3d", mvtec, "bare")
    (mvtec / "bolt/test/odd/rgb").mkdir(parents=True)
    with pytest.raises(InputError, match=r"odd/xyz: no such folder"):
        list_scans("mvtec3d", mvtec, "bolt")
    write(mvtec / "bolt/test/odd/xyz/000.tiff", "not read")
    with pytest.raises(InputError, match=r"odd/rgb/000.png: missing, it belongs to .*odd/xyz/000.tiff"):
        list_scans("mvtec3d", mvtec, "bolt")
    with pytest.raises(InputError, match="is a file"):
        list_scans("mvtec3d", mvtec / "bolt/calibration/camera_parameters.json", "bolt")


def damaged_tiff(points):
    return tiff(points)[: points.nbytes // 2]


def tiff_without_last_rows(points):
    # Other programs write the directory first: it then tells of rows that are not there any more.
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, points, photometric="rgb", rowsperstrip=1, metadata=None)
    return buffer.getvalue()[:-2000]


def with_value(value):
    def change(points):
        changed = points.copy()
        changed[5, 7, 1] = value
        return tiff(changed)

    return change


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (damaged_tiff, "not a readable tiff .*cut short"),
        (tiff_without_last_rows, "not a readable tiff .*failed to read"),
        (lambda points: b"", "the file is empty"),
        (lambda points: tiff(points[..., :1]), "expected height x width x 3 floats"),
        (lambda points: tiff(0 * points), "the scan is empty"),
        (lambda points: tiff(points * np.nan), r"the scan is empty; 3600 of 3600 points are missing \(NaN: 3600\)"),
    ],
)
def test_damaged_points_are_named(tmp_path, content, message):
    points, rgb, gt, _ = plane_and_ball()
    files = mvtec_scan(tmp_path, "bolt/test/good/000", points, rgb, gt)
    write(files["xyz"], content(points))
    (scan,) = reader("mvtec3d").find_scans(tmp_path, "bolt")
    with pytest.raises(InputError, match=message) as error:
        reader("mvtec3d").read(scan)
    assert str(files["xyz"]) in str(error.value)


@pytest.mark.parametrize(
    ("role", "content", "message"),
    [
        ("rgb", lambda rgb, gt: png(rgb[:50]), "60 x 50 pixels, but .*000.tiff has 60 x 60"),
        ("rgb", lambda rgb, gt: png(rgb[..., 0] > 99), "expected RGB, grey or a palette"),
        ("rgb", lambda rgb, gt: png(rgb)[:3000], "not a readable image"),
        ("gt", lambda rgb, gt: png(gt[:, :40]), "40 x 60 pixels, but .*000.tiff has 60 x 60"),
        ("gt", lambda rgb, gt: b"GIF89a", "not a readable image"),
    ],
)
def test_damaged_pictures_are_named(tmp_path, role, content, message):
    points, rgb, gt, _ = plane_and_ball()
    files = mvtec_scan(tmp_path, "bolt/test/good/000", points, rgb, gt)
    write(files[role], content(rgb, gt))
    (scan,) = reader("mvtec3d").find_scans(tmp_path, "bolt")
    with pytest.raises(InputError, match=message) as error:
        reader("mvtec3d").read(scan)
    assert str(files[role]) in str(error.value)


def test_a_category_is_listed_without_its_siblings(mvtec, monkeypatch):
    listed, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(Path(path)) or listdir(path))
    list_scans("mvtec3d", mvtec, "bolt")
    assert mvtec / "bolt/test" in listed
    assert mvtec not in listed


def test_ten_thousand_files_are_listed_quickly(tmp_path):
    for role, end in (("xyz", "tiff"), ("rgb", "png"), ("gt", "png")):
        folder = tmp_path / "big/test/good" / role
        folder.mkdir(parents=True)
        for number in range(3400):
            (folder / f"{number:04d}.{end}").touch()
    start = time.process_time()
    assert n_files(list_scans("mvtec3d", tmp_path, "big")) == 10200
    assert time.process_time() - start < 2


# Eyecandies ----------------------------------------------------------------------------------------------------------


def test_eyecandies_points_are_pose_times_inverse_intrinsics(tmp_path):
    eyecandies_sample(tmp_path, "07", True, True)
    (scan,) = reader("eyecandies").find_scans(tmp_path, "Gum")
    raw = reader("eyecandies").read(scan)
    # The data set's own stage in homogeneous coordinates, pixel by pixel: pose inv(K) (u, v, 1, 1/d) d.
    intrinsics = np.array([[711.11, 0, 256, 0], [0, 711.11, 256, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    depth16 = np.random.default_rng(0).integers(0, 65536, (512, 512)).astype(np.uint16)
    for row, column in np.random.default_rng(3).integers(0, 512, (50, 2)):
        depth = depth16[row, column] / 65535 * (3.25 - 1.5) + 1.5
        expected = POSE @ np.linalg.inv(intrinsics) @ np.array([column, row, 1, 1 / depth]) * depth
        np.testing.assert_allclose(raw.points[row, column], expected[:3], rtol=1e-12)
    assert raw.valid.all()
    assert raw.mask.sum() == 200
    rng = np.random.default_rng(0)
    rng.integers(0, 65536, (512, 512))
    np.testing.assert_array_equal(raw.rgb, rng.integers(0, 255, (512, 512, 3)).astype(np.uint8))


def test_unproject_puts_the_principal_point_on_the_axis():
    depth = np.full((4, 6), 2.0)
    points = unproject(depth, np.eye(4))
    np.testing.assert_array_equal(points[2, 3], (0, 0, 2))
    np.testing.assert_allclose(points[2, 5], (2 * 2 / 711.11, 0, 2))
    np.testing.assert_allclose(points[0, 3], (0, -2 * 2 / 711.11, 2))


def test_eyecandies_depth_of_zero_is_no_point(tmp_path):
    files = eyecandies_sample(tmp_path, "07", True, True)
    depth = np.full((512, 512), 30000, np.uint16)
    depth[:3] = 0
    write(files["depth.png"], png(depth))
    write(files["info_depth.yaml"], "normalization: {min: 0, max: 2}")
    (scan,) = reader("eyecandies").find_scans(tmp_path, "Gum")
    raw = reader("eyecandies").read(scan)
    assert not raw.valid[:3].any()
    assert raw.valid[3:].all()
    assert (raw.points[:3] == 0).all()


def test_eyecandies_label_is_in_the_metadata_else_in_the_mask(tmp_path):
    eyecandies_sample(tmp_path, "00", False, False)
    eyecandies_sample(tmp_path, "01", True, True)
    eyecandies_sample(tmp_path, "02", None, True)
    eyecandies_sample(tmp_path, "03", None, False)
    eyecandies_sample(tmp_path, "04", True, False)
    stray(tmp_path)
    scans = reader("eyecandies").find_scans(tmp_path, "Gum")
    assert [scan.name for scan in scans] == ["bad/01", "bad/02", "bad/04", "good/00", "good/03"]
    assert n_files(list_scans("eyecandies", tmp_path, "Gum")) == 3 * 6 + 2 * 5


@pytest.mark.parametrize(
    ("item", "content", "message"),
    [
        ("depth.png", png(np.ones((512, 512), np.uint8)), "expected 16-bit grey"),
        ("depth.png", png(np.ones((512, 500), np.uint16)), "500 x 512 pixels, expected 512 x 512"),
        ("depth.png", b"\x89PNG", "not a readable image"),
        ("info_depth.yaml", "normalization: {min: 1}", "expected `normalization: {min: ..., max: ...}`"),
        ("info_depth.yaml", "normalization: {min: 1, max: .nan}", "expected min below max"),
        ("info_depth.yaml", "- [", "not readable as yaml"),
        ("info_depth.yaml", "", "expected keys and values"),
        ("pose.txt", "1 0 0\n0 1 0\n", "expected 4 x 4"),
        ("pose.txt", "1 0 0 0\n" * 3 + "0 0 0 x\n", "not a matrix of numbers"),
        ("pose.txt", "1 0 0 0\n" * 3 + "0 0 0\n", "not a matrix of numbers"),
        ("pose.txt", "1 0 0 nan\n" * 4, "expected 4 x 4 finite numbers"),
        ("image_0.png", png(np.ones((500, 512, 3), np.uint8)), "512 x 500 pixels, but"),
        ("mask.png", png(np.ones((512, 511), np.uint8)), "511 x 512 pixels, but"),
        ("metadata.yaml", "anomalous: perhaps", "expected 0 or 1"),
    ],
)
def test_damaged_samples_are_named(tmp_path, item, content, message):
    files = eyecandies_sample(tmp_path, "07", True, True)
    write(files[item], content)
    with pytest.raises(InputError) as error:
        for scan in reader("eyecandies").find_scans(tmp_path, "Gum"):
            reader("eyecandies").read(scan)
    assert message in str(error.value)
    assert str(files[item]) in str(error.value)


@pytest.mark.parametrize("item", ["depth.png", "info_depth.yaml", "pose.txt", "image_0.png", "mask.png"])
def test_a_sample_without_its_parts_is_named(tmp_path, item):
    eyecandies_sample(tmp_path, "06", True, True)
    files = eyecandies_sample(tmp_path, "07", True, True)
    files[item].unlink()
    with pytest.raises(InputError) as error:
        list_scans("eyecandies", tmp_path, "Gum")
    assert str(files[item]) in str(error.value)


# Real3D-AD -----------------------------------------------------------------------------------------------------------


def cloud(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-15, 15, (n, 3)).astype(np.float32)
    return points, points[:, 0] > 10


@pytest.mark.parametrize("kind", ["ascii", "binary"])
@pytest.mark.parametrize(("folder", "separator"), [("gt", " "), ("GT", ",")])
def test_real3d_reads_what_was_written(tmp_path, kind, folder, separator):
    points, labels = cloud()
    write(tmp_path / "duck/test/482_bulge.pcd", pcd(points, kind))
    write(tmp_path / f"duck/{folder}/482_bulge.txt", rows(points, labels, separator))
    write(tmp_path / "duck/test/12_good.pcd", pcd(points[:50], kind))
    stray(tmp_path)
    scans = reader("real3d").find_scans(tmp_path, "duck")
    assert [(scan.name, scan.defect) for scan in scans] == [("bulge/482", "bulge"), ("good/12", "good")]
    raw = reader("real3d").read(scans[0])
    np.testing.assert_allclose(raw.points, points, rtol=1e-6)
    np.testing.assert_array_equal(raw.labels, labels)
    good = reader("real3d").read(scans[1])
    assert len(good.points) == 50
    assert not good.labels.any()
    assert n_files(list_scans("real3d", tmp_path, "duck")) == 3


def test_labels_follow_the_nearest_point(tmp_path):
    points, labels = cloud()
    order = np.random.default_rng(5).permutation(len(points))
    # Another order, and a row more.
    text = rows(points[order], labels[order]) + "40.0 40.0 40.0 1\n"
    write(tmp_path / "duck/test/1_sink_copy.pcd", pcd(points))
    write(tmp_path / "duck/gt/1_sink_copy.txt", text)
    (scan,) = reader("real3d").find_scans(tmp_path, "duck")
    np.testing.assert_array_equal(reader("real3d").read(scan).labels, labels)


def test_names_of_real3d(tmp_path):
    points, labels = cloud(60)
    names = ["1_bulge", "2_sink_cut", "3_sink_copy", "4_good_cut", "5_bulge_cut", "6_hole", "7_template", "8_prototype"]
    # A word that begins like theirs says nothing.
    names += ["9_temperature", "temp_10", "duck_template0"]
    for name in names:
        write(tmp_path / f"duck/test/{name}.pcd", pcd(points))
    # Files of labels that lack the suffix of their cloud, or have one more.
    for name in ("1_bulge_cut", "2_sink", "3_sink", "5_bulge_cut", "6_hole", "9_temperature"):
        write(tmp_path / f"duck/gt/{name}.txt", rows(points, labels))
    write(tmp_path / "duck/train/1_prototype.pcd", "not read")
    scans = reader("real3d").find_scans(tmp_path, "duck")
    assert [scan.name for scan in scans] == [
        "bulge/1",
        "bulge/5_cut",
        "good/4_cut",
        "hole/6",
        "sink/2_cut",
        "sink/3_copy",
        "temperature/9",
    ]
    assert {scan.name: scan.files["gt"].stem for scan in scans if "gt" in scan.files} == {
        "bulge/1": "1_bulge_cut",
        "bulge/5_cut": "5_bulge_cut",
        "hole/6": "6_hole",
        "sink/2_cut": "2_sink",
        "sink/3_copy": "3_sink",
        "temperature/9": "9_temperature",
    }


def test_labels_of_another_scan_are_never_taken(tmp_path):
    points, labels = cloud(60)
    for name in ("1_bulge", "1_bulge_cut"):
        write(tmp_path / f"duck/test/{name}.pcd", pcd(points))
    write(tmp_path / "duck/gt/1_bulge.txt", rows(points, labels))
    with pytest.raises(InputError, match=r"gt/1_bulge_cut.txt: missing, it belongs to .*test/1_bulge_cut.pcd"):
        list_scans("real3d", tmp_path, "duck")


def test_a_defect_without_labels_is_named(tmp_path):
    points, labels = cloud(60)
    for name in ("1_bulge", "2_bulge"):
        write(tmp_path / f"duck/test/{name}.pcd", pcd(points))
    write(tmp_path / "duck/gt/2_bulge.txt", rows(points, labels))
    with pytest.raises(InputError, match=r"duck/gt/1_bulge.txt: missing"):
        list_scans("real3d", tmp_path, "duck")


POINTS, LABELS = cloud(300)


@pytest.mark.parametrize(
    ("item", "content", "message"),
    [
        ("pcd", pcd(POINTS[:0]), "the header says 0 points"),
        ("pcd", b"", "the file is empty"),
        ("pcd", b"ply\n", "not a pcd (it seems to be a ply)"),
        ("pcd", pcd(POINTS, "binary")[:-700], "the header says 300 points of 12 bytes, 3600 bytes in all, but 2900"),
        ("pcd", pcd(POINTS)[:-400], "the header says 300 points, but"),
        ("pcd", pcd(POINTS).partition(b"DATA ascii\n")[0] + b"DATA ascii\n", "300 points, but 0 bytes follow"),
        (
            "pcd",
            pcd(POINTS * np.float32("nan"), "binary"),
            "the scan is empty; 300 of 300 points are missing (NaN: 300)",
        ),
        ("gt", "", "the file is empty"),
        ("gt", "\n\n", "not a table of numbers; no rows"),
        ("gt", "1 2 3\n1 2 3\n", "line 1: 3 columns, expected rows `x y z label`"),
        ("gt", "1 2 3 0\n1 2 3\n", "line 2: 3 columns, expected 4"),
        ("gt", "one two three 0\n", "line 1: 'one two three 0' is no row of numbers"),
        ("gt", rows(POINTS, LABELS).replace(" 1\n", " -7\n"), "label -7, expected 0 for a good point"),
        ("gt", "0\n" * 299, "299 labels without coordinates, but"),
        ("gt", rows(POINTS, LABELS) + "nan 0 0 0\n", "line 301, column 1: NaN or infinite"),
        ("gt", rows(POINTS + 1, LABELS), "does not match"),
        ("gt", rows(POINTS[:250], LABELS[:250]), "of its 300 points 83.3% lie at one of the 250 rows"),
    ],
)
def test_damaged_clouds_are_named(tmp_path, item, content, message):
    files = {
        "pcd": write(tmp_path / "duck/test/1_bulge.pcd", pcd(POINTS)),
        "gt": write(tmp_path / "duck/gt/1_bulge.txt", rows(POINTS, LABELS)),
    }
    write(files[item], content)
    (scan,) = reader("real3d").find_scans(tmp_path, "duck")
    with pytest.raises(InputError) as error:
        reader("real3d").read(scan)
    assert message in str(error.value)
    assert str(files[item]) in str(error.value)


def test_labels_of_a_similar_cloud_do_not_match():
    # Two scans of one surface: each point of one has a point of the other within a spacing.
    rng = np.random.default_rng(0)
    first, second = (np.c_[rng.uniform(0, 30, (8000, 2)), np.zeros(8000)] for _ in range(2))
    with pytest.raises(InputError, match=r"gt.txt: does not match cloud.pcd"):
        match_labels(first, second, np.zeros(8000, bool), Path("gt.txt"), Path("cloud.pcd"))
