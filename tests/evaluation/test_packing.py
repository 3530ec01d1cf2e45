"""A scan's arrays made small: what is kept, how exact it is, and that it can be unpacked."""

import zlib

import numpy as np
import pytest

from pointad_core.evaluation import packing


def naive_thin(points, score, most):
    """By the words of `thin`: bits interleaved one by one, groups one after the other."""
    corner = points.min(0)
    step = (points.max(0) - corner).max() / 65535 or 1.0
    places = []
    for point in points:
        steps = [round(float(value)) for value in (point - corner) / step]
        places.append(sum((steps[axis] >> bit & 1) << (3 * bit + axis) for bit in range(16) for axis in range(3)))
    curve = sorted(range(len(points)), key=lambda i: (places[i], i))
    kept = []
    for group in range(most):
        members = curve[group * len(points) // most : (group + 1) * len(points) // most]
        ranked = [-np.inf if np.isnan(score[i]) else score[i] for i in members]
        kept.append(members[ranked.index(max(ranked))])
    return sorted(kept)


@pytest.mark.parametrize("most", [1, 7, 100, 299, 300])
def test_the_highest_of_every_neighbourhood_is_kept(most):
    rng = np.random.default_rng(most)
    points = rng.normal(size=(300, 3)) * [1, 20, 300] + 4e6
    score = rng.integers(0, 40, 300).astype(np.float32)
    score[rng.random(300) < 0.1] = np.nan
    kept = packing.thin(points, score, most)
    assert kept.tolist() == (naive_thin(points, score, most) if most < 300 else list(range(300)))
    assert np.nanmax(score[kept]) == np.nanmax(score)


def test_a_share_of_the_kept_points_is_a_share_of_all():
    rng = np.random.default_rng(1)
    points = rng.random((20000, 3)) * [1, 1, 0]
    # A smooth score, as maps are, and a cloud that is denser where it is high.
    points[:, 0] **= 2
    score = -np.hypot(points[:, 0], points[:, 1])
    kept = packing.thin(points, score, 2000)
    assert (score[kept] > -0.4).mean() == pytest.approx((score > -0.4).mean(), abs=0.02)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e5])
def test_positions_are_exact_to_half_a_step_of_their_box(scale):
    points = np.random.default_rng(0).normal(size=(500, 3)) * [scale, scale / 50, 0] + 1000 * scale
    steps, corner, step = packing.quantise_points(points)
    assert step == pytest.approx(np.ptp(points[:, 0]) / 65535)
    assert np.abs(corner + steps * step - points).max() <= 0.5001 * step
    assert packing.quantise_points(np.full((3, 3), 7.0))[0].max() == 0


def test_scores_are_exact_to_half_a_step_of_their_range_and_nan_is_none():
    score = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    score[::10] = np.nan
    steps, low, high = packing.quantise_scores(score)
    assert ((steps == 0) == np.isnan(score)).all()
    assert (low, high) == (np.nanmin(score), np.nanmax(score))
    found = low + (steps.astype(float) - 1) * (high - low) / 65534
    scored = ~np.isnan(score)
    assert np.abs(found - score)[scored].max() <= 0.5001 * (high - low) / 65534
    assert packing.quantise_scores(np.full(4, 0.25, np.float32))[0].tolist() == [1, 1, 1, 1]


def test_spacing_is_that_of_a_regular_grid_and_follows_its_scale():
    grid = np.stack([*np.mgrid[:60, :60].reshape(2, -1), np.zeros(3600)], axis=1)
    assert packing.find_spacing(grid) == pytest.approx(1, rel=0.15)
    assert packing.find_spacing(grid * 0.01) == pytest.approx(0.01 * packing.find_spacing(grid))
    points = np.random.default_rng(0).random((400, 3))
    distances = np.sort(np.linalg.norm(points[:, None] - points, axis=2), axis=1)
    assert packing.find_spacing(points) == pytest.approx(np.median(distances[:, 8]) * np.sqrt(np.pi / 8))
    # A far-off point changes it little; too few points, or all in one place, have one too.
    assert packing.find_spacing(np.vstack([grid, [[1e6, 0, 0]]])) == pytest.approx(1, rel=0.15)
    for few in (np.zeros((1, 3)), np.zeros((20, 3)), np.eye(3)[:2]):
        assert packing.find_spacing(few) > 0


def unpack(layout, block):
    """What the page does, in numpy."""
    block, place = zlib.decompress(block), 0
    n = layout["count"]

    def take(dtype, count):
        nonlocal place
        array = np.frombuffer(block, dtype, count, place)
        place += array.nbytes
        return array

    arrays = {name: np.cumsum(take("<u2", n), dtype=np.uint16) for name in ("x", "y", "z")}
    arrays |= {score["name"]: np.cumsum(take("<u2", n), dtype=np.uint16) for score in layout["scores"]}
    if layout["colours"]:
        arrays["colours"] = take("u1", 3 * n).reshape(n, 3)
    if layout["truth"]:
        arrays["truth"] = take("u1", n)
    if layout["numbered"]:
        arrays["numbers"] = np.cumsum(take("<u4", n), dtype=np.uint32)
    assert place == len(block)
    return arrays


@pytest.mark.parametrize(
    ("most", "coloured", "labelled", "numbered"),
    [(200, True, True, False), (200, False, False, True), (50, True, False, False), (50, False, True, True)],
)
def test_what_is_packed_is_unpacked(most, coloured, labelled, numbered):
    rng = np.random.default_rng(3)
    points = rng.normal(size=(200, 3)).astype(np.float32)
    scores = {name: rng.random(200).astype(np.float32) for name in ("score", "rgb")}
    colours = rng.integers(0, 256, (200, 3), dtype=np.uint8) if coloured else None
    truth = rng.random(200) < 0.2 if labelled else None
    kept = packing.thin(points, scores["score"], most)
    numbers = rng.permutation(1000)[:200] if numbered else None
    layout, block = packing.pack(points, scores, colours, truth, kept, numbers)
    arrays = unpack(layout, block)
    assert np.array_equal(np.stack([arrays[axis] for axis in "xyz"], 1), packing.quantise_points(points[kept])[0])
    for name, score in scores.items():
        assert np.array_equal(arrays[name], packing.quantise_scores(score[kept])[0])
    assert ("numbers" in arrays) == (most < 200 or numbered)
    if most < 200 or numbered:
        assert np.array_equal(arrays["numbers"], kept if numbers is None else numbers[kept])
    if colours is not None:
        assert np.array_equal(arrays["colours"], colours[kept])
    if truth is not None:
        assert np.array_equal(arrays["truth"], truth[kept])
