"""A threshold from good scans: its rule, its promise over many calibrations, and what is refused."""

import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from pointad_core.errors import InputError
from pointad_core.predict.calibration import (
    Calibration,
    calibrate,
    check_made_by,
    decide,
    interval,
    misfit,
    read_calibration,
    write_calibration,
)


def named(scores):
    return {f"good/{number:03d}.ply": float(score) for number, score in enumerate(scores)}


def calibrated(scores, rate):
    """By scans whose highest point has twice the part's score."""
    return calibrate(scores, [2 * score for score in scores.values()], rate)


def naive_threshold(scores, rate):
    """The ceil((n + 1)(1 - a))-th smallest, in whole numbers: no score of which too many are above."""
    n, rate = len(scores), Fraction(str(rate))
    rank = -((-(n + 1) * (rate.denominator - rate.numerator)) // rate.denominator)
    return sorted(scores)[rank - 1] if rank <= n else None


@settings(deadline=None)
@given(
    st.lists(st.floats(-3, 3) | st.sampled_from([0.25, 0.5]), min_size=1, max_size=60),
    st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.9]),
)
def test_the_threshold_is_the_naive_quantile(scores, rate):
    expected = naive_threshold(scores, rate)
    if expected is None:
        with pytest.raises(InputError, match="good scans are needed"):
            calibrated(named(scores), rate)
        assert len(scores) < 1 / rate - 1
        return
    found = calibrated(named(scores), rate)
    assert found.threshold == expected
    assert found.point_threshold == 2 * expected
    # Of the scans themselves no larger share is called defective.
    assert sum(decide(score, found) for score in scores) <= rate * (len(scores) + 1)
    shuffled = calibrated(dict(reversed(named(scores).items())), rate)
    assert (shuffled.threshold, shuffled.interval) == (found.threshold, found.interval)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2])
def test_as_few_scans_as_are_needed_are_enough_to_the_last(rate):
    needed = round(1 / rate) - 1
    found = calibrated(named(range(needed)), rate)
    assert found.threshold == needed - 1  # the largest
    with pytest.raises(InputError, match=f"at least {needed} good scans are needed"):
        calibrated(named(range(needed - 1)), rate)


def test_too_few_scans_are_told_which_rate_they_allow():
    with pytest.raises(InputError, match=r"at least 19 good scans are needed, and 8 allow a rate of 0\.112 or more"):
        calibrated(named(range(8)), 0.05)
    assert calibrated(named(range(8)), 0.112).n == 8
    with pytest.raises(InputError, match="at least 19 good scans are needed, and there is none"):
        calibrated({}, 0.05)


@pytest.mark.parametrize(("n", "rate"), [(19, 0.05), (60, 0.05), (9, 0.2)])
def test_over_many_calibrations_the_rate_and_its_interval_are_as_stated(n, rate):
    """Skewed scores whose distribution is known, so that each threshold's true rate is."""
    rng = np.random.default_rng(20)
    rates, inside = [], 0
    for scores in rng.exponential(size=(4000, n)):
        found = calibrated(named(scores), rate)
        true = math.exp(-found.threshold)
        rates.append(true)
        inside += found.interval[0] <= true <= found.interval[1]
    # Scores without ties: floor((n + 1) a) / (n + 1) exactly, in the mean.
    expected = math.floor((n + 1) * rate + 1e-9) / (n + 1)
    error = 4 * np.std(rates) / math.sqrt(len(rates))
    assert abs(np.mean(rates) - expected) < error
    assert np.mean(rates) <= rate + error
    assert abs(inside / len(rates) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / len(rates))


def test_over_many_calibrations_ties_make_fewer_false_alarms_and_never_more():
    rng = np.random.default_rng(21)
    n, rate, inside, rates = 19, 0.1, 0, []
    for scores in rng.integers(0, 12, size=(3000, n)):
        found = calibrated(named(scores), rate)
        true = np.mean(np.arange(12) > found.threshold)
        rates.append(true)
        inside += found.interval[0] <= true <= found.interval[1]
    assert np.mean(rates) <= rate
    assert inside / len(rates) >= 0.95


def test_the_interval_holds_its_share_of_the_beta_distribution():
    for n, above in ((19, 1), (50, 3), (200, 10)):
        low, high = interval(n, above)
        # The density of the above-th largest of n uniform numbers, seen from the top.
        factor = math.exp(math.lgamma(n + 1) - math.lgamma(above) - math.lgamma(n + 1 - above))

        def density(x, n=n, above=above, factor=factor):
            return factor * x ** (above - 1) * (1 - x) ** (n - above)

        below, inside = (integrate.quad(density, *ends)[0] for ends in ((0, low), (low, high)))
        assert inside == pytest.approx(0.95, abs=1e-6)
        assert below == pytest.approx(0.025, abs=1e-6)
    narrow, wide = interval(400, 20), interval(40, 2)
    assert narrow[1] - narrow[0] < wide[1] - wide[0]


def test_identical_scores_are_said_and_call_nothing_like_them_defective():
    found = calibrated(named([0.4] * 30), 0.05)
    assert found.threshold == 0.4
    assert not decide(0.4, found)
    assert decide(0.4000001, found)
    assert found.interval[0] == 0
    assert "30 scans have the score of the threshold" in found.notes[0]
    assert calibrated(named(range(30)), 0.05).notes == ()


@pytest.mark.parametrize("rate", [0, 1, -0.1, 5, math.nan])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(InputError, match="expected a number between 0 and 1"):
        calibrated(named(range(30)), rate)


def test_a_score_that_is_no_number_is_refused_with_its_file():
    with pytest.raises(InputError, match=r"good/002\.ply: its object score is not finite"):
        calibrated(named([1, 2, math.nan, *range(30)]), 0.05)


@pytest.fixture
def made():
    return replace(
        calibrated(named(np.random.default_rng(0).random(25)), 0.05),
        prompts_sha256="ab" * 32,
        model={"model": "pointad-pocket", "vv_blocks": 1},
        settings={"background": "none", "sides": [0, 45], "unit": "mm"},
        modality="3d",
        views="front",
        organised=True,
        version="0.1.0",
    )


def test_it_is_read_as_it_was_written(made, tmp_path):
    path, again = tmp_path / "part.json", tmp_path / "again.json"
    write_calibration(path, made)
    write_calibration(again, made)
    assert path.read_bytes() == again.read_bytes()
    assert read_calibration(path) == made
    found = json.loads(path.read_text())
    assert found["kind"] == "pointad threshold"
    assert found["scores"]["good/003.ply"] == made.scores["good/003.ply"]
    assert isinstance(read_calibration(path), Calibration)
    del found["organised"]
    path.write_text(json.dumps(found))
    assert read_calibration(path) == replace(made, organised=None)


def test_it_holds_for_scores_that_were_made_alike_alone(made, tmp_path):
    alike = {"prompts_sha256": made.prompts_sha256, "model": dict(made.model), "settings": dict(made.settings)}
    check_made_by(made, {**alike, "settings": {**alike["settings"], "sides": (0, 45)}}, "part.json")
    for key, value, told in (
        ("prompts_sha256", "cd" * 32, "other prompts than these scores; calibrate again"),
        ("model", {"model": "ViT-L-14-336", "vv_blocks": 1}, "other model .* model was 'pointad-pocket' and is 'ViT-"),
        ("settings", {**alike["settings"], "unit": "m"}, "other settings .* unit was 'mm' and is 'm'"),
        ("settings", {"background": "none", "sides": [0, 45]}, "other settings .* unit was 'mm' and is None"),
    ):
        with pytest.raises(InputError, match=f"part.json: was made with {told}"):
            check_made_by(made, {**alike, key: value}, "part.json")


def test_it_says_nothing_of_scans_that_are_scored_otherwise(made):
    assert misfit(made, "3d", "front", True) == ""
    told = "the threshold is for scans with no photograph; this one has a photograph"
    assert misfit(made, "m3d", "front", True) == told
    assert misfit(made, "3d", "around", True).endswith("looked at from their front; this one is from all round")
    told = "the threshold is for scans that are organised (points on a grid); this one is in no order"
    assert misfit(made, "3d", "front", False) == told
    # A file that was written before this was known says nothing of it.
    assert misfit(replace(made, organised=None), "3d", "front", False) == ""


def test_other_files_are_refused(made, tmp_path):
    path = tmp_path / "part.json"
    with pytest.raises(InputError, match=r"part\.json: no such file"):
        read_calibration(path)
    write_calibration(path, made)
    whole = json.loads(path.read_text())
    for content, told in (
        ("", "not a threshold as"),
        ("[1, 2]", "not a threshold as"),
        (json.dumps({**whole, "kind": "another"}), "its kind is not 'pointad threshold'"),
        (json.dumps({key: whole[key] for key in whole if key != "n"}), "the key 'n' is missing"),
        (json.dumps({**whole, "more": 1}), "the key 'more' is unknown"),
        (json.dumps({**whole, "views": ""}), "views is '', expected one of front, around"),
        (json.dumps({**whole, "organised": "yes"}), "organised is 'yes', expected true or false"),
        (json.dumps({**whole, "threshold": "0.4"}), "threshold is '0.4', expected a number"),
        (json.dumps({**whole, "threshold": True}), "threshold is True, expected a number"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=told):
            read_calibration(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a threshold as"):
        read_calibration(path)
