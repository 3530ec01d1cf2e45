"""A change reruns what it concerns, what follows from it, and nothing else."""

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from miniature import CONFIG, Miniature, changed

# Jobs of the miniature: mvtec3d has two categories, one of them the auxiliary class of two trained systems; real3d has
# one category, a target of their prompts. A third system is untrained.
TABLES = Counter(table=4, document=1)
SUMMARIES = Counter(summary_auxiliary=1, summary_dataset=2)


def with_value(value: Any, *keys: str) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    section = config
    for key in keys[:-1]:
        section = section.setdefault(key, {})
    section[keys[-1]] = value
    return config


def test_finished_run_has_nothing_to_do(miniature: Miniature) -> None:
    assert miniature.plan() == Counter()


def test_first_run_did_every_job_once(miniature: Miniature) -> None:
    generate = Counter({f"generate_{name}": 1 for name in ("mvtec3d_bagel", "mvtec3d_carrot", "real3d_diamond")})
    stages = Counter(clouds=3, renders=3, features=3, prompts=2, scores=6, metrics=6)
    assert miniature.result.jobs == generate + stages + SUMMARIES + TABLES + Counter(all_tables=1)


def raw_scan(miniature: Miniature, category: str) -> Path:
    return sorted((miniature.directory / "results/generated/mvtec3d" / category).rglob("gt/*.png"))[0]


def test_a_changed_scan_concerns_its_category(miniature: Miniature) -> None:
    scan = raw_scan(miniature, "bagel")
    with changed(scan, scan.read_bytes() + b"\0"):
        planned = miniature.plan()
    # bagel is only tested on: no prompts; Tables 3 and 4 show real3d.
    stages = Counter(clouds=1, renders=1, features=1, scores=3, metrics=3, summary_auxiliary=1, summary_dataset=1)
    assert planned == stages + Counter(table=2, document=1)


def test_a_changed_scan_of_an_auxiliary_class_concerns_its_prompts(miniature: Miniature) -> None:
    scan = raw_scan(miniature, "carrot")
    with changed(scan, scan.read_bytes() + b"\0"):
        planned = miniature.plan()
    # Two trained systems score mvtec3d and real3d with these prompts; the untrained one scores carrot itself.
    stages = Counter(clouds=1, renders=1, features=1, prompts=2, scores=5, metrics=5)
    assert planned == stages + SUMMARIES + TABLES


def test_a_deleted_scan_is_generated_again_when_it_is_needed(miniature: Miniature) -> None:
    with changed(raw_scan(miniature, "bagel"), None):
        assert miniature.plan() == Counter()
        planned = miniature.plan(with_value({"radius": 0.2}, "datasets", "mvtec3d", "normals"))
    assert planned["clouds"] == 2
    assert planned["generate_mvtec3d_bagel"] == 1
    assert not planned["generate_mvtec3d_carrot"] + planned["generate_real3d_diamond"]


def test_a_training_hyper_parameter_concerns_its_method(miniature: Miniature) -> None:
    planned = miniature.plan(with_value(0.002, "methods", "pointad", "learning_rate"))
    assert planned == Counter(prompts=1, scores=2, metrics=2) + SUMMARIES + TABLES


def test_a_scoring_parameter_leaves_prompts_alone(miniature: Miniature) -> None:
    planned = miniature.plan(with_value(2, "methods", "pointad_plus", "smoothing_sigma"))
    assert planned == Counter(scores=2, metrics=2) + SUMMARIES + TABLES


def test_a_view_angle_concerns_its_view_set(miniature: Miniature) -> None:
    views = {"tilt": 180, "x": [-144, -108, -72, -36, 0, 36, 72, 108, 145]}
    planned = miniature.plan(with_value(views, "view_sets", "real3d"))
    # Prompts of mvtec3d stay, their scores on real3d do not; Tables 1 and 2 show mvtec3d.
    stages = Counter(renders=1, features=1, scores=3, metrics=3, summary_dataset=1)
    assert planned == stages + Counter(table=2, document=1)


def test_a_point_size_concerns_its_category(miniature: Miniature) -> None:
    planned = miniature.plan(with_value({"point_size": 3}, "datasets", "mvtec3d", "categories", "bagel"))
    stages = Counter(renders=1, features=1, scores=3, metrics=3, summary_auxiliary=1, summary_dataset=1)
    assert planned == stages + Counter(table=2, document=1)


def test_a_label_concerns_the_tables(miniature: Miniature) -> None:
    assert miniature.plan(with_value("Ours", "methods", "pointad", "label")) == TABLES


SCORES = Counter(scores=6, metrics=6) + SUMMARIES + TABLES


@pytest.mark.parametrize(
    ("module", "planned"),
    [
        ("clouds", Counter(clouds=3, renders=3, features=3, prompts=2) + SCORES),
        ("views", Counter(renders=3, features=3, prompts=2) + SCORES),
        ("features", Counter(features=3, prompts=2) + SCORES),
        ("prompts", Counter(prompts=2) + SCORES),
        ("methods/pointad_plus", Counter(prompts=1, scores=2, metrics=2) + SUMMARIES + TABLES),
        ("scores", SCORES),
        ("metrics", Counter(metrics=6) + SUMMARIES + TABLES),
        ("tables", TABLES),
        ("jobs", Counter()),
    ],
)
def test_code_of_a_stage_concerns_that_stage_and_what_follows(
    miniature: Miniature, module: str, planned: Counter[str]
) -> None:
    path = miniature.package / f"{module}.py"
    with changed(path, path.read_bytes() + b"\n# edited\n"):
        assert miniature.plan() == planned
