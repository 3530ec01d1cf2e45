"""STL and OBJ: the surface that points are drawn from, by files of Open3D and by hand."""

import struct

import numpy as np
import pytest
from raw_files import write

from pointad_core.errors import InputError
from pointad_core.formats.mesh import read

SQUARE = np.array([[[0, 0, 5], [2, 0, 5], [2, 2, 5]], [[0, 0, 5], [2, 2, 5], [0, 2, 5]]], float)
OBJ = "# made\nmtllib a.mtl\nv 0 0 5\nv 2 0 5\nv 2 2 5\nv 0 2 5\nvn 0 0 1\n{}"


def ascii_stl(triangles: np.ndarray, end: str = "\n") -> bytes:
    lines = ["solid part"]
    for triangle in triangles.tolist():
        lines += ["  facet normal 0 0 1", "    outer loop"]
        lines += [f"      vertex {x} {y} {z}" for x, y, z in triangle]
        lines += ["    endloop", "  endfacet"]
    return (end.join([*lines, "endsolid part"]) + end).encode()


def binary_stl(triangles: np.ndarray, head: bytes = b"") -> bytes:
    body = b"".join(struct.pack("<12fH", 0, 0, 1, *triangle.ravel(), 0) for triangle in triangles)
    return head.ljust(80, b"\0") + struct.pack("<I", len(triangles)) + body


def holds(reading, n):
    assert reading.points.shape == (n, 3)
    assert (reading.points[:, 2] == 5).all()
    counts = np.histogram2d(reading.points[:, 0], reading.points[:, 1], bins=4, range=[[0, 2], [0, 2]])[0]
    assert counts.sum() == n
    np.testing.assert_allclose(counts, n / 16, rtol=0.2)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.stl", ascii_stl(SQUARE)),
        ("a.STL", ascii_stl(SQUARE, "\r\n").upper()),
        ("a.stl", binary_stl(SQUARE)),
        ("a.stl", binary_stl(SQUARE, b"solid made by a program that says so")),
        ("a.obj", OBJ.format("f 1 2 3\nf 1 3 4\n")),
        ("a.obj", OBJ.format("f 1 2 3 4\n")),
        ("a.obj", OBJ.format("f 1//1 2//1 3//1\nf 1/1/1 3/1/1 4/1/1\n")),
        ("a.obj", OBJ.format("f -4 -3 -2 -1\n")),
        ("a.obj", OBJ.format("f -4 -3 -2\nv 9 9 9\nf -5 -3 -2\n").replace("\n", "\r\n")),
        ("a.obj", OBJ.format("f 1 2 \\\n3 4\n")),
        ("a.obj", OBJ.format("o first\nf 1 2 3\ns off\nf 1 3 4\nl 1 2\n")),
    ],
)
def test_a_square(tmp_path, name, content):
    path = write(tmp_path / name, content)
    holds(read(path, n_samples=8000), 8000)
    assert read(path, n_samples=80).points.tobytes() == read(path, n_samples=80).points.tobytes()
    assert read(path, n_samples=80, seed=1).points.tobytes() != read(path, n_samples=80).points.tobytes()
    assert len(read(path).points) == 200_000


def test_open3d_writes_what_is_read(tmp_path):
    import open3d as o3d

    ball = o3d.geometry.TriangleMesh.create_sphere(2.0, 40)
    ball.compute_triangle_normals()
    ball.compute_vertex_normals()
    for name in ("a.stl", "a.obj"):
        o3d.io.write_triangle_mesh(str(tmp_path / name), ball)
        points = read(tmp_path / name, n_samples=20_000).points
        radius = np.linalg.norm(points, axis=1)
        assert 1.99 < radius.min() < radius.max() < 2.0001
        # As many points on each side of any plane through the middle.
        assert np.abs((points > 0).mean(axis=0) - 0.5).max() < 0.01


def test_colours_of_an_obj(tmp_path):
    text = OBJ.format("f 1 2 3\nf 1 3 4\n").replace(" 5\n", " 5 1.0 0.5 0\n")
    reading = read(write(tmp_path / "a.obj", text), n_samples=50)
    np.testing.assert_array_equal(reading.colours, np.tile(np.uint8([255, 128, 0]), (50, 1)))
    # Colours of 0 to 255, and such that are none.
    text = OBJ.format("f 1 2 3\nf 1 3 4\n").replace(" 5\n", " 5 nan 7 255\n")
    reading = read(write(tmp_path / "a.obj", text), n_samples=50)
    np.testing.assert_array_equal(reading.colours, np.tile(np.uint8([0, 7, 255]), (50, 1)))


def test_many_vertices_are_points(tmp_path):
    text = "".join(f"v {at} 0 {at % 7}\n" for at in range(20_000)) + "f 1 2 3\n"
    reading = read(write(tmp_path / "a.obj", text))
    assert reading.points[8].tolist() == [8, 0, 1]
    assert len(reading.points) == 20_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.stl", b"", "the file is empty"),
        ("a.stl", b"solid\n", "cut short, it has no line endsolid"),
        ("a.stl", b"solid\nendsolid\n", "has no faces"),
        ("a.stl", binary_stl(SQUARE)[:-9], "not a whole stl; 2 triangles take 184 bytes, but it has 175"),
        ("a.stl", binary_stl(SQUARE[:0]), "has no faces"),
        ("a.stl", b"ply\n" + bytes(100), "not an stl (it seems to be a ply)"),
        ("a.stl", b"short", "not an stl"),
        (
            "a.stl",
            ascii_stl(SQUARE).replace(b"2.0 0.0 5.0", b"2,0 0,0 5,0"),
            "line 5, column 2: '2,0' is no number, a dec",
        ),
        ("a.stl", ascii_stl(SQUARE).replace(b"vertex 2.0 0.0 5.0", b""), "5 lines vertex, expected three"),
        ("a.stl", binary_stl(SQUARE * np.nan), "corners of its faces are NaN or infinite"),
        ("a.stl", binary_stl(SQUARE * 0), "its 2 faces have no area"),
        ("a.obj", OBJ.format(""), "has no faces"),
        ("a.obj", "hello\n", "no obj with vertices"),
        ("a.obj", b"\x89PNG\r\n\x1a\n\0", "not an obj (it seems to be a png)"),
        ("a.obj", OBJ.format("f 1 2 5\n"), "line 8: face '1 2 5', expected corners from 1 to 4"),
        ("a.obj", OBJ.format("f 1 2 0\n"), "line 8: face '1 2 0'"),
        ("a.obj", OBJ.format("f 1 2 -5\n"), "line 8: face '1 2 -5'"),
        ("a.obj", OBJ.format("f 1 2 3\nf 1 x 3\n"), "line 9: face '1 x 3'"),
        ("a.obj", OBJ.format("f 1 2 1.5\n"), "line 8: face '1 2 1.5'"),
        ("a.obj", OBJ.format("").replace("v 2 2 5", "v 2 2 a"), "line 5, column 4: 'a' is no number"),
        ("a.obj", OBJ.format("").replace("v 2 2 5", "v 2 2"), "line 5: 3 columns, expected 4"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(InputError) as error:
        read(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
