"""Train splits: where the layouts have their good scans, and what the generator writes there."""

import numpy as np
import pytest
from raw_files import mvtec_scan, pcd, write
from scipy.spatial import KDTree

from pointad_core.datasets.generator.catalogue import CATEGORIES, generated_files, generated_name, generated_scans
from pointad_core.datasets.generator.scans import generate_category
from pointad_core.datasets.registry import LAYOUTS, list_scans, reader
from pointad_core.datasets.scans import TRAIN
from pointad_core.errors import InputError

FIRST = [(layout, categories[0]) for layout, categories in CATEGORIES.items()]
SCANS = 3


def files_in(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def find(layout, root, category, split=TRAIN):
    return reader(layout).find_scans(root, category, split=split)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Both splits of each layout's first category."""
    root = tmp_path_factory.mktemp("generated")
    for layout, category in FIRST:
        generate_category(root / layout, layout, category, range(2), 1)
        generate_category(root / layout, layout, category, range(SCANS), 1, split=TRAIN)
    return root


@pytest.mark.parametrize(("layout", "category"), FIRST)
def test_good_scans_are_written_and_found(root, layout, category):
    test, train = (generated_files(layout, category, *given) for given in ((2,), (SCANS, "", TRAIN)))
    assert not set(test) & set(train)
    assert sorted(files_in(root / layout)) == sorted(test + train)
    listed = list_scans(layout, root / layout, category, TRAIN)
    generated = generated_scans(layout, category, SCANS, TRAIN)
    assert listed.keys() == generated.keys()
    for name, files in generated.items():
        # A reader needs some of an Eyecandies sample's files, and all of the others'.
        assert set(listed[name]) <= {str(root / layout / file) for file in files.values()}
        assert all(generated_name(layout, file.partition("/")[2], TRAIN) == name for file in files.values())
        assert not any(generated_name(layout, file.partition("/")[2]) for file in files.values())
    assert not any(generated_name(layout, file.partition("/")[2], TRAIN) for file in test if "/test" in file)
    for scan in find(layout, root / layout, category):
        assert (scan.defect, scan.name.partition("/")[0]) == ("good", "good")
        raw = reader(layout).read(scan)
        labels = raw.mask if LAYOUTS[layout].scene else raw.labels
        assert not labels.any()


@pytest.mark.parametrize(("layout", "category"), FIRST)
def test_neither_split_touches_the_other(root, tmp_path, layout, category):
    whole = files_in(root / layout)
    generate_category(tmp_path, layout, category, range(SCANS), 1, split=TRAIN)
    train = files_in(tmp_path)
    assert all(whole[name] == content for name, content in train.items())
    # The test split's own bytes are as they are without a train split.
    generate_category(tmp_path, layout, category, range(2), 1)
    assert files_in(tmp_path) == whole
    # Fewer scans leave none of before, and more append.
    generate_category(tmp_path, layout, category, range(2), 1, split=TRAIN)
    assert sorted(files_in(tmp_path)) == sorted(
        generated_files(layout, category, 2) + generated_files(layout, category, 2, "", TRAIN)
    )
    assert len(find(layout, tmp_path, category)) == 2


def test_prototypes_show_all_sides(root):
    def thickness(scan):
        """Median extent in depth of 10 points that are neighbours in the scanner's picture."""
        points = reader("real3d").read(scan).points
        around = KDTree(points[:, :2]).query(points[::50, :2], k=10)[1]
        return np.median(np.ptp(points[around, 2], axis=1))

    front = thickness(find("real3d", root / "real3d", "diamond", "test")[0])
    assert all(thickness(scan) > 3 * front for scan in find("real3d", root / "real3d", "diamond"))


def test_mvtec_scans_go_without_ground_truth(tmp_path):
    rng = np.random.default_rng()
    points = rng.random((10, 12, 3)).astype(np.float32) + 1
    rgb = rng.integers(0, 256, (10, 12, 3)).astype(np.uint8)
    for name in ("train/good/000", "test/good/000", "validation/good/000"):
        files = mvtec_scan(tmp_path, f"bolt/{name}", points, rgb, np.zeros((10, 12), np.uint8))
        if name.startswith("train"):
            files["gt"].unlink()
            files["gt"].parent.rmdir()
    (scan,) = find("mvtec3d", tmp_path, "bolt")
    assert (scan.name, set(scan.files)) == ("good/000", {"xyz", "rgb"})
    assert not reader("mvtec3d").read(scan).mask.any()


def test_clouds_of_any_name_are_good_ones(tmp_path):
    cloud = np.random.default_rng().random((20, 3)).astype(np.float32)
    write(tmp_path / "duck/train/1_prototype.pcd", pcd(cloud))
    write(tmp_path / "duck/train/a_template.PCD", pcd(cloud))
    write(tmp_path / "duck/test/9_good.pcd", pcd(cloud))
    names = [scan.name for scan in find("real3d", tmp_path, "duck")]
    assert names == ["good/1_prototype", "good/a_template"]
    assert [scan.name for scan in find("real3d", tmp_path, "duck", "test")] == ["good/9"]


@pytest.mark.parametrize("layout", ["folder", "folder_organised"])
def test_a_folder_of_ones_own_has_a_folder_of_good_ones(tmp_path, layout):
    cloud = np.random.default_rng().random((20, 3)).astype(np.float32)
    for name in ("train/good/1", "train/2", "good/3", "bad/4"):
        write(tmp_path / f"part/{name}.pcd", pcd(cloud))
    assert [scan.name for scan in find(layout, tmp_path, "part")] == ["good/1"]
    # What lies in `train` itself is a kind of defect, as in any other folder.
    assert [scan.name for scan in find(layout, tmp_path, "part", "test")] == ["bad/4", "good/3", "train/2"]


@pytest.mark.parametrize(
    ("layout", "folder"),
    [
        ("mvtec3d", "part/train: no such folder"),
        ("eyecandies", "part/train/data: no such folder"),
        ("real3d", "part/train: no such folder"),
        ("mulsen_ad", "part/Pointcloud/train: no such folder"),
        ("folder", "part/train/good: no such folder"),
    ],
)
def test_a_category_without_a_train_split_says_where_it_would_be(tmp_path, layout, folder):
    (tmp_path / "part/test").mkdir(parents=True)
    with pytest.raises(InputError, match=folder):
        find(layout, tmp_path, "part")
