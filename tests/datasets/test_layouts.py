"""Files as people name and leave them: upper-case endings, two folders of labels, no photographs, no labels."""

import numpy as np
import pytest
from raw_files import eyecandies_sample, mvtec_scan, pcd, plane_and_ball, png, rows, tiff, write

from pointad_core.datasets.registry import reader
from pointad_core.datasets.scans import parse_real3d
from pointad_core.errors import InputError

PICTURE = plane_and_ball(side=24)
CLOUD = np.random.default_rng(0).uniform(-15, 15, (60, 3)).astype(np.float32)
LABELS = CLOUD[:, 0] > 10


def names_of(layout, root, category):
    return [scan.name for scan in reader(layout).find_scans(root, category)]


def read_all(layout, root, category):
    return {scan.name: reader(layout).read(scan) for scan in reader(layout).find_scans(root, category)}


def write_mvtec(root, *names, without=()):
    """Scans "<kind>/<id>", those that are not good with a defect, without the files of some roles."""
    points, rgb, gt, _ = PICTURE
    for name in names:
        files = mvtec_scan(root, f"bolt/test/{name}", points, rgb, 0 * gt if name.startswith("good") else gt)
        for role in without:
            files[role].unlink()
            if not list(files[role].parent.iterdir()):
                files[role].parent.rmdir()


def rename(path, name):
    path.rename(path.with_name(name))


# In any case ---------------------------------------------------------------------------------------------------------


def test_mvtec_files_are_found_in_any_case(tmp_path):
    write_mvtec(tmp_path, "good/000", "bent/000", "bent/001", "bent/002")
    bent = tmp_path / "bolt/test/bent"
    rename(bent / "xyz/000.tiff", "000.TIFF")
    rename(bent / "rgb/000.png", "000.PNG")
    rename(bent / "gt/001.png", "001.Png")
    rename(bent / "xyz/002.tiff", "002.TIF")
    for folder in ("xyz", "rgb", "gt"):
        rename(tmp_path / f"bolt/test/good/{folder}", folder.upper())
    found = read_all("mvtec3d", tmp_path, "bolt")
    assert list(found) == ["bent/000", "bent/001", "bent/002", "good/000"]
    assert [raw.mask.any() for raw in found.values()] == [True, True, True, False]
    assert all(raw.rgb is not None for raw in found.values())


@pytest.mark.parametrize("folder", ["xyz", "rgb", "gt"])
def test_files_that_differ_in_case_alone_are_refused(tmp_path, folder):
    write_mvtec(tmp_path, "bent/000")
    (path,) = (tmp_path / f"bolt/test/bent/{folder}").iterdir()
    write(path.with_name(path.name.upper()), path.read_bytes())
    with pytest.raises(InputError, match=rf"{folder}/.*: the scan has .* as well; remove one") as error:
        names_of("mvtec3d", tmp_path, "bolt")
    assert path.name in str(error.value)
    assert path.name.upper() in str(error.value)


def test_real3d_files_are_found_in_any_case(tmp_path):
    write(tmp_path / "duck/test/1_bulge.PCD", pcd(CLOUD))
    write(tmp_path / "duck/test/2_bulge.pcd", pcd(CLOUD))
    write(tmp_path / "duck/gt/1_bulge.txt", rows(CLOUD, LABELS))
    write(tmp_path / "duck/gt/2_bulge.TXT", rows(CLOUD, LABELS))
    for raw in read_all("real3d", tmp_path, "duck").values():
        np.testing.assert_array_equal(raw.labels, LABELS)
    write(tmp_path / "duck/test/2_bulge.Pcd", pcd(CLOUD))
    with pytest.raises(InputError, match=r"test/2_bulge.Pcd: the scan has 2_bulge.pcd as well"):
        names_of("real3d", tmp_path, "duck")


def test_eyecandies_files_are_found_in_any_case(tmp_path):
    for path in eyecandies_sample(tmp_path, "a1", None, True).values():
        rename(path, path.name.upper())
    eyecandies_sample(tmp_path, "02", False, False)
    found = read_all("eyecandies", tmp_path, "Gum")
    assert list(found) == ["bad/A1", "good/02"]
    assert found["bad/A1"].mask.sum() == 200
    write(tmp_path / "Gum/test_public/data/02_MASK.png", "two of them")
    with pytest.raises(InputError, match=r"02_MASK.png: the sample has 02_mask.png as well"):
        names_of("eyecandies", tmp_path, "Gum")


# Labels --------------------------------------------------------------------------------------------------------------


def test_labels_in_both_folders_are_joined(tmp_path):
    for name in ("1_bulge", "2_bulge"):
        write(tmp_path / f"duck/test/{name}.pcd", pcd(CLOUD))
    write(tmp_path / "duck/gt/1_bulge.txt", rows(CLOUD, LABELS))
    write(tmp_path / "duck/GT/2_bulge.txt", rows(CLOUD, ~LABELS))
    found = read_all("real3d", tmp_path, "duck")
    np.testing.assert_array_equal(found["bulge/1"].labels, LABELS)
    np.testing.assert_array_equal(found["bulge/2"].labels, ~LABELS)
    write(tmp_path / "duck/GT/1_bulge.txt", rows(CLOUD, ~LABELS))
    with pytest.raises(InputError, match=r"duck/GT/1_bulge.txt: the scan has .*duck/gt/1_bulge.txt as well"):
        names_of("real3d", tmp_path, "duck")


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("482_good", ("good", "482")),
        ("4_good_cut", ("good", "4_cut")),
        ("Good_5", ("good", "Good_5")),
        ("shell_good01", ("good", "shell_good01")),
        ("goodyear_008_bulge", ("bulge", "goodyear_008")),
        ("007_notgood", ("notgood", "007")),
        ("007_not_good", ("not", "007_good")),
        ("not_good_4", ("defect", "not_good_4")),
        ("no_Good", ("defect", "no_Good")),
        ("goods_3_sink", ("sink", "goods_3")),
        ("482_bulge_cut", ("bulge", "482_cut")),
        ("17", ("defect", "17")),
        # Of no category that is known here, it is a name as any other.
        ("ashtray0_bulge0", ("bulge0", "ashtray0")),
    ],
)
def test_the_word_good_alone_makes_a_scan_good(stem, expected):
    assert parse_real3d(stem) == expected


def test_a_category_called_good_makes_no_scan_good():
    assert parse_real3d("good_12_bulge", "good") == ("bulge", "good_12")
    assert parse_real3d("good_bulge3", "good") == ("bulge", "3")
    assert parse_real3d("good_positive3", "good") == ("good", "3")
    assert parse_real3d("good_3", "good") == ("good", "3")
    assert parse_real3d("12_good_cut", "good") == ("good", "12_cut")


def test_a_file_of_labels_is_believed_before_a_name(tmp_path):
    write(tmp_path / "tyre/test/goodyear_008_bulge.pcd", pcd(CLOUD))
    write(tmp_path / "tyre/test/007_good.pcd", pcd(CLOUD))
    for name in ("goodyear_008_bulge", "007_good"):
        write(tmp_path / f"tyre/gt/{name}.txt", rows(CLOUD, LABELS))
    for raw in read_all("real3d", tmp_path, "tyre").values():
        np.testing.assert_array_equal(raw.labels, LABELS)


def test_anomaly_shapenet_as_it_is_distributed(tmp_path):
    kinds = ["bulge0", "bulge1", "concavity0", "crack2", "hole0"]
    for name in [*kinds, "positive0", "positive1"]:
        write(tmp_path / f"ashtray0/test/ashtray0_{name}.pcd", pcd(CLOUD, "binary"))
    for name in kinds:
        write(tmp_path / f"ashtray0/GT/ashtray0_{name}.txt", rows(CLOUD, LABELS, ","))
    write(tmp_path / "ashtray0/train/ashtray0_template0.pcd", "not read")
    found = read_all("real3d", tmp_path, "ashtray0")
    defective = ["bulge/0", "bulge/1", "concavity/0", "crack/2", "hole/0"]
    assert set(found) == {*defective, "good/0", "good/1"}
    for name, raw in found.items():
        np.testing.assert_array_equal(raw.labels, LABELS & (name in defective))
    (tmp_path / "ashtray0/GT/ashtray0_bulge1.txt").unlink()
    with pytest.raises(InputError, match=r"GT/ashtray0_bulge1.txt: missing, it belongs to .*ashtray0_bulge1.pcd"):
        names_of("real3d", tmp_path, "ashtray0")


@pytest.mark.parametrize("layout", ["real3d", "anomaly_shapenet"])
def test_anomaly_shapenets_names_may_lack_the_categorys_number(tmp_path, layout):
    for name in ("desk_bulge0", "desk_positive0", "desk0_bulge1", "desk0_crak0"):
        write(tmp_path / f"desk0/test/{name}.pcd", pcd(CLOUD, "binary"))
        if "positive" not in name:
            # In another order than the points, and with a row of a point that is not there.
            order = np.random.default_rng(1).permutation(len(CLOUD))
            text = rows(CLOUD[order], LABELS[order], ",") + "40.0,40.0,40.0,1.0\n"
            write(tmp_path / f"desk0/GT/{name}.txt", text)
    found = read_all(layout, tmp_path, "desk0")
    assert list(found) == ["bulge/0", "bulge/1", "crak/0", "good/0"]
    for name, raw in found.items():
        np.testing.assert_array_equal(raw.labels, LABELS & (name != "good/0"))
    write(tmp_path / "desk0/test/desk0_bulge0.pcd", pcd(CLOUD, "binary"))
    write(tmp_path / "desk0/GT/desk0_bulge0.txt", rows(CLOUD, LABELS))
    with pytest.raises(
        InputError, match=r"desk_bulge0.pcd: would be called bulge/0 like .*desk0_bulge0.pcd; rename one"
    ):
        names_of(layout, tmp_path, "desk0")


def test_a_category_of_digits_keeps_its_name():
    assert parse_real3d("12_bulge3", "12") == ("bulge", "3")
    assert parse_real3d("_bulge3", "12") == ("bulge3", "")


# Without photographs, without labels ---------------------------------------------------------------------------------


def test_mvtec_without_photographs(tmp_path):
    write_mvtec(tmp_path, "good/000", "bent/000", without=["rgb"])
    found = read_all("mvtec3d", tmp_path, "bolt")
    assert [raw.rgb for raw in found.values()] == [None, None]
    assert [raw.mask.any() for raw in found.values()] == [True, False]


def test_mvtec_without_labels_knows_good_scans_alone(tmp_path):
    write_mvtec(tmp_path, "good/000", "scans/000", without=["gt"])
    found = read_all("mvtec3d", tmp_path, "bolt")
    assert found["scans/000"].mask is None
    assert found["scans/000"].rgb is not None
    assert not found["good/000"].mask.any()


def test_mvtec_good_scans_may_go_without_labels_where_defects_have_them(tmp_path):
    write_mvtec(tmp_path, "good/000", without=["gt"])
    write_mvtec(tmp_path, "bent/000")
    found = read_all("mvtec3d", tmp_path, "bolt")
    assert [raw.mask.any() for raw in found.values()] == [True, False]
    # A folder that is there, with one file lacking, is a mistake.
    write_mvtec(tmp_path, "good/001")
    with pytest.raises(InputError, match=r"good/gt/000.png: missing, it belongs to .*good/xyz/000.tiff"):
        names_of("mvtec3d", tmp_path, "bolt")


@pytest.mark.parametrize("role", ["rgb", "gt"])
def test_what_one_mvtec_scan_has_each_needs(tmp_path, role):
    write_mvtec(tmp_path, "bent/000")
    write_mvtec(tmp_path, "torn/000", without=[role])
    with pytest.raises(InputError, match=rf"torn/{role}/000.png: missing, it belongs to .*torn/xyz/000.tiff"):
        names_of("mvtec3d", tmp_path, "bolt")


def test_files_of_another_kind_do_not_count_as_missing(tmp_path):
    write_mvtec(tmp_path, "bent/000")
    rename(tmp_path / "bolt/test/bent/gt/000.png", "000.jpg")
    with pytest.raises(InputError, match=r"gt/000.png: missing.*; 000.jpg is none of .png, .bmp"):
        names_of("mvtec3d", tmp_path, "bolt")


def test_points_of_another_kind_are_not_passed_over(tmp_path):
    write_mvtec(tmp_path, "bent/000")
    write(tmp_path / "bolt/test/bent/xyz/000.npy", "the same scan")
    assert names_of("mvtec3d", tmp_path, "bolt") == ["bent/000"]
    write(tmp_path / "bolt/test/bent/xyz/001.npy", "another scan")
    with pytest.raises(InputError, match=r"xyz/001.npy: expected .tiff or .tif here; convert it, or take it away"):
        names_of("mvtec3d", tmp_path, "bolt")
    write(tmp_path / "duck/test/1_good.pcd", pcd(CLOUD))
    write(tmp_path / "duck/test/readme.txt", "no scan")
    assert names_of("real3d", tmp_path, "duck") == ["good/1"]
    write(tmp_path / "duck/test/2_good.pcd.gz", "gzipped")
    with pytest.raises(InputError, match=r"test/2_good.pcd.gz: expected .pcd here"):
        names_of("real3d", tmp_path, "duck")


def test_real3d_without_labels_knows_good_scans_alone(tmp_path):
    write(tmp_path / "duck/test/1_bulge.pcd", pcd(CLOUD))
    write(tmp_path / "duck/test/scan_17.pcd", pcd(CLOUD))
    write(tmp_path / "duck/test/2_good.pcd", pcd(CLOUD))
    found = read_all("real3d", tmp_path, "duck")
    assert found["bulge/1"].labels is None
    assert found["unlabelled/scan_17"].labels is None
    assert not found["good/2"].labels.any()


def test_eyecandies_without_masks_and_photographs(tmp_path):
    for sample, anomalous in (("00", False), ("01", True), ("02", None)):
        files = eyecandies_sample(tmp_path, sample, anomalous, True)
        files["mask.png"].unlink()
        files["image_0.png"].unlink()
    found = read_all("eyecandies", tmp_path, "Gum")
    assert {name: raw.mask is None for name, raw in found.items()} == {
        "bad/01": True,
        "good/00": False,
        "unlabelled/02": True,
    }
    assert not found["good/00"].mask.any()
    assert all(raw.rgb is None for raw in found.values())


def test_photographs_of_other_kinds_are_found(tmp_path):
    points, _, gt, _ = PICTURE
    grey = (np.arange(24 * 24) % 200).astype(np.uint8).reshape(24, 24)
    write(tmp_path / "bolt/test/bent/xyz/000.tiff", tiff(points))
    write(tmp_path / "bolt/test/bent/gt/000.png", png(gt))
    write(tmp_path / "bolt/test/bent/rgb/000.JPG", png(grey))
    found = read_all("mvtec3d", tmp_path, "bolt")
    np.testing.assert_array_equal(found["bent/000"].rgb, np.repeat(grey[..., None], 3, axis=2))
