"""Every rule's fingerprint covers what its script imports; what that is worth is for tests/storage and the reruns."""

import inspect
import re
from pathlib import Path

import pytest
from miniature import CONFIG, REPOSITORY
from test_mutual import METHODS as BATCH_METHODS

from pointad_core.methods.registry import SYSTEMS
from pointad_core.storage.fingerprints import follow
from workflow import figures, inputs, predictions

SCRIPTS = REPOSITORY / "workflow/scripts"
RULE = re.compile(r'^ *code=((?:(?!^ *code=).)*?)^ *script:\s*"\.\./scripts/(\w+)\.py"', re.MULTILINE | re.DOTALL)
RULES = [match for path in sorted(REPOSITORY.glob("workflow/rules/*.smk")) for match in RULE.findall(path.read_text())]
"""Of each rule with a script: the text from its param `code` on, and the script's name."""


@pytest.mark.parametrize(("text", "script"), RULES, ids=[script for _, script in RULES])
def test_a_rule_names_the_stage_that_its_script_imports(text: str, script: str) -> None:
    # Where it depends on wildcards, a function says it.
    text += "".join(inspect.getsource(getattr(inputs, name)) for name in re.findall(r"inputs\.(code_of_\w+)", text))
    text += inspect.getsource(predictions.code) if "own.code" in text else ""
    text += inspect.getsource(figures.figure_code) if "figures.figure_code" in text else ""
    named = re.findall(r'"([a-z_]+(?:\.[a-z_0-9]+)+)"', text)
    path = SCRIPTS / f"{script}.py"
    imported = {file for file, _ in follow(str(path)) if file != path.name}
    assert any(Path(file).name != "__init__.py" for file in imported)
    assert imported <= {file for file, _ in follow(*named)}, f"{script}.py imports more than {named}"


def test_every_script_is_checked() -> None:
    assert sorted(path.stem for path in SCRIPTS.glob("*.py")) == sorted({script for _, script in RULES})


def test_runs_use_every_system_of_tables_1_to_4() -> None:
    """Those of the paper in the miniature, which all tests run, those that compare scans in a run of their own."""
    compared = {name: system.batch for name, system in SYSTEMS.items() if not system.unsupervised}
    for methods, batch in ((CONFIG["methods"], False), (BATCH_METHODS, True)):
        assert {method["system"] for method in methods.values()} == {n for n in compared if compared[n] == batch}
