"""The lock of a folder: held by one process, gone with it however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pointad_core import runs
from pointad_core.errors import InputError

HOLD = """
import sys, subprocess
from pathlib import Path
from pointad_core import runs
runs.hold(Path(sys.argv[1]))
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def folder(tmp_path):
    """The folder of a run in progress, with what Snakemake locks with."""
    folder = tmp_path / ".snakemake"
    (folder / "locks").mkdir(parents=True)
    (folder / "locks/0.output.lock").write_text("results/a\n")
    return folder


@pytest.fixture
def run(folder):
    """A process that holds the folder and has a job."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True)
    job = int(process.stdout.readline())
    yield process
    os.kill(job, signal.SIGKILL)
    process.kill()
    process.communicate()


def test_a_second_run_is_refused_and_harms_nothing(folder, run):
    with pytest.raises(InputError, match=r"another run is going on in this folder.*--directory"):
        runs.hold(folder)
    runs.forget_killed(folder)
    assert (folder / "locks/0.output.lock").exists()


def test_what_a_killed_run_left_goes_though_its_job_lives(folder, run):
    run.kill()
    run.wait()
    runs.forget_killed(folder)
    assert not (folder / "locks").exists()


def test_a_run_on_another_machine_is_left_alone(folder, run):
    run.kill()
    run.wait()
    (folder / "run.lock").write_text("elsewhere")
    runs.forget_killed(folder)
    assert (folder / "locks/0.output.lock").exists()


def test_another_users_folder_is_refused_by_name_and_can_be_looked_at(folder, monkeypatch):
    def refused(path, flags, mode=0):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refused)
    runs.forget_killed(folder)
    with pytest.raises(InputError, match=r"run\.lock: Permission denied; name another folder"):
        runs.hold(folder)


def test_the_umask_says_who_else_may_go_on(folder):
    before = os.umask(0o002)
    try:
        runs.hold(folder)
    finally:
        os.umask(before)
    assert (folder / "run.lock").stat().st_mode & 0o777 == 0o664


def test_a_folder_without_a_run_is_left_alone(folder):
    runs.forget_killed(folder)
    runs.forget_killed(folder.with_name("none"))
    assert os.listdir(folder) == ["locks"]
