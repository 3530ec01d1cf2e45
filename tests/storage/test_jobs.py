"""The frame around a stage's job: its log, its errors, its progress."""

import io
import logging
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pointad_core.errors import InputError
from pointad_core.storage import jobs

ROOT = Path(__file__).parents[2]


def test_the_log_holds_messages_and_progress(tmp_path):
    log = tmp_path / "logs" / "stage.log"
    with jobs.logged(log):
        assert list(jobs.progress(["a", "b"], "renders")) == ["a", "b"]
        jobs.logger.warning("two labels disagree")
    text = log.read_text()
    assert "INFO started" in text
    assert "renders: scan 1/2" in text
    assert "renders: scan 2/2" in text
    assert "WARNING two labels disagree" in text
    assert "INFO finished after" in text


@pytest.mark.parametrize("error", [InputError("scan.tiff: truncated"), OSError(28, "No space left on device", "x.zip")])
def test_the_users_errors_end_the_job_with_their_message_alone(tmp_path, error):
    log = tmp_path / "stage.log"
    with pytest.raises(SystemExit) as exit_, jobs.logged(log):
        raise error
    assert str(error) in str(exit_.value.code)
    assert str(error) in log.read_text()
    assert "Traceback" not in log.read_text()


def test_our_own_errors_keep_their_traceback(tmp_path):
    log = tmp_path / "stage.log"
    with pytest.raises(ZeroDivisionError), jobs.logged(log):
        1 / 0  # noqa: B018
    assert "Traceback" in log.read_text()
    assert "ZeroDivisionError" in log.read_text()


def test_the_log_is_closed_after_the_job(tmp_path):
    log = tmp_path / "stage.log"
    with jobs.logged(log):
        pass
    before = log.read_text()
    jobs.logger.error("too late")
    assert log.read_text() == before
    assert not any(isinstance(handler, logging.FileHandler) for handler in jobs.logger.handlers)


def test_the_next_item_is_loaded_while_one_is_worked_on():
    started, loaded = [threading.Event() for _ in range(3)], []

    def load(item):
        started[item].set()
        loaded.append(item)
        return item * 10

    found = jobs.ahead(load, iter(range(3)))
    assert not started[0].wait(0.05)  # nothing before it is asked for
    assert next(found) == 0
    assert started[1].wait(10)
    assert not started[2].wait(0.05)  # one ahead and no more
    assert list(found) == [10, 20]
    assert loaded == [0, 1, 2]
    assert list(jobs.ahead(load, [])) == []


def test_what_cannot_be_loaded_fails_where_it_is_due():
    def load(item):
        if item == 1:
            raise InputError("scan 1: damaged")
        return item

    found = jobs.ahead(load, range(3))
    assert next(found) == 0
    with pytest.raises(InputError, match="scan 1: damaged"):
        next(found)


def test_work_is_done_behind_one_call_at_a_time():
    done, go = [], threading.Event()

    def work(item):
        assert go.wait(10)
        done.append(item)

    with jobs.behind(work) as hand_over:
        hand_over("a")
        assert done == []  # not waited for
        go.set()
        hand_over("b")
        assert done[0] == "a"
    assert done == ["a", "b"]


@pytest.mark.parametrize("calls", [1, 2])
def test_work_that_fails_behind_fails_the_job(calls):
    def fail(item):
        raise OSError(28, f"No space left for {item}")

    with pytest.raises(OSError, match="No space left for 0"), jobs.behind(fail) as hand_over:
        for item in range(calls):
            hand_over(item)


def test_a_bar_is_drawn_on_a_terminal_only(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, drawn in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        list(jobs.progress(range(3), "renders"))
        assert ("renders" in stream.getvalue()) is drawn


def test_threads_are_set(monkeypatch):
    import torch

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    before = torch.get_num_threads()
    try:
        jobs.use(threads=1, gpus=0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


# GPUs: a process with a torch whose GPUs are those that CUDA_VISIBLE_DEVICES names, of three in the machine.
TAKE = """
import os, sys, types

def visible():
    return [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "A,B,C").split(",") if name]

cuda = types.SimpleNamespace(
    is_available=lambda: bool(visible()),
    device_count=lambda: len(visible()),
    get_device_properties=lambda index: types.SimpleNamespace(uuid=visible()[index]),
    set_device=lambda index: None,
)
sys.modules["torch"] = types.SimpleNamespace(
    cuda=cuda,
    device=lambda kind, index=None: visible()[index or 0] if kind == "cuda" else kind,
    set_num_threads=lambda threads: None,
)
from pointad_core.storage import jobs
jobs.use(1, int(sys.argv[1]))
assert jobs.pick_device() == jobs.pick_device()
print(jobs.pick_device(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def take(tmp_path):
    """Start a job that takes a device and keeps it; its first line of output is the device."""
    started = []

    def start(visible=None, gpus=1):
        environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
        environment["TMPDIR"] = str(tmp_path)
        if visible is not None:
            environment["CUDA_VISIBLE_DEVICES"] = visible
        command = [sys.executable, "-c", TAKE, str(gpus)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def device(process):
    return process.stdout.readline().strip()


def test_jobs_side_by_side_hold_different_gpus(take):
    assert sorted(device(process) for process in [take() for _ in range(3)]) == ["A", "B", "C"]


def test_a_killed_job_gives_its_gpu_to_one_that_waits(take):
    first, second = take("A,B"), take("A,B")
    assert {device(first), device(second)} == {"A", "B"}
    third = take("B,A")
    assert select.select([third.stdout], [], [], 2) == ([], [], []), "a third job took one of two GPUs"
    fourth = take()
    assert device(fourth) == "C"
    first.kill()
    held = device(third)
    second.communicate("")
    assert {held, device(take("A,B"))} == {"A", "B"}
    fourth.communicate("")


def test_what_a_cluster_assigns_is_taken_whoever_holds_it(take):
    for visible in ("B", "B"):
        assert device(take(visible)) == "B"
    assert device(take("B", gpus=0)) == "B"


def test_a_job_that_asks_for_no_gpu_takes_none(take):
    assert device(take(gpus=0)) == "cpu"


LIGHT = ["storage.jobs", "storage.fingerprints", "storage.locks", "storage.shards", "datasets.registry"]
LIGHT += ["datasets.generator.catalogue", "rendering.registry", "methods.registry"]


def test_importing_the_package_imports_nothing_heavy():
    modules = ", ".join(f"pointad_core.{module}" for module in LIGHT)
    code = f"import sys, pointad_core, {modules}; print(sorted({{'torch', 'numpy', 'zarr'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
