"""Padding, index map, plane and crop against naive versions, and what they may not depend on."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointad_core.clouds.background import crop_ground, find_plane, index_map, pad_square


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
