"""The tables stage: metrics CSVs in, LaTeX and CSV out."""

import csv
from pathlib import Path

import numpy as np
import pytest

from pointad_core.errors import InputError
from pointad_core.evaluation.bootstrap import REPLICATES
from pointad_core.evaluation.intervals import BOUNDS
from pointad_core.evaluation.metrics import COLUMNS, METRICS
from pointad_core.evaluation.tables import TABLES
from pointad_core.stages.tables import make_ablation, make_document, make_table


def options(**changes):
    return {
        "pairs": [{"source": "solid", "dataset": "solid", "tested": {"a": ["b", "c"], "b": ["a", "c"]}}],
        "datasets": {
            "solid": {"label": "Solid", "published": "mvtec3d", "auxiliary": ["a", "b"], "n_categories": 3},
        },
        "methods": {
            "clip": {"label": "CLIP", "trained": False, "published": "CLIP + R.", "features": "small"},
            "plus": {"label": "PointAD+", "trained": True, "published": None, "features": "small"},
        },
        "features": {"small": {"model": "pocket", "random_seed": 111}},
        "seeds": [111],
        "intervals": False,
        "further_metrics": [],
        **changes,
    }


@pytest.fixture
def metrics(tmp_path):
    """Metrics CSVs of a method without training and of one with prompts from a and from b."""
    paths = []
    for index, run in enumerate(("clip/none/none/0", "plus/solid/a/111", "plus/solid/b/111")):
        paths.append(Path(tmp_path, "metrics", run, "solid.csv"))
        paths[-1].parent.mkdir(parents=True)
        with open(paths[-1], "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            replicates = {}
            for place, category in enumerate("abc"):
                if category != run.split("/")[2]:
                    noise = np.random.default_rng(place).normal(scale=0.01, size=(len(METRICS), REPLICATES))
                    replicates[f"{category}/3d"] = np.float32(index / 4 + place / 8 + 0.01 + noise)
                    writer.writerow([category, "3d", 5, 5, *(index / 4 + place / 8 + 0.01 for _ in METRICS)])
        np.savez(paths[-1].with_suffix(".npz"), **replicates)
    return paths


def make(number, metrics, folder, settings):
    """The table's LaTeX and the rows of its CSV."""
    outputs = (folder / f"{name}" for name in (f"table{number}.tex", f"table{number}.csv", f"differences{number}.csv"))
    make_table(number, metrics, [path.with_suffix(".npz") for path in metrics], *outputs, settings)
    with open(folder / f"table{number}.csv", newline="", encoding="utf-8") as file:
        return (folder / f"table{number}.tex").read_text(encoding="utf-8"), list(csv.DictReader(file))


def test_a_table_is_written_as_latex_and_as_rows(metrics, tmp_path):
    tex, rows = make(1, metrics, tmp_path, options())
    names = ("table", "setting", "modality", "data", "source", "dataset", "method")
    published = [f"published_{metric}" for metric in ("i_auroc", "ap", "p_auroc", "aupro")]
    assert list(rows[0]) == [*names, *METRICS, *published, *BOUNDS]
    assert [rows[0][name] for name in names] == ["1", "one_vs_rest", "3d", "published", "solid", "solid", "clip"]
    # Of the untrained method b and c, then a and c: places 1 and 2, then 0 and 2.
    assert float(rows[0]["ap"]) == pytest.approx((0.1875 + 0.125) / 2 + 0.01)
    # The paper has a dash for P-AUROC, and no row of the other method's.
    assert [rows[0][name] for name in published] == ["0.612", "0.858", "", "0.544"]
    assert [rows[1][name] for name in published] == ["", "", "", ""]
    assert r"\underline{16.6} {\scriptsize\textcolor{gray}{(61.2)}}" in tex
    assert r"\begin{tabular}{lcccc}" in tex


def test_differences_are_of_every_two_methods(metrics, tmp_path):
    _, rows = make(1, metrics, tmp_path, options())
    with open(tmp_path / "differences1.csv", newline="", encoding="utf-8") as file:
        (found,) = csv.DictReader(file)
    assert list(found) == ["table", "setting", "modality", "source", "dataset", "method", "minus", *METRICS, *BOUNDS]
    assert (found["dataset"], found["method"], found["minus"]) == ("solid", "plus", "clip")
    value = float(found["ap"])
    assert value == pytest.approx(float(rows[1]["ap"]) - float(rows[0]["ap"]))
    # The methods' noise is the same, scan for scan; what is left is what lies between the auxiliary classes.
    low, high = float(found["ap_low"]), float(found["ap_high"])
    ends = [float(row[f"ap_{end}"]) for row in rows for end in ("low", "high")]
    assert low <= value <= high
    assert high - low > 0.2
    assert ends[0] < float(rows[0]["ap"]) < ends[1]


def test_intervals_stand_in_the_latex_on_request(metrics, tmp_path):
    plain, rows = make(1, metrics, tmp_path, options())
    tex, again = make(1, metrics, tmp_path, options(intervals=True))
    assert rows == again
    assert "[" not in plain.partition("midrule")[2]
    low, high = (f"{100 * float(rows[1][f'i_auroc_{end}']):.1f}" for end in ("low", "high"))
    assert rf"{{\scriptsize [{low}, {high}]}}" in tex
    assert r"95\,\% intervals" in tex
    # Ranks stay; where the paper's dash stands for a value there is no interval either.
    assert tex.count(r"\textbf{") == plain.count(r"\textbf{")
    assert tex.count(r"\underline{") == plain.count(r"\underline{")
    assert tex.count(r"{\scriptsize [") == 6 + 8 - 1


def test_the_table_of_an_ablation_is_written_as_latex_and_as_rows(metrics, tmp_path):
    (pair,) = options()["pairs"]
    rows = {name: {"method": name, "dataset": "solid", "tested": pair["tested"]} for name in ("plus", "clip")}
    settings = {key: options()[key] for key in ("datasets", "methods", "features", "seeds", "intervals")} | {
        **{"name": "own", "caption": "Of one's own", "modalities": ["3d"], "metrics": ["ap", "i_auroc"]},
        **{"groups": [{"dataset": "solid", "rows": rows}], "bases": dict.fromkeys(rows, "PointAD+")},
    }
    outputs = tmp_path / "own.tex", tmp_path / "own.csv"
    replicates = [path.with_suffix(".npz") for path in metrics]
    make_ablation(metrics, replicates, *outputs, settings)
    _, table = make(1, metrics, tmp_path, options())
    with open(outputs[1], newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    # In the order of its rows; what they are of is what stands under the methods elsewhere.
    for row, other in zip(found, reversed(table), strict=True):
        assert row["row"] == row["method"] == other["method"]
        assert [row[name] for name in (*METRICS, *BOUNDS)] == [other[name] for name in (*METRICS, *BOUNDS)]
    assert r"\caption{Of one's own. Mean" in outputs[0].read_text(encoding="utf-8")
    for path in outputs:
        path.unlink()
    with pytest.raises(InputError, match="no metrics of method 'plus'"):
        make_ablation(metrics[:1], replicates[:1], *outputs, settings)
    assert not any(path.exists() for path in outputs)


def test_a_table_without_content_has_a_head(metrics, tmp_path):
    tex, rows = make(3, metrics, tmp_path, options(pairs=[]))
    assert "asks for no cross-dataset experiment" in tex
    assert rows == []
    assert (tmp_path / "table3.csv").read_text(encoding="utf-8").startswith("table,setting,modality,data,")


def test_same_metrics_give_the_same_bytes(metrics, tmp_path):
    (tmp_path / "again").mkdir()
    for number in TABLES:
        make(number, metrics, tmp_path, options())
        make(number, metrics[::-1], tmp_path / "again", options())
        for name in (f"table{number}.tex", f"table{number}.csv", f"differences{number}.csv"):
            assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_nothing_is_written_of_a_table_that_is_refused(metrics, tmp_path):
    settings = options(methods={"plus": {**options()["methods"]["plus"], "published": "PointAD++"}})
    with pytest.raises(InputError, match=r"methods\.plus\.published is 'PointAD\+\+'"):
        make(1, metrics, tmp_path / "out", settings)
    with pytest.raises(InputError, match="no metrics of method 'plus'"):
        make(1, metrics[:1], tmp_path / "out", options())
    assert not (tmp_path / "out").exists()


def test_the_document_holds_the_tables_in_their_order(metrics, tmp_path):
    bodies = [make(number, metrics, tmp_path, options())[0] for number in TABLES]
    make_document([tmp_path / f"table{number}.tex" for number in TABLES], tmp_path / "tables.tex")
    text = (tmp_path / "tables.tex").read_text(encoding="utf-8")
    places = [text.index(body) for body in bodies]
    assert places == sorted(places)
