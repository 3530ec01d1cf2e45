"""Units and places of scans: what is refused, in which words, and what a scan keeps of its digits."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointad_core.clouds.frame import FAR, extent_of, to_origin, to_unit
from pointad_core.datasets.registry import LAYOUTS
from pointad_core.datasets.scans import Organised, Unorganised
from pointad_core.errors import InputError
from pointad_core.formats.unit import UNITS

NOWHERE = Path("part.tiff")


def cube(size: float, n: int = 500, seed: int = 0) -> Unorganised:
    points = np.random.default_rng(seed).uniform(-size / 2, size / 2, (n, 3))
    return Unorganised(points, points[:, 0] > 0)


def into(raw: Unorganised, layout: str, unit: str | float | None = None) -> Unorganised:
    entry = LAYOUTS[layout]
    return to_unit(raw, unit, entry.unit, entry.extents, NOWHERE)


def naive_extent(points: np.ndarray) -> float:
    sides = []
    for axis in range(3):
        values = sorted(points[:, axis])
        ends = []
        for share in (0.01, 0.99):
            place = share * (len(values) - 1)
            below = int(place)
            above = min(below + 1, len(values) - 1)
            ends.append(values[below] + (values[above] - values[below]) * (place - below))
        sides.append(ends[1] - ends[0])
    return max(sides)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 300), st.integers(0, 2**32 - 1))
def test_the_extent_is_that_of_nearly_all_points(n: int, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(n, 3)) * (1, 3, 2)
    assert extent_of(points) == pytest.approx(naive_extent(points), rel=1e-9)
    # A few far away do not count.
    many = np.r_[np.tile(points, (100, 1)), [[1e6, 0, 0]]]
    assert extent_of(many) < 100


def test_a_scan_in_its_layouts_unit_stays_as_it_is() -> None:
    for layout, size in (("mvtec3d", 0.1), ("eyecandies", 2.0), ("real3d", 30.0)):
        raw = cube(size)
        assert into(raw, layout) is raw
        assert into(raw, layout, LAYOUTS[layout].unit) is raw


@pytest.mark.parametrize("unit", [*UNITS, 0.002])
@pytest.mark.parametrize(("layout", "metres"), [("mvtec3d", 0.1), ("eyecandies", 2.0), ("real3d", 0.03)])
def test_other_units_are_converted(layout: str, metres: float, unit: str | float) -> None:
    raw = cube(metres)
    one = UNITS[unit] if isinstance(unit, str) else unit
    file = Unorganised(raw.points / one, raw.labels)
    expected = raw.points / {"m": 1, "mm": 0.001}[LAYOUTS[layout].unit]
    np.testing.assert_allclose(into(file, layout, unit).points, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("layout", "size", "unit", "told"),
    [
        (
            "mvtec3d",
            96.2,
            None,
            r"would be 9\d\.\d+ m; expected 0\.003 to 1 m\. Set `unit` .*: `unit: mm`, which makes it",
        ),
        ("mvtec3d", 9.6, None, "`unit: cm`, which makes it"),
        ("mvtec3d", 1.7, None, "`unit: inch`, which makes it"),  # 43 mm, without a background
        ("mvtec3d", 96200.0, None, "`unit: um`, which makes it"),
        ("mvtec3d", 0.1, "mm", "with `unit: mm`, that would be .*e-05 m"),
        ("eyecandies", 2300.0, None, "`unit: mm`, which makes it"),
        ("eyecandies", 230.0, None, "`unit: cm`, which makes it"),
        ("real3d", 0.03, None, r"`unit: m`, which makes it \d+\.\d+ mm"),
        ("real3d", 3.8, None, "`unit: cm`, which makes it"),
        ("real3d", 2.0, None, r"`unit: inch`, .*a number, .* \(of a normalised scan .*, such as 0\.04\)"),
        ("real3d", 30000.0, None, "`unit: um`, which makes it"),
    ],
)
def test_an_extent_that_cannot_be_is_refused(layout: str, size: float, unit: str | None, told: str) -> None:
    with pytest.raises(InputError, match=rf"part\.tiff: its extent is .*{told}"):
        into(cube(size), layout, unit)


def test_what_an_error_advises_works() -> None:
    raw = cube(1.4)
    with pytest.raises(InputError, match=r"such as 0\.05") as caught:
        into(raw, "real3d")
    assert "unit: m`" not in str(caught.value)  # 1400 mm would be too much again
    assert 30 < extent_of(into(raw, "real3d", 0.05).points) < 90


def test_what_was_taken_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "pointad_core"):
        into(cube(0.1), "mvtec3d")
        into(cube(100), "mvtec3d", "mm")
    assert [record.getMessage() for record in caplog.records] == [
        "part.tiff: extent 0.09855, taken as m",
        "part.tiff: extent 98.55, by `unit: mm` 0.09855 m",
    ]


def test_points_in_one_place_have_no_unit() -> None:
    with pytest.raises(InputError, match=r"part\.tiff: its points lie all in one place"):
        into(Unorganised(np.full((100, 3), 0.3), np.zeros(100, bool)), "mvtec3d")


def test_a_scan_far_away_is_moved_and_a_near_one_is_not(caplog: pytest.LogCaptureFixture) -> None:
    raw = cube(0.1)
    size = extent_of(raw.points)
    near = Unorganised(raw.points + 0.99 * FAR * size, raw.labels)
    assert to_origin(near, NOWHERE) is near
    assert not caplog.records
    place = np.array([500000, 4649776.25, 120])
    with caplog.at_level(logging.INFO, "pointad_core"):
        moved = to_origin(Unorganised(raw.points + place, raw.labels), NOWHERE)
    assert "coordinates up to 4649776.3 for an extent of 0.09855; moved to the origin" in caplog.text
    assert "steps" not in caplog.text
    middle = np.median(raw.points, axis=0)
    np.testing.assert_allclose(moved.points, raw.points - middle, atol=2e-9)


def test_missing_points_of_a_moved_scan_stay_zeros() -> None:
    points = cube(0.1, 400).points.reshape(20, 20, 3) + np.array([0, 3000, 0])
    valid = np.ones((20, 20), bool)
    valid[3:5] = False
    raw = Organised(np.where(valid[..., None], points, 0), valid, np.zeros((20, 20, 3), np.uint8), ~valid)
    moved = to_origin(raw, NOWHERE)
    assert not moved.points[~valid].any()
    np.testing.assert_allclose(moved.points[valid], points[valid] - np.median(points[valid], axis=0), atol=1e-12)
    assert (moved.valid is raw.valid, moved.mask is raw.mask) == (True, True)


def test_digits_that_the_file_has_lost_are_told(caplog: pytest.LogCaptureFixture) -> None:
    place = np.array([500000, 4649776.25, 120])

    def rounded(size: float) -> Unorganised:
        points = (cube(size).points + place).astype(np.float32).astype(np.float64)
        return Unorganised(points, np.zeros(len(points), bool))

    to_origin(rounded(30.0), NOWHERE)
    assert "part.tiff: the file has its coordinates in steps of 0.5" in caplog.text
    for size in (2.0, 0.1):
        with pytest.raises(InputError, match=r"part\.tiff: .* in steps of 0\.5, .* no shape is left"):
            to_origin(rounded(size), NOWHERE)
