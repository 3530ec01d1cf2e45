"""Tables as text, as people write them."""

import gzip
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_files import write

from pointad_core.errors import InputError
from pointad_core.formats.text import read

POINTS = [[1.5, -2.25, 3.0], [4.0, 5.0, 1e-3]]


@pytest.mark.parametrize(
    "text",
    [
        "1.5 -2.25 3.0\n4 5 1e-3\n",
        "1.5,-2.25,3.0\n4,5,1e-3",
        "1.5, -2.25, 3.0\n4, 5, 1e-3\n",
        "1.5;-2.25;3.0\n4;5;1e-3\n",
        "1.5\t-2.25\t3.0\n4\t5\t1e-3\n",
        "  1.5   -2.25\t 3.0  \n\n  4 5 1e-3\n\n",
        "1.5,-2.25,3.0,\n4,5,1e-3,\n",
        "1.5;-2.25;3.0;;\n4;5;1e-3; ;\n",
        "1,5;-2,25;3,0\n4;5;1e-3\n",
        "1,5;-2,25;3\n4;5;,001\n",
        "1,5\t-2,25\t3,0\n4\t5\t0,001\n",
        "# remark\n// another\n% one more\n1.5 -2.25 3.0\n# within\n4 5 1e-3\n",
        "x y z\n1.5 -2.25 3.0\n4 5 1e-3\n",
        "//X,Y,Z\n1.5,-2.25,3.0\n4,5,1e-3\n",
        '"z","y","x"\n"3.0","-2.25","1.5"\n"1e-3","5","4"\n',
        "id;Z;y;X\n7;3;-2.25;1.5\n8;1e-3;5;4\n",
        "x [mm]\ty [mm]\tz [mm]\n1.5\t-2.25\t3.0\n4\t5\t1e-3\n",
        "2\n1.5 -2.25 3.0\n4 5 1e-3\n",
        '"Points:0","Points:1","Points:2"\n1.5,-2.25,3.0\n4,5,1e-3\n',
        "sep=;\nx;y;z\n1.5;-2.25;3.0\n4;5;1e-3\n",
        ",x,y,z\n0,1.5,-2.25,3.0\n1,4,5,1e-3\n",
        "sep=,\n1.5,-2.25,3.0\n4,5,1e-3\n",
        "//X Y Z\n2\n1.5 -2.25 3.0\n4 5 1e-3\n",
        "# 3 columns: x y z\n1.5 -2.25 3.0\n4 5 1e-3\n",
    ],
)
@pytest.mark.parametrize("change", ["", "\r\n", "\r", "bom", "gz"])
def test_as_people_write_them(tmp_path, text, change):
    content = text.encode()
    if change in ("\r\n", "\r"):
        content = content.replace(b"\n", change.encode())
    if change == "bom":
        content = b"\xef\xbb\xbf" + content
    if change == "gz":
        content = gzip.compress(content)
    reading = read(write(tmp_path / "a.txt", content))
    np.testing.assert_array_equal(reading.points, POINTS)
    assert ("decimal commas" in reading.notes) == (",25" in text)
    assert ("gzipped" in reading.notes) == (change == "gz")
    assert reading.unit == ("mm" if "[mm]" in text else None)
    assert reading.labels is None


ROWS = "1 2 3 {}\n4 5 6 {}\n"


@pytest.mark.parametrize(
    ("head", "rest", "colours", "note"),
    [
        ("", ("255 0 128", "1 2 3"), [[255, 0, 128], [1, 2, 3]], None),
        ("", ("1 0 0.5", "0.2 0.2 0.2"), [[255, 0, 128], [51, 51, 51]], None),
        ("2\n", ("-1484.0 115 116 117", "-1433 119 120 121"), [[115, 116, 117], [119, 120, 121]], None),
        ("", ("-1484.5 115 116 117", "-1433 119 120 121"), [[115, 116, 117], [119, 120, 121]], None),
        ("", ("0.0 0.0 1.0", "0.0 0.6 0.8"), None, "3 further columns"),  # normals
        ("", ("0.0 0.0 -1.0", "0.0 -0.6 0.8"), None, "3 further columns"),
        ("", ("0.7", "0.9"), None, "1 further columns"),
        ("x y z R G B\n", ("255 0 128", "1 2 3"), [[255, 0, 128], [1, 2, 3]], None),
        ("x,y,z,red,green,blue\n", ("1.0 0 0.5", "0 0 0"), [[255, 0, 128], [0, 0, 0]], None),
        ("x y z intensity Blue Green Red\n", ("7 128 0 255", "8 3 2 1"), [[255, 0, 128], [1, 2, 3]], "intensity"),
        ("x y z r g b\n", ("65535 0 32896", "257 514 771"), [[255, 0, 128], [1, 2, 3]], None),
        ("x y z nx ny nz\n", ("1 0 0", "0 1 0"), None, "columns that are not read: nx, ny, nz"),
    ],
)
def test_colours(tmp_path, head, rest, colours, note):
    text = ROWS.format(*rest)
    text = head + (text.replace(" ", ",") if "," in head else text)
    reading = read(write(tmp_path / "a.pts", text))
    assert reading.points.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert (None if reading.colours is None else reading.colours.tolist()) == colours
    if colours is not None:
        assert reading.colours.dtype == np.uint8
    assert len(reading.notes) == (note is not None)
    assert all(note in found for found in reading.notes)


def test_labels_and_missing_numbers(tmp_path):
    reading = read(write(tmp_path / "a.csv", "x,y,z,label\n1,2,3,0\nnan,-nan,inf,255\n4,5,6,1.0\n"))
    assert reading.labels.tolist() == [False, True, True]
    assert np.isnan(reading.points[1, :2]).all()
    # In double from the first digit on.
    reading = read(
        write(tmp_path / "a.pts", "1\n836419.83944702 818050.75254822 4.88366508 -1484.000000 115 115 115\n")
    )
    assert reading.points.tolist() == [[836419.83944702, 818050.75254822, 4.88366508]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "not a table of numbers; no rows"),
        ("# remark\n", "not a table of numbers; no rows"),
        ("x y z\n", "line 1: 'x y z' is no row of numbers"),
        ("hello\nworld\n1 2 3\n", "line 2: 'world' is no row of numbers"),
        ("1 2\n3 4\n", "2 columns, expected x, y and z at least"),
        ("1 2 3\n4 5\n", "line 2: 2 columns, expected 3"),
        ("1 2 3\n4 5 6 7\n", "line 2: 4 columns, expected 3"),
        ("1 2 3\n4 5 x\n", "line 2, column 3: 'x' is no number"),
        ("1 2 3\n\n# a\n4 -1.#IND00 6\n", "line 4, column 2: '-1.#IND00' is no number"),
        ("1 2 3\n4 - 6\n", "line 2, column 2: '-' is no number"),
        ("1,5 2,5 3,5\n", "line 1, column 1: '1,5' has a decimal comma"),
        ("1 2 3\n1,5 2,5 3,5\n", "line 2, column 1: '1,5' is no number, a decimal comma"),
        ("1,5,02,25,3,5\n", "line 1, column 3: '02' looks like the digits after a decimal comma"),
        ('"1,5","2,5","3,5"\n', "line 1: decimal commas in quotes"),
        ("1.000,5;2;3\n", "line 1: decimal commas elsewhere, but a point here"),
        ("1,5;2;3\n1.5;2;3\n", "line 2: decimal commas elsewhere, but a point here"),
        ("1,2,3\n4,,6\n", "line 2, column 2: empty, expected a number"),
        ("1,2,3\n,5,6\n", "line 2, column 1: empty, expected a number"),
        ("1;2;3\n4; ;6\n", "line 2, column 2: empty, expected a number"),
        ("1\t2\t3\n4\t\t6\n", "line 2, column 2: empty, expected a number"),
        ("1,2,3,4\n1,2,3,\n", "line 2: 3 columns, expected 4"),
        ("a b c\n1 2 3\n", "columns are named a, blue, c; expected x, y and z, x is missing"),
        ("x y z\n1 2 3 4\n", "3 columns are named, but the rows have 4"),
        ("//X Y Z label\n1 2 3\n", "4 columns are named, but the rows have 3"),
        ("x y z x\n1 2 3 4\n", "two columns are named x"),
        ("3\n1 2 3\n4 5 6\n", "its first line says 3 points, but 2 rows follow"),
        ("x y z label\n1 2 3 0\n1 2 3 nan\n", "line 3, column 4: label nan"),
        ("x y z label\n1 2 3 0\n1 2 3 -1\n", "line 3, column 4: label -1"),
        ("x y z r g b\n1 2 3 0 0 -1\n", "colours run from -1 to 0"),
        ("1 2 3\n4 5 6\n".encode("utf-16"), "a text in UTF-16; save it as UTF-8"),
        ("1 2 3\n4 5 6\n".encode("utf-16-le"), "a text in UTF-16; save it as UTF-8"),
        (b"ply\nformat ascii 1.0\n", "not a table of numbers (it seems to be a ply)"),
        (b"PK\x03\x04\x00\x00", "not a text (it seems to be a zip archive)"),
        (b"1 2 3\n4 5 \xff\n", "line 2, column 3: '\\ufffd' is no number"),
        ("1 2 3\n4 5 " + "9" * 5000 + "x\n", "line 2, column 3: '" + "9" * 37 + "'... is no number"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, content, message):
    path = write(tmp_path / "a.txt", content)
    with pytest.raises(InputError) as error:
        read(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert len(str(error.value)) < 300 + len(str(path))
    assert "\n" not in str(error.value)


numbers = st.floats(-1e12, 1e12) | st.integers(-1000, 1000).map(float)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=8),
    st.sampled_from([" ", ",", ";", "\t", "  ", ", "]),
    st.booleans(),
    st.booleans(),
)
def test_what_is_written_is_read(tmp_path_factory, rows, separator, names, comma):
    comma = comma and separator in ";\t"
    lines = [separator.join(repr(number) for number in row) for row in rows]
    if comma:
        lines = [line.replace(".", ",") for line in lines]
    text = ("x" + separator + "y" + separator + "z\n") * names + "\n".join(lines) + "\n"
    path = write(tmp_path_factory.getbasetemp() / "text" / "a.xyz", text)
    np.testing.assert_array_equal(read(path).points, rows)


@pytest.mark.parametrize("separator", [" ", ";"])
def test_a_million_rows_are_read_quickly(tmp_path, separator):
    row = np.random.default_rng(0).normal(size=(10_000, 3)) * 100
    text = "".join(separator.join(f"{number:.6f}" for number in line) + "\n" for line in row.tolist()) * 100
    path = write(tmp_path / "a.csv", text)
    start = time.process_time()
    assert len(read(path).points) == 1_000_000
    assert time.process_time() - start < 2


def test_a_name_that_leads_nowhere(tmp_path):
    with pytest.raises(InputError, match=r"a.txt: No such file"):
        read(tmp_path / "a.txt")
    with pytest.raises(InputError, match=r"is no file that could be read, but a folder"):
        read(Path(tmp_path))
