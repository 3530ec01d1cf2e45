"""The workflow as a user meets it: a fresh clone, other folders, mistakes, and the same bytes on any machine."""

import copy
import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from miniature import CONFIG, REPOSITORY, Miniature, Result, changed, copy_workflow, snakemake
from PIL import Image

from pointad_core.datasets.generator.catalogue import EYECANDIES_ITEMS, generated_files
from pointad_core.storage import stores

PROGRAMS = Path(sys.executable).parent


def dump(path: Path, config: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(config))
    return path


# A fresh clone ----------------------------------------------------------------------------------------------------


def test_fresh_clone_lists_jobs(tmp_path: Path) -> None:
    copied = copy_workflow(tmp_path / "clone")
    result = snakemake("-n", snakefile=copied, directory=copied.parent)
    assert result.code == 0, result.text
    # 12 categories in three renderings. Of the ablations one category in 4 densities and 4 lights, and with that of the
    # prompts in 6 other numbers of views. 4 categories on whose train split unsupervised systems learn.
    assert (result.jobs["clouds"], result.jobs["renders"], result.jobs["features"]) == (12 + 4 + 4, 36 + 20, 36 + 20)
    assert result.jobs["experts"] == 3 * 4
    assert (result.jobs["table"], result.jobs["ablation"], result.jobs["overhead"]) == (4, 5, 9)
    assert "profiles/default" in result.text, "the default profile is not read by itself"


def test_a_run_shows_a_line_for_each_job_and_where_the_results_are(miniature: Miniature) -> None:
    text, total = miniature.result.text, sum(miniature.result.jobs.values())
    lines = re.findall(r"^ *(\d+)/(\d+)  .*\d s$", text, re.MULTILINE)
    assert [tuple(map(int, line)) for line in lines] == [(number, total) for number in range(1, total + 1)]
    # Snakemake's own head, its table of jobs, and the end.
    assert len(text.splitlines()) < total + 80
    assert max(map(len, text.splitlines())) < 500
    assert re.search(rf"^{total} jobs in .*\n(.*\n)*results/tables/  .* results/tables/tables.tex$", text, re.MULTILINE)


def test_configfile_stands_for_itself(snakefile: Path, tmp_path: Path) -> None:
    path = dump(tmp_path / "own.yaml", CONFIG)
    result = snakemake("-n", "--configfile", path, snakefile=snakefile, directory=tmp_path)
    assert result.code == 0, result.text
    assert result.jobs["clouds"] == 3, "the embedded default is mixed into a config of one's own"


def test_one_split_asks_for_its_prompts_alone(snakefile: Path, tmp_path: Path) -> None:
    result = snakemake("results/summary/mvtec3d/carrot.csv", "-n", snakefile=snakefile, directory=tmp_path)
    assert result.code == 0, result.text
    assert result.jobs["prompts"] == 7
    assert result.jobs["clouds"] == 4


def test_target_without_auxiliary_class_is_summarised_cross_dataset(snakefile: Path, tmp_path: Path) -> None:
    path = dump(tmp_path / "own.yaml", CONFIG)
    target = "results/summary/real3d.csv"
    result = snakemake(target, "-n", "--configfile", path, snakefile=snakefile, directory=tmp_path)
    assert result.code == 0, result.text
    assert result.jobs["prompts"] == 7
    assert result.jobs["scores"] == 9
    assert result.jobs["clouds"] == 2


@pytest.mark.parametrize(
    "command",
    [
        [PROGRAMS / "snakemake", "--lint"],
        [PROGRAMS / "snakefmt", "--check", "Snakefile", "workflow"],
        [sys.executable, "envs/conda.py", "--check"],
    ],
    ids=["lint", "snakefmt", "conda"],
)
def test_files_are_clean(command: list[str | Path]) -> None:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# Speed ------------------------------------------------------------------------------------------------------------


def test_parsing_is_light(snakefile: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from snakemake.cli import get_argument_parser, main\n"
        # What a plugin for a cluster brings along is not this workflow's; Slurm's brings pandas.
        "get_argument_parser()\n"
        "before = set(sys.modules)\n"
        f"sys.argv = ['snakemake', '-n', '--quiet', '--snakefile', {str(snakefile)!r}]\n"
        f"sys.argv += ['--directory', {str(tmp_path)!r}]\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'open3d', 'zarr', 'pandas', 'scipy', 'open_clip', 'matplotlib'}\n"
        "heavy &= set(sys.modules) - before\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_parsing_is_quick(snakefile: Path, tmp_path: Path) -> None:
    seconds = min(snakemake("--list-rules", snakefile=snakefile, directory=tmp_path).seconds for _ in range(3))
    assert seconds < 2.5


def write_published_tree(root: Path, config: dict[str, Any]) -> None:
    """Empty files under the names and in the numbers of the published data sets, and of weights."""
    for method in config["methods"].values():
        for key in {"network", "point_mae"} & method.keys():
            method[key] = str(root / f"{key}.pth")
            Path(method[key]).touch()
    for name, dataset in config["datasets"].items():
        dataset["root"] = str(root / name)
        for category in dataset["categories"]:
            folder = root / name / category
            if name == "mvtec3d":
                for defect in ("good", "bent", "cut", "hole", "combined"):
                    for kind, suffix in (("xyz", "tiff"), ("rgb", "png"), ("gt", "png")):
                        (folder / "test" / defect / kind).mkdir(parents=True)
                        for number in range(24):
                            (folder / "test" / defect / kind / f"{number:03d}.{suffix}").touch()
                for kind, suffix in (("xyz", "tiff"), ("rgb", "png")):
                    (folder / "train/good" / kind).mkdir(parents=True)
                    for number in range(244):
                        (folder / "train/good" / kind / f"{number:03d}.{suffix}").touch()
            elif name == "eyecandies":
                (folder / "test_public/data").mkdir(parents=True)
                for number in range(50):
                    for item in EYECANDIES_ITEMS:
                        (folder / "test_public/data" / f"{number:02d}_{item}").touch()
            else:
                (folder / "test").mkdir(parents=True)
                (folder / "gt").mkdir()
                for number in range(50):
                    (folder / "test" / f"{number}_good.pcd").touch()
                    (folder / "test" / f"{number + 50}_bulge.pcd").touch()
                    (folder / "gt" / f"{number + 50}_bulge.txt").touch()


def test_paper_is_planned_within_15_seconds(snakefile: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((REPOSITORY / "config/paper.yaml").read_text())
    write_published_tree(tmp_path, config)
    path = dump(tmp_path / "paper.yaml", config)
    result = snakemake("all_tables", "-n", "--configfile", path, snakefile=snakefile, directory=tmp_path)
    assert result.code == 0, result.text
    # 10 + 10 + 12 categories in three renderings; 10 of them in 6 numbers of views, 4 densities and 4 lights.
    assert result.jobs["features"] == 96 + 140
    # 7 trained methods on 9 auxiliary classes; on 3 of them 6 numbers of views, 4 lengths and 8 choices of modules.
    assert result.jobs["prompts"] == 63 + 54
    # One-vs-rest: 3 data sets x (2 untrained + 7 x 3); cross-dataset, where Cheraghian is not: 2 targets x 6 x 3.
    # Ablations: the prompts above, and 4 densities and 4 lights with prompts of 3 classes. 3 unsupervised systems.
    assert result.jobs["scores"] == 105 + 54 + 24 + 3
    assert result.seconds < 15


def test_fewer_scans_leave_none_behind(snakefile: Path, tmp_path: Path) -> None:
    for scans in (4, 2):
        config = copy.deepcopy(CONFIG)
        config["datasets"]["real3d"]["generated"]["scans"] = scans
        path = dump(tmp_path / "own.yaml", config)
        target = "results/generated/real3d/diamond/test/000_good.pcd"
        result = snakemake(target, "--configfile", path, snakefile=snakefile, directory=tmp_path)
        assert result.code == 0, result.text
        root = tmp_path / "results/generated/real3d"
        files = {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()}
        assert files == set(generated_files("real3d", "diamond", scans))


# Mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "values", "message"),
    [
        (
            "all_tables",
            "methods={pointad: {epochs: many}}",
            "config: methods.pointad.epochs is 'many', expected integer",
        ),
        ("all_tables", "experiments={one_vs_rest: [mvtec]}", "experiments.one_vs_rest[0] is 'mvtec'"),
        ("results/clouds/mvtec3d/Confetto.zarr.zip", None, "data set mvtec3d has no category 'Confetto'"),
        ("results/summary/mvtec3d/Confetto.csv", None, "'Confetto' is no auxiliary class of data set 'mvtec3d'"),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    snakefile: Path, tmp_path: Path, target: str, values: str | None, message: str
) -> None:
    arguments = ["--config", values] if values else []
    result = snakemake(target, *arguments, snakefile=snakefile, directory=tmp_path)
    assert result.code != 0
    assert message in result.text
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("target", ["all_tables", "all_heatmaps", "all_viewers"])
def test_a_target_that_would_make_nothing_says_so(snakefile: Path, tmp_path: Path, target: str) -> None:
    path = dump(tmp_path / "own.yaml", {**CONFIG, "experiments": {}})
    result = snakemake(target, "-n", "--configfile", path, snakefile=snakefile, directory=tmp_path)
    assert result.code != 0
    assert "config: experiments names no data set, so that there is nothing to show" in result.text
    assert "Traceback" not in result.text


def test_a_key_that_stands_twice_is_named_with_its_line(snakefile: Path, tmp_path: Path) -> None:
    path = dump(tmp_path / "own.yaml", CONFIG)
    path.write_text(path.read_text() + "resolution: 28\n")
    result = snakemake("all_tables", "-n", "--configfile", path, snakefile=snakefile, directory=tmp_path)
    assert result.code != 0
    assert "has the key 'resolution', which line" in result.text


def own_data(miniature: Miniature, folder: Path, root: Path) -> Path:
    """A config in which mvtec3d is a user's own folder."""
    config = copy.deepcopy(CONFIG)
    del config["datasets"]["mvtec3d"]["generated"]
    config["datasets"]["mvtec3d"]["root"] = str(root)
    return dump(folder / "own.yaml", config)


@pytest.mark.parametrize("target", ["all_tables", "results/clouds/mvtec3d/bagel.zarr.zip"])
@pytest.mark.parametrize("shard_size", [None, 2])
def test_missing_data_root_is_named(snakefile: Path, tmp_path: Path, target: str, shard_size: int | None) -> None:
    config = copy.deepcopy(CONFIG)
    del config["datasets"]["mvtec3d"]["generated"]
    config["datasets"]["mvtec3d"] |= {"root": str(tmp_path / "nowhere"), "shard_size": shard_size}
    path = dump(tmp_path / "own.yaml", config)
    result = snakemake(target, "--configfile", path, snakefile=snakefile, directory=tmp_path)
    assert result.code != 0
    assert f"datasets.mvtec3d: {tmp_path}/nowhere: no such folder" in result.text
    assert "Missing input files for rule clouds" in result.text
    assert "Traceback" not in result.text
    assert "InputFunctionException" not in result.text
    assert not (tmp_path / "results").exists()


def test_a_wrong_root_is_told_of_where_results_are_there(miniature: Miniature, tmp_path: Path) -> None:
    """A folder that was moved away after its clouds were made is no hindrance; a wrong one is named at each run."""
    target, data = "results/renders/standard/mvtec3d/bagel.zarr.zip", tmp_path / "data"
    shutil.copytree(miniature.directory / "results/generated/mvtec3d", data)

    def run(root: Path, *arguments: str) -> Result:
        path = own_data(miniature, tmp_path, root)
        return snakemake(
            target, *arguments, "--configfile", path, snakefile=miniature.snakefile, directory=tmp_path / "run"
        )

    assert run(data).jobs == {"clouds": 1, "renders": 1}
    assert "taken as it is" not in run(data).text
    for wrong, told in (
        (tmp_path / "nowhere", f"datasets.mvtec3d: {tmp_path}/nowhere: no such folder"),
        (data / "bagel", f"datasets.mvtec3d: {data}/bagel/bagel: no such category; {data}/bagel has"),
    ):
        result = run(wrong)
        assert (result.code, result.jobs) == (0, {}), result.text
        assert told in result.text
        assert "What there is of mvtec3d's results is taken as it is." in result.text
        # What depends on the folder alone cannot be made.
        (tmp_path / "run" / "results/renders/standard/mvtec3d/bagel.zarr.zip").unlink()
        assert run(wrong).jobs == {"renders": 1}
        clouds = tmp_path / "run/results/clouds/mvtec3d/bagel.zarr.zip"
        with changed(clouds, None):
            result = run(wrong, "--forceall")
            assert result.code != 0
            assert told in result.text
            assert "Traceback" not in result.text
    assert run(data, "-n").jobs == {}


def test_a_root_that_is_not_there_is_refused_where_scans_of_its_name_were_generated(
    miniature: Miniature, tmp_path: Path
) -> None:
    path = own_data(miniature, tmp_path, tmp_path / "nowhere")
    result = snakemake(
        "all_tables", "-n", "--configfile", path, snakefile=miniature.snakefile, directory=miniature.directory
    )
    assert result.code != 0
    assert "datasets.mvtec3d.root is" in result.text
    assert "correct the root, or delete results/generated/mvtec3d/bagel if they are not" in result.text


def test_bad_scan_is_named_and_leaves_nothing_half_written(miniature: Miniature, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(miniature.directory / "results/generated/mvtec3d", data)
    scan = sorted((data / "bagel").rglob("xyz/*.tiff"))[0]
    scan.write_bytes(scan.read_bytes()[:1000])
    path = own_data(miniature, tmp_path, data)
    target = "results/clouds/mvtec3d/bagel.zarr.zip"
    before = {file: file.stat().st_mtime_ns for file in data.rglob("*")}
    result = snakemake(target, "--configfile", path, snakefile=miniature.snakefile, directory=tmp_path)
    assert result.code != 0
    log = (tmp_path / "logs/clouds/mvtec3d/bagel.log").read_text()
    for text in (log, result.text):
        assert str(scan) in text
    assert "Traceback" not in log
    assert not [file for file in (tmp_path / "results").rglob("*") if file.is_file()]
    assert {file: file.stat().st_mtime_ns for file in data.rglob("*")} == before, "the user's folder was written to"


# What a config can say ---------------------------------------------------------------------------------------------


@pytest.fixture
def copied(miniature: Miniature, tmp_path: Path) -> Miniature:
    """A finished run to go on from."""
    directory = tmp_path / "run"
    shutil.copytree(miniature.directory, directory)
    return Miniature(miniature.snakefile, directory, miniature.result)


def finish(copied: Miniature, config: dict[str, Any], *targets: str) -> Result:
    path = dump(copied.directory / "own.yaml", config)
    result = snakemake(*targets, "--configfile", path, snakefile=copied.snakefile, directory=copied.directory, cores=8)
    assert result.code == 0, result.text
    return result


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_variant_is_scored_with_the_originals_prompts_but_not_on_what_they_saw(copied: Miniature) -> None:
    config = copy.deepcopy(CONFIG)
    config["datasets"]["strict"] = {"variant_of": "mvtec3d", "rendering": {"visibility": "strict"}, "label": "Strict"}
    config["experiments"]["cross_dataset"] = [{"source": "mvtec3d", "targets": ["strict"]}]
    jobs = finish(copied, config, "results/tables/table3.tex").jobs
    # Raw scans and prompts are the original's.
    assert not [rule for rule in jobs if rule.startswith("generate")]
    assert jobs["prompts"] == 0
    # Of the two categories carrot has been seen; an untrained system has seen neither, but is not in the table.
    # Points lie and depth images look as in the original: only the shaded views are another store.
    assert (jobs["clouds"], jobs["renders"], jobs["features"], jobs["aggregation"]) == (0, 1, 1, 1)
    results = copied.directory / "results"
    for system in ("pointad", "pointad_plus", "anomalyclip"):
        rows = read_csv(results / f"metrics/{system}/mvtec3d/carrot/111/strict.csv")
        assert {row["category"] for row in rows} == {"bagel"}
    # Same scans, seen otherwise.
    with (
        stores.read(results / "renders/standard/mvtec3d/bagel.zarr.zip", "renders") as soft,
        stores.read(results / "renders/standard/strict/bagel.zarr.zip", "renders") as strict,
    ):
        assert soft.scans == strict.scans
        for scan in soft.scans:
            one, other = (store.load(scan, ["images", "visible"]) for store in (soft, strict))
            np.testing.assert_array_equal(one["images"], other["images"])
            assert one["visible"].sum() > other["visible"].sum()
    assert "Strict" in (results / "tables/table3.tex").read_text()


def test_metrics_and_pictures_of_some_scans_make_nothing_else_again(copied: Miniature) -> None:
    sheet = "results/heatmaps/pointad/mvtec3d/carrot/111/mvtec3d/bagel.png"
    metrics = "results/metrics/pointad/mvtec3d/carrot/111/mvtec3d.csv"
    with stores.read(copied.directory / "results/clouds/mvtec3d/bagel.zarr.zip", "clouds") as store:
        good, defective = ([s for s in store.scans if s.startswith("good/") is kind] for kind in (True, False))
    finish(copied, CONFIG, sheet)
    whole = (copied.directory / sheet).read_bytes()
    config = copy.deepcopy(CONFIG)
    config["datasets"]["mvtec3d"]["categories"]["bagel"] = {"scans": [defective[0], good[0]]}
    assert finish(copied, config, metrics, sheet).jobs == {"metrics": 1, "heatmaps": 1}
    row = read_csv(copied.directory / metrics)[0]
    assert (row["category"], row["n_good"], row["n_defective"]) == ("bagel", "1", "1")
    assert (copied.directory / sheet).read_bytes() != whole
    config["datasets"]["mvtec3d"]["categories"]["bagel"] = {"scans": [defective[0], "good/999"]}
    path = dump(copied.directory / "own.yaml", config)
    result = snakemake(metrics, "--configfile", path, snakefile=copied.snakefile, directory=copied.directory)
    assert result.code != 0
    assert "good/999" in result.text


def test_a_system_of_the_users_own_runs_through_the_workflow(copied: Miniature) -> None:
    module = copied.directory / "my systems/toy.py"
    module.parent.mkdir()
    shutil.copy(REPOSITORY / "tests/systems/toy_system.py", module)
    config = copy.deepcopy(CONFIG)
    losses = {"points": 1, "images": 0.5}
    config["systems"] = {"toy": {"module": "my systems/toy.py", "stream": "vv", "losses": losses}}
    config["methods"]["toy"] = {"system": "toy", "epochs": 2}
    jobs = finish(copied, config, "all_tables").jobs
    assert {stage: jobs[stage] for stage in ("features", "prompts", "scores", "metrics")} == {
        "features": 0,
        "prompts": 1,
        "scores": 2,
        "metrics": 2,
    }
    tables = copied.directory / "results/tables"
    assert "toy" in (tables / "table1.tex").read_text()
    assert [row for row in read_csv(tables / "table1.csv") if row["method"] == "toy"]
    # Its code is followed like the package's, and it leaves the others alone.
    assert copied.plan(config) == {}
    with changed(module, module.read_bytes() + b"\n# edited\n"):
        assert copied.plan(config) == {}
    with changed(module, module.read_bytes() + b"\nEDITED = True\n"):
        jobs = copied.plan(config)
    assert {stage: jobs[stage] for stage in ("features", "prompts", "scores", "metrics")} == {
        "features": 0,
        "prompts": 1,
        "scores": 2,
        "metrics": 2,
    }


# The same everywhere ----------------------------------------------------------------------------------------------


def test_one_core_gives_the_same_bytes(miniature: Miniature, tmp_path: Path) -> None:
    target = "results/metrics/pointad_plus/mvtec3d/carrot/111/mvtec3d.csv"
    path = dump(tmp_path / "config.yaml", CONFIG)
    result = snakemake(target, "--configfile", path, snakefile=miniature.snakefile, directory=tmp_path, cores=1)
    assert result.code == 0, result.text
    files = [file.relative_to(tmp_path) for file in (tmp_path / "results").rglob("*") if file.is_file()]
    assert {"clouds", "renders", "features", "prompts", "scores", "metrics"} <= {file.parts[1] for file in files}
    differing = [file for file in files if (tmp_path / file).read_bytes() != (miniature.directory / file).read_bytes()]
    assert not differing


def test_tables_are_whole(miniature: Miniature) -> None:
    tables = miniature.directory / "results/tables"
    for number in (1, 3):
        text = (tables / f"table{number}.tex").read_text()
        assert "PointAD+" in text
        assert "random weights" in text
        assert text in (tables / "tables.tex").read_text()


def test_heatmaps_are_drawn_from_what_is_there(miniature: Miniature) -> None:
    sheet = "results/heatmaps/pointad_plus/mvtec3d/carrot/111/mvtec3d/bagel.png"
    config = miniature.directory / "config.yaml"
    result = snakemake(sheet, "--configfile", config, snakefile=miniature.snakefile, directory=miniature.directory)
    assert result.code == 0, result.text
    assert result.jobs == {"heatmaps": 1}
    with Image.open(miniature.directory / sheet) as image:
        assert min(image.size) > 100


def test_pages_are_made_of_what_is_there_and_stand_in_the_report(miniature: Miniature) -> None:
    config = miniature.directory / "config.yaml"
    where = {"snakefile": miniature.snakefile, "directory": miniature.directory}
    result = snakemake("all_viewers", "--configfile", config, **where)
    assert result.code == 0, result.text
    # Of carrot, which prompts learn on, the page shows the two systems that learn nothing.
    assert result.jobs == {"viewers": 3, "all_viewers": 1}
    pages = {
        path.relative_to(miniature.directory).as_posix() for path in miniature.directory.glob("results/viewers/*/*")
    }
    assert pages == {f"results/viewers/{name}.html" for name in ("mvtec3d/bagel", "mvtec3d/carrot", "real3d/diamond")}
    carrot = (miniature.directory / "results/viewers/mvtec3d/carrot.html").read_text()
    assert "PointCLIP V2 M3D" in carrot
    assert "PointAD+" not in carrot
    report = miniature.directory / "report.zip"
    result = snakemake("all_viewers", "--configfile", config, "--report", report, **where)
    assert result.code == 0, result.text
    with zipfile.ZipFile(report) as archive:
        held = {archive.read(name) for name in archive.namelist() if name.endswith(".html")}
    assert {(miniature.directory / page).read_bytes() for page in pages} <= held


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_document_compiles(miniature: Miniature, tmp_path: Path) -> None:
    document = miniature.directory / "results/tables/tables.tex"
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"-output-directory={tmp_path}", document]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / "tables.pdf").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["default", "slurm", "kubernetes"])
def test_profiles_keep_results_trustworthy(name: str) -> None:
    profile = yaml.safe_load((REPOSITORY / f"profiles/{name}/profile.yaml").read_text())
    assert profile["rerun-incomplete"] is True
    assert profile["show-failed-logs"] is True
    # The first would let half a result count as done, the second would miss edits of library and config.
    assert not {"keep-incomplete", "rerun-triggers"} & set(profile)


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_a_clusters_profile_says_of_every_rule_that_can_use_a_gpu_whether_it_gets_one(name: str) -> None:
    files = [*(REPOSITORY / "workflow/rules").glob("*.smk"), REPOSITORY / "pretraining/Snakefile"]
    text = "".join(path.read_text() for path in files)
    rules = {rule.split(":")[0] for rule in text.split("\nrule ")[1:] if "gpu=GPUS" in rule}
    profile = yaml.safe_load((REPOSITORY / f"profiles/{name}/profile.yaml").read_text())
    assert {"features", "prompts"} < rules
    assert {line.split(":")[0] for line in profile["set-resources"] if ":gpu=" in line} == rules


def documented_commands() -> list[str]:
    texts = [path.read_text() for path in (REPOSITORY / "README.md", *REPOSITORY.glob("*/README.md"))]
    texts += [path.read_text() for path in (REPOSITORY / "docs").glob("*.md")]
    found = [re.findall(r"^(?:\S*/)?(snakemake .*)$|`(snakemake [^`]*)`", text, re.MULTILINE) for text in texts]
    return sorted({(block or inline).replace("\n", " ") for commands in found for block, inline in commands})


@pytest.mark.parametrize("command", documented_commands())
def test_a_documented_command_says_what_it_seems_to(command: str) -> None:
    """An option that takes several values swallows a target that follows it."""
    code = (
        "import json, sys\n"
        "from snakemake.cli import get_argument_parser\n"
        "args = get_argument_parser().parse_args(sys.argv[1:])\n"
        "values = [list(map(str, found or ())) for found in (args.configfile, args.forcerun, args.targets)]\n"
        "print(json.dumps(values))\n"
    )
    # Profiles are looked for where the command is typed.
    words = shlex.split(command.partition(" | ")[0])[1:]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    configs, forced, targets = json.loads(done.stdout.splitlines()[-1])
    assert all(name.endswith(".yaml") or name == "FILE" for name in configs)
    assert not {"all_tables", "all_heatmaps", "all_viewers"} & set(forced)
    for target in ("all_tables", "all_heatmaps", "all_viewers"):
        assert (target in words) == (target in targets)


@pytest.mark.parametrize("stage", ["clouds", "renders", "scores", "metrics"])
def test_a_stage_without_clip_starts_its_work_at_once(stage: str) -> None:
    """What a script imports before it looks at its input takes less than two seconds of a process."""
    light = {
        "clouds": "from pointad_core.stages import clouds",
        "renders": "from pointad_core.storage import jobs, stores",
        "scores": "from pointad_core.storage import jobs, stores",
        "metrics": "from pointad_core.stages import metrics",
    }[stage]
    before = os.times()
    subprocess.run([sys.executable, "-c", light], cwd=REPOSITORY, check=True)
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 2
