"""Real scans as a target: prompts learned on generated carrots, scored on MVTec 3D-AD's cable glands.

POINTAD_SAMPLE names a folder that holds ``cable_gland/test/...`` in the published layout.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from miniature import REPOSITORY, snakemake
from PIL import Image

SAMPLE = os.environ.get("POINTAD_SAMPLE", "")

CONFIG: dict[str, Any] = {
    "datasets": {
        "generated": {
            "layout": "mvtec3d",
            "generated": {"scans": 6, "seed": 1},
            "categories": {"carrot": {"point_size": 7}},
            "auxiliary": ["carrot"],
        },
        "sample": {
            "layout": "mvtec3d",
            "root": str(Path(SAMPLE).absolute()),
            "categories": {"cable_gland": {"display": "cable gland", "point_size": 12}},
        },
    },
    "features": {"standard": {"model": "pointad-pocket", "pretrained": "shapes", "vv_blocks": 1}},
    "methods": {name: {"system": name, "deep_blocks": 3} for name in ("pointad", "pointad_plus")},
    "experiments": {"cross_dataset": [{"source": "generated", "targets": ["sample"]}]},
}


def content(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and date of every file below a folder."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file: (file.stat().st_size, file.stat().st_mtime_ns) for file in files}


@pytest.mark.skipif(not SAMPLE, reason="POINTAD_SAMPLE does not name a folder of real scans")
def test_real_scans_as_a_target(tmp_path: Path) -> None:
    before = content(Path(SAMPLE))
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    heatmap = "results/heatmaps/pointad_plus/generated/carrot/111/sample/cable_gland.png"
    result = snakemake(
        "all_tables", heatmap, "--configfile", config, snakefile=REPOSITORY / "Snakefile", directory=tmp_path
    )
    assert result.code == 0, result.text

    for method in ("pointad", "pointad_plus"):
        metrics = pd.read_csv(tmp_path / f"results/metrics/{method}/generated/carrot/111/sample.csv")
        assert list(metrics["category"]) == ["cable_gland", "cable_gland"]
        assert list(metrics["modality"]) == ["3d", "m3d"]
        names = ["i_auroc", "ap", "p_auroc_paper", "aupro_paper", "p_auroc_object", "aupro_object"]
        assert metrics[names].map(np.isfinite).all(axis=None)
        # Scores of prompts that were learned elsewhere are no noise: background pixels are told from defects.
        assert (metrics["p_auroc_paper"] > 0.5).all()
        print(method, metrics.to_string())
    with Image.open(tmp_path / heatmap) as image:
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 1000
    assert content(Path(SAMPLE)) == before, "the user's folder was written to"
