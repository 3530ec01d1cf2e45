"""An ablation in the workflow: its table, and that a change of a row runs this row's jobs alone, as the docs say."""

import copy
import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from miniature import CONFIG, REPOSITORY, Miniature, snakemake

COLUMNS = ("clouds", "renders", "features", "aggregation", "prompts", "scores", "metrics", "tables")
BASE = {
    "caption": "Of all kinds",
    "datasets": {"mvtec3d": None},
    "base": "pointad_plus",
    "modalities": ["3d", "m3d"],
    # In the order of the alphabet, in which configs are written here.
    "rows": {
        "2 views": {"rendering": {"n_views": 2}},
        "50 %": {"dataset": {"density": 0.5}},
        "6 tokens": {"method": {"context_length": 6}},
        "as it is": None,
        "dark": {"dataset": {"rendering": {"light": "--"}}},
        "vanilla": {"base": "clip_rendering"},
    },
}


def config(*keys: str, value: Any = None, **sections: Any) -> dict[str, Any]:
    """The miniature with the ablation, in which the value at these keys is another one; None takes it out."""
    ablation: dict[str, Any] = copy.deepcopy(BASE)
    section = ablation
    for key in keys[:-1]:
        section = section[key]
    if keys and value is None:
        del section[keys[-1]]
    elif keys:
        section[keys[-1]] = value
    return copy.deepcopy(CONFIG) | {"ablations": {"kinds": ablation}} | sections


def with_rate() -> dict[str, Any]:
    changed = config()
    changed["methods"]["pointad_plus"]["learning_rate"] = 0.002
    return changed


CHANGES = {
    "nothing": config(),
    "the caption": config("caption", value="Another"),
    "a row's name": config("rows", value={f"{label} here": row for label, row in BASE["rows"].items()}),
    "a row taken out": config("rows", "50 %"),
    "a key of a row's `method`": config("rows", "6 tokens", value={"method": {"context_length": 7}}),
    "a key of a row's `rendering`": config("rows", "2 views", value={"rendering": {"n_views": 3}}),
    "`density` of a row's `dataset`": config("rows", "50 %", value={"dataset": {"density": 0.4}}),
    "`light` of a row's `dataset`": config("rows", "dark", value={"dataset": {"rendering": {"light": "-"}}}),
    "the learning rate of the method that rows start from": with_rate(),
}


def read_table() -> dict[str, dict[str, int]]:
    """Jobs by column for each change in the docs' table."""
    text = (REPOSITORY / "docs/reruns.md").read_text().partition("\n## Ablations")[2].partition("\n## ")[0]
    header, _, *lines = [line for line in text.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in header.strip("|").split("|")][1:] == list(COLUMNS)
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {change: dict(zip(COLUMNS, map(int, counts), strict=True)) for change, *counts in cells}


def count(planned: Counter[str]) -> dict[str, int]:
    tables = sum(planned.pop(rule, 0) for rule in ("table", "ablation", "document"))
    others = {name: jobs for name, jobs in planned.items() if not name.startswith("summary")}
    assert others.keys() <= set(COLUMNS), planned
    return {**dict.fromkeys(COLUMNS, 0), **others, "tables": tables}


@pytest.fixture(scope="module")
def ablated(miniature: Miniature, tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    """The finished miniature with an ablation, run too."""
    directory = tmp_path_factory.mktemp("ablated") / "run"
    shutil.copytree(miniature.directory, directory)
    path = directory / "ablated.yaml"
    path.write_text(yaml.safe_dump(config()))
    result = snakemake("all_tables", "--configfile", path, snakefile=miniature.snakefile, directory=directory, cores=8)
    assert result.code == 0, result.text
    return Miniature(miniature.snakefile, directory, result)


def test_an_ablation_runs_what_its_rows_do_not_share(ablated: Miniature) -> None:
    # Prompts of two rows; views of two categories, and of one in which defects are sought, twice made differently, but
    # its clouds once: light changes no point.
    assert count(ablated.result.jobs - Counter(all_tables=1)) == {
        "clouds": 1,
        "renders": 4,
        "features": 4,
        "aggregation": 4,
        "prompts": 2,
        "scores": 4,
        "metrics": 4,
        "tables": 2,
    }


def test_the_table_has_every_row_and_stands_in_the_document(ablated: Miniature) -> None:
    tables = ablated.directory / "results/tables"
    with open(tables / "kinds.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["modality"], row["row"]) for row in rows] == [
        (kind, row) for kind in ("3d", "m3d") for row in BASE["rows"]
    ]
    # What the row is of is what stands under its method in the other tables.
    with open(tables / "table1.csv", newline="") as file:
        whole = {row["method"]: row for row in csv.DictReader(file) if row["dataset"] == "mvtec3d"}
    for row in rows[:6]:
        if row["row"] in ("as it is", "vanilla"):
            assert {key: row[key] for key in ("p_auroc_paper", "ap", "ap_low")} == {
                key: whole[row["method"]][key] for key in ("p_auroc_paper", "ap", "ap_low")
            }
    assert len({row["p_auroc_paper"] for row in rows[:6]}) == 6
    text = (tables / "tables.tex").read_text()
    assert (tables / "kinds.tex").read_text() in text
    assert text.index("tab:kinds") > text.index("tab:cross-dataset-3d")
    heatmap = "results/heatmaps/pointad_plus--context_length-6/mvtec3d/carrot/111/mvtec3d/bagel.png"
    assert ablated.plan(config(), heatmap) == {"heatmaps": 1}


@pytest.mark.parametrize(("change", "expected"), read_table().items())
def test_a_change_of_a_row_runs_what_the_docs_say(ablated: Miniature, change: str, expected: dict[str, int]) -> None:
    assert count(ablated.plan(CHANGES[change])) == expected


def test_the_docs_name_every_change() -> None:
    assert read_table().keys() == CHANGES.keys()


def test_a_mistake_in_a_row_is_one_line(ablated: Miniature, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(config("rows", "6 tokens", value={"method": {"tokens": 6}})))
    result = snakemake("-n", "--configfile", path, snakefile=ablated.snakefile, directory=ablated.directory)
    assert result.code != 0
    assert "config: ablations.kinds.rows.6 tokens.method has the unknown key 'tokens'" in result.text
    assert "Traceback" not in result.text
