"""Label files as people write them."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from raw_files import rows, write

from pointad_core.errors import InputError
from pointad_core.formats.labels import read_labels

CASES = Path(__file__).parents[3] / "shared/cases"
PLACES = [[1.5, 2, 3], [4, 5, 6.25], [7, 8, 9]]
LABELS = [False, True, False]


@pytest.mark.parametrize(
    "text",
    [
        "1.5 2 3 0\n4 5 6.25 1\n7 8 9 0\n",
        "1.5,2,3,0\n4,5,6.25,255\n7,8,9,0\n",
        "1.5;2;3;0.0\n4;5;6.25;1.0\n7;8;9;0.0\n",
        "1,5;2;3;0\n4;5;6,25;1\n7;8;9;0\n",
        "//X Y Z label\n1.5 2 3 0\n4 5 6.25 1\n7 8 9 0\n",
        "x,y,z,label\n1.5,2,3,0\n4,5,6.25,3\n7,8,9,0\n",
        "label x y z\n0 1.5 2 3\n7 4 5 6.25\n0 7 8 9\n",
        "//X Y Z R G B scalar_label\n1.5 2 3 9 9 9 0\n4 5 6.25 9 9 9 1\n7 8 9 9 9 9 0\n",
        "3\n1.5 2 3 0\n4 5 6.25 1\n7 8 9 0\n",
        "1.5,2,3,0,\n4,5,6.25,1,\n7,8,9,0,\n",
        "1.5 2 3 17.5 1 0\n4 5 6.25 18 2 9\n7 8 9 19 3 0\n",
        "1.5 2 3 0 0.7\n4 5 6.25 1 0.8\n7 8 9 0 0.9\n",
    ],
)
@pytest.mark.parametrize("change", ["", "crlf", "bom", "gz"])
def test_as_people_write_them(tmp_path, text, change):
    content = text.encode()
    content = {"": content, "crlf": content.replace(b"\n", b"\r\n"), "bom": b"\xef\xbb\xbf" + content}.get(
        change, gzip.compress(content)
    )
    places, labels = read_labels(write(tmp_path / "a.txt", content))
    np.testing.assert_array_equal(places, PLACES)
    assert labels.tolist() == LABELS


def test_labels_alone(tmp_path):
    for text in ("0\n1\n0\n0\n", "label\n0\n1\n0\n0\n", "0\r\n255\r\n0\r\n0\r\n"):
        places, labels = read_labels(write(tmp_path / "a.txt", text))
        assert places is None
        assert labels.tolist() == [False, True, False, False]


def test_published_ones(tmp_path):
    """As numpy reads them, which did so until now."""
    points = np.random.default_rng(0).uniform(-50, 50, (500, 3))
    labels = points[:, 0] > 10
    for separator in (" ", ","):
        text = rows(points, labels, separator)
        expected = np.loadtxt(text.replace(",", " ").splitlines())
        places, found = read_labels(write(tmp_path / "a.txt", text))
        assert places.tobytes() == np.ascontiguousarray(expected[:, :3]).tobytes()
        np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("1 2 3\n4 5 6\n", "line 1: 3 columns, expected rows `x y z label`"),
        ("1 2 3 0\n4 5 6\n", "line 2: 3 columns, expected 4"),
        ("1 2 3 0\n\n4 5 6 nan\n", "line 3, column 4: label nan, expected 0 for a good point"),
        ("1 2 3 0\n4 5 6 -1\n", "line 2, column 4: label -1"),
        ("1 2 3 0\n4 5 6 0.5\n", "line 2, column 4: label 0.5"),
        ("1 2 3 1\n4 5 6 2\n", "line 1, column 4: labels are 1, 2, and none is 0"),
        ("1 2 3 0\n4 nan 6 1\n", "line 2, column 2: NaN or infinite, expected a coordinate"),
        ("1 2 3 good\n", "line 1, column 4: 'good' is no number"),
        ("1 2 3 0 0\n4 5 6 1 1\n", "line 1: 5 columns without names, and the label could be column 4 and 5"),
        ("1 2 3 7 9\n4 5 6 1 8\n", "the label could be column none of the further ones"),
        ("x y z a b\n1 2 3 0 1\n", "columns are named x, y, z, a, blue, and none is label"),
        ("a b c label\n1 2 3 0\n", "and none is x"),
        ("x y z label label\n1 2 3 0 1\n", "two columns are named label"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, message):
    path = write(tmp_path / "a.txt", text)
    with pytest.raises(InputError) as error:
        read_labels(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.skipif(not CASES.exists(), reason="the file is not here")
def test_files_that_people_have():
    table = np.loadtxt((CASES / "header.txt").read_text().splitlines()[1:])
    places, labels = read_labels(CASES / "header.txt")
    np.testing.assert_array_equal(places, table[:, :3])
    np.testing.assert_array_equal(labels, table[:, 3] == 1)
