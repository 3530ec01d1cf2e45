"""Depth maps, pixel by pixel."""

import json

import numpy as np
import pytest
from raw_files import png, write

from pointad_core.errors import InputError
from pointad_core.formats.depth import read
from pointad_core.formats.missing import find_missing

DEPTH = np.random.default_rng(0).integers(400, 900, (6, 8)).astype(np.uint16)
DEPTH[2, 3] = DEPTH[4, 4] = 0


def test_each_pixel_lies_on_its_ray(tmp_path):
    path = write(tmp_path / "a.png", png(DEPTH))
    reading = read(path, unit="mm", intrinsics=(500, 510, 3.5, 2.5))
    for row in range(6):
        for column in range(8):
            depth = float(DEPTH[row, column])
            expected = [(column - 3.5) * depth / 500, (row - 2.5) * depth / 510, depth]
            np.testing.assert_allclose(reading.points[row, column], expected, rtol=1e-12)
    assert reading.unit == "mm"
    assert find_missing(reading.points).notes == ("2 of 48 points are missing ((0, 0, 0): 2)",)


@pytest.mark.parametrize("name", ["a.json", "intrinsics.json"])
@pytest.mark.parametrize("open3d", [False, True])
def test_a_file_beside_it(tmp_path, name, open3d):
    path = write(tmp_path / "a.PNG", png(DEPTH))
    said = {"fx": 500, "fy": 510, "cx": 3.5, "cy": 2.5, "unit": "mm"}
    if open3d:
        said = {"width": 8, "height": 6, "intrinsic_matrix": [500, 0, 0, 0, 510, 0, 3.5, 2.5, 1], "unit": "mm"}
    write(tmp_path / name, json.dumps(said))
    reading = read(path)
    np.testing.assert_array_equal(reading.points, read(path, unit="mm", intrinsics=(500, 510, 3.5, 2.5)).points)
    assert reading.notes == (f"intrinsics of {name}",)
    assert reading.unit == "mm"


@pytest.mark.parametrize(
    ("content", "said", "message"),
    [
        (png(DEPTH), None, "takes the camera's intrinsics (fx, fy, cx, cy), as an option or in a.json"),
        (png(DEPTH), '{"fx": 1}', "a.json: intrinsics are 'fx 1', expected fx and fy above 0"),
        (png(DEPTH), '{"fx": 0, "fy": 1, "cx": 0, "cy": 0}', "a.json: intrinsics are"),
        (png(DEPTH), '{"fx": NaN, "fy": 1, "cx": 0, "cy": 0}', "a.json: intrinsics are"),
        (png(DEPTH), "[1]", "a.json: expected fx, fy, cx and cy as json"),
        (png(DEPTH), "{" * 90000, "a.json: expected fx, fy, cx and cy as json"),
        (png(DEPTH), '{"intrinsic_matrix": [1]}', "a.json: expected fx, fy, cx and cy as json"),
        (png(DEPTH), '{"fx": 1, "fy": 1, "cx": 0, "cy": 0}', "its depths are integers; give the unit"),
        (png(DEPTH), '{"fx": 1, "fy": 1, "cx": 0, "cy": 0, "unit": "ell"}', "unit 'ell' is unknown; known are m, cm"),
        (png(DEPTH.astype(np.uint8)), None, "a picture of mode L, no depth"),
        (png(np.zeros((4, 4, 3), np.uint8)), None, "a picture of mode RGB, no depth"),
        (png(DEPTH)[:60], None, "not a readable png"),
        (b"ply\n", None, "not a readable png (it seems to be a ply)"),
        (b"", None, "the file is empty"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, content, said, message):
    path = write(tmp_path / "a.png", content)
    if said:
        write(tmp_path / "a.json", said)
    with pytest.raises(InputError) as error:
        read(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
