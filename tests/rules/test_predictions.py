"""Folders of the user's own scans as a target: what comes out, and what a change runs again (docs/reruns.md)."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import raw_files
import yaml
from miniature import CONFIG, REPOSITORY, Result, changed, snakemake

from pointad_core.storage.shards import split

NAMES = ["a", "b", "c", "d"]
SHARDS = split(NAMES, 2)


def bump(seed: int, points: int = 3000) -> np.ndarray:
    """Points of half a ball on a plane, in millimetres."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-20, 20, (2, points))
    return np.stack([x, y, np.sqrt(np.maximum(0, 12**2 - x**2 - y**2)) + rng.normal(0, 0.02, points)], 1).astype("f4")


@dataclass
class Own:
    """A folder of four scans, one of which cannot be read, and the folder of the run."""

    scans: Path
    directory: Path
    snakefile: Path

    def run(self, *words: str, **entry: Any) -> Result:
        config = self.directory / "config.yaml"
        entry = {"folder": str(self.scans), "shard_size": 2, "background": "none", **entry}
        config.write_text(yaml.safe_dump({**CONFIG, "predictions": {"mine": entry}}))
        given = ("--configfile", str(config), "--cores", "2", *words)
        return snakemake("all_predictions", *given, snakefile=self.snakefile, directory=self.directory)

    def plan(self, **entry: Any) -> tuple[int, int]:
        """Jobs that would score a shard, and that would put the tables together."""
        result = self.run("-n", **entry)
        assert result.code == 0, result.text
        jobs = dict(result.jobs)
        jobs.pop("all_predictions", None)
        assert set(jobs) <= {"predictions", "predictions_joined"}
        return jobs.get("predictions", 0), jobs.get("predictions_joined", 0)


@pytest.fixture(scope="module")
def own(snakefile: Path, tmp_path_factory: pytest.TempPathFactory) -> Own:
    folder = tmp_path_factory.mktemp("own")
    for number, name in enumerate(NAMES[:3]):
        raw_files.write(folder / f"scans/{name}.pcd", raw_files.pcd(bump(number), "binary"))
    raw_files.write(folder / "scans/d.pcd", b"nothing")
    (folder / "run").mkdir()
    found = Own(folder / "scans", folder / "run", snakefile)
    result = found.run()
    assert result.code == 0, result.text
    return found


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_each_scan_has_its_files_and_the_table_has_them_all(own: Own) -> None:
    folder = own.directory / "results/predictions"
    table = rows(folder / "mine.csv")
    assert [row["name"] for row in table] == NAMES
    assert {row["decision"] for row in table[:3]} == {"uncalibrated"}
    assert "d.pcd" in table[3]["failure"]
    assert len(SHARDS) > 1
    for shard, names in SHARDS.items():
        assert [row["name"] for row in rows(folder / f"mine/{shard}/summary.csv")] == names
        for name in names:
            ends = {path.suffix for path in (folder / f"mine/{shard}/{name}").glob("*")}
            assert ends == (set() if name == "d" else {".html", ".ply", ".npz", ".csv", ".json", ".png"})
    (at,) = folder.glob("mine/*/a/a.json")
    found = json.loads(at.read_text())
    assert f"{found['object_score']:.7g}" == table[0]["object_score"]
    logs = "".join(path.read_text() for path in (own.directory / "logs/predictions/mine").iterdir())
    assert "WARNING" in logs
    assert not list(folder.rglob("*.partial"))


def test_the_same_scans_give_the_same_scores_in_one_piece(own: Own) -> None:
    before = [row["object_score"] for row in rows(own.directory / "results/predictions/mine.csv")]
    whole = Own(own.scans, own.directory.with_name("whole"), own.snakefile)
    whole.directory.mkdir()
    result = whole.run(shard_size=None)
    assert result.code == 0, result.text
    assert [row["object_score"] for row in rows(whole.directory / "results/predictions/mine.csv")] == before
    assert (whole.directory / "results/predictions/mine/index.html").exists()


def read_table() -> dict[str, tuple[int, int]]:
    """Jobs by change in the docs' table of predictions."""
    text = (REPOSITORY / "docs/reruns.md").read_text()
    section = next(part for part in text.split("\n## ") if part.startswith("Folders of your own scans"))
    _, _, *lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {change: (int(shards), int(tables)) for change, shards, tables in cells}


def with_scan(own: Own, name: str, content: bytes | None) -> tuple[int, int]:
    path = own.scans / name
    if path.exists():
        with changed(path, content):
            return own.plan()
    path.write_bytes(content or b"")
    try:
        return own.plan()
    finally:
        path.unlink()


def moved(own: Own) -> tuple[int, int]:
    other = own.scans.with_name("moved")
    shutil.move(own.scans, other)
    try:
        return own.plan(folder=str(other))
    finally:
        shutil.move(other, own.scans)


def code(own: Own) -> tuple[int, int]:
    path = own.snakefile.parent / "pointad_core/predict/scan.py"
    with changed(path, path.read_bytes() + b"\nEDITED = True\n"):
        return own.plan()


CHANGES: dict[str, Callable[[Own], tuple[int, int]]] = {
    "nothing": Own.plan,
    "a scan": lambda own: with_scan(own, "a.pcd", raw_files.pcd(bump(7, 2900), "binary")),
    "a scan deleted": lambda own: with_scan(own, "c.pcd", None),
    "a photograph of a scan added": lambda own: with_scan(own, "b.png", b"png"),
    "a note beside the scans": lambda own: with_scan(own, "readme.md", b"mine"),
    "`background`, or another option": lambda own: own.plan(background="auto"),
    "`shard_size`, to one that leaves the folder whole": lambda own: own.plan(shard_size=None),
    "the folder moved, and the new `folder` given": moved,
    "code: `predict/scan.py`": code,
}


@pytest.mark.parametrize(("change", "expected"), read_table().items())
def test_a_change_runs_what_the_docs_say(own: Own, change: str, expected: tuple[int, int]) -> None:
    assert CHANGES[change](own) == expected


def test_the_docs_name_every_change() -> None:
    assert read_table().keys() == CHANGES.keys()


def test_a_folder_that_is_not_there_ends_the_run_with_its_name(own: Own) -> None:
    other = own.directory.with_name("elsewhere")
    other.mkdir(exist_ok=True)
    result = Own(other / "scans", other, own.snakefile).run()
    assert result.code != 0
    assert re.search(r"predictions\.mine: .*scans: no such file or folder", result.text)


def test_a_folder_where_no_scan_can_be_read_fails_and_says_why(own: Own) -> None:
    other = own.directory.with_name("broken")
    raw_files.write(other / "scans/a.pcd", b"nothing")
    result = Own(other / "scans", other, own.snakefile).run(shard_size=None)
    assert result.code != 0
    assert "none of 1 scans could be scored" in result.text
    assert not (other / "results/predictions/mine.csv").exists()


def test_prompts_of_a_run_are_learnt_first(own: Own) -> None:
    run = {"method": "pointad", "source": "mvtec3d", "auxiliary": "carrot"}
    result = own.run("-n", run=run)
    assert result.code == 0, result.text
    assert result.jobs["prompts"] == 1
    assert result.jobs["predictions"] == len(SHARDS)


def test_without_entries_the_target_says_so(own: Own) -> None:
    config = own.directory / "none.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    words = ("all_predictions", "-n", "--configfile", str(config))
    result = snakemake(*words, snakefile=own.snakefile, directory=own.directory)
    assert result.code != 0
    assert "predictions names no folder, so that there is nothing to predict" in result.text
