"""Stray points against a naive version of the rule, and what no object has."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointad_core.clouds.outliers import FACTOR, find_stray, report_stray


def naive(points: list[list[float]]) -> list[bool]:
    def quantile(values: list[float], share: float) -> float:
        values, place = sorted(values), share * (len(values) - 1)
        below = int(place)
        return values[below] + (values[min(below + 1, len(values) - 1)] - values[below]) * (place - below)

    middle = [quantile([point[axis] for point in points], 0.5) for axis in range(3)]
    distances = [sum((a - b) ** 2 for a, b in zip(point, middle, strict=True)) ** 0.5 for point in points]
    return [distance > 4 * quantile(distances, 0.95) for distance in distances]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.integers(0, 8), st.floats(1, 100), st.integers(0, 2**32 - 1))
def test_stray_points_are_those_of_the_rule(n: int, strays: int, far: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = np.r_[rng.normal(size=(n, 3)), far * rng.normal(size=(strays, 3))]
    assert find_stray(points).tolist() == naive(points.tolist())


def test_a_few_far_away_are_found_and_nothing_of_an_object() -> None:
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(5000, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    needle = np.c_[rng.uniform(0, 50, 5000), rng.normal(0, 0.1, (5000, 2))]
    # A lollipop: most points in its head, 3 % in a stick of three times the head's radius.
    lollipop = np.r_[ball, np.c_[np.linspace(1, 3.9, 150), np.zeros((150, 2))]]
    for thing in (ball, needle, lollipop, ball + np.array([4e6, 0, 0]), 1e-3 * ball):
        assert not find_stray(thing).any()
        size = np.linalg.norm(np.ptp(thing, axis=0))
        strays = thing[:40] + 6 * size * np.eye(3)[rng.integers(0, 3, 40)]
        np.testing.assert_array_equal(np.flatnonzero(find_stray(np.r_[thing, strays])), len(thing) + np.arange(40))
    assert FACTOR > 1
    assert find_stray(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize("remove", [True, False])
def test_they_are_told_of_and_removed_on_request(remove: bool, caplog: pytest.LogCaptureFixture) -> None:
    points = np.r_[np.random.default_rng(0).uniform(-1, 1, (1000, 3)), [[0, 300, 400], [0, 0, 30]]]
    with caplog.at_level(logging.INFO, "pointad_core"):
        stray = report_stray(points, remove, Path("part.ply"))
        assert not report_stray(points[:1000], remove, Path("part.ply")).any()
    assert np.flatnonzero(stray).tolist() == ([1000, 1001] if remove else [])
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(
        "part.ply: 2 of 1002 points lie far away, up to 500 from the middle where all"
    )
    assert ("`outliers: remove` takes them out" in record.getMessage()) is not remove
