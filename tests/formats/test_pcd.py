"""The reader of pcd against bytes written here field by field, and against Open3D's readers."""

import gzip
import itertools
import struct
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from raw_files import pcd, write

from pointad_core.errors import InputError
from pointad_core.formats.pcd import read

FIELDS = [(kind, size) for kind, sizes in {"F": (4, 8), "I": (1, 2, 4, 8), "U": (1, 2, 4, 8)}.items() for size in sizes]
CODES = {"F4": "f", "F8": "d", "I1": "b", "I2": "h", "I4": "i", "I8": "q", "U1": "B", "U2": "H", "U4": "I", "U8": "Q"}
CASES = Path(__file__).parents[3] / "shared/cases"


def lzf(data: bytes) -> bytes:
    """Bytes as LZF has them: literal runs, and a reference back where 8 bytes and more repeat those just before."""
    out, at, literal = bytearray(), 0, bytearray()

    def flush() -> None:
        for start in range(0, len(literal), 32):
            piece = literal[start : start + 32]
            out.extend(bytes([len(piece) - 1]) + piece)
        literal.clear()

    while at < len(data):
        run = 0
        while at >= 8 and run < 200 and at + run < len(data) and data[at + run] == data[at + run - 8]:
            run += 1
        if run >= 9:
            flush()
            out.extend(bytes([7 << 5, run - 2 - 7, 7]))  # length 7 + next byte + 2, offset 8 - 1
            at += run
        else:
            literal.append(data[at])
            at += 1
    flush()
    return bytes(out)


def build(fields: dict[str, tuple[str, list]], data: str, width: int, height: int = 1, extra: str = "") -> bytes:
    """A pcd of fields: name -> (TYPE and SIZE, as "F4", and its values)."""
    names = list(fields)
    kinds = [kind for kind, _ in fields.values()]
    header = (
        f"# a comment\nVERSION 0.7\nFIELDS {' '.join(names)}\nSIZE {' '.join(kind[1] for kind in kinds)}\n"
        f"TYPE {' '.join(kind[0] for kind in kinds)}\nCOUNT {' '.join('1' for _ in kinds)}\nWIDTH {width}\n"
        f"HEIGHT {height}\n{extra}POINTS {width * height}\nDATA {data}\n"
    ).encode()
    n = width * height
    if data == "ascii":
        body = "".join(
            " ".join(
                repr(float(values[row])) if kind[0] == "F" else str(values[row]) for kind, values in fields.values()
            )
            + "\n"
            for row in range(n)
        ).encode()
    elif data == "binary":
        body = b"".join(
            struct.pack("<" + CODES[kind], values[row]) for row in range(n) for kind, values in fields.values()
        )
    else:
        plain = b"".join(struct.pack(f"<{n}{CODES[kind]}", *values) for kind, values in fields.values())
        packed = lzf(plain)
        body = struct.pack("<II", len(packed), len(plain)) + packed
    return header + body


def numbers(kind: str, n: int, seed: int) -> list:
    rng = np.random.default_rng(seed)
    if kind[0] == "F":
        return rng.normal(0, 100, n).astype(f"f{kind[1]}").tolist()
    return rng.integers(-100 if kind[0] == "I" else 0, 120, n).tolist()


@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize("kind", [f"{kind}{size}" for kind, size in FIELDS])
def test_every_type_of_field(tmp_path, kind, data):
    fields = {"intensity": ("U2", numbers("U2", 40, 9)), "_": ("U1", [7] * 40)}
    # Other names and orders than usual, and a type of its own for z.
    for seed, name in enumerate(("Y", "x", "Z")):
        fields[name] = ("F8" if name == "Z" else kind, numbers("F8" if name == "Z" else kind, 40, seed))
    path = write(tmp_path / "a.pcd", build(fields, data, 40))
    expected = np.array([fields["x"][1], fields["Y"][1], fields["Z"][1]], np.float64).T
    np.testing.assert_array_equal(read(path).points, expected)


@pytest.mark.parametrize("data", ["binary", "binary_compressed"])
@pytest.mark.parametrize("kind", [f"{kind}{size}" for kind, size in FIELDS])
def test_another_reader_finds_the_same(tmp_path, kind, data):
    import open3d as o3d

    fields = {name: (kind, numbers(kind, 40, seed)) for seed, name in enumerate("xyz")}
    path = write(tmp_path / "a.pcd", build(fields, data, 40))
    other = o3d.t.io.read_point_cloud(str(path)).point.positions.numpy()
    np.testing.assert_array_equal(read(path).points, other.astype(np.float64))


@pytest.mark.parametrize("kind", ["ascii", "binary"])
def test_published_files_give_what_they_gave(tmp_path, kind):
    """Floats of 4 bytes in the layout of Real3D-AD, by the reader that was used until now: the same bytes."""
    import open3d as o3d

    points = np.random.default_rng(0).uniform(-50, 50, (3000, 3)).astype(np.float32)
    path = write(tmp_path / "a.pcd", pcd(points, kind))
    expected = np.asarray(o3d.io.read_point_cloud(str(path)).points)
    assert read(path).points.tobytes() == expected.tobytes()


def test_its_tensor_writer_is_read(tmp_path):
    import open3d as o3d

    points = np.random.default_rng(0).normal(size=(500, 3))
    cloud = o3d.t.geometry.PointCloud(o3d.core.Tensor(points))
    cloud.point.colors = o3d.core.Tensor(np.random.default_rng(1).integers(0, 255, (500, 3)).astype(np.uint8))
    for write_ascii, compressed in ((False, False), (False, True), (True, False)):
        path = tmp_path / "a.pcd"
        o3d.t.io.write_point_cloud(str(path), cloud, write_ascii=write_ascii, compressed=compressed)
        reading = read(path)
        np.testing.assert_allclose(reading.points, points, rtol=0, atol=1e-6 if write_ascii else 0)
        np.testing.assert_array_equal(reading.colours, cloud.point.colors.numpy())


def packed_colours(rgb: np.ndarray, alpha: int) -> np.ndarray:
    return (alpha << 24 | rgb[:, 0].astype(np.uint32) << 16 | rgb[:, 1].astype(np.uint32) << 8 | rgb[:, 2]).astype(
        "<u4"
    )


# A float with full opacity is no number, and its decimal form does not hold the bytes.
PACKED = list(itertools.product(["ascii", "binary", "binary_compressed"], [0, 255], ["F4", "U4"]))


@pytest.mark.parametrize(("data", "alpha", "kind"), [case for case in PACKED if case != ("ascii", 255, "F4")])
@pytest.mark.parametrize("name", ["rgb", "RGBA"])
def test_packed_colours(tmp_path, data, alpha, kind, name):
    rgb = np.random.default_rng(0).integers(0, 255, (30, 3)).astype(np.uint8)
    packed = packed_colours(rgb, alpha)
    if data != "ascii" and kind == "F4":  # the bytes as they are, whatever float they make
        kind = "U4"
        content = build({**dict.fromkeys("xyz", ("F4", [1.0] * 30)), name: (kind, packed.tolist())}, data, 30)
        content = content.replace(b"TYPE F F F U", b"TYPE F F F F")
    else:
        values = packed.view("<f4").tolist() if kind == "F4" else packed.tolist()
        content = build({**dict.fromkeys("xyz", ("F4", [1.0] * 30)), name: (kind, values)}, data, 30)
    np.testing.assert_array_equal(read(write(tmp_path / "a.pcd", content)).colours, rgb)


def test_colours_in_three_fields_and_integers_in_a_float(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 255, (30, 3)).astype(np.uint8)
    fields = dict.fromkeys("xyz", ("F4", [1.0] * 30))
    fields |= {name: ("U1", rgb[:, at].tolist()) for at, name in enumerate("rgb")}
    for data in ("ascii", "binary"):
        np.testing.assert_array_equal(read(write(tmp_path / "a.pcd", build(fields, data, 30))).colours, rgb)
    # As some write it: the integer as text under TYPE F.
    lines = "".join(f"1 2 3 {value}\n" for value in packed_colours(rgb, 0).tolist())
    head = build({**dict.fromkeys("xyz", ("F4", [1.0] * 30)), "rgb": ("F4", [0.0] * 30)}, "ascii", 30)
    content = head[: head.index(b"ascii\n") + 6] + lines.encode()
    np.testing.assert_array_equal(read(write(tmp_path / "a.pcd", content)).colours, rgb)


def test_organised_nan_and_viewpoint(tmp_path):
    values = [[float(number) for number in range(12)] for _ in range(3)]
    values[1][4] = float("nan")
    fields = {name: ("F4", column) for name, column in zip("xyz", values, strict=True)}
    for data in ("ascii", "binary", "binary_compressed"):
        content = build(fields, data, 4, 3, "VIEWPOINT 0 0 0.5 1 0 0 0\n")
        reading = read(write(tmp_path / "a.pcd", content))
        assert reading.points.shape == (3, 4, 3)
        assert reading.points[2, 1].tolist() == [9, 9, 9]
        assert np.isnan(reading.points[1, 0]).tolist() == [False, True, False]
        assert reading.notes == ("VIEWPOINT 0 0 0.5 1 0 0 0 is not applied: points are taken as they stand",)
    for word in (b"-nan", b"NaN", b"inf"):
        content = build(fields, "ascii", 12).replace(b"nan", word)
        assert np.count_nonzero(~np.isfinite(read(write(tmp_path / "a.pcd", content)).points)) == 1


def test_a_field_of_several_numbers_and_crlf_and_gzip_and_labels(tmp_path):
    header = (
        "VERSION .7\r\nFIELDS normal x y z _ label\r\nSIZE 4 4 4 4 1 4\r\nTYPE F F F F U U\r\nCOUNT 3 1 1 1 4 1\r\n"
        "WIDTH 2\r\nHEIGHT 1\r\nVIEWPOINT 0 0 0 1 0 0 0\r\nPOINTS 2\r\nDATA "
    )
    rows = [(9, 9, 9, 1, 2, 3, 0, 0, 0, 0, 0), (9, 9, 9, 4, 5, 6, 0, 0, 0, 0, 1)]
    text = header + "ascii\r\n# more\r\n" + "".join(" ".join(map(str, row)) + "\r\n" for row in rows) + "\r\n"
    binary = (header + "binary\r\n").encode() + b"".join(struct.pack("<6f4BI", *row) for row in rows)
    for content in (text.encode(), binary, gzip.compress(binary)):
        reading = read(write(tmp_path / "a.pcd", content))
        assert reading.points.tolist() == [[1, 2, 3], [4, 5, 6]]
        assert reading.labels.tolist() == [False, True]
    assert reading.notes == ("gzipped",)


def test_oddities_of_other_programs(tmp_path):
    """As public threads show them."""
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    ascii, binary = pcd(points), pcd(points, "binary")
    lower = ascii.replace(b"TYPE F F F", b"TYPE f f f")
    empty = binary.replace(b"x y z", b"x _ y z _").replace(b"4 4 4", b"4 1 4 4 2").replace(b"F F F", b"F U F F U")
    empty = empty.replace(b"COUNT 1 1 1", b"COUNT 1 0 1 1 0")
    upper = binary.replace(b"x y z", b"X Y Z")
    # Packed data that were written as they are, for they would have become longer.
    plain = points.T.tobytes()
    unpacked = binary[: binary.index(b"DATA")] + b"DATA binary_compressed\n" + struct.pack("<II", 600, 600) + plain
    for content in (lower, empty, upper, unpacked, b"\xef\xbb\xbf" + ascii):
        np.testing.assert_allclose(read(write(tmp_path / "a.pcd", content)).points, points, rtol=1e-6)
    # A first number whose bytes spell a key of the header.
    points[0, 0] = 13.265933990478516
    assert points[0, 0].tobytes() == b"DATA"
    np.testing.assert_array_equal(read(write(tmp_path / "a.pcd", pcd(points, "binary"))).points, points)


POINTS = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
ASCII, BINARY = pcd(POINTS), pcd(POINTS, "binary")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"ply\nformat ascii 1.0\n", "not a pcd (it seems to be a ply)"),
        (b"\x89PNG\r\n", "not a pcd (it seems to be a png)"),
        (b"PK\x03\x04 ", "not a pcd (it seems to be a zip archive)"),
        (b"\x80\x04\x95", "not a pcd (it seems to be a pickle)"),
        (ASCII[:100], "has no line DATA, or is cut short"),
        (BINARY[:-7], "50 points of 12 bytes, 600 bytes in all, but 593 follow"),
        (BINARY + b"1234", "600 bytes in all, but 604 follow"),
        (ASCII[: ASCII.rindex(b" ")], "line 61: 2 columns, expected 3; the file is cut short"),
        (ASCII[: ASCII.rindex(b"\n", 0, -1) + 1], "the header says 50 points, but 49 rows follow"),
        (ASCII + b"1 2 3\n", "the header says 50 points, but 51 rows follow"),
        (ASCII + b"1 2\n", "line 62: 2 columns, expected 3"),
        (ASCII.replace(b"WIDTH 50", b"WIDTH 99999999999").replace(b"POINTS 50", b""), "header says 99999999999 points"),
        (BINARY.replace(b"POINTS 50", b"POINTS 51"), "WIDTH 50 times HEIGHT 1 is not POINTS 51"),
        (ASCII.replace(b"WIDTH 50", b"WIDTH -1"), "WIDTH '-1', expected a count"),
        (ASCII.replace(b"WIDTH 50", b"WIDTH \xd9\xa5"), "expected a count"),
        (ASCII.replace(b"50\n", b"0\n"), "the header says 0 points"),
        (
            ASCII.replace(b"FIELDS x y z", b"FIELDS x y w"),
            "FIELDS are 'x y w', expected x, y and z once each; z is not",
        ),
        (ASCII.replace(b"FIELDS x y z", b"FIELDS x y z i"), "4 FIELDS, but 3 words after SIZE"),
        (ASCII.replace(b"TYPE F F F", b"TYPE F F Q"), "TYPE 'Q' of SIZE '4'"),
        (ASCII.replace(b"SIZE 4 4 4", b"SIZE 4 4 2"), "TYPE 'F' of SIZE '2'"),
        (ASCII.replace(b"COUNT 1 1 1", b"COUNT 1 1 2"), "COUNT of x, y and z must be 1"),
        (ASCII.replace(b"DATA ascii", b"DATA binry"), "DATA 'binry', expected ascii, binary or binary_compressed"),
        (ASCII.replace(b"HEIGHT 1", b"WIDTH 50"), "line 8: the header says WIDTH a second time"),
        (BINARY.replace(b"DATA binary", b"DATA binary_compressed"), "cut short, "),
        (gzip.compress(BINARY)[:-20], "not a whole gzip file"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, content, message):
    path = write(tmp_path / "a.pcd", content)
    with pytest.raises(InputError) as error:
        read(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("word", ["1,5", "-1.#IND00", "-", "1_0", "0x1f", "1.2.3", "nan(ind)", "#", "1d5", "\x00"])
def test_every_number_of_a_row_is_checked(tmp_path, word):
    lines = ASCII.decode().splitlines()
    lines[30] = lines[30].rpartition(" ")[0] + " " + word
    path = write(tmp_path / "a.pcd", "\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"line 31, column 3: .* is no number"):
        read(path)


@pytest.mark.parametrize(("kind", "word"), [("U1", "256"), ("U1", "-1"), ("I2", "0.5"), ("U4", "nan"), ("I1", "-1000")])
def test_integers_of_a_row_are_integers_of_their_type(tmp_path, kind, word):
    content = build({**dict.fromkeys("xyz", ("F4", [1.0] * 3)), "i": (kind, [77] * 3)}, "ascii", 3)
    content = content[: content.rindex(b"77")] + word.encode() + b"\n"
    with pytest.raises(InputError, match=rf"line 13, column 4: {float(word):g} for field i, expected an integer"):
        read(write(tmp_path / "a.pcd", content))


def test_damaged_compressed_data(tmp_path):
    fields = {name: ("F4", numbers("F4", 40, seed)) for seed, name in enumerate("xyz")}
    content = bytearray(build(fields, "binary_compressed", 40))
    start = content.index(b"compressed\n") + 11
    whole = bytes(content)
    for at, byte in itertools.product(range(8, 60, 7), (0, 255)):
        content[:] = whole
        content[start + at] = byte
        # Other numbers, or a refusal.
        with suppress(InputError):
            assert len(read(write(tmp_path / "a.pcd", bytes(content))).points) == 40
    content[:] = whole
    content[start + 4 : start + 8] = struct.pack("<I", 4_000_000_000)
    with pytest.raises(InputError, match="4000000000 follow"):
        read(write(tmp_path / "a.pcd", bytes(content)))


def test_millions_of_points_are_read_quickly(tmp_path):
    points = np.random.default_rng(0).normal(size=(5_000_000, 3)).astype(np.float32)
    path = write(tmp_path / "a.pcd", pcd(points, "binary"))
    start = time.process_time()
    assert len(read(path).points) == 5_000_000
    assert time.process_time() - start < 2


@pytest.mark.skipif(not CASES.exists(), reason="the files are not here")
def test_files_that_people_have():
    def stored(name: str, kind: str) -> np.ndarray:
        content = (CASES / name).read_bytes()
        return np.frombuffer(content[content.index(b"DATA binary\n") + 12 :], kind).reshape(-1, 3)

    for name in ("float64.pcd", "o3d_tensor_double.pcd"):
        np.testing.assert_array_equal(read(CASES / name).points, stored(name, "<f8"))
    points = read(CASES / "organised_nan.pcd").points
    assert points.shape == (20, 25, 3)
    np.testing.assert_array_equal(points.reshape(-1, 3), stored("organised_nan.pcd", "<f4").astype(np.float64))
    np.testing.assert_array_equal(read(CASES / "zeros.pcd").points, stored("zeros.pcd", "<f4"))
    with pytest.raises(InputError, match=r"line 12, column 1: '-12,283374' is no number, a decimal comma"):
        read(CASES / "decimal_comma.pcd")
