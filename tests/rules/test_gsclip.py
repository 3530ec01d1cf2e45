"""GS-CLIP's two ideas through the whole workflow: defect tokens, and depth images beside the shaded views."""

import csv
from pathlib import Path
from typing import Any

import yaml
from miniature import CONFIG, LEARNING, Result, snakemake

from pointad_core.storage import stores
from pointad_core.storage.prompt_files import read_prompts

METHOD = {"system": "pointad_plus", "features": "with_depth", "defect_features": 3, "prototypes": 4, **LEARNING}
RUN = "both/mvtec3d/carrot/111"


def config(**changes: Any) -> dict[str, Any]:
    """One data set and one method that has both; it is measured, and its views are shown."""
    features = {**CONFIG["features"]["standard"], "rendering": "with_depth", "streams": ["vv"]}
    figure = {"columns": "views", "colours": "map", "prompts": {"source": "mvtec3d", "auxiliary": "carrot"}}
    return {
        "resolution": 56,
        "datasets": {"mvtec3d": CONFIG["datasets"]["mvtec3d"]},
        "renderings": {"with_depth": {"renderer": "splat_depth", "window": 112}},
        "features": {"with_depth": features},
        "methods": {"both": METHOD | changes},
        "overhead": {"methods": ["both"], "dataset": "mvtec3d", "category": "bagel", "scans": 1, "warm_up": 0},
        "figures": {"views": {**figure, "caption": "Views.", "methods": ["both"], "scans": [{"dataset": "mvtec3d"}]}},
    }


def run(snakefile: Path, directory: Path, *arguments: str, **changes: Any) -> Result:
    path = directory / "own.yaml"
    path.write_text(yaml.safe_dump(config(**changes)))
    made = [
        f"results/metrics/{RUN}/mvtec3d.csv",
        "results/figures/views.png",
        "results/overhead/both/mvtec3d/bagel.csv",
    ]
    result = snakemake(*made, *arguments, "--configfile", path, snakefile=snakefile, directory=directory)
    assert result.code == 0, result.text
    return result


def test_both_ideas(snakefile: Path, tmp_path: Path) -> None:
    run(snakefile, tmp_path)
    results = tmp_path / "results"
    with stores.read(results / "renders/with_depth/mvtec3d/bagel.zarr.zip", "renders") as renders:
        views = renders.attributes["views"]
        assert len(views) == 18
        assert views[:9] == views[9:]
        scan = renders.scans[0]
        images = renders.load(scan, ["images"])["images"]
        assert all((images[k] != images[9 + k]).any() for k in range(9))
    tensors = read_prompts(results / f"prompts/{RUN}.safetensors")
    assert tensors["prototypes"].shape == (4, 16)
    assert {"rendering.defect_map", "geometry.defect_map"} <= tensors.keys()
    with open(results / f"metrics/{RUN}/mvtec3d.csv", newline="") as file:
        assert {row["category"] for row in csv.DictReader(file)} == {"bagel"}
    # What changes the token reruns what depends on it, from the prompts on.
    learnt = {"prompts": 1, "scores": 2, "metrics": 1, "figures": 1, "overhead": 1}
    assert run(snakefile, tmp_path, "-n", prototypes=5).jobs == learnt
    assert run(snakefile, tmp_path, "-n", defect_features=2).jobs == learnt
    assert not run(snakefile, tmp_path, "-n").jobs
