"""A category in shards: the same bytes as whole, and a scan more or less costs its own shard."""

import copy
import shutil
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from miniature import CONFIG, Miniature, changed, snakemake

from pointad_core.datasets.generator.catalogue import generated_scans
from pointad_core.storage import stores
from pointad_core.storage.shards import split

RUN = "pointad_plus/mvtec3d/carrot/111"
STAGES = ("clouds", "renders", "features", "prompts", "scores", "scores_joined", "metrics")


def with_shards(**sizes: int) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    for dataset, size in sizes.items():
        config["datasets"][dataset]["shard_size"] = size
    return config


# The same bytes ---------------------------------------------------------------------------------------------------


def run(miniature: Miniature, directory: Path, config: dict[str, Any], *targets: str) -> Counter[str]:
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    result = snakemake(*targets, "--configfile", path, snakefile=miniature.snakefile, directory=directory, cores=8)
    assert result.code == 0, result.text
    return result.jobs


def differing(miniature: Miniature, directory: Path) -> list[str]:
    """Files that differ from those of the run without shards, as far as that has them."""
    files = [file.relative_to(directory) for file in (directory / "results").rglob("*") if file.is_file()]
    there = [file for file in files if (miniature.directory / file).exists()]
    assert {file.parts[1] for file in there} >= {"scores", "metrics"}
    return [str(file) for file in there if (directory / file).read_bytes() != (miniature.directory / file).read_bytes()]


def test_shards_give_the_bytes_of_the_whole(miniature: Miniature, tmp_path: Path) -> None:
    """Two scans a shard where prompts learn; one a shard where they are not needed."""
    untrained = "clip_rendering/none/none/0"
    targets = [f"results/metrics/{RUN}/mvtec3d.csv", f"results/metrics/{untrained}/real3d.csv"]
    jobs = run(miniature, tmp_path, with_shards(mvtec3d=2, real3d=1), *targets)
    assert jobs["scores_joined"] == 2
    assert not differing(miniature, tmp_path)
    (prompts,) = (tmp_path / "results/prompts").rglob("*.safetensors")
    assert prompts.read_bytes() == (miniature.directory / prompts.relative_to(tmp_path)).read_bytes()
    # Clouds, renders and features stay in shards, which together are the whole store.
    for store in ("clouds/mvtec3d/carrot", "renders/standard/mvtec3d/carrot", "features/standard/real3d/diamond"):
        shards = sorted((tmp_path / "results" / store).glob("*.zarr.zip"))
        assert len(shards) > 1
        joined = tmp_path / "joined.zarr.zip"
        stores.join(shards, joined, store.partition("/")[0])
        assert joined.read_bytes() == (miniature.directory / f"results/{store}.zarr.zip").read_bytes()


def test_shards_bigger_than_the_category_leave_it_as_it_is(miniature: Miniature, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    shutil.copytree(miniature.directory, directory)
    scores = directory / f"results/scores/{RUN}/mvtec3d.zarr.zip"
    scores.unlink()
    jobs = run(miniature, directory, with_shards(mvtec3d=4), str(scores.relative_to(directory)))
    assert jobs == {"scores": 1, "scores_joined": 1}
    assert not differing(miniature, directory)


# What a change reruns ---------------------------------------------------------------------------------------------

SIZE = 3
SCANS = [f"{defect}/{number:03d}" for defect in ("good", "dent") for number in range(5)]
ROLES = {"xyz": "tiff", "rgb": "png", "gt": "png"}


def with_dataset(**origin: Any) -> dict[str, Any]:
    """A data set in shards, and a single method, whose jobs are easily counted."""
    settings = {**CONFIG["datasets"]["mvtec3d"], "shard_size": SIZE}
    del settings["generated"]
    return {
        **CONFIG,
        "datasets": {"mvtec3d": {**settings, **origin}},
        "methods": {"pointad_plus": CONFIG["methods"]["pointad_plus"]},
        "experiments": {"one_vs_rest": ["mvtec3d"]},
    }


def finish(snakefile: Path, directory: Path, config: dict[str, Any]) -> Miniature:
    """As if everything had been run: every output is there, empty, and noted as made from what is there now."""
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    call = ("all_tables", "--configfile", path)
    summary = snakemake(*call, "--summary", snakefile=snakefile, directory=directory)
    for line in summary.text.splitlines():
        output = directory / line.partition("\t")[0]
        if line.startswith("results/"):
            output.parent.mkdir(parents=True, exist_ok=True)
            output.touch()
    touched = snakemake(*call, "--touch", "--forceall", snakefile=snakefile, directory=directory)
    assert touched.code == 0, touched.text
    return Miniature(snakefile, directory, touched)


def stages(finished: Miniature, config: dict[str, Any]) -> dict[str, int]:
    """Jobs that another run would have, of these stages."""
    jobs = finished.plan(config)
    generate = sum(count for rule, count in jobs.items() if rule.startswith("generate"))
    return {stage: jobs[stage] for stage in STAGES} | {"generate": generate}


def expected(
    category: str, before: list[str], after: list[str], changed: str, generate: bool = False
) -> dict[str, int]:
    """What a change of a scan costs: its shard's jobs, and those that take the category as a whole."""
    old, new = split(before, SIZE), split(after, SIZE)
    shards = [shard for shard in new if old.get(shard) != new[shard] or changed in new[shard]]
    assert len(shards) <= 2 < len(new)
    learns = category == "carrot"
    return {
        **dict.fromkeys(("clouds", "renders", "features"), len(shards)),
        "prompts": int(learns),
        # Prompts of carrot score bagel: all of it, when the prompts are others.
        "scores": len(split(SCANS, SIZE)) if learns else len(shards),
        "scores_joined": 1,
        "metrics": 1,
        "generate": len(shards) if generate else 0,
    }


def files_of(folder: Path, scan: str) -> list[Path]:
    defect, stem = scan.split("/")
    return [folder / "test" / defect / role / f"{stem}.{end}" for role, end in ROLES.items()]


def add(folder: Path, scan: str) -> None:
    for file in files_of(folder, scan):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(scan)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set on disk by its names alone, which is all that planning looks at."""
    root = tmp_path_factory.mktemp("data")
    for category in ("bagel", "carrot"):
        for scan in SCANS:
            add(root / category, scan)
    return root


@pytest.fixture(scope="module")
def finished(snakefile: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    return finish(snakefile, tmp_path_factory.mktemp("finished"), with_dataset(root=str(data)))


def find_new(fits: bool) -> str:
    """A name that falls into a shard that has room, or into one that must be split for it."""
    before = split(SCANS, SIZE)
    names = [f"good/{number:03d}" for number in range(5, 200)]
    return next(name for name in names if (before.keys() == split([*SCANS, name], SIZE).keys()) == fits)


@pytest.mark.parametrize("category", ["bagel", "carrot"])
@pytest.mark.parametrize("fits", [True, False])
def test_a_new_scan_costs_its_shard(finished: Miniature, data: Path, category: str, fits: bool) -> None:
    scan = find_new(fits)
    config = with_dataset(root=str(data))
    add(data / category, scan)
    try:
        found = stages(finished, config)
    finally:
        for file in files_of(data / category, scan):
            file.unlink()
    assert found == expected(category, SCANS, [*SCANS, scan], scan)
    assert finished.plan(config) == Counter()


def test_a_deleted_scan_costs_its_shard(finished: Miniature, data: Path) -> None:
    shards = split(SCANS, SIZE)
    scan = next(members[0] for members in shards.values() if len(members) > 1)
    with ExitStack() as stack:
        for file in files_of(data / "bagel", scan):
            stack.enter_context(changed(file, None))
        found = stages(finished, with_dataset(root=str(data)))
    fewer = [name for name in SCANS if name != scan]
    assert found == expected("bagel", SCANS, fewer, scan)


@pytest.mark.parametrize("category", ["bagel", "carrot"])
def test_a_changed_label_costs_its_shard(finished: Miniature, data: Path, category: str) -> None:
    label = files_of(data / category, SCANS[3])[-1]
    with changed(label, b"another"):
        found = stages(finished, with_dataset(root=str(data)))
    assert found == expected(category, SCANS, SCANS, SCANS[3])


def shards_of_generated(scans: int) -> dict[str, dict[str, list[str]]]:
    return {category: split(generated_scans("mvtec3d", category, scans), SIZE) for category in ("bagel", "carrot")}


def test_a_generated_scan_more_costs_its_shard(snakefile: Path, tmp_path: Path) -> None:
    # So many that one more finds room in a shard of either category.
    numbers = range(8, 100)
    names = {n: [list(shards) for shards in shards_of_generated(n).values()] for n in numbers}
    number = next(n for n in numbers[:-1] if names[n] == names[n + 1])
    config = with_dataset(generated={"scans": number, "seed": 1})
    generated = finish(snakefile, tmp_path, config)
    assert generated.plan(config) == Counter()
    found = stages(generated, with_dataset(generated={"scans": number + 1, "seed": 1}))
    assert len(shards_of_generated(number)["bagel"]) > 2
    # One of either category.
    assert found == {
        **dict.fromkeys(("generate", "clouds", "renders", "features"), 2),
        "prompts": 1,
        "scores": len(shards_of_generated(number)["bagel"]),
        "scores_joined": 1,
        "metrics": 1,
    }


# Paths ------------------------------------------------------------------------------------------------------------


def test_a_folder_is_looked_into_when_a_job_needs_it(snakefile: Path, data: Path, tmp_path: Path) -> None:
    config = with_dataset(root=str(data))
    config["datasets"]["elsewhere"] = {**config["datasets"]["mvtec3d"], "root": str(tmp_path / "nowhere")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    call = ("-n", "--configfile", tmp_path / "config.yaml")
    shard = next(iter(split(SCANS, SIZE)))
    target = f"results/features/standard/mvtec3d/bagel/{shard}.zarr.zip"
    result = snakemake(target, *call, snakefile=snakefile, directory=tmp_path)
    assert result.code == 0, result.text
    assert result.jobs == {"clouds": 1, "renders": 1, "features": 1}
    result = snakemake("results/summary/elsewhere.csv", *call, snakefile=snakefile, directory=tmp_path)
    assert str(tmp_path / "nowhere") in result.text


def test_a_shard_that_is_none_is_named(snakefile: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(with_dataset(root=str(data))))
    target = "results/renders/standard/mvtec3d/bagel/11111111.zarr.zip"
    call = ("-n", "--configfile", tmp_path / "config.yaml")
    result = snakemake(target, *call, snakefile=snakefile, directory=tmp_path)
    assert result.code != 0
    assert "mvtec3d/bagel has no shard '11111111'" in result.text
    assert all(shard in result.text for shard in split(SCANS, SIZE))
