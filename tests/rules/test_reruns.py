"""A change reruns what it concerns, what follows from it, and nothing else."""

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from miniature import CONFIG, Miniature, changed

from pointad_core.methods import SYSTEMS

# Jobs of the miniature: mvtec3d has two categories, one of them the auxiliary class of the trained systems; real3d has
# one category, a target of their prompts. There is a method of every system.
METHODS = len(SYSTEMS)
TRAINED = sum(system.trained for system in SYSTEMS.values())
# Cheraghian reads clouds alone; the others read features of standard, depth or realistic renders.
PROMPTS = TRAINED - 1
READERS = METHODS - 1
STANDARD, DEPTH = 5, 1
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
    stages = Counter(clouds=3, renders=9, features=9, prompts=TRAINED)
    stages += Counter(scores=2 * METHODS, metrics=2 * METHODS)
    assert miniature.result.jobs == generate + stages + SUMMARIES + TABLES + Counter(all_tables=1)


def raw_scan(miniature: Miniature, category: str) -> Path:
    return sorted((miniature.directory / "results/generated/mvtec3d" / category).rglob("gt/*.png"))[0]


def test_a_changed_scan_concerns_its_category(miniature: Miniature) -> None:
    scan = raw_scan(miniature, "bagel")
    with changed(scan, scan.read_bytes() + b"\0"):
        planned = miniature.plan()
    # bagel is only tested on: no prompts; Tables 3 and 4 show real3d.
    stages = Counter(clouds=1, renders=3, features=3, scores=METHODS, metrics=METHODS)
    assert planned == stages + Counter(summary_auxiliary=1, summary_dataset=1, table=2, document=1)


def test_a_changed_scan_of_an_auxiliary_class_concerns_its_prompts(miniature: Miniature) -> None:
    scan = raw_scan(miniature, "carrot")
    with changed(scan, scan.read_bytes() + b"\0"):
        planned = miniature.plan()
    # Trained systems score mvtec3d and real3d with these prompts; untrained ones score carrot itself.
    scores = 2 * TRAINED + (METHODS - TRAINED)
    stages = Counter(clouds=1, renders=3, features=3, prompts=TRAINED, scores=scores, metrics=scores)
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
    # Prompts of mvtec3d stay, their scores on real3d do not; Tables 1 and 2 show mvtec3d. Other images have no angles.
    stages = Counter(renders=1, features=1, scores=STANDARD, metrics=STANDARD, summary_dataset=1)
    assert planned == stages + Counter(table=2, document=1)


def test_a_point_size_concerns_its_category(miniature: Miniature) -> None:
    planned = miniature.plan(with_value({"point_size": 3}, "datasets", "mvtec3d", "categories", "bagel"))
    # Realistic projection has no squares.
    concerned = STANDARD + DEPTH
    stages = Counter(renders=2, features=2, scores=concerned, metrics=concerned)
    assert planned == stages + Counter(summary_auxiliary=1, summary_dataset=1, table=2, document=1)


def test_a_label_concerns_the_tables(miniature: Miniature) -> None:
    assert miniature.plan(with_value("Ours", "methods", "pointad", "label")) == TABLES


ALL = Counter(scores=2 * METHODS, metrics=2 * METHODS) + SUMMARIES + TABLES
FROM_RENDERS = Counter(prompts=PROMPTS, scores=2 * READERS, metrics=2 * READERS) + SUMMARIES + TABLES


@pytest.mark.parametrize(
    ("module", "planned"),
    [
        ("clouds", Counter(clouds=3, renders=9, features=9, prompts=TRAINED) + ALL),
        ("views", Counter(renders=9, features=9) + FROM_RENDERS),
        ("depth_renderer", Counter(renders=3, features=3, prompts=1, scores=2, metrics=2) + SUMMARIES + TABLES),
        ("features", Counter(features=9) + FROM_RENDERS),
        ("prompts", Counter(prompts=TRAINED) + ALL),
        # PointAD+ itself, and PointAD+-CoOp, which has its losses.
        ("methods/pointad_plus", Counter(prompts=2, scores=4, metrics=4) + SUMMARIES + TABLES),
        ("methods/anomalyclip", Counter(prompts=1, scores=2, metrics=2) + SUMMARIES + TABLES),
        ("scores", ALL),
        ("metrics", Counter(metrics=2 * METHODS) + SUMMARIES + TABLES),
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
