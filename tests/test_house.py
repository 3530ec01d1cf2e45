"""The house as docs/house.md draws it: which way imports run, how long files are, what is called alike."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "pointad_core"
ORDER = [
    *("errors", "imports", "storage", "formats", "datasets", "clouds", "rendering", "clip", "methods", "evaluation"),
    *("detector", "predict", "stages", "cli"),
]
"""A room imports from itself and from those before it."""
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """What a module names of this package in an import anywhere, also for type checking: rooms, modules, names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.removeprefix("pointad_core.") for name in names if name.startswith("pointad_core.")}
    return found


def rooms_imported(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(PACKAGE)) for path in MODULES])
def test_imports_run_one_way(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        assert not rooms_imported(path)
        return
    later = rooms_imported(path) - set(ORDER[: ORDER.index(room) + 1])
    assert not later, f"{room} comes before {sorted(later)}"


@pytest.mark.parametrize("room", ["clouds", "rendering", "evaluation"])
def test_formulas_open_no_results(room: str) -> None:
    """They know neither stores nor prompts files; the viewer writes its page, whole or not at all."""
    for path in (PACKAGE / room).glob("*.py"):
        assert {name.split(".")[1] for name in imported(path) if name.startswith("storage.")} <= {"files"}, path


def test_no_file_is_too_long_to_read() -> None:
    files = [*MODULES, *(REPOSITORY / "workflow").rglob("*.py"), *(REPOSITORY / "workflow").rglob("*.smk")]
    files += (PACKAGE / "evaluation/page").iterdir()
    assert [str(path) for path in files if len(path.read_text().splitlines()) > 400] == []
    assert len((REPOSITORY / "workflow/rules/common.smk").read_text().splitlines()) < 100


def test_one_word_names_a_stage_everywhere() -> None:
    stages = ["clouds", "renders", "features", "aggregation", "prompts", "scores", "metrics", "summary", "tables"]
    for stage in [*stages, "experts", "heatmaps", "figures", "viewers", "predictions"]:
        assert (PACKAGE / f"stages/{stage}.py").exists()
        assert (REPOSITORY / f"workflow/rules/{stage}.smk").exists()
        assert (REPOSITORY / f"tests/stages/test_{stage}.py").exists()
    for stage in stages[:7]:
        assert (REPOSITORY / f"workflow/scripts/{stage}.py").exists()


def test_the_docs_name_every_room() -> None:
    text = (REPOSITORY / "docs/house.md").read_text()
    for room in PACKAGE.iterdir():
        if (room / "__init__.py").exists():
            assert f"`pointad_core/{room.name}/`" in text, room
