"""Files as people name and leave them, through the whole workflow: the numbers of tidy ones, or none."""

import copy
import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from miniature import CONFIG, Miniature, snakemake
from PIL import Image

RUN = "clip_rendering/none/none/0"


def read_rows(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with open(path, newline="") as file:
        return {(row["category"], row["modality"]): row for row in csv.DictReader(file)}


def rename(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


def write_odd(made: Path, root: Path) -> None:
    """The miniature's raw scans under other names: bagel and diamond with all that is known of them, carrot without."""
    bagel = Path(shutil.copytree(made / "mvtec3d/bagel", root / "bagel"))
    shutil.rmtree(bagel / "test/good/gt")
    for path in sorted(bagel.glob("test/*/*/*")):
        if path.parent.name == "gt":
            with Image.open(path) as image:
                mask = np.asarray(image) > 0
            # As an editor saves two colours: white, the defect, is the palette's first.
            numbered = Image.fromarray((~mask).astype(np.uint8))
            numbered.putpalette([255, 255, 255, 0, 0, 0])
            numbered.save(path)
        if path.stem == "000":
            rename(path, path.name.upper())
    diamond = Path(shutil.copytree(made / "real3d/diamond", root / "diamond"))
    stems = sorted(path.stem for path in diamond.glob("gt/*.txt"))
    (diamond / "GT").mkdir()
    shutil.move(diamond / f"gt/{stems[0]}.txt", diamond / f"GT/goodyear_{stems[0]}.TXT")
    rename(diamond / f"test/{stems[0]}.pcd", f"goodyear_{stems[0]}.PCD")
    carrot = Path(shutil.copytree(made / "mvtec3d/carrot", root / "carrot"))
    for folder in [*carrot.glob("test/*/rgb"), *carrot.glob("test/*/gt")]:
        shutil.rmtree(folder)
    rename(carrot / "test/good", "scans")


def test_files_as_people_leave_them(miniature: Miniature, tmp_path: Path) -> None:
    write_odd(miniature.directory / "results/generated", tmp_path / "raw")
    config = copy.deepcopy(CONFIG)
    config["methods"] = {name: CONFIG["methods"][name] for name in ("clip_rendering", "pointad_plus")}
    config["features"] = {"standard": CONFIG["features"]["standard"]}
    odd = {"layout": "mvtec3d", "root": str(tmp_path / "raw"), "categories": {"bagel": None, "carrot": None}}
    points = {**CONFIG["datasets"]["real3d"], "root": str(tmp_path / "raw")}
    del points["generated"]
    config["datasets"] = {"odd": {**odd, "auxiliary": ["carrot"]}, "points": points}
    config["experiments"] = {}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    options = {"snakefile": miniature.snakefile, "directory": tmp_path}

    # A category's heat maps take the jobs of this category.
    result = snakemake(f"results/heatmaps/{RUN}/odd/carrot.png", "-n", "--configfile", path, **options)
    assert result.jobs == dict.fromkeys(("clouds", "renders", "features", "scores", "heatmaps"), 1), result.text
    # From scans that nobody labelled nothing is learnt.
    result = snakemake("results/prompts/pointad_plus/odd/carrot/111.safetensors", "-n", "--configfile", path, **options)
    assert result.code != 0
    assert "raw/carrot has no file of labels, so that nothing can be learnt from it" in result.text

    targets = [f"results/metrics/{RUN}/{name}.csv" for name in ("odd", "points")]
    result = snakemake(*targets, "--configfile", path, **options)
    assert result.code == 0, result.text
    tidy = miniature.directory / "results/metrics" / RUN
    for name, original, category in (("odd", "mvtec3d", "bagel"), ("points", "real3d", "diamond")):
        found, expected = read_rows(tmp_path / f"results/metrics/{RUN}/{name}.csv"), read_rows(tidy / f"{original}.csv")
        for modality in ("3d", "m3d") if name == "odd" else ("3d",):
            for metric, value in expected[category, modality].items():
                if metric in ("category", "modality") or not value:
                    assert found[category, modality][metric] == value
                else:
                    assert float(found[category, modality][metric]) == pytest.approx(float(value), abs=1e-9)
    unlabelled = read_rows(tmp_path / f"results/metrics/{RUN}/odd.csv")
    assert ("carrot", "m3d") not in unlabelled
    known = {key: value for key, value in unlabelled["carrot", "3d"].items() if value}
    assert known == {"category": "carrot", "modality": "3d", "n_good": "0", "n_defective": "0"}
    assert (
        "carrot: 4 of 4 scans have no labels and are left out" in (tmp_path / f"logs/metrics/{RUN}/odd.log").read_text()
    )
