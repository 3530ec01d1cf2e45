"""Tables of ablations: cells against means by hand, the paper's numbers, captions, and LaTeX that compiles."""

import copy
import re
import shutil
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import pytest
from latex import compile_tex

from pointad_core.evaluation.ablations import make_groups, paper_ablations, table_rows, table_tex
from pointad_core.evaluation.averages import RUN
from pointad_core.evaluation.bootstrap import REPLICATES
from pointad_core.evaluation.latex import document
from pointad_core.evaluation.metrics import METRICS

CATEGORIES = ["a", "b", "c"]
ROWS = {
    "12": ("plus", "solid"),
    "6": ("plus--context_length-6", "solid"),
    "thin": ("plus", "solid--density-0.5"),
    "none": ("clip", "solid"),
}
AUXILIARY = ["a", "b"]
TESTED = {"a": ["b", "c"], "b": ["a", "c"]}
OPTIONS: dict[str, Any] = {
    "name": "length",
    "caption": "Length & more",
    "modalities": ["3d", "m3d"],
    "metrics": ["p_auroc_paper", "aupro_stretched", "i_auroc", "ap"],
    "groups": [
        {
            "dataset": "solid",
            "rows": {
                label: {"method": method, "dataset": dataset, "tested": TESTED}
                for label, (method, dataset) in ROWS.items()
            },
        }
    ],
    "bases": {label: "CLIP" if label == "none" else "PointAD+" for label in ROWS},
    "methods": {
        name: {"trained": name != "clip", "features": "small"} for name in ("plus", "plus--context_length-6", "clip")
    },
    "datasets": {"solid": {"label": "MVTec3D-AD", "published": "mvtec3d", "auxiliary": AUXILIARY}},
    "features": {"small": {"model": "pocket", "pretrained": "openai"}},
    "seeds": [7, 8],
    "intervals": False,
}


def options(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(OPTIONS), **changes}


@pytest.fixture(scope="module")
def metrics() -> pd.DataFrame:
    """Metrics of every run, drawn at random."""
    random, rows = np.random.default_rng(5), []
    for method, dataset in dict.fromkeys(ROWS.values()):
        runs = [("none", "none", "0")] if method == "clip" else [("solid", a, s) for a in AUXILIARY for s in "78"]
        for source, auxiliary, seed in runs:
            for category in CATEGORIES:
                if category != auxiliary:
                    for modality in ("3d", "m3d"):
                        values = random.uniform(0.5, 1, len(METRICS)).tolist()
                        rows.append([method, source, auxiliary, seed, dataset, category, modality, *values])
    return pd.DataFrame(rows, columns=[*RUN, "category", "modality", *METRICS])


def replicates_of(metrics: pd.DataFrame) -> dict[tuple[str, ...], np.ndarray]:
    spread = np.linspace(-0.01, 0.01, REPLICATES)
    return {tuple(row[:7]): np.array(row[7:])[:, None] + spread for row in metrics.itertuples(index=False, name=None)}


def make(metrics: pd.DataFrame, settings: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    groups = make_groups(metrics, replicates_of(metrics), settings)
    return table_tex(groups, settings), table_rows(groups, settings).to_dict("records")


def by_hand(metrics: pd.DataFrame, label: str, modality: str, metric: str) -> float:
    """Mean over seeds, over tested categories, over auxiliary classes, by loops."""
    method, dataset = ROWS[label]
    found: dict[tuple[str, str], list[float]] = {}
    for row in metrics.to_dict("records"):
        if (row["method"], row["dataset"], row["modality"]) == (method, dataset, modality):
            found.setdefault((row["auxiliary"], row["category"]), []).append(row[metric])
    return fmean(
        fmean(fmean(found["none" if method == "clip" else auxiliary, category]) for category in categories)
        for auxiliary, categories in TESTED.items()
    )


def test_every_cell_is_the_mean_of_the_rows_own_runs(metrics: pd.DataFrame) -> None:
    tex, rows = make(metrics, options())
    assert [(row["modality"], row["row"]) for row in rows] == [(kind, row) for kind in ("3d", "m3d") for row in ROWS]
    for row in rows:
        assert (row["method"], row["tested"]) == ROWS[row["row"]]
        assert (row["ablation"], row["dataset"], row["data"]) == ("length", "solid", "published")
        for metric in METRICS:
            wanted = by_hand(metrics, row["row"], row["modality"], metric)
            assert row[metric] == pytest.approx(wanted, abs=1e-12)
            assert row[f"{metric}_low"] < wanted < row[f"{metric}_high"]
    body = re.search(r"\\midrule\n(.*?)\\bottomrule", tex, flags=re.DOTALL)
    assert body is not None
    lines = [re.sub(r"\\(textbf|underline){([^}]*)}", r"\2", line) for line in body[1].strip().split("\n")]
    shown = [(kind, metric) for kind in ("3d", "m3d") for metric in OPTIONS["metrics"]]
    for label, line in zip(ROWS, lines, strict=True):
        name, *cells = line.removesuffix(r" \\").split(" & ")
        assert name == label
        assert cells == [f"{100 * by_hand(metrics, label, kind, metric):.1f}" for kind, metric in shown]
    assert r"\multicolumn{4}{c}{Point detection} & \multicolumn{4}{c}{Multimodal detection}" in tex
    assert tex.count(r"\multicolumn{2}{c}{Local, the paper's protocol} & \multicolumn{2}{c}{Global}") == 2


def test_batch_zero_shot_is_told_and_never_ranked(metrics: pd.DataFrame) -> None:
    settings = options()
    settings["methods"]["plus"]["batch"] = True
    tex, _ = make(metrics, settings)
    labels = [label for label, (method, _) in ROWS.items() if method == "plus"]
    assert 0 < len(labels) < len(ROWS)
    assert f"Batch zero-shot: {', '.join(labels)}. They score" in tex
    body = re.search(r"\\midrule\n(.*?)\\bottomrule", tex, flags=re.DOTALL)
    assert body is not None
    for label, line in zip(ROWS, body[1].strip().split("\n"), strict=True):
        if label in labels:
            assert "textbf" not in line
            assert "underline" not in line
    assert "textbf" in body[1]
    assert "zero-shot" not in make(metrics, options())[0]


def test_columns_are_those_that_are_asked_for(metrics: pd.DataFrame) -> None:
    tex, rows = make(metrics, options(modalities=["3d"], metrics=["i_auroc"]))
    assert "Multimodal" not in tex
    assert "Local" not in tex
    assert r"Row & I-AUROC \\" in tex
    assert {row["modality"] for row in rows} == {"3d"}
    assert not np.isnan(rows[0]["aupro_paper"])


def test_the_papers_numbers_stand_beside_rows_of_the_same_name_on_its_data(metrics: pd.DataFrame) -> None:
    tex, rows = make(metrics, options(published=8))
    assert r"\setcounter{table}{7}" in tex
    assert tex.count(r"\textcolor{gray}") == 1 + 2 * 8
    beside = {(row["row"], row["modality"]): row["published_aupro"] for row in rows}
    assert (beside["6", "3d"], beside["12", "m3d"]) == (0.882, 0.931)
    assert np.isnan(beside["thin", "3d"])
    for data in ({"generated": {"scans": 4, "seed": 1}}, {}, {"published": "eyecandies"}):
        entry = {"label": "Other", "auxiliary": AUXILIARY, **data}
        tex, rows = make(metrics, options(published=8, datasets={"solid": entry}))
        assert "gray" not in tex
        assert all(np.isnan(row["published_aupro"] or np.nan) for row in rows)


def test_the_papers_numbers_are_as_printed() -> None:
    numbers = paper_ablations()
    assert len(numbers) == 10 * 8 + 5 * 8 + 5 * 4 + 5 * 4
    assert numbers[6, "vanilla", "mvtec3d", "3d", "p_auroc"] is None
    assert numbers[6, "and cross-hierarchy", "mvtec3d", "m3d", "aupro"] == 0.931
    assert (6, "and 2D global", "mvtec3d", "3d", "ap") not in numbers
    assert numbers[9, "20 %", "mvtec3d", "3d", "i_auroc"] == 0.75
    assert numbers[10, "--", "mvtec3d", "3d", "aupro"] == 0.877
    # The whole method on the whole data, in every table.
    last = [(6, "and cross-hierarchy"), (8, "12"), (9, "100 %"), (10, "original")]
    assert {tuple(numbers[*row, "mvtec3d", "3d", metric] for metric in ("p_auroc", "ap")) for row in last} == {
        (0.969, 0.948)
    }


def test_the_caption_says_what_made_the_numbers(metrics: pd.DataFrame) -> None:
    generated = {"label": "Parts", "generated": {"scans": 4, "seed": 3}, "auxiliary": ["a"], "categories": ["b", "c"]}
    features = {"small": {"model": "pocket", "random_seed": 1}}
    tex, _ = make(metrics, options(datasets={"solid": generated}, features=features, intervals=True))
    for said in (
        r"\caption{Length \& more. Mean over unseen categories",
        r"\textbf{Rows start from.} 12, 6, thin: PointAD+; none: CLIP.",
        r"\textbf{Data.} Parts: generated (4 scans a category, seed 3), not the published data.",
        r"\textbf{Backbone.} pocket (random weights drawn from seed 1, never trained).",
        r"\textbf{Auxiliary classes.} Parts: a.",
        r"\textbf{Tested.} Parts: b, c.",
        r"\textbf{Seeds.} 7, 8.",
        r"In brackets: 95\,\% intervals",
        r"\textbf{No results on the published data sets: Parts (generated scans); 12, 6, thin, none (untrained",
    ):
        assert said in tex
    assert r"\setcounter" not in tex
    tex, _ = make(metrics, options())
    assert "No results" not in tex
    assert "Tested." not in tex


def test_a_table_without_values_says_so(metrics: pd.DataFrame) -> None:
    empty = metrics.assign(**dict.fromkeys(METRICS, np.nan))
    tex, rows = make(empty, options())
    assert "No data set of this table has scans with what its columns need." in tex
    assert rows == []


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex (texlive-latex-recommended)")
def test_any_names_compile(metrics: pd.DataFrame, tmp_path: Any) -> None:
    names = dict(zip(ROWS, ["++", "--", r"50 % & #1 $x_y^z~ \end{document}", "{ä, µ, 物} <|>"], strict=True))
    settings = options(caption=r"\Length_ of & 100 %", intervals=True)
    group = settings["groups"][0]
    group["rows"] = {names[label]: row for label, row in group["rows"].items()}
    settings["bases"] = {names[label]: base for label, base in settings["bases"].items()}
    assert "Overfull" not in compile_tex(document([make(metrics, settings)[0]]), tmp_path)
