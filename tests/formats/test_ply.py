"""The reader of ply against files that plyfile and Open3D write, and against bytes written here."""

import gzip
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from plyfile import PlyData, PlyElement
from raw_files import write

from pointad_core.errors import InputError
from pointad_core.formats.ply import read

KINDS = ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"]


def saved(path: Path, elements: list[PlyElement], text: bool, order: str) -> Path:
    PlyData(elements, text=text, byte_order=order, comments=["a comment"], obj_info=["some info"]).write(str(path))
    return path


FORMATS = [(True, "="), (False, "<"), (False, ">")]


@pytest.mark.parametrize(("text", "order"), FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_type_and_order(tmp_path, kind, text, order):
    rng = np.random.default_rng(0)
    rows = np.zeros(50, [("quality", "f4"), ("Z", "f8"), ("x", kind), ("y", kind), ("scalar_label", "u1")])
    for name in ("x", "y"):
        rows[name] = rng.integers(-100 if kind[0] != "u" else 0, 100, 50) / (3 if kind[0] == "f" else 1)
    rows["Z"], rows["quality"] = rng.normal(size=50), rng.normal(size=50)
    rows["scalar_label"] = rng.integers(0, 2, 50) * 255
    reading = read(saved(tmp_path / "a.ply", [PlyElement.describe(rows, "vertex")], text, order))
    expected = np.stack([rows[name].astype(np.float64) for name in ("x", "y", "Z")], axis=1)
    np.testing.assert_allclose(reading.points, expected, rtol=1e-7 if text else 0)
    np.testing.assert_array_equal(reading.labels, rows["scalar_label"] == 255)
    assert reading.colours is None
    assert reading.notes == ()


def vertices(n: int, colours: bool = False, kind: str = "f4") -> np.ndarray:
    rng = np.random.default_rng(1)
    names = [("x", kind), ("y", kind), ("z", kind)] + [
        (name, "u1") for name in ("red", "green", "blue", "alpha")
    ] * colours
    rows = np.zeros(n, names)
    for name, other in names:
        rows[name] = rng.integers(0, 255, n) if other == "u1" else rng.normal(size=n)
    return rows


@pytest.mark.parametrize(("text", "order"), FORMATS)
def test_colours_and_other_elements(tmp_path, text, order):
    rows = vertices(40, colours=True)
    camera = PlyElement.describe(np.array([(1.5, 2)], [("view", "f4"), ("id", "i4")]), "camera")
    strips = np.array([([1, 2, 3, 4],), ([7],), ([],)], [("ids", object)])
    strips = PlyElement.describe(strips, "strip", val_types={"ids": "i4"}, len_types={"ids": "u2"})
    # What stands before the vertices, lists too, is stepped over.
    path = saved(tmp_path / "a.ply", [camera, strips, PlyElement.describe(rows, "vertex")], text, order)
    reading = read(path)
    np.testing.assert_allclose(reading.points[:, 1], rows["y"], rtol=1e-6)
    np.testing.assert_array_equal(reading.colours, np.stack([rows["red"], rows["green"], rows["blue"]], axis=1))
    write(path.with_suffix(".ply.gz"), gzip.compress(path.read_bytes()))
    zipped = read(path.with_suffix(".ply.gz"))
    np.testing.assert_array_equal(zipped.points, reading.points)
    assert zipped.notes == ("gzipped",)


@pytest.mark.parametrize("order", ["", "<", ">"])
def test_a_list_beside_the_coordinates(tmp_path, order):
    name = {"": "ascii", "<": "binary_little_endian", ">": "binary_big_endian"}[order]
    content = (
        f"ply\nformat {name} 1.0\nelement vertex 3\nproperty double x\nproperty list ushort int near\n"
        "property double y\nproperty double z\nend_header\n"
    ).encode()
    for at in range(3):
        row = (at + 0.5, at, *[7] * at, at + 0.25, at + 0.125)
        content += struct.pack(f"{order}dH{at}idd", *row) if order else (" ".join(map(str, row)) + "\n").encode()
    reading = read(write(tmp_path / "a.ply", content))
    np.testing.assert_array_equal(reading.points, np.arange(3)[:, None] + [[0.5, 0.25, 0.125]])


@pytest.mark.parametrize("kind", ["u2", "f4"])
def test_colours_of_other_types(tmp_path, kind):
    rows = np.zeros(4, [(name, "f4") for name in "xyz"] + [(name, kind) for name in ("Red", "Green", "Blue")])
    rows["Red"] = np.array([0, 1, 0.5, 1]) * (65535 if kind == "u2" else 1)
    reading = read(saved(tmp_path / "a.ply", [PlyElement.describe(rows, "vertex")], False, "<"))
    np.testing.assert_allclose(reading.colours[:, 0], [0, 255, 127.5, 255], atol=0.5)


def mesh(sides: int = 3) -> list[PlyElement]:
    """A square of 2 by 2 in the plane z = 1, of two triangles or one quadrangle, its first corner red."""
    rows = np.array(
        [(-1, -1, 1, 255, 0, 0), (1, -1, 1, 0, 0, 0), (1, 1, 1, 0, 0, 0), (-1, 1, 1, 0, 0, 0)],
        [(name, "f4") for name in "xyz"] + [(name, "u1") for name in ("red", "green", "blue")],
    )
    faces = [[0, 1, 2], [0, 2, 3]] if sides == 3 else [[0, 1, 2, 3]]
    if sides == 5:
        faces = [[0, 1, 2], [0, 2, 3, 3]]
    table = np.empty(len(faces), [("vertex_indices", object)])
    table["vertex_indices"] = [np.array(face) for face in faces]
    return [
        PlyElement.describe(rows, "vertex"),
        PlyElement.describe(table, "face", val_types={"vertex_indices": "i4"}, len_types={"vertex_indices": "u1"}),
    ]


@pytest.mark.parametrize("sides", [3, 4, 5])
@pytest.mark.parametrize(("text", "order"), FORMATS)
def test_a_mesh_of_few_vertices_is_sampled(tmp_path, text, order, sides):
    path = saved(tmp_path / "a.ply", mesh(sides), text, order)
    reading = read(path)
    assert reading.points.shape == (200_000, 3)
    assert "sampled to 200000 points" in reading.notes[0]
    few = read(path, n_samples=4000, seed=5)
    assert few.points.tobytes() == read(path, n_samples=4000, seed=5).points.tobytes()
    assert few.points.tobytes() != read(path, n_samples=4000, seed=6).points.tobytes()
    assert (few.points[:, 2] == 1).all()
    assert (np.abs(few.points[:, :2]) <= 1).all()
    # Even by area: each ninth of the square has its share.
    counts = np.histogram2d(few.points[:, 0], few.points[:, 1], bins=3, range=[[-1, 1], [-1, 1]])[0]
    np.testing.assert_allclose(counts, 4000 / 9, rtol=0.2)
    # Red fades from the first corner on.
    distance = few.points[:, :2] - (-1, -1)
    expected = 255 * (1 - np.maximum(distance[:, 0], distance[:, 1]) / 2)
    np.testing.assert_allclose(few.colours[:, 0], expected, atol=0.51)


def test_a_scanned_mesh_gives_its_vertices(tmp_path):
    rows = vertices(20_000)
    table = np.empty(1, [("vertex_index", object)])
    table["vertex_index"] = [np.array([0, 1, 2])]
    faces = PlyElement.describe(table, "face", val_types={"vertex_index": "i4"})
    path = saved(tmp_path / "a.ply", [PlyElement.describe(rows, "vertex"), faces], False, "<")
    reading = read(path)
    np.testing.assert_array_equal(reading.points[:, 0], rows["x"])
    assert reading.notes == ("a mesh of 1 faces, of which the 20000 vertices are taken",)
    assert len(read(path, n_samples=50).points) == 50


def test_open3d_writes_what_is_read(tmp_path):
    import open3d as o3d

    points = np.random.default_rng(0).normal(size=(500, 3))
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
    cloud.colors = o3d.utility.Vector3dVector(np.random.default_rng(1).random((500, 3)))
    for text in (True, False):
        o3d.io.write_point_cloud(str(tmp_path / "a.ply"), cloud, write_ascii=text)
        reading = read(tmp_path / "a.ply")
        # Its text has six digits.
        np.testing.assert_allclose(reading.points, points, rtol=1e-5 if text else 0)
        np.testing.assert_allclose(reading.colours, np.asarray(cloud.colors) * 255, atol=1)
    ball = o3d.geometry.TriangleMesh.create_sphere(2.0)
    for text in (True, False):
        o3d.io.write_triangle_mesh(str(tmp_path / "b.ply"), ball, write_ascii=text)
        radius = np.linalg.norm(read(tmp_path / "b.ply", n_samples=5000).points, axis=1)
        assert radius.max() < 2.0001
        assert radius.min() > 1.98


HEAD = b"ply\nformat binary_little_endian 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
WHOLE = HEAD + b"end_header\n" + struct.pack("<6f", 1, 2, 3, 4, 5, 6)
TEXT = HEAD.replace(b"binary_little_endian", b"ascii") + b"end_header\n1 2 3\n4 5 6\n"
FACES = b"element face 1\nproperty list uchar int vertex_indices\nend_header\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends_of_every_system(tmp_path, end):
    for content in (TEXT.replace(b"\n", end), WHOLE[:-24].replace(b"\n", end) + WHOLE[-24:]):
        reading = read(write(tmp_path / "a.ply", content))
        assert reading.points.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_byte_order_marks(tmp_path):
    mark = b"\xef\xbb\xbf"
    content = mark + TEXT.replace(b"end_header\n", b"end_header\n" + mark)
    assert read(write(tmp_path / "a.ply", content)).points.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"# .PCD v0.7\n", "not a ply (it seems to be a pcd)"),
        (b"PK\x03\x04", "not a ply (it seems to be a zip archive)"),
        (b"1 2 3\n", "does not begin with a line `ply`"),
        (HEAD, "no line end_header, or is cut short"),
        (WHOLE[:-1], "cut short, the header says 2 of element 'vertex' of 12 bytes, but 23 bytes"),
        (WHOLE + b"1234", "4 bytes follow the last element"),
        (WHOLE.replace(b"vertex 2", b"vertex 900000000000"), "the header says 900000000000 of element 'vertex'"),
        (TEXT.replace(b"vertex 2", b"vertex 900000000000"), "the header says 900000000000 of element 'vertex'"),
        (WHOLE.replace(b"vertex 2", b"vertex 0"), "0 vertices"),
        (WHOLE.replace(b"vertex 2", b"vertex -2"), "line 3 of its header is not understood: 'element vertex -2'"),
        (WHOLE.replace(b"float y", b"half y"), "line 5 of its header is not understood"),
        (WHOLE.replace(b"float y", b"float w"), "vertices have no property y, but x, w, z"),
        (WHOLE.replace(b"float y", b"float x"), "two properties of one name"),
        (WHOLE.replace(b"element vertex", b"element point"), "no element vertex"),
        (WHOLE.replace(b"format binary_little_endian 1.0\n", b""), "no line format"),
        (WHOLE.replace(b"binary_little_endian", b"binary_middle_endian"), "line 2 of its header"),
        (TEXT.replace(b"5", b"5,0"), "line 9, column 2: '5,0' is no number, a decimal comma"),
        (TEXT.replace(b" 6", b""), "line 9: 2 columns, expected 3"),
        (TEXT[:-6], "says 2 of element 'vertex', but 1 rows of it follow"),
        (TEXT + b"7 8 9\n", "line 10: rows follow the last element"),
        (
            TEXT.replace(b"float y", b"uchar y").replace(b"5", b"256"),
            "row 2 of property 'y' is 256, expected an integer",
        ),
        (HEAD + FACES + WHOLE[-24:] + b"\x03" + struct.pack("<3i", 0, 1, 7), "a face has corner 7, but there are 2"),
        (HEAD + FACES + WHOLE[-24:] + b"\x03" + struct.pack("<3i", 0, 1, 1), "its 1 faces have no area"),
        (HEAD + FACES + WHOLE[-24:] + b"\xff" + struct.pack("<3i", 0, 1, 1), "cut short or damaged within its 1 of"),
        (HEAD + FACES + WHOLE[-24:] + b"\x02" + struct.pack("<2i", 0, 1), "has no faces"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, content, message):
    path = write(tmp_path / "a.ply", content)
    with pytest.raises(InputError) as error:
        read(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_millions_of_points_are_read_quickly(tmp_path):
    path = saved(tmp_path / "a.ply", [PlyElement.describe(vertices(5_000_000, colours=True), "vertex")], False, "<")
    start = time.process_time()
    assert len(read(path).points) == 5_000_000
    assert time.process_time() - start < 2
