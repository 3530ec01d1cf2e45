"""The stage predictions: a folder is replaced as a whole, and tables are put together."""

import csv
from pathlib import Path

import numpy as np
import pytest
import raw_files

from pointad_core.errors import InputError
from pointad_core.stages.predictions import join_predictions, make_predictions

OPTIONS = {
    "unit": None,
    "facing": "auto",
    "background": "none",
    "stray": "remove",
    "point_size": None,
    "rgb": True,
    "intrinsics": None,
    "name": "object",
}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two scans; one cannot be read."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-20, 20, (2, 2000))
    points = np.stack([x, y, np.sqrt(np.maximum(0, 144 - x**2 - y**2))], 1).astype("f4")
    raw_files.write(tmp_path / "scans/a.pcd", raw_files.pcd(points))
    raw_files.write(tmp_path / "scans/b.pcd", b"nothing")
    return tmp_path / "scans"


def test_what_an_earlier_run_has_left_is_gone(scans, tmp_path):
    output = tmp_path / "results/mine/summary.csv"
    raw_files.write(tmp_path / "results/mine/gone/gone.ply", "old")
    raw_files.write(tmp_path / "results/.mine.x.partial/y", "half of a killed run")
    make_predictions(scans, ["a", "b"], output, OPTIONS)
    assert sorted(path.name for path in output.parent.iterdir()) == ["a", "index.html", "summary.csv"]
    assert [path.name for path in output.parent.parent.iterdir()] == ["mine"]
    with open(output) as file:
        first, second = csv.DictReader(file)
    assert (first["name"], first["decision"], first["failure"]) == ("a", "uncalibrated", "")
    assert (second["name"], second["object_score"]) == ("b", "")
    assert "b.pcd" in second["failure"]


def test_prompts_that_cannot_be_read_end_it_and_leave_what_was(scans, tmp_path):
    output = tmp_path / "results/mine/summary.csv"
    raw_files.write(output, "old")
    with pytest.raises(InputError, match=r"p\.safetensors: no such prompts"):
        make_predictions(scans, ["a"], output, OPTIONS, prompts=tmp_path / "p.safetensors")
    with pytest.raises(InputError, match=r"t\.json: no such file"):
        make_predictions(scans, ["a"], output, OPTIONS, threshold=tmp_path / "t.json")
    with pytest.raises(InputError, match="has no scan 'c' any more"):
        make_predictions(scans, ["a", "c"], output, OPTIONS)
    assert output.read_text() == "old"
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["mine"]


def table(path: Path, *names: str, failure: str = "") -> Path:
    lines = "".join(f"{name},{'' if failure else 0.5},{failure}\n" for name in names)
    return raw_files.write(path, f"name,object_score,failure\n{lines}")


def test_tables_are_joined_by_name(tmp_path, caplog):
    parts = [table(tmp_path / "0.csv", "c", "a"), table(tmp_path / "1.csv", "b", failure="b.ply: empty")]
    assert join_predictions(parts, tmp_path / "all.csv") == 1
    lines = "name,object_score,failure\na,0.5,\nb,,b.ply: empty\nc,0.5,\n"
    assert (tmp_path / "all.csv").read_text() == lines
    assert any("b.ply: empty" in message for message in caplog.messages)


def test_tables_of_failures_alone_are_refused(tmp_path):
    parts = [table(tmp_path / "0.csv", "a", failure="a.ply: empty")]
    with pytest.raises(InputError, match=r"none of 1 scans could be scored: a\.ply: empty"):
        join_predictions(parts, tmp_path / "all.csv")
    with pytest.raises(InputError, match=r"0\.csv: is empty; delete it and run again"):
        join_predictions([raw_files.write(tmp_path / "0.csv", "")], tmp_path / "all.csv")
    assert not (tmp_path / "all.csv").exists()
