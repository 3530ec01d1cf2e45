"""What jobs of systems are told that score a scan by the others of its category."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pointad_core.errors import InputError
from workflow import checks, inputs, plan, raw_scans, sizes

REPOSITORY = Path(__file__).parents[2]
BEYOND = yaml.safe_load((REPOSITORY / "config/beyond.yaml").read_text())


def complete(**dataset: Any) -> dict[str, Any]:
    config = copy.deepcopy(BEYOND)
    config["datasets"]["mvtec3d"] |= dataset
    checks.complete(config)
    return config


def job(method: str, part: str = "") -> SimpleNamespace:
    return SimpleNamespace(method=method, dataset="mvtec3d", source="none", auxiliary="none", part=part)


def test_a_shard_is_told_the_features_of_its_whole_category() -> None:
    config = complete(shard_size=4)
    shards = raw_scans.shards_of(config, "mvtec3d", "bagel")
    assert len(shards) > 1
    features = [f"results/features/standard/mvtec3d/{shard}.zarr.zip" for shard in shards]
    assert inputs.references(config, job("mutual", f"/{shards[0]}")) == features
    assert inputs.scored_stores(config, job("mutual", f"/{shards[0]}"))["features"] == features[:1]
    # Where a job has the whole category anyway, and of a system that scores each scan by itself, nothing more.
    assert inputs.references(complete(), job("mutual", "/bagel")) == []
    assert inputs.references(complete(), job("mutual")) == []
    assert inputs.references(config, job("clip_rendering", f"/{shards[0]}")) == []


def test_a_category_of_one_scan_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    config = complete()
    monkeypatch.setattr(raw_scans, "count_scans", lambda *_: 1)
    with pytest.raises(InputError, match=r"mvtec3d/bagel has one scan, and method 'mutual' .* expected 2 or more"):
        inputs.references(config, job("mutual"))
    assert inputs.references(config, job("clip_rendering")) == []


def test_time_goes_with_the_scans_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    config = complete()
    monkeypatch.setattr(raw_scans, "count_scans", lambda *_: 200)
    assert sizes.scans_scored(config, job("clip_rendering", "/bagel")) == 200
    assert sizes.scans_scored(config, job("mutual", "/bagel")) == 200 * 20
    config["methods"]["mutual"]["references"] = 50
    assert sizes.scans_scored(config, job("mutual", "/bagel")) == 200 * 5
    assert sizes.scans_scored(config, job("mutual")) == 4 * 200 * 5


def test_options_are_those_of_the_method_and_of_no_other() -> None:
    config = complete()
    keys = {"neighbourhoods", "lowest_share", "compared_views", "references"}
    assert plan.scoring_options(config, "mutual").keys() >= keys
    assert not plan.training_options(config, "pointad_plus_mutual").keys() & keys
    assert not plan.scoring_options(config, "pointad_plus").keys() & keys
    assert inputs.system(config, job("mutual"))["batch"] is True


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"system": "mutual", "neighbourhoods": [2]}, r"methods\.own\.neighbourhoods\[0\] is 2, expected"),
        ({"system": "mutual", "neighbourhoods": []}, r"methods\.own\.neighbourhoods is \[\], expected"),
        ({"system": "mutual", "lowest_share": 0}, r"methods\.own\.lowest_share is 0, expected number > 0"),
        ({"system": "mutual", "compared_views": "each"}, r"compared_views is 'each', expected one of same, all"),
        ({"system": "mutual", "references": 0}, r"methods\.own\.references is 0, expected"),
        ({"system": "mutual", "references": 2.0}, r"methods\.own\.references is 2\.0, expected integer"),
        (
            {"system": "mutual", "epochs": 3},
            r"unknown key 'epochs'; known .* system 'mutual': .*references",
        ),
        ({"system": "pointad_plus", "references": 3}, r"unknown key 'references'"),
        ({"system": "pointad_plus_mutual", "defect_features": 2}, r"defect_features is 2, expected integer"),
    ],
)
def test_keys_that_mean_nothing_are_named(method: dict[str, Any], message: str) -> None:
    config = copy.deepcopy(BEYOND)
    config["methods"]["own"] = method
    with pytest.raises(InputError, match=message):
        checks.complete(config)


def test_an_own_system_of_clouds_cannot_compare(tmp_path: Path) -> None:
    config = copy.deepcopy(BEYOND)
    (tmp_path / "own.py").touch()
    config["systems"] = {"own": {"module": str(tmp_path / "own.py"), "stream": None, "trained": False, "batch": True}}
    with pytest.raises(InputError, match=r"systems\.own\.batch is true: it compares features, expected `stream: vv`"):
        checks.complete(config)


def test_predict_takes_no_such_run() -> None:
    config = copy.deepcopy(BEYOND)
    run = {"method": "pointad_plus_mutual", "source": "mvtec3d", "auxiliary": "cookie"}
    config["predictions"] = {"mine": {"folder": "scans", "run": run}}
    with pytest.raises(InputError, match="'pointad_plus_mutual', which scores a scan by others of its category"):
        checks.complete(config)
