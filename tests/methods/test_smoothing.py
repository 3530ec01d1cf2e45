"""Both Gaussian filters against the sums that define them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointad_core.methods.smoothing import smooth_map, smooth_points


def naive_map(scores, sigma):
    """Truncated at 4 sigma, reflected borders (d c b a | a b c d | d c b a), row by row then column by column."""
    radius = int(4 * sigma + 0.5)
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        padded = np.pad(scores, [(radius, radius) if i == axis else (0, 0) for i in (0, 1)], mode="symmetric")
        scores = np.apply_along_axis(lambda line: np.convolve(line, kernel, mode="valid"), axis, padded)
    return scores


def naive_points(scores, points, sigma):
    weights = np.exp(-((points[:, None] - points[None]) ** 2).sum(-1) / (2 * sigma**2))
    return weights @ scores / weights.sum(1)


def shell(seed, n=1500):
    """A hemisphere-like surface with a spot of high scores, where blur of unrelated points would show."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3))
    points = points / np.linalg.norm(points, axis=1, keepdims=True) * [1.0, 0.9, 0.5]
    scores = 0.3 * rng.random(n) + 0.7 * (np.linalg.norm(points - points[0], axis=1) < 0.3)
    return points, scores


@pytest.mark.parametrize(("size", "sigma"), [(336, 4.0), (84, 1.0)])
def test_map_is_filtered_with_4_pixels_of_336(size, sigma):
    scores = np.random.default_rng(size).random((size, size))
    np.testing.assert_allclose(smooth_map(scores, 4.0), naive_map(scores, sigma), atol=2e-6)


@pytest.mark.parametrize("sigma", [0, 2.0, 4.0])
def test_over_points_is_the_weighted_mean_over_them_alone(sigma):
    rng, size = np.random.default_rng(5), 168
    over = rng.random((size, size)) < 0.3
    over[:, :40] = False  # far from any point there is none to take the mean of
    scores = rng.random((size, size))
    found, plain = smooth_map(scores, sigma, over), smooth_map(scores, sigma)
    np.testing.assert_array_equal(found[~over], plain[~over])
    if sigma:
        expected = naive_map(scores * over, sigma / 2)[over] / naive_map(over.astype(float), sigma / 2)[over]
    else:
        expected = scores[over]
    np.testing.assert_allclose(found[over], expected, atol=5e-6)


def test_over_points_a_constant_stays_what_it_is_up_to_the_border():
    over = np.hypot(*(np.mgrid[:100, :100] - 50)) < 30
    found, plain = (smooth_map(0.7 * over, 14.0, *given) for given in ([over], []))
    np.testing.assert_allclose(found[over], 0.7, atol=1e-6)
    assert plain[over].min() < 0.4


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sigma", [4.0, 8.0])
def test_points_are_within_two_percent_of_the_sum_over_all_neighbours(seed, sigma):
    points, scores = shell(seed)
    # The largest extent of a matched map's object takes 1 / 1.4 of its 336 pixels.
    wanted = naive_points(scores, points, sigma * max(np.ptp(points, axis=0)) * 1.4 / 336)
    got = smooth_points(scores, points, sigma)
    assert np.abs(wanted - scores).mean() > 0.03  # the filter does something here
    assert np.abs(got - wanted).max() < 0.02
    assert np.abs(got - wanted).mean() < 0.002


@pytest.mark.parametrize("sigma", [0.01, 0.3])
def test_a_narrow_filter_sums_over_the_neighbours_instead_of_filling_the_memory(sigma):
    points, scores = shell(1)
    # Twice as many points as places, and a cluster finer than the filter.
    points = np.concatenate([points, points, points[0] + np.random.default_rng(0).normal(size=(50, 3)) * 1e-5])
    scores = np.concatenate([scores, 1 - scores, np.linspace(0, 1, 50)])
    width = sigma * max(np.ptp(points, axis=0)) * 1.4 / 336
    got = smooth_points(scores, points, sigma)
    np.testing.assert_allclose(got, naive_points(scores, points, width), atol=2e-3)
    assert np.abs(got - scores).max() > 0.3


def test_width_in_space_is_that_of_the_organised_grid():
    """A plane seen from the front, filling 1 / 1.4 of the image: both filters blur a step alike."""
    side = 240  # of 336
    rows, columns = np.mgrid[:side, :side]
    points = np.stack([columns, rows, np.zeros_like(rows)], -1).reshape(-1, 3).astype(float)
    step = (columns > side // 2).astype(float)
    inside = slice(40, -40)
    grid = np.pad(step, 48, mode="edge")
    wanted = smooth_map(grid, 4.0)[48:-48, 48:-48][inside, inside]
    got = smooth_points(step.ravel(), points, 4.0).reshape(side, side)[inside, inside]
    assert np.abs(got - wanted).max() < 0.02


@given(st.integers(0, 10**6), st.floats(0.01, 1000), st.floats(-100, 100))
@settings(max_examples=20, deadline=None)
def test_laws(seed, scale, shift):
    points, scores = shell(seed, 200)
    got = smooth_points(scores, points, 4.0)
    assert got.min() >= np.float32(scores.min())
    assert got.max() <= np.float32(scores.max())
    order = np.random.default_rng(seed).permutation(200)
    np.testing.assert_allclose(smooth_points(scores[order], points[order], 4.0), got[order], atol=1e-5)
    # Units do not matter; a shift moves nothing but the last digits.
    np.testing.assert_allclose(smooth_points(scores, points * scale, 4.0), got, atol=1e-4)
    np.testing.assert_allclose(smooth_points(scores, points + shift, 4.0), got, atol=1e-4)
    np.testing.assert_allclose(smooth_points(np.full(200, 0.3), points, 4.0), 0.3, rtol=1e-6)


def test_degenerate_clouds():
    assert smooth_points(np.array([0.25]), np.zeros((1, 3)), 4.0).tolist() == [0.25]
    np.testing.assert_allclose(smooth_points(np.array([0.0, 1.0]), np.ones((2, 3)), 4.0), [0.5, 0.5])
    np.testing.assert_allclose(smooth_points(np.array([0.0, 1.0]), np.eye(2, 3), 0.0), [0.0, 1.0])
