"""A change reruns what it concerns, what follows from it, and nothing else: the table in docs/reruns.md, held to it."""

import copy
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from miniature import CONFIG, REPOSITORY, Miniature, changed, snakemake

Plan = Callable[[Miniature], Counter[str]]

COLUMNS = {
    "raw scans": ("generate_",),
    "clouds": ("clouds",),
    "renders": ("renders",),
    "features": ("features",),
    "aggregation": ("aggregation",),
    "prompts": ("prompts",),
    "scores": ("scores",),
    "metrics": ("metrics",),
    "summaries": ("summary_auxiliary", "summary_dataset"),
    "tables": ("table", "document"),
}
"""Rules behind the table's columns, by what their names begin with."""


def read_table() -> dict[str, dict[str, int]]:
    """Jobs by column for each change in the docs' table."""
    # The first section's table; the others have tables of their own.
    text = (REPOSITORY / "docs/reruns.md").read_text().partition("\n## ")[0]
    header, _, *lines = [line for line in text.splitlines() if line.startswith("|")]
    names = [cell.strip() for cell in header.strip("|").split("|")]
    assert names[1:] == list(COLUMNS)
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {change: dict(zip(COLUMNS, map(int, counts), strict=True)) for change, *counts in cells}


def count(planned: Counter[str]) -> dict[str, int]:
    """Planned jobs by column; every job must be in one."""
    counted = {
        column: sum(jobs for rule, jobs in planned.items() if rule.startswith(prefixes))
        for column, prefixes in COLUMNS.items()
    }
    assert sum(counted.values()) == planned.total(), planned
    return counted


# Each change ----------------------------------------------------------------------------------------------------------


def with_value(value: Any, *keys: str) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    section = config
    for key in keys[:-1]:
        section = section.setdefault(key, {})
    section[keys[-1]] = value
    return config


def config(value: Any, *keys: str) -> Plan:
    return lambda miniature: miniature.plan(with_value(value, *keys))


def raw(miniature: Miniature, category: str, kind: str) -> Path:
    return sorted((miniature.directory / "results/generated/mvtec3d" / category).rglob(f"{kind}/*"))[0]


def scan(category: str, kind: str) -> Plan:
    def plan(miniature: Miniature) -> Counter[str]:
        path = raw(miniature, category, kind)
        with changed(path, path.read_bytes() + b"\0"):
            return miniature.plan()

    return plan


def edit(*edits: tuple[str, Callable[[str], str]]) -> Plan:
    """Edits of files of the workflow's copy, by their paths in it; a file that is not there is made."""

    def plan(miniature: Miniature) -> Counter[str]:
        with ExitStack() as stack:
            for name, change in edits:
                path = miniature.snakefile.parent / name
                if not path.exists():
                    stack.callback(path.unlink)
                    path.write_text("")
                stack.enter_context(changed(path, change(path.read_text()).encode()))
            return miniature.plan()

    return plan


def code(module: str) -> Plan:
    return edit((f"pointad_core/{module}", lambda text: text + "\nEDITED = True\n"))


def comments(miniature: Miniature) -> Counter[str]:
    """Comments, blank lines and another docstring in every module."""
    files = miniature.package.rglob("*.py")
    names = [str(path.relative_to(miniature.snakefile.parent)) for path in sorted(files)]
    return edit(*((name, lambda text: text.replace('"""', '"""Another: ', 1) + "\n\n\n# edited\n") for name in names))(
        miniature
    )


def added(registry: str, entries: str, entry: str, module: str) -> Plan:
    """A module more, and its entry in a registry."""

    def enter(text: str) -> str:
        before, found, after = text.partition(entries)
        assert found, f"{registry} has no {entries!r}"
        return f"{before}{found}\n    {entry},{after}"

    return edit((f"pointad_core/{registry}", enter), (f"pointad_core/{module}", lambda text: '"""More."""\n'))


def label(text: str) -> str:
    assert 'label="PointAD+"' in text
    return text.replace('label="PointAD+"', 'label="PointAD plus"')


def without(method: str) -> Plan:
    config = copy.deepcopy(CONFIG)
    del config["methods"][method]
    return lambda miniature: miniature.plan(config)


def own(miniature: Miniature, root: Path, directory: Path, *arguments: str) -> Counter[str]:
    """Jobs of a run in a folder, with one category of a data set of the user's own."""
    config = copy.deepcopy(CONFIG)
    config["datasets"]["mvtec3d"]["root"] = str(root)
    del config["datasets"]["mvtec3d"]["generated"]
    directory.mkdir(exist_ok=True)
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    arguments = (OWN, *arguments, "--configfile", str(path))
    result = snakemake(*arguments, snakefile=miniature.snakefile, directory=directory)
    assert result.code == 0, result.text
    return result.jobs


OWN = "results/clouds/mvtec3d/bagel.zarr.zip"


def moved(miniature: Miniature) -> Counter[str]:
    with tempfile.TemporaryDirectory() as folder:
        first, second, run = Path(folder, "first"), Path(folder, "second"), Path(folder, "run")
        shutil.copytree(miniature.directory / "results/generated/mvtec3d", first)
        assert own(miniature, first, run) == {"clouds": 1}
        first.rename(second)
        return own(miniature, second, run, "-n")


CHANGES: dict[str, Plan] = {
    "nothing": Miniature.plan,
    "a scan of bagel": scan("bagel", "xyz"),
    "its ground truth": scan("bagel", "gt"),
    "a scan of carrot, on which prompts learn": scan("carrot", "xyz"),
    "a view angle of `real3d`": config(
        {"tilt": 180, "x": [-144, -108, -72, -36, 0, 36, 72, 108, 145]}, "view_sets", "real3d"
    ),
    "the `light` of `real3d`": config("--", "datasets", "real3d", "rendering", "light"),
    "the `density` of `real3d`": config(0.5, "datasets", "real3d", "density"),
    "`n_views` of shaded views": config(3, "renderings", "standard", "n_views"),
    "`n_views: 9`, as many as there are": config(9, "renderings", "standard", "n_views"),
    "`masks` of shaded views": config({}, "renderings", "standard", "masks"),
    "the point size of bagel": config({"point_size": 3}, "datasets", "mvtec3d", "categories", "bagel"),
    "the learning rate of one method": config(0.002, "methods", "pointad", "learning_rate"),
    "`dice` of one method": config("pixels", "methods", "pointad", "dice"),
    "the `rgb_map` of one method's scores": config("pixels", "methods", "pointad_plus", "rgb_map"),
    "the `object_share` of one method": config(0.1, "methods", "pointad_plus", "object_share"),
    "the `view_weights` of one method": config("incidence", "methods", "pointad_plus", "view_weights"),
    "the smoothing of one method's scores": config(2, "methods", "pointad_plus", "smoothing_sigma"),
    "one more seed": config([111, 112], "seeds"),
    "one more category, cookie": config(None, "datasets", "mvtec3d", "categories", "cookie"),
    "one more auxiliary class, bagel": config(["carrot", "bagel"], "datasets", "mvtec3d", "auxiliary"),
    "another backbone for shaded views": config(2, "features", "standard", "random_seed"),
    "the `unit` of `mvtec3d`": config("mm", "datasets", "mvtec3d", "unit"),
    "its value of `missing` points": config(-1, "datasets", "mvtec3d", "missing"),
    "its `outliers`": config("remove", "datasets", "mvtec3d", "outliers"),
    "the `surroundings` of its photographs": config("black", "datasets", "mvtec3d", "surroundings"),
    "`quick_gelu` of the backbone for shaded views": config(True, "features", "standard", "quick_gelu"),
    "`precision` of the backbone for shaded views": config("bfloat16", "features", "standard", "precision"),
    "a folder of raw scans moved, and the new `root` given": moved,
    "the `label` of a method": config("Ours", "methods", "pointad", "label"),
    "`intervals`": config(True, "intervals"),
    "`alpha` of G-aggregation": config(0.3, "aggregations", "standard", "alpha"),
    "the names of bagel's scans that metrics count": config(
        {"scans": ["crack/000", "good/000"]}, "datasets", "mvtec3d", "categories", "bagel"
    ),
    "a method taken out of the config": without("clip_rendering"),
    "a comment and a docstring in every module": comments,
    "a system's label in the registry": edit(("pointad_core/methods/registry.py", label)),
    "a system added": added(
        "methods/registry.py",
        "SYSTEMS: dict[str, System] = {",
        '"tenth": System("methods.tenth", label="Tenth", stream="vv")',
        "methods/tenth.py",
    ),
    "a renderer added": added(
        "rendering/registry.py",
        "RENDERERS = {",
        '"ink": Renderer("rendering.ink", shaded=True, options=("window",))',
        "rendering/ink.py",
    ),
    "a layout added": added(
        "datasets/registry.py", "LAYOUTS = {", '"own": Layout("datasets.own", scene=None)', "datasets/own.py"
    ),
}


@pytest.mark.parametrize(("change", "expected"), read_table().items())
def test_a_change_runs_what_the_docs_say(miniature: Miniature, change: str, expected: dict[str, int]) -> None:
    module = re.match(r"code: `(.*?)`", change)
    plan = code(module[1]) if module else CHANGES[change]
    assert count(plan(miniature)) == expected


def test_the_docs_name_every_change_and_every_stage() -> None:
    changes = read_table()
    assert CHANGES.keys() <= changes.keys()
    edited = {match[1] for change in changes if (match := re.match(r"code: `(.*?)\.py`", change))}
    stages = {"clouds", "renders", "features", "aggregation", "prompts", "scores", "metrics", "summary", "tables"}
    assert {f"stages/{stage}" for stage in stages} <= edited
    rooms = {path.parent.name for path in (REPOSITORY / "pointad_core").glob("*/__init__.py")}
    # The last two make nothing for a stage.
    rooms -= {"clip", "predict", "cli"}
    assert {name.partition("/")[0] for name in edited} >= rooms


def test_first_run_did_every_job_once(miniature: Miniature) -> None:
    jobs = count(miniature.result.jobs - Counter(all_tables=1))
    everything = read_table()["code: `datasets/generator/scans.py`"]
    assert jobs == everything


def test_a_deleted_scan_is_generated_again_when_it_is_needed(miniature: Miniature) -> None:
    with changed(raw(miniature, "bagel", "gt"), None):
        assert miniature.plan() == Counter()
        planned = miniature.plan(with_value({"radius": 0.2}, "datasets", "mvtec3d", "normals"))
    assert planned["clouds"] == 2
    assert planned["generate_mvtec3d_bagel"] == 1
    assert not planned["generate_mvtec3d_carrot"] + planned["generate_real3d_diamond"]


# A folder of the user's own -------------------------------------------------------------------------------------------


def test_a_moved_folder_runs_nothing_and_a_changed_one_its_category(miniature: Miniature, tmp_path: Path) -> None:
    def run(root: Path, *arguments: str) -> Counter[str]:
        return own(miniature, root, tmp_path / "run", *arguments)

    first, second = tmp_path / "first", tmp_path / "else where/second"
    shutil.copytree(miniature.directory / "results/generated/mvtec3d", first)
    assert run(first) == {"clouds": 1}
    shutil.copytree(first, second)
    shutil.rmtree(first)
    assert run(second, "-n") == {}
    # Nor does it change a byte where all is run anew: the results name no place and no date.
    before, there = (tmp_path / "run" / OWN).read_bytes(), sorted(second.rglob("*"))
    assert run(second, "--forceall") == {"clouds": 1}
    assert (tmp_path / "run" / OWN).read_bytes() == before
    assert sorted(second.rglob("*")) == there, "something was written into the user's folder"

    scans = sorted((second / "bagel/test/good").rglob("000.*"))
    with changed(scans[0], scans[0].read_bytes() + b"\0"):
        assert run(second, "-n") == {"clouds": 1}
    assert run(second, "-n") == {}
    # A copy with new dates may be anything.
    stat = scans[0].stat()
    os.utime(scans[0], (stat.st_atime, stat.st_mtime + 2))
    assert run(second, "-n") == {"clouds": 1}
    os.utime(scans[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run(second, "-n") == {}
    for file in scans:
        shutil.copy2(file, file.with_stem("900"))
    assert run(second, "-n") == {"clouds": 1}
    for file in scans:
        file.with_stem("900").unlink()
    assert run(second, "-n") == {}
    for file in scans:
        file.rename(file.with_stem("901"))
    assert run(second, "-n") == {"clouds": 1}
