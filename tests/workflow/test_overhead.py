"""What Table 5 measures of a config, and what is refused before anything runs."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from miniature import CONFIG

from pointad_core.errors import InputError
from workflow import inputs, overhead, tables
from workflow.checks import complete

REPOSITORY = Path(__file__).parents[2]
SECTION = {"methods": ["clip_rendering", "pointad_plus", "btf"], "dataset": "mvtec3d", "category": "bagel", "scans": 2}


@pytest.fixture(autouse=True)
def _miniature(monkeypatch: pytest.MonkeyPatch) -> None:
    """The miniature's model, which its copy of the package has, is none that is known here."""
    monkeypatch.setattr("workflow.checks._check_model", lambda *_: iter(()))
    monkeypatch.setattr("workflow.checks._check_prompts", lambda *_: iter(()))


def config(section: Any = SECTION, **methods: Any) -> dict[str, Any]:
    made = copy.deepcopy(CONFIG)
    made["methods"] |= {"btf": {"system": "btf"}, "mutual": {"system": "mutual"}} | methods
    made["overhead"] = copy.deepcopy(section)
    complete(made)
    return made


def wildcards(method: str, category: str = "bagel") -> SimpleNamespace:
    return SimpleNamespace(method=method, dataset="mvtec3d", category=category)


def test_nothing_is_measured_where_nothing_is_said() -> None:
    made = copy.deepcopy(CONFIG)
    complete(made)
    assert not overhead.is_asked(made)
    assert "overhead" not in tables.names(made)


def test_a_method_is_measured_with_what_has_not_seen_the_category() -> None:
    made = config()
    assert inputs.measured_learning(made, wildcards("clip_rendering")) == []
    assert inputs.measured_learning(made, wildcards("pointad_plus")) == [
        "results/prompts/pointad_plus/mvtec3d/carrot/111.safetensors"
    ]
    assert inputs.measured_learning(made, wildcards("btf")) == [
        "results/experts/btf/mvtec3d.train/bagel/111.safetensors"
    ]
    with pytest.raises(InputError, match="pointad_plus is not tested on mvtec3d/carrot"):
        inputs.measured_learning(made, wildcards("pointad_plus", "carrot"))


def test_a_job_is_told_what_its_system_goes_through_and_no_more() -> None:
    made = config()
    stages = {method: set(inputs.overhead_options(made, wildcards(method))) for method in SECTION["methods"]}
    common = {"clouds", "settings", "model"}
    assert stages == {
        "clip_rendering": common | {"renders"},
        "pointad_plus": common | {"renders", "aggregation"},
        "btf": common,
    }
    assert inputs.measuring(made, None) == {"scans": 2, "warm_up": 3, "repeats": 1, "modality": "3d"}


def test_the_table_has_the_metrics_of_what_is_measured() -> None:
    made = config()
    assert overhead.table_metrics(made) == [
        "results/metrics/clip_rendering/none/none/0/mvtec3d.csv",
        "results/metrics/pointad_plus/mvtec3d/carrot/111/mvtec3d.csv",
        "results/metrics/btf/mvtec3d.train/each/111/mvtec3d.csv",
    ]
    options = overhead.table_options(made)
    assert list(options["methods"]) == SECTION["methods"]
    tested = {name: method["tested"] for name, method in options["methods"].items()}
    assert tested["pointad_plus"] == tested["clip_rendering"] == {"mvtec3d": {"carrot": ["bagel"]}}
    assert tested["btf"] == {"mvtec3d.train": {"each": ["bagel", "carrot"]}}
    assert options["methods"]["btf"]["network"] is None
    assert tables.names(made)[:5] == ["table1", "table2", "table3", "table4", "overhead"]
    assert overhead.measured(made)["btf"] == "results/overhead/btf/mvtec3d/bagel.csv"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"methods": ["pointd"]},
            r"overhead\.methods\[0\] is 'pointd' \(did you mean 'pointad'\?\), expected one of methods: ",
        ),
        (
            {"dataset": "mvtec"},
            r"overhead\.dataset is 'mvtec' \(did you mean 'mvtec3d'\?\), expected one of datasets: mvtec3d, real3d",
        ),
        ({"category": "pear"}, r"overhead\.category is 'pear', expected one of .*mvtec3d\.categories: bagel, carrot"),
        ({"category": "carrot"}, r"methods\[1\] is 'pointad_plus', none of whose prompts has not seen 'carrot'"),
        ({"methods": ["mutual"]}, r"methods\[0\] is 'mutual', which scores a scan by others of its category"),
        ({"scans": 0}, r"overhead\.scans is 0, expected integer >= 1"),
        ({"scans": 99}, r"overhead\.scans is 99, but mvtec3d/bagel has \d+ scans"),
        ({"repeats": 1.0}, r"overhead\.repeats is 1\.0, expected integer"),
        ({"warm_up": -1}, r"overhead\.warm_up is -1, expected integer >= 0"),
        ({"modality": "rgb"}, r"overhead\.modality is 'rgb', expected one of 3d, m3d"),
        ({"methods": ["cheraghian"], "modality": "m3d"}, r"is 'cheraghian', which takes no RGB in"),
        (
            {"dataset": "real3d", "category": "diamond", "modality": "m3d"},
            r"overhead\.modality is 'm3d', but scans of the layout 'real3d' have no photographs; expected 3d",
        ),
        ({"scan": 3}, r"overhead has the unknown key 'scan' \(did you mean 'scans'\?\)"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config(SECTION | changes)


@pytest.mark.parametrize("key", ["dataset", "category"])
def test_what_is_missing_is_named(key: str) -> None:
    with pytest.raises(InputError, match=f"overhead lacks the key '{key}'"):
        config({name: value for name, value in SECTION.items() if name != key})


@pytest.mark.parametrize("name", ["config.yaml", "paper.yaml"])
def test_the_configs_measure_the_systems_of_the_papers_table(name: str) -> None:
    made = yaml.safe_load((REPOSITORY / "config" / name).read_text())
    systems = {made["methods"][method]["system"] for method in made["overhead"]["methods"]}
    assert systems >= {
        "pointclip_v2",
        "clip_rendering",
        "cheraghian",
        "anomalyclip",
        "pointad",
        "pointad_plus",
        "btf",
        "sdm",
        "m3dm",
    }
