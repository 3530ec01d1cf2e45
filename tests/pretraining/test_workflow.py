"""The workflow that makes the small CLIP: its jobs, its config, and that it runs from anywhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from miniature import REPOSITORY, snakemake
from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from pointad_core.storage.fingerprints import follow
from workflow.words import explain

FOLDER = REPOSITORY / "pretraining"
SNAKEFILE = FOLDER / "Snakefile"
RULES = ("teacher", "views", "tokens", "weights", "quality")


@pytest.mark.parametrize(("config", "lots"), [(None, 132), ({"things": 36}, 2)])
def test_jobs(tmp_path, config, lots):
    chosen = []
    if config is not None:
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        chosen = ["--configfile", tmp_path / "config.yaml"]
    result = snakemake("-n", *chosen, snakefile=SNAKEFILE, directory=tmp_path)
    assert result.code == 0, result.text
    others = dict.fromkeys(["pocket_clip", "pretraining_teacher", "pretraining_weights", "pretraining_quality"], 1)
    assert result.jobs == {**others, "pretraining_views": lots + 1, "pretraining_tokens": lots}


def test_an_unknown_key_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"thing": 12}))
    result = snakemake("-n", "--configfile", tmp_path / "config.yaml", snakefile=SNAKEFILE, directory=tmp_path)
    assert result.code != 0
    known = "held_out, seed, steps, things"
    assert f"config: the top level has the unknown key 'thing' (did you mean 'things'?); known: {known}" in result.text


WRONG = [
    ({"things": 5}, "things is 5, expected integer >= 6"),
    ({"things": 20001}, "things is 20001, expected integer >= 6 and <= 20000"),
    ({"held_out": 3}, "held_out is 3, expected integer >= 4"),
    ({"seed": -1}, "seed is -1, expected integer >= 0"),
    ({"steps": 0}, "steps is 0, expected integer >= 1"),
]


@pytest.mark.parametrize(("config", "message"), WRONG, ids=[str(config) for config, _ in WRONG])
def test_a_value_out_of_range_is_refused(config, message):
    with pytest.raises(WorkflowError) as error:
        validate(config, str(FOLDER / "config.schema.yaml"))
    assert explain(error.value.__context__).startswith(f"config: {message}")


def test_the_config_says_every_default():
    defaults: dict[str, object] = {}
    validate(defaults, str(FOLDER / "config.schema.yaml"))
    assert yaml.safe_load((FOLDER / "config.yaml").read_text()) == defaults


@pytest.mark.parametrize("name", RULES)
def test_a_rule_names_the_module_that_its_script_calls(name):
    """Whose fingerprint follows its imports, but knows nothing of the files that the model is built from."""
    rule = SNAKEFILE.read_text().partition(f"rule pretraining_{name}:")[2].partition("\nrule ")[0]
    called = set(re.findall(r"^ +from pretraining\.(\w+) import", (FOLDER / f"scripts/{name}.py").read_text(), re.M))
    (module,) = called
    with_model = any(label == "clip/loading.py" for label, _ in follow(str(FOLDER / f"{module}.py")))
    expected = f'module("{module}")' + (", *MODEL_FILES" if with_model else "")
    assert re.search(r"code=fingerprint\((.*)\),", rule)[1] == expected
    assert {path.stem for path in (FOLDER / "scripts").glob("*.py")} == set(RULES)


def test_a_job_finds_the_project_from_any_folder(tmp_path, monkeypatch):
    """And the main workflow's settings mean nothing to it."""
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(yaml.safe_dump({"held_out": 4}))
    output = "results/pretraining/views/held_out.zarr.zip"
    result = snakemake(output, "--configfile", "config.yaml", snakefile=SNAKEFILE, directory=tmp_path / "run")
    assert result.code == 0, result.text
    assert (tmp_path / "run" / output).exists()
    assert result.jobs == {"pretraining_views": 1}


def test_lint_and_format_are_clean(tmp_path):
    programs = Path(sys.executable).parent
    for command in (
        [programs / "snakemake", "--lint", "--snakefile", SNAKEFILE],
        [programs / "snakefmt", "--check", FOLDER],
    ):
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
