"""The systems' entries: what they say, what of them results depend on, and the loading of modules."""

import inspect
import json
import re
import subprocess
import sys

import pytest

from pointad_core.errors import InputError
from pointad_core.methods.registry import RENDERING, SYSTEMS, System, load, plain, systems_of

SCORING = ("restore", "point_scores", "global_score", "object_score")
LEARNING = ("first_weights", "loss_terms")
COMPARING = ("compare",)
UNSUPERVISED = ("learn", "restore", "score")
FUNCTIONS = "".join(f"def {name}(*arguments): ...\n" for name in (*SCORING, *LEARNING))


@pytest.fixture
def path(monkeypatch):
    """What `load` puts on the path is taken off again."""
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_module_offers_what_the_interface_says(name):
    from pointad_core.methods import interface

    module, entry = load(SYSTEMS[name]), SYSTEMS[name]
    offered = {interface.Scoring: SCORING} | ({interface.Learning: LEARNING} if entry.trained else {})
    offered |= {interface.Comparing: COMPARING} if entry.batch else {}
    if entry.unsupervised:
        offered = {interface.Unsupervised: UNSUPERVISED}
    names = {function for functions in offered.values() for function in functions}
    known = {*SCORING, *LEARNING, *COMPARING, *UNSUPERVISED}
    assert {function for function in known if hasattr(module, function)} == names
    for protocol, functions in offered.items():
        for function in functions:
            wanted = list(inspect.signature(getattr(protocol, function)).parameters)[1:]
            assert list(inspect.signature(getattr(module, function)).parameters) == wanted, function
            assert function in module.__all__


def test_systems_in_the_order_of_the_papers_tables():
    assert list(SYSTEMS) == [
        *("clip_rendering", "cheraghian", "pointclip_v2", "pointclip_v2_a", "anomalyclip"),
        *("pointad_coop", "pointad", "pointad_plus_coop", "pointad_plus"),
        *("mutual", "pointad_plus_mutual"),  # not the paper's
        *("btf", "sdm", "m3dm"),
    ]
    assert all(entry.label for entry in SYSTEMS.values())


def test_untrained_systems_have_no_losses_and_no_rows_across_data_sets():
    assert [name for name, entry in SYSTEMS.items() if not entry.trained] == [
        *("clip_rendering", "pointclip_v2", "mutual", "btf", "sdm", "m3dm")
    ]
    for name, entry in SYSTEMS.items():
        assert bool(entry.losses) == entry.trained
        assert entry.compared_across == (entry.trained and name != "cheraghian")


def test_what_is_taught_are_losses_of_the_system():
    for entry in SYSTEMS.values():
        assert bool(entry.teaching) == entry.trained
        assert {loss for losses in entry.teaching.values() for loss in losses} <= entry.losses.keys()
    assert SYSTEMS["pointad_plus"].losses == {**RENDERING, "geometry": 1.0, "cross": 1.0}


def test_a_plain_entry_is_json_and_makes_an_entry_again():
    for entry in SYSTEMS.values():
        values = plain(entry)
        assert json.loads(json.dumps(values)) == values
        # Labels and rows are the tables' business, and no reason to train anew.
        assert not values.keys() & {"label", "renderers", "cross_dataset", "teaching"}
        assert plain(System(**values)) == values
        assert load(System(**values)) is load(entry)


def test_a_config_can_bring_systems_of_its_own(tmp_path, monkeypatch, path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.py").write_text(f"VALUE = 3\n{FUNCTIONS}")
    systems = systems_of({"systems": {"own": {"module": "~/own.py", "stream": "vv", "losses": {"mine": 2}}}})
    assert list(systems) == [*SYSTEMS, "own"]
    assert systems["own"] == System(str(tmp_path / "own.py"), "vv", losses={"mine": 2})
    assert load(systems["own"]).VALUE == 3
    assert systems_of({}) == SYSTEMS


def test_a_users_module_can_have_dataclasses_and_modules_beside_it(tmp_path, path):
    (tmp_path / "beside_own_system.py").write_text("VALUE = 4\n")
    (tmp_path / "own_system.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from beside_own_system import VALUE\n"
        "@dataclass\n"
        f"class Pair:\n    value: int = VALUE\n{FUNCTIONS}"
    )
    assert load(System(str(tmp_path / "own_system.py"), "vv")).Pair().value == 4


def test_a_users_module_is_run_once_a_process(tmp_path, monkeypatch, path):
    """Whatever the entry, and however its path is written."""
    (tmp_path / "once.py").write_text(f"from pathlib import Path\nPath('run').touch(exist_ok=False)\n{FUNCTIONS}")
    monkeypatch.chdir(tmp_path)
    first = load(System(str(tmp_path / "once.py"), "vv"))
    for module in ("once.py", "./once.py", str(tmp_path / "once.py")):
        assert load(System(module, "plain", trained=False)) is first
    assert (tmp_path / "run").exists()


def test_a_missing_module_is_refused_by_its_path(tmp_path):
    with pytest.raises(InputError, match=r"none\.py: no such module of a system"):
        load(System(str(tmp_path / "none.py"), "vv"))


@pytest.mark.parametrize("lacking", [*((name,) for name in (*SCORING, *LEARNING)), LEARNING, ("restore", "loss_terms")])
def test_a_module_that_lacks_functions_is_refused_by_their_names(tmp_path, path, lacking):
    text = FUNCTIONS
    for name in lacking:
        text = text.replace(f"def {name}(*arguments): ...", f"{name} = 'no function'" if name == "restore" else "")
    (tmp_path / "short.py").write_text(text)
    module = str(tmp_path / "short.py")
    told = f"^{re.escape(module)}: lacks the functions {', '.join(sorted(lacking))} "
    with pytest.raises(InputError, match=told):
        load(System(module, "vv"))
    of_scoring = sorted(set(lacking) & set(SCORING))
    if of_scoring:
        with pytest.raises(InputError, match=f"lacks the functions {', '.join(of_scoring)} "):
            load(System(module, "vv", trained=False))
    else:
        assert load(System(module, "vv", trained=False)).point_scores


def test_the_list_of_systems_needs_no_torch():
    """The workflow reads it while it is parsed."""
    code = (
        "import sys, pointad_core.methods.registry as registry; assert registry.SYSTEMS; "
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("names", [["clip_rendering"], ["pointclip_v2"], ["clip_rendering", "pointclip_v2"]])
def test_scores_of_untrained_systems_do_not_import_the_training(names):
    code = (
        "import sys\n"
        "from pointad_core.methods.registry import SYSTEMS, load\n"
        "from pointad_core.stages import scores\n"
        f"assert all(load(SYSTEMS[name]).restore for name in {names})\n"
        "training = {f'pointad_core.methods.{name}' for name in ('training', 'losses', 'targets')}\n"
        "sys.exit(', '.join(training & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
