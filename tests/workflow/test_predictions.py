"""What is predicted of folders: shards, what counts of them, and what the rules are told."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pointad_core.errors import InputError
from pointad_core.storage.shards import split
from workflow import inputs, predictions
from workflow.checks import complete

REPOSITORY = Path(__file__).parents[2]


def config(folder: Path, **entry: Any) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    made["predictions"] = {"mine": {"folder": str(folder), **entry}}
    complete(made)
    return made


def job(shard: str = "") -> Any:
    return SimpleNamespace(prediction="mine", shard=shard)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for name in ("a.ply", "b.PLY", "sub/c.stl", "d.pcd", "b.png", "a.label.txt", "notes.txt"):
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "scans"


def test_scans_are_listed_with_their_photographs(scans: Path) -> None:
    found = predictions.list_scans(config(scans), "mine")
    assert {name: [Path(file).name for file in files] for name, files in found.items()} == {
        "a": ["a.ply"],
        "b": ["b.PLY", "b.png"],
        "d": ["d.pcd"],
        "sub/c": ["c.stl"],
    }


def test_a_folder_is_split_by_its_scans_names(scans: Path) -> None:
    made = config(scans, shard_size=2)
    expected = split(["a", "b", "d", "sub/c"], 2)
    assert len(expected) > 1
    assert predictions.shards_of(made, "mine") == expected
    assert predictions.tables_of(made, "mine") == [
        f"results/predictions/mine/{shard}/summary.csv" for shard in expected
    ]
    for shard, names in expected.items():
        assert predictions.scans_of_shard(made, job(f"/{shard}")) == names
        assert predictions.count_scans(made, job(f"/{shard}")) == len(names)
    with pytest.raises(InputError, match=r"predictions\.mine has no shard '010101', it has: "):
        predictions.scans_of_shard(made, job("/010101"))
    assert predictions.tables_of(config(scans), "mine") == ["results/predictions/mine/summary.csv"]


def test_what_counts_is_what_lies_in_the_shard(scans: Path) -> None:
    made = config(scans, shard_size=2)
    shards = predictions.shards_of(made, "mine")
    before = {shard: predictions.content(made, job(f"/{shard}")) for shard in shards}
    (scans / "b.png").write_text("another photograph")
    (scans / "notes.txt").write_text("other notes")
    after = {shard: predictions.content(made, job(f"/{shard}")) for shard in shards}
    assert [shard for shard in shards if before[shard] != after[shard]] == [
        s for s, names in shards.items() if "b" in names
    ]


def test_a_folder_that_cannot_be_looked_at_is_named(tmp_path: Path) -> None:
    made = config(tmp_path / "none")
    (reason,) = predictions.missing_folder(made, job())
    assert reason.startswith("predictions.mine: ")
    assert "none: no such file or folder" in reason
    assert predictions.count_scans(made, job()) == 0
    assert predictions.tables_of(made, "mine") == ["results/predictions/mine/summary.csv"]
    assert predictions.targets(made) == ["results/predictions/mine.csv"]


def test_links_out_of_the_folder_are_refused_unless_allowed(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.ply").write_text("x")
    os.symlink(tmp_path / "elsewhere.ply", scans / "link.ply")
    (reason,) = predictions.missing_folder(config(scans), job())
    assert "link.ply: a link leads to" in reason
    assert predictions.missing_folder(config(scans, follow_links=True), job()) == []


def test_options_carry_what_scores_depend_on_alone(scans: Path) -> None:
    made = config(scans, unit="mm", shard_size=2, threshold="part.json", prompts="~/mine.safetensors")
    assert predictions.options(made, job()) == {
        "unit": "mm",
        "facing": "auto",
        "background": "auto",
        "stray": "remove",
        "point_size": None,
        "rgb": True,
        "intrinsics": None,
        "name": "object",
    }
    home = os.path.expanduser("~/mine.safetensors")
    assert predictions.own_files(made, job()) == [home, "part.json"]
    assert predictions.own_files(made, job(), "prompts") == [home]
    assert predictions.prompts_of_run(made, job()) == []


def test_prompts_of_a_run_are_its_results(scans: Path) -> None:
    made = config(scans, run={"method": "pointad", "source": "mvtec3d", "auxiliary": "carrot"})
    assert predictions.prompts_of_run(made, job()) == ["results/prompts/pointad/mvtec3d/carrot/111.safetensors"]
    assert predictions.own_files(made, job()) == []
    assert predictions.code(made, job()) != predictions.code(config(scans), job())


def test_a_run_is_scored_as_its_method_says(scans: Path) -> None:
    made = config(scans, run={"method": "pointad", "source": "mvtec3d", "auxiliary": "carrot"})
    usual = predictions.options(made, job())
    assert "settings" not in usual
    settings = {"smoothing_sigma": 2.5, "smoothing_over": "points", "rgb_map": "pixels"}
    settings |= {"object_share": 0.02, "view_weights": "incidence"}
    made["methods"]["pointad"] |= settings
    assert predictions.options(made, job()) == {**usual, "settings": settings}


def test_an_edit_in_a_shaded_renderer_concerns_predictions(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(predictions, "fingerprint", lambda *names: asked.extend(names) or "x")
    predictions.code(config(scans), job())
    assert {"rendering.splat", "rendering.splat_depth", "rendering.open3d"} <= set(asked)


def test_an_edit_in_a_reader_concerns_folders_of_any_kind(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(inputs, "fingerprint", lambda *names: asked.append(names) or "x")
    made = config(scans)
    made["datasets"]["own"] = {**made["datasets"]["real3d"], "layout": "folder"}
    inputs.code_of_clouds(made, SimpleNamespace(dataset="own"))
    inputs.code_of_clouds(made, SimpleNamespace(dataset="real3d"))
    assert "formats.ply" in asked[0]
    assert not any(name.startswith("formats.") for name in asked[1])
