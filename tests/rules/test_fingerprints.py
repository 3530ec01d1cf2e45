"""Every rule's fingerprint names the modules that its script really imports."""

import ast
import base64
import json
import re
from functools import cache
from pathlib import Path

import pytest
from miniature import CONFIG, REPOSITORY, Miniature

from pointad_core.fingerprint import fingerprint, source
from pointad_core.methods import SYSTEMS

# They carry messages and logs, never a number.
EXEMPT = {"errors", "jobs"}
# Files that a stage reads beside the modules.
DATA = {"table": {"paper_numbers.csv"}, "document": {"paper_numbers.csv"}} | {
    stage: {"models/pointad-mini.json"} for stage in ("features", "prompts", "scores")
}

# Rules that the miniature's tables do not need, and the file that they stand in.
WITHOUT_A_RUN = {"heatmaps": "heatmaps", "gallery": "heatmaps", "scores_joined": "scores"} | {
    f"pretraining_{stage}": "pretraining" for stage in ("teacher", "views", "weights", "quality")
}


def _is_module(name: str) -> bool:
    try:
        return source(name).suffix == ".py"
    except ValueError:
        return False


@cache
def imports(path: Path) -> frozenset[str]:
    """Modules of this package that a file imports anywhere but for type checking, with the packages around them."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.level == 0 and child.module:
                names = [f"{child.module}.{alias.name}" for alias in child.names]
                found.update(
                    name if _is_module(name.removeprefix("pointad_core.")) else str(child.module) for name in names
                )
            visit(child)

    visit(ast.parse(path.read_text()))
    modules = {name.removeprefix("pointad_core.") for name in found if name.startswith("pointad_core.")}
    return frozenset(module.rsplit(".", n)[0] for module in modules for n in range(module.count(".") + 1))


def transitive(*files: Path) -> set[str]:
    seen: set[str] = set()
    waiting = {module for file in files for module in imports(file)}
    while waiting:
        module = waiting.pop()
        seen.add(module)
        waiting |= imports(source(module)) - seen
    return seen - EXEMPT


def recorded_params(miniature: Miniature, output: Path) -> str:
    """What Snakemake noted of an output's params."""
    name = base64.urlsafe_b64encode(str(output).encode()).decode()
    (path,) = (miniature.directory / ".snakemake/metadata").rglob(name)
    return "\n".join(map(str, json.loads(path.read_text())["params"]))


def outputs() -> list[tuple[str, str, str | None]]:
    """An output of every rule, with the module that its stage imports by name: of a layout, a renderer or a system."""
    cases: list[tuple[str, str, str | None]] = [
        ("clouds", "clouds/mvtec3d/bagel.zarr.zip", "datasets.mvtec3d"),
        ("clouds", "clouds/real3d/diamond.zarr.zip", "datasets.real3d"),
        ("renders", "renders/standard/mvtec3d/bagel.zarr.zip", "splatter"),
        ("renders", "renders/depth/mvtec3d/bagel.zarr.zip", "depth_renderer"),
        ("renders", "renders/realistic/mvtec3d/bagel.zarr.zip", "realistic_projection"),
        ("features", "features/standard/mvtec3d/bagel.zarr.zip", None),
        ("metrics", "metrics/pointad/mvtec3d/carrot/111/mvtec3d.csv", None),
        ("summary_auxiliary", "summary/mvtec3d/carrot.csv", None),
        ("summary_dataset", "summary/mvtec3d.csv", None),
        ("table", "tables/table1.tex", None),
        ("document", "tables/tables.tex", None),
    ]
    for system, entry in SYSTEMS.items():
        run = "mvtec3d/carrot/111" if entry.trained else "none/none/0"
        if entry.trained:
            cases.append(("prompts", f"prompts/{system}/{run}.safetensors", f"methods.{system}"))
        cases.append(("scores", f"scores/{system}/{run}/mvtec3d.zarr.zip", f"methods.{system}"))
    return cases


@pytest.mark.parametrize(("stage", "output", "by_name"), outputs())
def test_fingerprint_names_what_is_imported(
    miniature: Miniature, monkeypatch: pytest.MonkeyPatch, stage: str, output: str, by_name: str | None
) -> None:
    script = REPOSITORY / f"workflow/scripts/{stage}.py"
    expected = transitive(script, *([source(by_name)] if by_name else [])) | ({by_name} if by_name else set())
    # The miniature's package has a model more than the repository's.
    monkeypatch.setattr("pointad_core.fingerprint.PACKAGE", miniature.package)
    code = fingerprint.__wrapped__(*expected, *DATA.get(stage, ()))
    params = recorded_params(miniature, Path("results") / output)
    assert code in params, f"rule {stage} must name exactly {sorted(expected)} in its fingerprint"


def test_fingerprint_of_generated_scans(miniature: Miniature) -> None:
    generated = miniature.directory / "results/generated/mvtec3d/bagel"
    output = next(path for path in sorted(generated.rglob("*")) if path.is_file()).relative_to(miniature.directory)
    expected = transitive(REPOSITORY / "workflow/scripts/generate.py")
    assert fingerprint(*expected) in recorded_params(miniature, output), f"rule generate must name {sorted(expected)}"


def test_every_script_is_checked() -> None:
    checked = {stage for stage, _, _ in outputs()} | {"generate", *WITHOUT_A_RUN}
    assert {path.stem for path in (REPOSITORY / "workflow/scripts").glob("*.py")} == checked


@pytest.mark.parametrize("rule", WITHOUT_A_RUN)
def test_rules_that_tables_do_not_need_name_what_they_import(rule: str) -> None:
    text = (REPOSITORY / f"workflow/rules/{WITHOUT_A_RUN[rule]}.smk").read_text().partition(f"rule {rule}:")[2]
    named = re.search(r"code=fingerprint\(([^)]*)\)", text)
    assert named
    expected = transitive(REPOSITORY / f"workflow/scripts/{rule}.py")
    if "clip" in expected:
        expected |= {"models/pointad-pocket.json", "models/pointad-pocket.bpe.gz"}
    assert set(re.findall(r'"([\w./-]+)"', named[1])) == expected


def test_fingerprint_follows_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.py").write_text("a")
    (tmp_path / "two").mkdir()
    (tmp_path / "two/__init__.py").write_text("b")
    monkeypatch.setattr("pointad_core.fingerprint.PACKAGE", tmp_path)
    of = fingerprint.__wrapped__
    first = of("one", "two")
    assert first == of("two", "one", "one")
    assert len({first, of("one"), of("two")}) == 3
    (tmp_path / "one.py").write_text("b")
    (tmp_path / "two/__init__.py").write_text("a")
    assert of("one", "two") != first
    with pytest.raises(ValueError, match="three"):
        of("three")


def test_miniature_uses_every_system() -> None:
    assert {method["system"] for method in CONFIG["methods"].values()} == set(SYSTEMS)
