"""Systems that see the other scans of a category, in a run: shards, tables, heat maps and a figure."""

import copy
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from miniature import CONFIG, snakemake

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


def run(snakefile: Path, directory: Path, targets: list[str], **changes: Any) -> dict[str, int]:
    directory.mkdir()
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(with_mutual(**changes)))
    result = snakemake(*targets, "--configfile", path, snakefile=snakefile, directory=directory, cores=2)
    assert result.code == 0, result.text
    return result.jobs


def test_a_category_is_compared_whole_or_in_shards(snakefile: Path, tmp_path: Path) -> None:
    """Shards give the same scores and figures; captions say the setting."""
    runs = "mutual/none/none/0", "pointad_plus_mutual/mvtec3d/carrot/111"
    same = [*(f"results/scores/{name}/mvtec3d.zarr.zip" for name in runs), "results/figures/parts.csv"]
    whole, shards = tmp_path / "whole", tmp_path / "shards"
    run(snakefile, whole, ["all_tables", "all_figures", f"results/heatmaps/{runs[0]}/mvtec3d/bagel.png"])
    assert run(snakefile, shards, same, shard_size=2)["scores_joined"] == 2
    assert [file for file in same if (shards / file).read_bytes() != (whole / file).read_bytes()] == []
    tex = (whole / "results/tables/table1.tex").read_text()
    labels = "Mutual scoring", "PointAD+ with mutual scoring"
    assert f"Batch zero-shot: {', '.join(labels)}. They score a scan by the other test scans" in tex
    rows = [line for line in tex.splitlines() if line.startswith(tuple(f"{label} &" for label in labels))]
    assert len(rows) >= 2
    assert not any("textbf" in row or "underline" in row for row in rows)
    assert "Batch zero-shot: Mutual scoring" in (whole / "results/figures/views.txt").read_text()
    table = pd.read_csv(whole / "results/tables/table1.csv")
    assert set(table["method"]) == {"pointad_plus", *METHODS}
