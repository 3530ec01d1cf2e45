"""MulSen-AD: corners of meshes, lists of defective points, and tables that say whose points are defective."""

import numpy as np
import open3d as o3d
import pytest
from raw_files import pcd, stl, write
from scipy.spatial.distance import cdist

from pointad_core.datasets.registry import has_label_files, list_scans, reader
from pointad_core.errors import InputError
from pointad_core.stages.clouds import is_defective
from pointad_core.storage.shards import bits

module = reader("mulsen_ad")
RNG = np.random.default_rng(0)


def make_mesh(side=12, seed=0):
    """Corners f4[T,3,3] of a bent grid of side x side points, some 20 mm wide, whose triangles share them."""
    rng = np.random.default_rng(seed)
    line = np.linspace(-10, 10, side)
    x, y = np.meshgrid(line, line)
    points = np.stack([x, y, 3 * np.sin(x / 4) + 300], axis=2).reshape(-1, 3) + 0.2 * rng.standard_normal((side**2, 3))
    at = np.arange(side**2).reshape(side, side)
    first = np.stack([at[:-1, :-1], at[:-1, 1:], at[1:, :-1]], axis=2).reshape(-1, 3)
    second = np.stack([at[1:, 1:], at[1:, :-1], at[:-1, 1:]], axis=2).reshape(-1, 3)
    triangles = rng.permutation(np.concatenate([first, second]))
    return points.astype(np.float32)[triangles]


def listed(points):
    return "".join(f"{x:.6f},{y:.6f},{z:.6f}\n" for x, y, z in points.tolist())


def write_scan(root, name, defective=None, seed=0, category="nut"):
    """A scan "<folder>/<number>", with a list of those of its points for which `defective` holds; returns these."""
    mesh = make_mesh(seed=seed)
    write(root / f"{category}/Pointcloud/test/{name}.stl", stl(mesh))
    if defective is None:
        return None
    corners = np.unique(mesh.reshape(-1, 3), axis=0)
    chosen = RNG.permutation(corners[defective(corners)])
    write(root / f"{category}/Pointcloud/GT/{name}.txt", listed(chosen))
    return chosen


def write_table(root, folder, rows, category="nut", head="object,RGB,infrared,pointcloud"):
    content = "\n".join([head, *rows]) + "\n"
    return write(root / f"{category}/RGB/GT/{folder}/data.csv", content)


def right(corners):
    return corners[:, 0] > 6


def find(root, category="nut", **options):
    return {scan.name: scan for scan in module.find_scans(root, category, **options)}


def test_points_and_labels_are_those_of_the_published_reader(tmp_path):
    write_scan(tmp_path, "hole/0", right)
    write_scan(tmp_path, "good/0", seed=1)
    found = find(tmp_path)
    assert {name: scan.defect for name, scan in found.items()} == {"good/0": "good", "hole/0": "hole"}
    raw = module.read(found["hole/0"])
    mesh = o3d.io.read_triangle_mesh(str(found["hole/0"].path)).remove_duplicated_vertices()
    points = np.asarray(mesh.vertices)
    np.testing.assert_array_equal(raw.points, points)
    # Each row marks the point nearest to it.
    rows = np.genfromtxt(found["hole/0"].files["gt"], delimiter=",")
    expected = np.zeros(len(points), bool)
    expected[cdist(rows, points).argmin(axis=1)] = True
    np.testing.assert_array_equal(raw.labels, expected)
    assert 0 < expected.sum() == len(rows) < len(points) == 144
    assert "242 triangles, of which the 144 corners are taken" in raw.notes[0]
    good = module.read(found["good/0"])
    assert not good.labels.any()
    assert len(good.points) == 144
    assert has_label_files("mulsen_ad", tmp_path, "nut")


def test_each_file_of_a_scan_is_named(tmp_path):
    write_scan(tmp_path, "hole/3", right)
    write_scan(tmp_path, "good/3")
    table = write_table(tmp_path, "hole", ["3,1,1,1"])
    write_table(tmp_path, "good", ["3,0,0,0"])
    folder = tmp_path / "nut/Pointcloud"
    assert list_scans("mulsen_ad", tmp_path, "nut") == {
        "good/3": [str(folder / "test/good/3.stl")],
        "hole/3": [str(folder / "test/hole/3.stl"), str(folder / "GT/hole/3.txt"), str(table)],
    }


def test_what_other_sensors_show_is_no_defect_of_the_points(tmp_path):
    write_scan(tmp_path, "hole/0", right)
    write_scan(tmp_path, "color/0")
    write_scan(tmp_path, "color/1", right, seed=1)
    write_table(tmp_path, "color", ["0,1,0,0", "1,1,1,1", "8,1,0,0"])
    found = find(tmp_path)
    assert {name: scan.defect for name, scan in found.items()} == {
        "color/0": "good",
        "color/1": "color",
        "hole/0": "hole",
    }
    labels = {name: module.read(scan).labels for name, scan in found.items()}
    assert {name: bool(of.any()) for name, of in labels.items()} == {"color/0": False, "color/1": True, "hole/0": True}
    assert [is_defective(scan, labels[name]) for name, scan in found.items()] == [False, True, True]


def test_a_label_file_counts_whatever_the_table_says(tmp_path, caplog):
    write_scan(tmp_path, "color/0", right)
    write_table(tmp_path, "color", ["0,1,0,0"])
    (scan,) = find(tmp_path).values()
    assert is_defective(scan, module.read(scan).labels)
    assert "called 'good', but its ground truth has an anomalous point" in caplog.text


def test_a_scan_of_which_nothing_says_whether_it_is_good_is_refused(tmp_path):
    write_scan(tmp_path, "hole/0", right)
    write_scan(tmp_path, "hole/1")
    with pytest.raises(InputError, match=r"RGB/GT/hole/data.csv: missing; .*hole/1.stl has no label file"):
        module.find(tmp_path, "nut")
    table = write_table(tmp_path, "hole", ["0,1,1,1"])
    assert [scan.name for scan in module.find(tmp_path, "nut")] == ["hole/0", "hole/1"]
    with pytest.raises(InputError, match=r"data.csv: has no row of the object 1, and .*hole/1.stl has no label file"):
        find(tmp_path)
    write_table(tmp_path, "hole", ["0,1,1,1", "1,0,1,1"])
    with pytest.raises(InputError, match=r"Pointcloud/GT/hole/1.txt: missing, it belongs to .*test/hole/1.stl"):
        find(tmp_path)
    write_table(tmp_path, "hole", ["0.png,1,1,1", "", "1.png , 1 , 1 , 0"], head="\ufeffObject,RGB,Infrared,Pointcloud")
    assert [scan.defect for scan in find(tmp_path).values()] == ["hole", "good"]
    assert table.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "its first line names no column object"),
        ("object,RGB,infrared\n0,1,1\n", "its first line names no column pointcloud"),
        ("object,RGB,infrared,pointcloud\n0,1,1,1\n1,1,1\n", "line 3: 3 columns, expected 4"),
        ("object,RGB,infrared,pointcloud\n0,1,1,yes\n", "line 2: pointcloud is 'yes', expected 0 or 1"),
        (
            "object,RGB,infrared,pointcloud\n0,1,1,0\n0,1,1,1\n",
            "line 3: says of the object 0 otherwise than a line above",
        ),
        (b"\xff\xfe\0a", "not a table that can be read"),
    ],
)
def test_a_table_that_does_not_say_it_is_refused(tmp_path, content, told):
    write_scan(tmp_path, "hole/0", right)
    write(tmp_path / "nut/RGB/GT/hole/data.csv", content)
    with pytest.raises(InputError, match=rf"hole/data.csv: {told}"):
        find(tmp_path)


def test_what_a_scan_lacks_is_told_whatever_else_its_shard_holds(tmp_path):
    write_scan(tmp_path, "hole/0", right)
    write_scan(tmp_path, "crack/0")
    write_table(tmp_path, "crack", ["0,1,1,1"])
    with pytest.raises(InputError, match=r"GT/crack/0.txt: missing, it belongs to"):
        find(tmp_path, shard=bits("crack/0")[:20])
    assert list(find(tmp_path, shard=bits("hole/0")[:20])) == ["hole/0"]


def test_a_category_without_labels(tmp_path):
    write_scan(tmp_path, "hole/0")
    write_scan(tmp_path, "crack/0")
    write_scan(tmp_path, "crack/1")
    write_scan(tmp_path, "good/0")
    write_table(tmp_path, "crack", ["0,1,1,1", "1,1,1,0"])
    found = find(tmp_path)
    states = {name: is_defective(scan, module.read(scan).labels) for name, scan in found.items()}
    # Of a hole nobody says whether the points show it, of the first crack nobody says where.
    assert states == {"good/0": False, "crack/0": True, "crack/1": False, "hole/0": None}
    assert not has_label_files("mulsen_ad", tmp_path, "nut")


def test_rows_where_no_point_is(tmp_path):
    chosen = write_scan(tmp_path, "hole/0", right)
    path = tmp_path / "nut/Pointcloud/GT/hole/0.txt"
    off = chosen + np.float32([0, 0, 100])
    # A row within a face is at its nearest corner.
    stray = np.array([[-9, -9, 400]])
    write(path, listed(np.concatenate([chosen + np.float32(0.1), chosen, stray])))
    (scan,) = find(tmp_path).values()
    raw = module.read(scan)
    assert raw.labels.sum() == len(chosen)
    line = 2 * len(chosen) + 1
    assert raw.notes[-1] == (f"{path}: line {line}: no point of {scan.path} is there; 1 of {line} rows are passed over")
    write(path, "x,y,z\n" + listed(np.concatenate([chosen[:5], off[5:]])))
    told = rf"0.txt: line 7: no point of .*hole/0.stl is there, the nearest is .* away; so it is with {len(off) - 5} of"
    with pytest.raises(InputError, match=told):
        module.read(scan)


def test_rows_with_labels_of_their_own(tmp_path):
    chosen = write_scan(tmp_path, "hole/0", right)
    path = tmp_path / "nut/Pointcloud/GT/hole/0.txt"
    marked = np.arange(len(chosen)) % 2 == 0
    content = listed(chosen).splitlines()
    write(path, "".join(f"{row},{int(label)}\n" for row, label in zip(content, marked, strict=True)))
    (scan,) = find(tmp_path).values()
    assert module.read(scan).labels.sum() == marked.sum()
    write(path, "".join(f"{row},0\n" for row in content))
    with pytest.raises(InputError, match=r"0.txt: lists no defective point; all labels are 0"):
        module.read(scan)
    # Normals, or whatever else.
    write(path, "".join(f"{row},0,0.6,0.8\n" for row in content))
    assert module.read(scan).labels.sum() == len(chosen)
    write(path, "1,2\n")
    with pytest.raises(InputError, match=r"0.txt: line 1: 2 columns, expected rows `x y z`"):
        module.read(scan)
    write(path, "")
    with pytest.raises(InputError, match=r"0.txt: the file is empty"):
        module.read(scan)


def test_the_train_split_needs_no_folder_of_good_ones(tmp_path):
    for name in ("0.stl", "11.STL"):
        write(tmp_path / f"nut/Pointcloud/train/{name}", stl(make_mesh()))
    found = find(tmp_path, split="train")
    assert list(found) == ["good/0", "good/11"]
    assert not module.read(found["good/0"]).labels.any()
    write(tmp_path / "nut/Pointcloud/train/12.pcd", pcd(make_mesh()[0]))
    with pytest.raises(InputError, match=r"train/12.pcd: expected .stl here"):
        find(tmp_path, split="train")


def test_folders_in_any_case_and_those_that_lack(tmp_path):
    with pytest.raises(InputError, match="no such category"):
        find(tmp_path)
    (tmp_path / "nut/RGB/test").mkdir(parents=True)
    with pytest.raises(InputError, match="nut/Pointcloud: no such folder"):
        find(tmp_path)
    write_scan(tmp_path, "Good/0")
    write_scan(tmp_path, "hole/0", right)
    (tmp_path / "nut/Pointcloud").rename(tmp_path / "nut/pointcloud")
    (tmp_path / "nut/pointcloud/GT").rename(tmp_path / "nut/pointcloud/gt")
    found = find(tmp_path)
    assert {name: scan.defect for name, scan in found.items()} == {"Good/0": "good", "hole/0": "hole"}
    assert module.read(found["hole/0"]).labels.any()
    assert list(find(tmp_path, shard="0")) + list(find(tmp_path, shard="1")) == sorted(found, key=bits)


def test_a_mesh_without_corners_is_refused(tmp_path):
    write(tmp_path / "nut/Pointcloud/test/good/0.stl", stl(make_mesh()[:0]))
    (scan,) = find(tmp_path).values()
    with pytest.raises(InputError, match=r"0.stl: the scan is empty; it has no points"):
        module.read(scan)
