"""A folder of one's own through the stages: what counts of scans whose defects nobody has marked."""

import csv
from pathlib import Path

import numpy as np
import pytest
import raw_files
from metric_oracles import naive_auroc

from pointad_core.datasets.registry import LAYOUTS
from pointad_core.stages.clouds import make_clouds
from pointad_core.stages.metrics import make_metrics
from pointad_core.storage import stores

OPTIONS = {
    "resolution": 56,
    "normals": {"radius": 5, "neighbours": 9},
    "seed": 0,
    "n_points": 90,
    "sampling": "farthest",
}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Clouds and scores of two good scans, a marked defective one, and one of which nobody has marked where."""
    rng = np.random.default_rng(0)
    for name in ("good/a", "good/b", "bad/c", "dent/d"):
        points = rng.normal(size=(90, 3)).astype(np.float32) * 10
        raw_files.write(tmp_path / f"raw/part/{name}.pcd", raw_files.pcd(points, "binary"))
        if name == "bad/c":
            raw_files.write(tmp_path / "raw/part/bad/c.label.txt", raw_files.rows(points, np.arange(90) < 20))
    layout = {"name": "folder", **vars(LAYOUTS["folder"])}
    make_clouds(tmp_path / "raw", tmp_path / "clouds.zarr.zip", "mine", layout, "part", OPTIONS, {})
    with (
        stores.read(tmp_path / "clouds.zarr.zip", "clouds") as clouds,
        stores.write(tmp_path / "scores.zarr.zip", "scores", {}) as writer,
    ):
        for number, scan in enumerate(clouds.scans):
            defective = clouds.scan_attributes(scan)["defective"]
            about = {"defective": defective, "object_3d": [0.4, 0.9, 0.5, 0.2][number]}
            scores = rng.random(90).astype(np.float32)
            writer.add(f"part/{scan}", {"points_3d": scores, "original_3d": scores}, about)
    return tmp_path


def test_the_folder_says_that_a_scan_is_defective_where_nobody_says_where(made):
    with stores.read(made / "clouds.zarr.zip", "clouds") as clouds:
        assert {scan: clouds.scan_attributes(scan)["defective"] for scan in clouds.scans} == {
            "bad/c": True,
            "dent/d": True,
            "good/a": False,
            "good/b": False,
        }
        assert "labels" in clouds.arrays("bad/c")
        assert "labels" not in clouds.arrays("dent/d")


def test_it_counts_among_the_objects_and_not_among_the_points(made):
    make_metrics(
        made / "scores.zarr.zip", {"part": made / "clouds.zarr.zip"}, made / "metrics.csv", made / "metrics.npz"
    )
    with open(made / "metrics.csv") as file:
        (row,) = csv.DictReader(file)
    assert (row["n_good"], row["n_defective"]) == ("2", "2")
    assert float(row["i_auroc"]) == naive_auroc([0.5, 0.2], [0.4, 0.9])
    negatives, positives = [], []
    with (
        stores.read(made / "clouds.zarr.zip", "clouds") as clouds,
        stores.read(made / "scores.zarr.zip", "scores") as scores,
    ):
        for scan in ("bad/c", "good/a", "good/b"):
            labels = clouds.load(scan, ["labels"])["labels"] > 0
            found = scores.load(f"part/{scan}", ["points_3d"])["points_3d"]
            negatives += found[~labels].tolist()
            positives += found[labels].tolist()
    assert float(row["p_auroc_paper"]) == pytest.approx(naive_auroc(negatives, positives))


def test_without_any_mark_the_points_metrics_are_empty(made):
    (made / "raw/part/bad/c.label.txt").unlink()
    layout = {"name": "folder", **vars(LAYOUTS["folder"])}
    make_clouds(made / "raw", made / "clouds.zarr.zip", "mine", layout, "part", OPTIONS, {})
    make_metrics(
        made / "scores.zarr.zip", {"part": made / "clouds.zarr.zip"}, made / "metrics.csv", made / "metrics.npz"
    )
    with open(made / "metrics.csv") as file:
        (row,) = csv.DictReader(file)
    assert float(row["i_auroc"]) == naive_auroc([0.5, 0.2], [0.4, 0.9])
    assert row["p_auroc_paper"] == row["p_auroc_object"] == ""
