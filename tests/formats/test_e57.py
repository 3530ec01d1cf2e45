"""E57 as libE57Format writes it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pye57
import pytest
from raw_files import write

from pointad_core.errors import InputError
from pointad_core.formats.e57 import read
from pointad_core.formats.missing import find_missing

POINTS = np.random.default_rng(0).normal((4e5, 5e6, 100), size=(200, 3)).astype(np.float32).astype(np.float64)
RGB = np.random.default_rng(1).integers(0, 255, (200, 3)).astype(np.uint8)


def saved(path: Path, *scans: dict[str, object]) -> Path:
    file = pye57.E57(str(path), mode="w")
    for scan in scans:
        file.write_scan_raw(
            {
                **{f"cartesian{axis}": np.ascontiguousarray(scan["points"][:, at]) for at, axis in enumerate("XYZ")},
                **{
                    f"color{name}": np.ascontiguousarray(scan["rgb"][:, at])
                    for at, name in enumerate(("Red", "Green", "Blue"))
                    if "rgb" in scan
                },
                **({"cartesianInvalidState": scan["invalid"]} if "invalid" in scan else {}),
            },
            rotation=np.array([np.sqrt(0.5), 0, 0, np.sqrt(0.5)]) if "turned" in scan else None,
            translation=np.array([10.0, 20.0, 30.0]) if "turned" in scan else None,
        )
    file.close()
    return path


def test_large_coordinates_and_colours(tmp_path):
    reading = read(saved(tmp_path / "a.e57", {"points": POINTS, "rgb": RGB}))
    np.testing.assert_array_equal(reading.points, POINTS)
    np.testing.assert_array_equal(reading.colours, RGB)
    assert reading.unit == "m"
    assert reading.notes == ()


def test_several_scans_are_put_together(tmp_path):
    invalid = np.zeros(200, np.uint8)
    invalid[:30] = 2
    path = saved(tmp_path / "a.e57", {"points": POINTS}, {"points": POINTS, "turned": True, "invalid": invalid})
    reading = read(path)
    assert reading.notes == (
        "2 scans in their common frame",
        "30 of 400 points are marked as invalid and left out",
    )
    x, y, z = POINTS[30:].T
    np.testing.assert_array_equal(reading.points[:200], POINTS)
    np.testing.assert_allclose(reading.points[200:], np.stack([10 - y, 20 + x, 30 + z], axis=1), rtol=1e-12)
    assert reading.colours is None


def test_missing_points_at_the_origin(tmp_path):
    """Programs write one for each that the scanner did not see, which doubles the count."""
    points = np.concatenate([POINTS, np.zeros((200, 3))])
    reading = read(saved(tmp_path / "a.e57", {"points": points}))
    assert len(reading.points) == 400
    assert find_missing(reading.points).notes == ("200 of 400 points are missing ((0, 0, 0): 200)",)


def test_what_is_wrong_is_said(tmp_path):
    whole = saved(tmp_path / "a.e57", {"points": POINTS}).read_bytes()
    for content, message in (
        (b"", "the file is empty"),
        (b"LASF", "not an e57 (it seems to be a las or laz)"),
        (whole[:1500], "not a readable e57"),
        (whole[:60] + bytes(1000) + whole[1060:], "e57"),
    ):
        path = write(tmp_path / "b.e57", content)
        with pytest.raises(InputError) as error:
            read(path)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("ending", "package", "extra"), [("e57", "e57", "e57"), ("laz", "laspy", "las")])
def test_without_its_package(tmp_path, ending, package, extra):
    path = write(tmp_path / f"a.{ending}", b"x")
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from pointad_core.formats.registry import read\n"
        f"try: read({str(path)!r})\n"
        "except ValueError as error: print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"pip install 'pointad_core[{extra}]'" in found.stdout
