"""Missing points against the rules as written, point by point, and on scans where a constant is no mark."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointad_core.formats.missing import MARKS, find_missing

CASES = Path(__file__).parents[3] / "shared/cases"


def naive(points: np.ndarray) -> list[bool]:
    """The rules of the module, one point after another."""
    on_grid = points.ndim == 3
    rows = [tuple(float(number) + 0.0 for number in row) for row in points.reshape(-1, 3)]
    there = [all(np.isfinite(row)) for row in rows]
    while True:
        present = [row for row, valid in zip(rows, there, strict=True) if valid]
        copies = Counter(present)
        gone = set()
        if (on_grid or len(copies) == 1 < len(present)) and (0.0, 0.0, 0.0) in copies:
            gone = {(0.0, 0.0, 0.0)}
        ordinary = max((count for row, count in copies.items() if len(set(row)) > 1), default=0)
        for row, count in copies.items():
            others = [other for other in present if other != row]
            if not gone and len(set(row)) == 1 and count >= 2 and count > ordinary > 0:
                outside = any(
                    row[axis] < min(other[axis] for other in others) or row[axis] > max(other[axis] for other in others)
                    for axis in range(3)
                )
                if outside or (count > 10 * ordinary and count >= 10):
                    gone = {row}
        for row, count in copies.items():
            rest = [other for key, other in copies.items() if key != row]
            if not gone and on_grid and count >= 10 and rest and count > 10 * max(rest):
                gone = {row}
        if not gone:
            break
        there = [valid and row not in gone for row, valid in zip(rows, there, strict=True)]
    while True:
        heights = [row[2] for row, valid in zip(rows, there, strict=True) if valid]
        values, gone_z = sorted(set(heights)), None
        for end, nearest in ((0, 1), (-1, -2)):
            count = heights.count(values[end]) if values else 0
            known = count and (values[end] in MARKS or abs(values[end]) >= 1e9)
            if gone_z is None and len(values) >= 2 and (known or (on_grid and count >= 4)):
                others = [z for z in heights if z != values[end]]
                spread = np.quantile(others, 0.99) - np.quantile(others, 0.01)
                share = 1.0 if known else 10.0
                if values[end] in (0, -1):
                    share = 0.1 if count >= len(rows) / 1000 else 1.0
                if (spread > 0 or known) and abs(values[end] - values[nearest]) > share * spread:
                    gone_z = values[end]
        if gone_z is None:
            break
        there = [valid and row[2] != gone_z for row, valid in zip(rows, there, strict=True)]
    return there


numbers = st.sampled_from([0.0, -0.0, -1.0, 1.0, 2.0, 2.25, 65535.0, 1e4, 3.4e38, np.nan, np.inf, -7.0])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_it_is_the_rules_as_written(data):
    seed = data.draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    n = data.draw(st.integers(1, 60))
    # Ordinary points, some on a coarse lattice, and some rows, or their z alone, of a few constants.
    points = rng.uniform(0.5, 3, (n, 3))
    if data.draw(st.booleans()):
        points = np.round(points)
    for _ in range(data.draw(st.integers(0, 3))):
        which = rng.random(n) < data.draw(st.sampled_from([0.03, 0.2, 0.5, 1.0]))
        if data.draw(st.booleans()):
            points[which, 2] = data.draw(numbers)
        elif data.draw(st.booleans()):
            points[which] = data.draw(numbers)
        else:
            points[which] = [data.draw(numbers), 1.5, data.draw(numbers)]
    if data.draw(st.booleans()):
        points = points.reshape(1, n, 3)
    missing = find_missing(points)
    assert missing.valid.ravel().tolist() == naive(points)
    assert missing.valid.shape == points.shape[:-1]
    lost = points.size // 3 - np.count_nonzero(missing.valid)
    assert missing.notes == () if not lost else f"{lost} of {n} points are missing" in missing.notes[0]


def grid(side: int = 60, step: float = 0.0) -> np.ndarray:
    """A ball on a table, seen by a camera in metres, rounded to `step`."""
    line = np.linspace(-0.05, 0.05, side)
    x, y = np.meshgrid(line, line)
    z = 0.65 - np.sqrt(np.maximum(0.03**2 - x**2 - y**2, 0)) + 1e-4 * np.sin(900 * x)
    points = np.stack([x, y, z], axis=2)
    return np.round(points / step) * step if step else points


@pytest.mark.parametrize(
    ("mark", "name"),
    [
        ((np.nan,) * 3, "NaN"),
        ((np.inf,) * 3, "infinite"),
        ((0, 0, 0), "(0, 0, 0)"),
        ((-1, -1, -1), "(-1, -1, -1)"),
        ((1e4, 1e4, 1e4), "(10000, 10000, 10000)"),
        ((0, 0, 65535), "(0, 0, 65535)"),
        ((0, 0, 10), "(0, 0, 10)"),
        ((None, None, 0), "z = 0"),
        ((None, None, -1), "z = -1"),
        ((None, None, 1e4), "z = 10000"),
        ((None, None, 65535), "z = 65535"),
        ((None, None, -9999), "z = -9999"),
        ((None, None, float(np.float32(3.4028235e38))), "z = 3.40282e+38"),
        ((None, None, 2.0), "z = 2"),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_every_mark_on_a_grid(mark, name, scale):
    points = grid() * scale
    points[10, 3, :2] = 0  # coordinates of 0 are those of a point
    which = np.random.default_rng(0).random((60, 60)) < 0.2
    for axis, value in enumerate(mark):
        if value is not None:
            points[which, axis] = value * (scale if value in (2.0, 10) else 1)
    missing = find_missing(points)
    np.testing.assert_array_equal(missing.valid, ~which)
    count = which.sum()
    shown = name if scale == 1 else name.replace("= 2", "= 2000").replace(", 10)", ", 10000)")
    assert missing.notes == (f"{count} of 3600 points are missing ({shown}: {count})",)


@pytest.mark.parametrize("mark", [0, -1, 2.0 * 650, 1e4, 65535, -9999, float(np.float32(3.4028235e38))])
def test_a_few_pixels_with_a_mark_far_away(mark):
    """Of a million pixels: fewer than any share of them could tell, and yet they would make the part a dot."""
    points = np.repeat(grid(100), 10, axis=0)
    which = np.zeros(points.shape[:2], bool)
    which[500, 40:46] = True
    points[which, 2] = mark
    missing = find_missing(points)
    np.testing.assert_array_equal(missing.valid, ~which)
    assert missing.notes == (f"6 of 100000 points are missing (z = {mark:g}: 6)",)
    # One alone can be a stray point, but for a number that programs are known to write.
    points[500, 41:46] = grid(100)[50, 41:46]
    assert np.count_nonzero(~find_missing(points).valid) == (mark not in (0, -1, 1300))
    assert np.count_nonzero(~find_missing(points.reshape(-1, 3)).valid) == (mark not in (0, -1, 1300))


def test_a_mark_beside_points_of_one_depth():
    points = np.dstack([*np.mgrid[:20, :20], np.full((20, 20), 650.0)])
    points[3, 4:9, 2] = 65535
    assert np.count_nonzero(~find_missing(points).valid) == 5
    # Two depths can be a step as well.
    points[3, 4:9, 2] = 0
    assert find_missing(points).valid.all()


def test_several_marks_are_told_apart():
    points = grid(40)
    points[:3] = np.nan
    points[3:6] = 0
    points[6, :4] = np.inf
    points[7] = (-1, -1, -1)
    points[8, :, 2] = 65535
    missing = find_missing(points)
    assert missing.notes == (
        "324 of 1600 points are missing (NaN: 120, infinite: 4, (0, 0, 0): 120, (-1, -1, -1): 40, z = 65535: 40)",
    )
    np.testing.assert_array_equal(missing.valid[9:], True)


def test_a_quantised_table_is_there():
    """Depth in whole millimetres: thousands of pixels share one z, which is even the largest."""
    for step in (0.001, 0.002, 0.005):
        points = grid(step=step)
        assert np.unique(points[..., 2], return_counts=True)[1].max() > 1000
        assert find_missing(points).valid.all()
    # The same with the lattice in x and y that a wide pixel gives, and in millimetres as integers.
    assert find_missing(np.round(grid() * 1000)).valid.all()


def test_a_plate_on_a_perfect_table_is_there():
    points = grid() * 1000
    points[..., 2] = 650
    points[20:40, 20:40, 2] = 645
    points[20:40, 20, 2] = 646
    assert find_missing(points).valid.all()


def test_ground_at_zero_with_a_part_on_it_is_there():
    """Another frame than a camera's: z upwards from the ground, which is exactly 0."""
    points = grid()
    line = np.linspace(-1, 1, 60)
    points[..., 2] = np.maximum(0, 0.04 - 0.05 * np.hypot(*np.meshgrid(line, line)))
    assert np.count_nonzero(points[..., 2] == 0) > 1000
    assert find_missing(points).valid.all()


def test_origin_of_a_set():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(3000, 3))
    points[17] = 0
    assert find_missing(points).valid.all()
    # Twice, in the middle of the others, as merged scans have a point twice.
    points[18] = 0
    assert find_missing(points).valid.all()
    # Away from the others, or very often.
    assert find_missing(points + [0, 0, 600] * (points != 0)).valid.sum() == 2998
    points[:100] = 0
    missing = find_missing(points)
    assert missing.notes == ("100 of 3000 points are missing ((0, 0, 0): 100)",)
    np.testing.assert_array_equal(missing.valid, np.arange(3000) >= 100)
    # Corners of a mesh that stand in the file once for each of its triangles.
    corners = np.repeat(np.array(np.meshgrid([-1, 0, 1], [-1, 0, 1], [-1, 0, 1])).reshape(3, -1).T, 30, axis=0)
    assert find_missing(corners.astype(float)).valid.all()
    # A flat set of points.
    flat = rng.normal(size=(3000, 3)) * [1, 1, 0]
    assert find_missing(flat).valid.all()


@pytest.mark.parametrize("mark", [-9999, 1e4, -32768, float(np.float32(-3.4028235e38))])
def test_a_table_of_heights_without_its_grid(mark):
    """As a profilometer writes x y z, and a number for the heights that it did not see."""
    points = grid().reshape(-1, 3)
    which = np.random.default_rng(0).random(3600) < 0.2
    points[which, 2] = mark
    missing = find_missing(points)
    np.testing.assert_array_equal(missing.valid, ~which)
    assert missing.notes == (f"{which.sum()} of 3600 points are missing (z = {mark:g}: {which.sum()})",)
    # Of a set, 0 may be the floor that a part stands above.
    points[which, 2] = 0
    assert find_missing(points).valid.all()


def test_the_caller_knows_better():
    points = grid()
    points[0] = 0
    points[1] = -1
    points[2, :, 2] = 0.7
    points[3] = np.nan
    assert find_missing(points, "none").notes == ("60 of 3600 points are missing (NaN: 60)",)
    assert find_missing(points, 0.7).notes == ("120 of 3600 points are missing (NaN: 60, z = 0.7: 60)",)
    # As a file of 4 bytes has the number.
    missing = find_missing(points.astype(np.float32), 0.7)
    np.testing.assert_array_equal(missing.valid, ~np.isin(np.arange(60), [2, 3])[:, None] | np.zeros((60, 60), bool))
    assert find_missing(points.reshape(-1, 3), -1).notes == ("120 of 3600 points are missing (NaN: 60, z = -1: 60)",)


def test_nothing_left_and_nothing_there():
    assert not find_missing(np.zeros((4, 5, 3))).valid.any()
    assert not find_missing(np.full((7, 3), np.nan)).valid.any()
    assert find_missing(np.zeros((0, 3))).valid.shape == (0,)
    assert not find_missing(np.zeros((5, 3))).valid.any()
    assert find_missing(np.zeros((1, 3))).valid.all()


@pytest.mark.skipif(not CASES.exists(), reason="the files are not here")
def test_files_that_people_have():
    import tifffile

    points = tifffile.imread(CASES / "missing_is_z0.tiff")
    np.testing.assert_array_equal(find_missing(points).valid, points[..., 2] != 0)
