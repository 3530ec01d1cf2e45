"""Means of metrics, against sums done by hand."""

from math import nan

import pandas as pd
import pytest

from pointad_core.errors import InputError
from pointad_core.evaluation.averages import RUN, average, average_seeds
from pointad_core.evaluation.metrics import METRICS

METHODS = {"clip": {"trained": False}, "pointad": {"trained": True}}
TESTED = {"a": ["b", "c"], "b": ["a", "c"]}


def run(method, source, auxiliary, seed, dataset, categories, regions=True):
    """Rows of a run; `categories` gives (category, modality): value, and the six metrics are value + 0.001 i."""
    return [
        [method, source, auxiliary, str(seed), dataset, category, modality]
        + [nan if "aupro" in name and not regions else value + 0.001 * i for i, name in enumerate(METRICS)]
        for (category, modality), value in categories.items()
    ]


def table(*runs):
    return pd.DataFrame([row for rows in runs for row in rows], columns=[*RUN, "category", "modality", *METRICS])


RUNS = [
    run("pointad", "set", "a", 1, "set", {("b", "3d"): 0.2, ("c", "3d"): 0.4}),
    run("pointad", "set", "a", 2, "set", {("b", "3d"): 0.4, ("c", "3d"): 0.8}),
    run("pointad", "set", "b", 1, "set", {("a", "3d"): 0.1, ("c", "3d"): 0.3}),
    run("pointad", "set", "b", 2, "set", {("a", "3d"): 0.3, ("c", "3d"): 0.9}),
    run(
        "clip",
        "none",
        "none",
        0,
        "set",
        {(name, kind): v for name, v in (("c", 0.5), ("a", 0.9), ("b", 0.1)) for kind in ("m3d", "3d")},
    ),
]
"""Three categories a, b, c; prompts trained on a and b with two seeds; one untrained method."""


def test_seeds_are_averaged_over_the_tested_categories():
    found = average_seeds(table(*RUNS), "set", "set", "a", METHODS, ["b", "c"])
    assert list(found.columns) == ["method", "modality", "category", *METRICS]
    assert list(found[["method", "modality", "category", "i_auroc"]].itertuples(index=False, name=None)) == [
        ("clip", "3d", "b", pytest.approx(0.1)),
        ("clip", "3d", "c", pytest.approx(0.5)),
        ("clip", "m3d", "b", pytest.approx(0.1)),
        ("clip", "m3d", "c", pytest.approx(0.5)),
        ("pointad", "3d", "b", pytest.approx(0.3)),
        ("pointad", "3d", "c", pytest.approx(0.6)),
    ]


def test_a_mean_is_that_of_the_splits():
    found = average(table(*RUNS), "set", "set", TESTED, METHODS).set_index(["method", "modality"])
    # pointad: (0.45 + (0.2 + 0.6) / 2) / 2; clip: (0.3 + (0.9 + 0.5) / 2) / 2.
    assert found["i_auroc"].to_dict() == {
        ("clip", "3d"): pytest.approx(0.5),
        ("clip", "m3d"): pytest.approx(0.5),
        ("pointad", "3d"): pytest.approx(0.425),
    }


def test_each_split_weighs_the_same_whatever_its_seeds():
    found = average(table(RUNS[0], *RUNS[2:]), "set", "set", TESTED, METHODS).set_index("method")
    assert found.loc["pointad", "i_auroc"] == pytest.approx((0.3 + 0.4) / 2)


def test_another_data_sets_category_of_the_same_name_counts():
    rows = table(
        run("pointad", "set", "a", 1, "other", {("a", "3d"): 0.2, ("b", "3d"): 0.6}, regions=False),
        run("clip", "none", "none", 0, "other", {("a", "3d"): 0.5, ("b", "3d"): 0.7}),
    )
    found = average(rows, "other", "set", {"a": ["a", "b"]}, METHODS).set_index("method")
    assert found.loc["pointad", "i_auroc"] == pytest.approx(0.4)
    assert found.loc["clip", "i_auroc"] == pytest.approx(0.6)
    assert found.isna().loc["pointad"].to_dict() == {"modality": False} | {name: "aupro" in name for name in METRICS}
    assert not found.isna().loc["clip"].any()


def test_a_mean_with_an_undefined_value_is_undefined():
    rows = table(
        run("clip", "none", "none", 0, "set", {("b", "3d"): 0.5}),
        run("clip", "none", "none", 0, "set", {("c", "3d"): 0.5}, regions=False),
    )
    found = average(rows, "set", "set", {"a": ["b", "c"]}, {"clip": METHODS["clip"]})
    assert found.isna().iloc[0][list(METRICS)].to_dict() == {name: "aupro" in name for name in METRICS}


def test_a_category_without_labels_is_left_out():
    runs = [[*row[:7], *[nan] * len(METRICS)] if row[5] == "c" else row for rows in RUNS for row in rows]
    found = average_seeds(table(runs), "set", "set", "a", METHODS, ["b", "c"])
    assert set(found["category"]) == {"b"}
    means = average(table(runs), "set", "set", {"a": ["b", "c"]}, METHODS).set_index(["method", "modality"])
    assert means["i_auroc"].to_dict() == {
        ("clip", "3d"): pytest.approx(0.1), ("clip", "m3d"): pytest.approx(0.1), ("pointad", "3d"): pytest.approx(0.3)
    }  # fmt: skip
    nothing = [[*row[:7], *[nan] * len(METRICS)] for rows in RUNS for row in rows]
    assert average(table(nothing), "set", "set", TESTED, METHODS).empty


def test_means_are_exact_in_any_order():
    values = [0.1] * 10 + [1e16, 1.0, -1e16]
    rows = [run("clip", "none", "none", 0, "set", {(f"c{i}", "3d"): value}) for i, value in enumerate(values)]
    tested = {"a": [f"c{i}" for i in range(len(values))]}
    for order in (rows, rows[::-1]):
        found = average(table(*order), "set", "set", tested, {"clip": METHODS["clip"]})
        assert found.loc[0, "i_auroc"] == 2 / 13


def test_missing_metrics_are_named():
    with pytest.raises(InputError, match=r"no metrics of method 'pointad' on 'set' for .*\('set', 'b'\)"):
        average(table(*RUNS[:2], RUNS[4]), "set", "set", TESTED, METHODS)
    with pytest.raises(InputError, match="'set' names no auxiliary class"):
        average(table(*RUNS), "set", "set", {}, METHODS)


def test_means_over_different_categories_are_refused():
    few = run("pointad", "set", "a", 2, "set", {("b", "3d"): 0.4})
    with pytest.raises(InputError, match=r"cover different categories: 'pointad' has \['b'\], tested are \['b', 'c'\]"):
        average_seeds(table(RUNS[0], few, RUNS[4]), "set", "set", "a", METHODS, ["b", "c"])
    # An untrained method too, and a category that no method was scored on.
    with pytest.raises(InputError, match=r"cover different categories: 'clip' has \['a', 'b', 'c'\], .* 'd'\]"):
        average_seeds(table(*RUNS), "set", "set", "a", METHODS, ["b", "c", "d"])


def test_the_only_category_cannot_be_unseen():
    rows = table(run("clip", "none", "none", 0, "set", {("a", "3d"): 0.5}))
    with pytest.raises(InputError, match="no category besides the auxiliary class 'a'"):
        average_seeds(rows, "set", "set", "a", {"clip": METHODS["clip"]}, [])
