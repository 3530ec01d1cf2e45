"""Summaries as files; their means against sums done by hand."""

import csv
from math import isnan, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointad_core.errors import InputError
from pointad_core.evaluation.bootstrap import REPLICATES
from pointad_core.evaluation.metrics import COLUMNS, METRICS
from pointad_core.stages.summary import (
    make_summary_auxiliary,
    make_summary_dataset,
    read_metrics,
    read_replicates,
    write_csv,
)

METHODS = {"clip": {"trained": False}, "pointad": {"trained": True}}
TESTED = {"a": ["b", "c"], "b": ["a", "c"]}


def write_metrics(root, run, categories, regions=True):
    """A metrics CSV; `categories` gives (category, modality): value, and the six metrics are value + 0.001 i."""
    path = Path(root, *map(str, run[:-1]), f"{run[-1]}.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        replicates = {}
        for number, ((category, modality), value) in enumerate(categories.items()):
            noise = np.random.default_rng(number).normal(scale=0.01, size=(len(METRICS), REPLICATES))
            replicates[f"{category}/{modality}"] = np.float32(value + noise)
            values = ["" if "aupro" in name and not regions else value + 0.001 * i for i, name in enumerate(METRICS)]
            writer.writerow([category, modality, 5, 5, *values])
    np.savez(path.with_suffix(".npz"), **replicates)
    return path


def beside(paths):
    """The replicates of metrics."""
    return [path.with_suffix(".npz") for path in paths]


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def one_vs_rest(tmp_path):
    """Three categories a, b, c; prompts trained on a and b with two seeds; one untrained method."""
    paths = [
        write_metrics(tmp_path, ("pointad", "set", "a", 1, "set"), {("b", "3d"): 0.2, ("c", "3d"): 0.4}),
        write_metrics(tmp_path, ("pointad", "set", "a", 2, "set"), {("b", "3d"): 0.4, ("c", "3d"): 0.8}),
        write_metrics(tmp_path, ("pointad", "set", "b", 1, "set"), {("a", "3d"): 0.1, ("c", "3d"): 0.3}),
        write_metrics(tmp_path, ("pointad", "set", "b", 2, "set"), {("a", "3d"): 0.3, ("c", "3d"): 0.9}),
        write_metrics(
            tmp_path,
            ("clip", "none", "none", 0, "set"),
            {(name, kind): v for name, v in (("a", 0.9), ("b", 0.1), ("c", 0.5)) for kind in ("3d", "m3d")},
        ),
    ]
    return tmp_path, paths


def test_auxiliary_summary_leaves_the_auxiliary_class_out(one_vs_rest):
    root, paths = one_vs_rest
    make_summary_auxiliary(paths, beside(paths), root / "out.csv", "set", "a", METHODS, TESTED["a"])
    rows = read_csv(root / "out.csv")
    found = [(row["method"], row["modality"], row["category"], float(row["i_auroc"])) for row in rows]
    assert found == [
        ("clip", "3d", "b", pytest.approx(0.1)),
        ("clip", "3d", "c", pytest.approx(0.5)),
        ("clip", "3d", "mean", pytest.approx(0.3)),
        ("clip", "m3d", "b", pytest.approx(0.1)),
        ("clip", "m3d", "c", pytest.approx(0.5)),
        ("clip", "m3d", "mean", pytest.approx(0.3)),
        # Mean over the two seeds, then over categories.
        ("pointad", "3d", "b", pytest.approx(0.3)),
        ("pointad", "3d", "c", pytest.approx(0.6)),
        ("pointad", "3d", "mean", pytest.approx(0.45)),
    ]
    assert float(rows[-1]["aupro_object"]) == pytest.approx(0.455)


def test_values_have_intervals_about_them(one_vs_rest):
    root, paths = one_vs_rest
    make_summary_auxiliary(paths, beside(paths), root / "split.csv", "set", "a", METHODS, TESTED["a"])
    make_summary_dataset(paths, beside(paths), root / "set.csv", "set", {"set": TESTED}, METHODS)
    for name in ("split", "set"):
        for row in read_csv(root / f"{name}.csv"):
            value, low, high = (float(row[f"i_auroc{end}"]) for end in ("", "_low", "_high"))
            assert low < value < high
            # Of scans alone, noise of 0.01; between the trained method's seeds lies 0.2 and more.
            assert (high - low > 0.1) == (row["method"] == "pointad")


def test_dataset_summary_is_the_mean_of_the_splits(one_vs_rest):
    root, paths = one_vs_rest
    make_summary_dataset(paths, beside(paths), root / "out.csv", "set", {"set": TESTED}, METHODS)
    rows = read_csv(root / "out.csv")
    found = {(row["source"], row["method"], row["modality"]): float(row["ap"]) - 0.001 for row in rows}
    # pointad: (0.45 + (0.2 + 0.6) / 2) / 2; clip: (0.3 + (0.9 + 0.5) / 2) / 2.
    assert found == {
        ("set", "clip", "3d"): pytest.approx(0.5),
        ("set", "clip", "m3d"): pytest.approx(0.5),
        ("set", "pointad", "3d"): pytest.approx(0.425),
    }


def test_cross_dataset_keeps_every_category(tmp_path):
    # The target's category of the same name as the auxiliary class is another object.
    both = {("a", "3d"): 0.2, ("b", "3d"): 0.6}
    paths = [
        write_metrics(tmp_path, ("pointad", "set", "a", 1, "other"), both, regions=False),
        write_metrics(tmp_path, ("clip", "none", "none", 0, "other"), {("a", "3d"): 0.5, ("b", "3d"): 0.7}),
    ]
    make_summary_dataset(paths, beside(paths), tmp_path / "out.csv", "other", {"set": {"a": ["a", "b"]}}, METHODS)
    rows = {row["method"]: row for row in read_csv(tmp_path / "out.csv")}
    assert float(rows["pointad"]["i_auroc"]) == pytest.approx(0.4)
    assert float(rows["clip"]["i_auroc"]) == pytest.approx(0.6)
    assert rows["pointad"]["aupro_paper"] == ""
    assert rows["pointad"]["source"] == "set"


def test_order_of_the_files_changes_no_byte(one_vs_rest):
    root, paths = one_vs_rest
    make_summary_dataset(paths, beside(paths), root / "a.csv", "set", {"set": TESTED}, METHODS)
    make_summary_dataset(paths[::-1], beside(paths[::-1]), root / "b.csv", "set", {"set": TESTED}, METHODS)
    assert (root / "a.csv").read_bytes() == (root / "b.csv").read_bytes()


def test_missing_metrics_are_named(one_vs_rest):
    root, paths = one_vs_rest
    few = [*paths[:2], paths[4]]
    with pytest.raises(InputError, match=r"no metrics of method 'pointad' on 'set' for .*\('set', 'b'\)"):
        make_summary_dataset(few, beside(few), root / "out.csv", "set", {"set": TESTED}, METHODS)
    with pytest.raises(InputError, match="'set' names no auxiliary class"):
        make_summary_dataset(paths, beside(paths), root / "out.csv", "set", {"set": {}}, METHODS)
    assert not (root / "out.csv").exists()


@settings(deadline=None)
@given(numbers=st.lists(st.floats(0, 1) | st.just(nan), min_size=1))
def test_numbers_are_written_in_their_shortest_exact_form(tmp_path_factory, numbers):
    path = tmp_path_factory.mktemp("numbers") / "table.csv"
    write_csv(pd.DataFrame({"name": "a", "value": numbers}), path)
    texts = ["" if isnan(number) else repr(number) for number in numbers]
    assert path.read_bytes().decode() == "name,value\n" + "".join(f"a,{text}\n" for text in texts)


def test_metrics_are_read_as_they_were_written(tmp_path):
    # Names that pandas' own reader takes for missing values, or for numbers.
    path = write_metrics(
        tmp_path, ("clip", "none", "none", 0, "NA"), {("nan", "3d"): 1 / 3, ("1e3", "m3d"): 0.1}, False
    )
    first, second = read_metrics([path]).to_dict("records")
    places = {"method": "clip", "source": "none", "auxiliary": "none", "seed": "0", "dataset": "NA"}
    assert {key: first[key] for key in places} == places
    assert (first["category"], first["modality"], first["i_auroc"]) == ("nan", "3d", 1 / 3)
    assert (second["category"], second["modality"], second["ap"]) == ("1e3", "m3d", 0.1 + 0.001)
    assert isnan(first["aupro_paper"])
    with pytest.raises(InputError, match=r"expected a path like \{method\}"):
        read_metrics(["somewhere.csv"])


WHOLE = ",".join(COLUMNS).encode() + b"\nbagel,3d,1,1" + b",0.5" * len(METRICS) + b"\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "columns are"),
        (b"", "columns are"),
        (",".join(COLUMNS).encode() + b"\nbagel,3d,1,1,x" + b"," * (len(METRICS) - 1) + b"\n", "not a readable table"),
        (b"\xff\xfe", "not a readable table"),
        # Cut short: a metric that is not defined is an empty field, not a missing one; a number may end anywhere.
        (WHOLE[:-3], "cut short"),
        (WHOLE[: WHOLE.rindex(b",0.")] + b"\n", f"line 2 has not {len(COLUMNS)} fields"),
        (WHOLE[:-1] + b",0.5\n", f"line 2 has not {len(COLUMNS)} fields"),
    ],
)
def test_damaged_metrics_are_named(tmp_path, content, message):
    path = tmp_path / "m" / "s" / "a" / "1" / "set.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"set\.csv: .*{message}"):
        read_metrics([path])
    with pytest.raises(InputError, match=r"gone\.csv: not a readable"):
        read_metrics([path.with_name("gone.csv")])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-40], "not readable replicates"),
        (lambda content: content[:3000] + b"xxxx" + content[3004:], "not readable replicates"),
        (lambda content: b"", "not readable replicates"),
    ],
)
def test_damaged_replicates_are_named(tmp_path, damage, message):
    path = write_metrics(tmp_path, ("clip", "none", "none", 0, "set"), {("a", "3d"): 0.5})
    replicates = path.with_suffix(".npz")
    replicates.write_bytes(damage(replicates.read_bytes()))
    with pytest.raises(InputError, match=rf"set\.npz: {message}"):
        read_replicates([replicates], read_metrics([path]))


def test_replicates_of_other_metrics_are_refused(tmp_path):
    run = ("clip", "none", "none", 0, "set")
    other = write_metrics(tmp_path / "other", run, {("a", "3d"): 0.5})
    path = write_metrics(tmp_path, run, {("a", "3d"): 0.5, ("b", "3d"): 0.5})
    with pytest.raises(InputError, match=r"first at clip/none/none/0/set/b/3d; make them again"):
        read_replicates(beside([other]), read_metrics([path]))
    with pytest.raises(InputError, match=r"gone\.npz: not readable"):
        read_replicates([tmp_path / "gone.npz"], read_metrics([path]))
