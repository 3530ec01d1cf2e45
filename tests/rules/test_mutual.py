"""Systems that see the other scans of a category, in a run: shards, tables, heat maps and a figure."""

import copy
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from miniature import CONFIG, Miniature, snakemake

METHODS = {
    "pointad_plus_mutual": {
        **CONFIG["methods"]["pointad_plus"],
        "system": "pointad_plus_mutual",
        "neighbourhoods": [1],
    },
    "mutual": {"system": "mutual", "neighbourhoods": [1, 3], "references": 2},
}


def with_mutual(**changes: Any) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    config["methods"] = {"pointad_plus": config["methods"]["pointad_plus"], **METHODS}
    config["figures"] = {
        "parts": {
            "methods": ["pointad_plus_mutual"],
            "maps": ["3d", "implicit", "mutual"],
            "scans": [{"dataset": "mvtec3d"}],
        },
        "views": {"columns": "views", "methods": ["mutual"], "scans": [{"dataset": "mvtec3d"}]},
    }
    for key in ("ablations", "overhead"):
        config.pop(key, None)
    config["datasets"]["mvtec3d"] |= changes
    return config


def test_a_category_is_compared_whole_or_in_shards(miniature: Miniature, tmp_path: Path) -> None:
    """Shards give the same scores and figures; captions say the setting."""
    targets = ["all_tables", "all_figures", "results/heatmaps/mutual/none/none/0/mvtec3d/bagel.png"]
    stores = [
        f"scores/{run}/mvtec3d.zarr.zip" for run in ("mutual/none/none/0", "pointad_plus_mutual/mvtec3d/carrot/111")
    ]
    found: dict[str, dict[str, bytes]] = {}
    for name, changes in (("whole", {}), ("shards", {"shard_size": 2})):
        directory = tmp_path / name
        directory.mkdir()
        path = directory / "config.yaml"
        path.write_text(yaml.safe_dump(with_mutual(**changes)))
        result = snakemake(*targets, "--configfile", path, snakefile=miniature.snakefile, directory=directory, cores=2)
        assert result.code == 0, result.text
        assert ("scores_joined" in result.jobs) == (name == "shards")
        files = [*stores, "figures/parts.csv", "figures/views.csv", "tables/table1.csv", "tables/table1.tex"]
        found[name] = {file: (directory / "results" / file).read_bytes() for file in files}
    assert found["whole"] == found["shards"]
    tex = found["whole"]["tables/table1.tex"].decode()
    assert "Batch zero-shot: PointAD+, mutual, Mutual scoring. They score a scan by the other test scans" in tex
    rows = [line for line in tex.splitlines() if line.startswith(("PointAD+, mutual &", "Mutual scoring &"))]
    assert len(rows) >= 2
    assert not any("textbf" in row or "underline" in row for row in rows)
    assert "Batch zero-shot: Mutual scoring" in (tmp_path / "whole/results/figures/views.txt").read_text()
    table = pd.read_csv(tmp_path / "whole/results/tables/table1.csv")
    assert set(table["method"]) == {"pointad_plus", *METHODS}


def test_a_category_of_one_scan_is_refused_before_anything_runs(miniature: Miniature, tmp_path: Path) -> None:
    config = with_mutual(generated={"scans": 1, "seed": 1})
    config["experiments"] = {"one_vs_rest": ["mvtec3d"]}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    result = snakemake("all_tables", "-n", "--configfile", path, snakefile=miniature.snakefile, directory=tmp_path)
    assert result.code != 0
    assert "mvtec3d/bagel has one scan, and method" in result.text
    assert "expected 2 or more" in result.text
