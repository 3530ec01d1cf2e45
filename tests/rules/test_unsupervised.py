"""An unsupervised system in a real run: what is made, and what a change makes again, as docs/reruns.md tells it."""

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from miniature import CONFIG, REPOSITORY, Miniature, changed, snakemake

from pointad_core.storage.prompt_files import read_prompts, read_provenance

TARGETS = [f"results/metrics/btf/{name}.train/each/111/{name}.csv" for name in ("mvtec3d", "real3d")]
COLUMNS = ("clouds", "experts", "scores", "metrics")


def config(**method: Any) -> dict[str, Any]:
    datasets = {name: {**CONFIG["datasets"][name]} for name in ("mvtec3d", "real3d")}
    for dataset in datasets.values():
        dataset["generated"] = {"scans": 4, "seed": 1, "train_scans": 2}
    return {**CONFIG, "datasets": datasets, "methods": {"btf": {"system": "btf", **method}}, "experiments": {}}


def plan(made: Miniature, given: dict[str, Any] | None = None) -> Counter[str]:
    path = made.directory / "plan.yaml"
    path.write_text(yaml.safe_dump(given or config()))
    result = snakemake("-n", "--configfile", path, "--", *TARGETS, snakefile=made.snakefile, directory=made.directory)
    assert result.code == 0, result.text
    return result.jobs


@pytest.fixture(scope="module")
def made(snakefile: Path, tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    directory = tmp_path_factory.mktemp("unsupervised")
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(config()))
    result = snakemake("--configfile", path, "--", *TARGETS, snakefile=snakefile, directory=directory, cores=8)
    assert result.code == 0, result.text
    return Miniature(snakefile, directory, result)


def test_each_category_is_learnt_and_tested(made: Miniature) -> None:
    categories = {"mvtec3d": ["bagel", "carrot"], "real3d": ["diamond"]}
    for target, (name, of) in zip(TARGETS, categories.items(), strict=True):
        metrics = pd.read_csv(made.directory / target)
        assert list(dict.fromkeys(metrics["category"])) == of
        assert set(metrics["modality"]) == ({"3d", "rgb", "m3d"} if name == "mvtec3d" else {"3d"})
        for category in of:
            expert = made.directory / f"results/experts/btf/{name}.train/{category}/111.safetensors"
            assert read_provenance(expert)["scans"] == 2
    # Nothing but clouds is made of either split.
    assert not (made.directory / "results/renders").exists()
    assert made.result.jobs["clouds"] == 6


def test_m3dm_learns_its_fusion_in_a_job(made: Miniature) -> None:
    """One job, from clouds that are there, in a process of its own: what it trains with has to be imported there."""
    path, target = made.directory / "m3dm.yaml", "results/experts/m3dm/mvtec3d.train/bagel/111.safetensors"
    small = {"groups": 16, "group_points": 8, "mlp_ratio": 0.5, "epochs": 1, "batch_size": 64}
    path.write_text(yaml.safe_dump({**config(), "methods": {"m3dm": {"system": "m3dm", **small}}}))
    result = snakemake("--configfile", path, "--", target, snakefile=made.snakefile, directory=made.directory)
    assert result.code == 0, result.text
    assert result.jobs == {"experts": 1}
    assert any(name.startswith("fusion") for name in read_prompts(made.directory / target))


def first_file(made: Miniature, pattern: str) -> Path:
    return sorted((made.directory / "results/generated/mvtec3d").glob(pattern))[0]


def scan(pattern: str) -> Any:
    def change(made: Miniature) -> Counter[str]:
        path = first_file(made, pattern)
        with changed(path, path.read_bytes() + b"\0"):
            return plan(made)

    return change


def setting(**method: Any) -> Any:
    return lambda made: plan(made, config(**method))


def code(module: str) -> Any:
    def change(made: Miniature) -> Counter[str]:
        path = made.package / module
        with changed(path, path.read_bytes() + b"\nEDITED = True\n"):
            return plan(made)

    return change


CHANGES = {
    "nothing": plan,
    "a good scan of bagel's train split": scan("bagel/train/good/xyz/*"),
    "a test scan of bagel": scan("bagel/test/*/xyz/*"),
    "`coreset`": setting(coreset=0.5),
    "`smoothing_sigma`": setting(smoothing_sigma=2),
    "the `label`": setting(label="Mine"),
    "code: `methods/btf.py`": code("methods/btf.py"),
    "code: `methods/pointad.py`": code("methods/pointad.py"),
    "code: `stages/experts.py`": code("stages/experts.py"),
}


def read_table() -> dict[str, dict[str, int]]:
    text = (REPOSITORY / "docs/reruns.md").read_text().partition("\n## Systems that learn")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {line[0].strip(): dict(zip(COLUMNS, map(int, line[1:]), strict=True)) for line in lines[2:]}


def test_the_docs_tell_of_these_changes() -> None:
    assert list(read_table()) == list(CHANGES)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_makes_again_what_it_concerns(made: Miniature, change: str) -> None:
    planned = CHANGES[change](made)
    assert {column: planned[column] for column in COLUMNS} == read_table()[change]
    assert planned.total() == sum(read_table()[change].values()), planned
