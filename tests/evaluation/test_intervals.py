"""Intervals of means, against means taken by hand in each replicate."""

import numpy as np
import pandas as pd
import pytest

from pointad_core.evaluation.averages import RUN, average, average_seeds
from pointad_core.evaluation.bootstrap import REPLICATES, resample
from pointad_core.evaluation.intervals import (
    BOUNDS,
    add_bounds,
    bounds,
    replicate,
    replicate_categories,
    replicate_seeds,
)
from pointad_core.evaluation.metrics import METRICS

METHODS = {"clip": {"trained": False}, "pointad": {"trained": True}}
TESTED = {"a": ["b", "c"], "b": ["a", "c"]}
SHAPE = (len(METRICS), REPLICATES)


def draw(rng, seeds=("1", "2")):
    """Replicates of an untrained method and of one with prompts of a and of b, on categories a, b and c."""
    runs = [("clip", "none", "none", "0")] + [("pointad", "set", a, seed) for a in TESTED for seed in seeds]
    return {(*run, "set", category, "3d"): rng.random(SHAPE) for run in runs for category in "abc"}


def constant(replicates):
    """Metrics of which every replicate is the same, and these replicates."""
    rows = [[*key, *values[:, 0]] for key, values in replicates.items()]
    table = pd.DataFrame(rows, columns=[*RUN, "category", "modality", *METRICS])
    return table, {key: np.repeat(values[:, :1], REPLICATES, axis=1) for key, values in replicates.items()}


def test_each_replicate_is_a_mean_by_hand():
    drawn = draw(np.random.default_rng(0))
    found = replicate(drawn, "set", "set", TESTED, METHODS)
    assert list(found) == [("clip", "3d"), ("pointad", "3d")]
    classes = resample("auxiliary classes", 2)
    for number in range(20):
        for method in METHODS:
            expected = np.zeros(len(METRICS))
            for place, auxiliary in enumerate(TESTED):
                seeds = resample(f"seeds of {auxiliary}", 2)[number] / 2 if method == "pointad" else [1]
                run = (("pointad", "set", auxiliary, str(s + 1)) for s in range(2))
                runs = list(run) if method == "pointad" else [("clip", "none", "none", "0")]
                for weight, keys in zip(seeds, runs, strict=True):
                    values = {c: drawn[(*keys, "set", c, "3d")][:, number] for c in TESTED[auxiliary]}
                    expected += weight * sum(values.values()) / 4
                    # Both classes are tested on c.
                    expected += (classes[number, place] - 1) / 2 * weight * values["c"]
            expected = np.clip(expected, 0, 1)
            assert found[method, "3d"][:, number] == pytest.approx(expected)


def test_of_one_class_and_seed_the_means_are_those_of_the_averages():
    """What varies alone is nothing, so that each interval is its value."""
    rows, drawn = constant(draw(np.random.default_rng(1), seeds=("1",)))
    setting = "set", "set", "a", METHODS, TESTED["a"]
    categories = replicate_seeds(drawn, *setting)
    assert list(categories) == [(method, "3d", category) for method in METHODS for category in "bc"]
    for table, means in (
        (average_seeds(rows, *setting), categories),
        (average(rows, "set", "set", {"a": TESTED["a"]}, METHODS), replicate_categories(categories)),
        (average(rows, "set", "set", {"a": TESTED["a"]}, METHODS),
         replicate(drawn, "set", "set", {"a": TESTED["a"]}, METHODS)),
    ):  # fmt: skip
        found = add_bounds(table, means)
        assert list(found.columns) == [*table.columns, *BOUNDS]
        for metric in METRICS:
            for end in ("low", "high"):
                assert found[f"{metric}_{end}"].tolist() == pytest.approx(table[metric].tolist(), abs=1e-6)


def test_an_untrained_method_has_no_classes_that_could_vary():
    _, drawn = constant(draw(np.random.default_rng(6)))
    means = replicate(drawn, "set", "set", TESTED, METHODS)
    assert means["clip", "3d"] == pytest.approx(np.repeat(means["clip", "3d"][:, :1], REPLICATES, axis=1))
    assert (means["pointad", "3d"].std(axis=1) > 0.01).all()


def test_the_order_of_the_runs_changes_nothing():
    drawn = draw(np.random.default_rng(2))
    found = replicate(drawn, "set", "set", TESTED, METHODS)
    again = replicate(dict(reversed(drawn.items())), "set", "set", TESTED, METHODS)
    assert all(np.array_equal(found[key], again[key]) for key in found)


def test_a_category_without_labels_is_left_out():
    drawn = draw(np.random.default_rng(3))
    nothing = {key: np.full(SHAPE, np.nan) if key[5] == "c" else values for key, values in drawn.items()}
    found = replicate(nothing, "set", "set", TESTED, METHODS)
    without = replicate({key: values for key, values in drawn.items() if key[5] != "c"}, "set", "set", TESTED, METHODS)
    assert all(np.array_equal(found[key], without[key]) for key in found)
    assert not np.isnan(found["clip", "3d"]).any()


def test_bounds_hold_nineteen_of_twenty_replicates():
    values = np.full(SHAPE, np.nan)
    values[0] = np.linspace(0, 1, REPLICATES)
    values[1, 400:] = 0.5
    values[2, 600:] = 0.5
    ends = dict(zip(BOUNDS, bounds(values), strict=True))
    assert (ends["i_auroc_low"], ends["i_auroc_high"]) == pytest.approx((0.025, 0.975))
    # A few replicates may lack a class; of a metric that most lack there is no interval.
    assert (ends["ap_low"], ends["ap_high"]) == (0.5, 0.5)
    assert np.isnan([ends["p_auroc_paper_low"], ends["aupro_object_high"]]).all()


def hold(rng, n_classes, n_seeds, trials=400):
    """How often an interval holds 0.5, the mean of classes and seeds that vary alike."""
    held = 0
    for _ in range(trials):
        names = [f"{rng.integers(1 << 40)}" for _ in range(n_classes)]
        drawn = {}
        for name, level in zip(names, rng.normal(size=n_classes), strict=True):
            for seed in range(n_seeds):
                drawn["pointad", "set", name, str(seed), "set", "x", "3d"] = np.full(
                    SHAPE, 0.5 + 0.02 * (level + rng.normal())
                )
        tested = {name: ["x"] for name in names}
        means = replicate(drawn, "set", "set", tested, {"pointad": METHODS["pointad"]})
        low, high = bounds(means["pointad", "3d"][:1])
        held += low <= 0.5 <= high
    return held / trials


def test_intervals_are_over_classes_and_seeds():
    rng = np.random.default_rng(4)
    assert 0.92 < hold(rng, n_classes=6, n_seeds=3) < 0.99
    # As the docs say: two classes and nothing else are too few.
    assert 0.4 < hold(rng, n_classes=2, n_seeds=1, trials=200) < 0.6
