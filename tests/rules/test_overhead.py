"""Table 5 of the miniature: measured by jobs of their own, once, and again only when what they measure changes."""

import copy
import csv
import hashlib
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from miniature import CONFIG, Miniature, snakemake

SECTION = {"methods": ["clip_rendering", "pointad_plus"], "dataset": "mvtec3d", "category": "bagel", "scans": 2}


def config(**section: Any) -> dict[str, Any]:
    made = copy.deepcopy(CONFIG)
    made["overhead"] = SECTION | {"warm_up": 1} | section
    return made


def hashes(directory: Path) -> dict[str, str]:
    """Of all results but those that hold measured times."""
    paths = [path for path in (directory / "results").rglob("*") if path.is_file()]
    found = {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return {name: value for name, value in found.items() if "overhead" not in name and not name.endswith("tables.tex")}


def test_table_5(miniature: Miniature, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    shutil.copytree(miniature.directory, directory)
    copied = Miniature(miniature.snakefile, directory, miniature.result)
    before = hashes(directory)
    path = directory / "own.yaml"
    path.write_text(yaml.safe_dump(config()))
    result = snakemake("all_tables", "--configfile", path, snakefile=copied.snakefile, directory=directory)
    assert result.code == 0, result.text
    assert result.jobs == {"overhead": 2, "overhead_table": 1, "document": 1, "all_tables": 1}
    assert hashes(directory) == before

    with open(directory / "results/tables/overhead.csv", newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert list(rows) == SECTION["methods"]
    for method, row in rows.items():
        with open(directory / f"results/overhead/{method}/mvtec3d/bagel.csv", newline="") as file:
            measured = list(csv.DictReader(file))
        assert len(measured) == 2
        # Alone on all cores of the run, two here.
        assert {line["threads"] for line in measured} == {row["threads"]} == {"2"}
        seconds = [float(line["seconds"]) for line in measured]
        assert float(row["seconds"]) == pytest.approx(sum(seconds) / 2)
        with open(directory / "results/summary/mvtec3d.csv", newline="") as file:
            summary = [line for line in csv.DictReader(file) if (line["method"], line["modality"]) == (method, "3d")]
        assert float(row["i_auroc"]) == pytest.approx(float(summary[0]["i_auroc"]))
        assert float(row["p_auroc_paper"]) == pytest.approx(float(summary[0]["p_auroc_paper"]))
    text = (directory / "results/tables/overhead.tex").read_text()
    assert "generated (4 scans a category, seed 1)" in text
    assert "No results on the published data sets: mvtec3d (generated scans)" in text
    assert text in (directory / "results/tables/tables.tex").read_text()

    table = {"overhead_table": 1, "document": 1}
    assert copied.plan(config()) == Counter()
    assert copied.plan(config(scans=1)) == {"overhead": 2, **table}
    assert copied.plan(config(repeats=3)) == {"overhead": 2, **table}
    assert copied.plan(config(methods=["pointad_plus"])) == table
    assert copied.plan(CONFIG) == {"document": 1}
    # What one method is scored by concerns its own measurement.
    changed = config()
    changed["methods"]["pointad_plus"]["smoothing_sigma"] = 2
    jobs = copied.plan(changed)
    assert {name: jobs[name] for name in ("overhead", "overhead_table", "scores", "prompts")} == {
        **{"overhead": 1, "overhead_table": 1, "scores": 2, "prompts": 0},
    }
    # A seed that is added is another run: measured is the first one.
    jobs = copied.plan(config() | {"seeds": [111, 7]})
    assert (jobs["overhead"], jobs["overhead_table"]) == (0, 1)
