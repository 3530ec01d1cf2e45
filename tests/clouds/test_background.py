"""Padding, index map, plane and crop against naive versions, and what they may not depend on."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointad_core.clouds.background import check_kept, crop_ground, find_plane, index_map, outer_ring, pad_square
from pointad_core.errors import InputError


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300))
def test_padding_is_centred(height, width):
    array = np.arange(1, height * width + 1).reshape(height, width)
    padded = pad_square(array)
    side = int(np.ceil(max(height, width) / 100)) * 100
    assert padded.shape == (side, side)
    top, left = (side - height) // 2, (side - width) // 2
    np.testing.assert_array_equal(padded[top : top + height, left : left + width], array)
    assert np.count_nonzero(padded) == height * width


def test_published_sizes_are_padded_as_published():
    for shape, side in (((900, 400), 900), ((600, 800), 800), ((400, 400), 400), ((336, 336), 400)):
        assert pad_square(np.ones((*shape, 3))).shape == (side, side, 3)


@pytest.mark.parametrize(("side", "resolution"), [(400, 336), (512, 336), (900, 336), (60, 84), (7, 7)])
def test_index_map_rounds_down(side, resolution):
    values = np.arange(side * side).reshape(side, side)
    at = [math.floor(Fraction(i * side, resolution)) for i in range(resolution)]
    expected = [[values[row, column] for column in at] for row in at]
    np.testing.assert_array_equal(values[index_map((side, side), resolution)], expected)


def test_the_plane_is_the_seeds_alone():
    # Most points lie too far off for one plane: which one is found is up to chance.
    rng = np.random.default_rng(0)
    points = np.c_[rng.uniform(-0.05, 0.05, (300, 2)), rng.uniform(0.64, 0.68, 300)]
    planes = {seed: find_plane(points, seed, Path("any")) for seed in (3, 4)}
    assert not np.array_equal(planes[3], planes[4])
    for seed in (4, 3, 3):
        np.testing.assert_array_equal(find_plane(points, seed, Path("any")), planes[seed])


def test_the_plane_does_not_depend_on_the_speed_of_threads():
    # Nearly all points lie near one plane, so that many samples of them do about equally well.
    rng = np.random.default_rng(0)
    points = np.c_[rng.uniform(-0.07, 0.07, (1000, 2)), np.full(1000, 0.65)]
    points[:, 2] += 0.05 * points[:, 0] + rng.normal(0, 0.0018, 1000)
    for seed in range(4):
        planes = {tuple(find_plane(points, seed, Path("any"))) for _ in range(25)}
        assert len(planes) == 1


@pytest.mark.parametrize(("axis", "limit"), [("far", 1.8), ("wide", 1.0), ("high", -0.02)])
def test_the_crop_keeps_what_is_near_the_middle(axis, limit):
    # Points 0.5 above a level ground whose line runs along z from (0, 0, 2).
    points = np.zeros((4, 8, 3))
    points[..., 1] = -0.5
    if axis == "far":
        points[..., 2] = 2 + np.linspace(1.5, 2.1, 32).reshape(4, 8)
        expected = points[..., 2] - 2 <= limit
    elif axis == "high":
        points[..., 2] = 2.5
        points[..., 1] = np.linspace(-0.04, 0.01, 32).reshape(4, 8)
        expected = points[..., 1] <= limit
    else:
        points[..., 2] = 2.5
        points[..., 0] = np.linspace(-1.3, 1.3, 32).reshape(4, 8)
        expected = np.abs(points[..., 0]) <= limit
    points[0, 4], points[3, 4] = (0, 0, 5), (0, 0, 2)
    expected[0, 4] = expected[3, 4] = False
    kept = crop_ground(points, np.ones((4, 8), bool), Path("depth.png"))
    np.testing.assert_array_equal(kept, expected)
    assert 0 < kept.sum() < 30


def relief(side: int = 100) -> np.ndarray:
    """Points f8[side,side,3] of a ball's cap that rises from a tilted plane."""
    x, y = np.meshgrid(np.linspace(-0.05, 0.05, side), np.linspace(-0.05, 0.05, side))
    return np.stack([x, y, 0.6 + 0.3 * x - np.sqrt(np.maximum(0.03**2 - x**2 - y**2, 0))], axis=2)


@pytest.mark.parametrize(("rows", "refused"), [(0, False), (5, False), (30, True), (100, True)])
def test_what_fills_the_outer_ring_is_no_object(rows, refused):
    points, valid = relief(), np.ones((100, 100), bool)
    kept = np.hypot(*points[..., :2].transpose(2, 0, 1)) < 0.03
    kept[:rows] = True
    share = kept[outer_ring(valid)].mean()
    assert (share > 0.2) == refused
    if not refused:
        return check_kept(points, valid, kept, Path("a.tiff"))
    with pytest.raises(
        InputError, match=rf"a\.tiff: .* no object: {share:.0%} of the points in the outer 10 rows and col"
    ):
        check_kept(points, valid, kept, Path("a.tiff"))


def test_what_is_flat_and_most_of_the_scan_is_no_object():
    points, valid = relief(), np.ones((100, 100), bool)
    inside = ~outer_ring(valid)
    # The cap with what is around it is not flat; the plane alone is, whether noise of half a millimetre lies on it.
    check_kept(points, valid, inside, Path("a.tiff"))
    points[..., 2] = 0.6 + 0.3 * points[..., 0] + np.random.default_rng(0).uniform(-5e-4, 5e-4, (100, 100))
    with pytest.raises(InputError, match=r"a\.tiff: .* no object: 64% of the scan, \d+% of it on one plane.*`missing`"):
        check_kept(points, valid, inside, Path("a.tiff"))
    # A flat part that is the smaller part of the scan is one.
    small = inside.copy()
    small[60:] = False
    check_kept(points, valid, small, Path("a.tiff"))
