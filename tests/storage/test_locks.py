"""Locks of a folder: held by one process, gone with it however it ends; and which of Snakemake's own are removed."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pointad_core.errors import InputError
from pointad_core.storage import locks

REPOSITORY = Path(__file__).parents[2]

RUN = """
import sys, subprocess
from pathlib import Path
from pointad_core.storage import locks
folder, steps = Path(sys.argv[1]), sys.argv[2:]
if "enter" in steps:
    locks.enter(folder)
if "lock" in steps:
    (folder / "locks").mkdir(exist_ok=True)
    (folder / "locks/0.output.lock").write_text("results/a")
if "hold" in steps:
    locks.hold(folder)
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def folder(tmp_path):
    """Where Snakemake keeps what it knows of a folder, and its locks."""
    folder = tmp_path / ".snakemake"
    folder.mkdir()
    return folder


@pytest.fixture
def start(folder):
    """Start a process that has a job and has come so far in a run."""
    started = []

    def start(*steps):
        command = [sys.executable, "-c", RUN, str(folder), *steps]
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        started.append((process, int(process.stdout.readline())))
        return process

    yield start
    for process, job in started:
        os.kill(job, signal.SIGKILL)
        process.kill()
        process.communicate()


def kill(process):
    process.kill()
    process.wait()


def is_locked(folder):
    return (folder / "locks/0.output.lock").exists()


# A run ------------------------------------------------------------------------------------------------------------


def test_a_second_run_is_refused_and_harms_nothing(folder, start):
    start("enter", "lock", "hold")
    with pytest.raises(InputError, match=r"another run is going on in this folder.*--directory"):
        locks.hold(folder)
    locks.enter(folder)
    assert is_locked(folder)


def test_what_a_killed_run_left_goes_though_its_job_lives(folder, start):
    kill(start("enter", "lock", "hold"))
    assert is_locked(folder)
    locks.enter(folder)
    assert not (folder / "locks").exists()
    locks.hold(folder)


@pytest.mark.parametrize("machine", ["elsewhere", ""])
def test_a_run_on_another_machine_is_left_alone(folder, start, machine):
    kill(start("enter", "lock", "hold"))
    (folder / "run.lock").write_text(machine)
    locks.enter(folder)
    assert is_locked(folder)
    assert (folder / "run.lock").read_text() == machine


def test_another_users_folder_is_refused_by_name_and_can_be_looked_at(folder, monkeypatch):
    def refused(path, flags, mode=0):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refused)
    locks.enter(folder)
    with pytest.raises(InputError, match=r"run\.lock: Permission denied; name another folder"):
        locks.hold(folder)


def test_the_umask_says_who_else_may_go_on(folder):
    before = os.umask(0o002)
    try:
        locks.enter(folder)
        locks.hold(folder)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o664}


def test_a_folder_without_a_run_is_left_alone(folder):
    (folder / "locks").mkdir()
    (folder / "locks/0.output.lock").write_text("results/a")
    locks.enter(folder)
    locks.enter(folder.with_name("none"))
    assert is_locked(folder)
    assert not (folder / "run.lock").exists()
    assert not folder.with_name("none").exists()


def test_a_file_system_without_such_locks_leaves_it_to_snakemake(folder, start, monkeypatch):
    def refused(file, operation):
        raise OSError(95, "Operation not supported")

    kill(start("enter", "lock", "hold"))
    monkeypatch.setattr("fcntl.flock", refused)
    locks.enter(folder)
    assert is_locked(folder)
    locks.hold(folder)
    # Whose locks there are from now on, nobody knows.
    assert (folder / "run.lock").read_text() == ""


# Before a run -----------------------------------------------------------------------------------------------------


def test_a_process_that_plans_keeps_its_locks(folder, start):
    """What stands in run.lock is of a run on this machine that has ended; nobody holds the folder."""
    kill(start("enter", "hold"))
    planning = start("enter", "lock")
    second = start("enter")
    assert is_locked(folder)
    kill(second)
    kill(start("enter"))
    assert is_locked(folder)
    kill(planning)
    start("enter")
    assert not is_locked(folder)


def test_what_a_process_left_that_was_killed_while_it_planned_goes(folder, start):
    kill(start("enter", "lock"))
    start("enter")
    assert not is_locked(folder)


def test_one_that_looks_is_in_no_runs_way(folder, start):
    start("enter")
    start("enter", "lock", "hold")
    assert is_locked(folder)


SNAKEFILE = """
import time
from pathlib import Path
from pointad_core.storage import locks

if workflow.is_main_process and not workflow.output_settings.dryrun:
    locks.enter()

onstart:
    Path("locked").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    locks.hold()

rule done:
    output: "done"
    shell: "touch {output}"
"""


def test_a_real_run_keeps_its_locks_from_the_snakefile_to_its_start(folder):
    def snakemake(*arguments):
        command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
        return subprocess.Popen(
            command,
            cwd=folder.parent,
            env=environment | {"PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    (folder.parent / "Snakefile").write_text(SNAKEFILE)
    (folder / "run.lock").write_text(platform.node())
    first = snakemake()
    while not (folder.parent / "locked").exists() and first.poll() is None:
        time.sleep(0.02)
    assert is_locked(folder)
    second, looking = snakemake(), snakemake("-n")
    text = second.communicate()[0]
    assert second.returncode == 1, text
    assert "Directory cannot be locked" in text
    text = looking.communicate()[0]
    assert looking.returncode == 0, text
    assert is_locked(folder)
    first.kill()
    first.communicate()
    assert is_locked(folder)
    (folder.parent / "go").touch()
    third = snakemake()
    text = third.communicate()[0]
    assert third.returncode == 0, text
    assert (folder.parent / "done").exists()
