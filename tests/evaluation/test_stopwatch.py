"""What a scan costs, measured with a clock that a test turns by hand."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch

from pointad_core.errors import InputError
from pointad_core.evaluation.stopwatch import WHOLE, Stopwatch, measure, name_device, peak_memory, settle

REPOSITORY = Path(__file__).parents[2]


class Clock:
    """Stands still but for what the work takes; `pending` is what a device still computes of it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pending = 0.0
        self.read: list[float] = []

    def __call__(self) -> float:
        self.read.append(self.pending)
        return self.now

    def compute(self, seconds: float) -> None:
        self.pending += seconds

    def rest(self) -> None:
        self.now += self.pending
        self.pending = 0.0


def test_every_score_is_a_row_with_its_steps_and_without_what_warms_up() -> None:
    rng = np.random.default_rng()
    clock = Clock()
    watch = Stopwatch(clock, clock.rest)
    calls: list[tuple[str, dict[str, float]]] = []
    memory_calls: list[bool] = []

    def scorer(name: str) -> Callable[[], Any]:
        def score() -> None:
            # The first scores of a process take long.
            factor = 1000 if len(calls) < 3 else 1
            took = {step: factor * float(rng.random()) for step in ("clouds", "features", "again", "between")}
            calls.append((name, took))
            with watch("clouds"):
                clock.compute(took["clouds"])
            for step in ("features", "again"):
                with watch("features"):
                    clock.compute(took[step])
            clock.compute(took["between"])

        return score

    def memory(anew: bool) -> float:
        memory_calls.append(anew)
        return float(len(memory_calls))

    rows = measure({name: scorer(name) for name in "abc"}, watch, memory, warm_up=3, repeats=2)
    assert [name for name, _ in calls] == [*"aaa", *"abc", *"abc"]
    assert [(row["scan"], row["repeat"]) for row in rows] == [(name, repeat) for repeat in (1, 2) for name in "abc"]
    for row, (_, took) in zip(rows, calls[3:], strict=True):
        assert row["clouds"] == pytest.approx(took["clouds"], abs=1e-9)
        assert row["features"] == pytest.approx(took["features"] + took["again"], abs=1e-9)
        assert row[WHOLE] == pytest.approx(sum(took.values()), abs=1e-9)
    # The clock was never read while the device was still at it.
    assert set(clock.read) == {0.0}
    assert memory_calls == [True, *[False] * 6]
    assert [row["memory_mb"] for row in rows] == [2, 3, 4, 5, 6, 7]
    assert max(row[WHOLE] for row in rows) < 4 < median(sum(took.values()) for _, took in calls[:3])


def test_a_step_that_fails_is_not_counted() -> None:
    watch = Stopwatch()
    with pytest.raises(ValueError, match="broken"), watch("clouds"):
        raise ValueError("broken")
    assert not watch.seconds


def test_memory_of_the_cpu_is_the_kernels_counter_of_this_process() -> None:
    memory = peak_memory(torch.device("cpu"))
    before = memory(True)
    # The other counter knows in addition what the process held that started this one.
    assert 50 < before <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 + 1
    # So much more than the peak so far that the kernel must count it.
    held = np.ones(int((before + 64) * 2**20), dtype=np.uint8)
    assert memory(False) > before + 32
    peak = memory(False)
    del held
    # It tells the most that was held, and not what is held.
    assert memory(False) == pytest.approx(peak, rel=0.02)


def test_memory_of_the_parent_is_not_the_childs() -> None:
    """A process that was started by a large one is not as large itself."""
    held = np.ones(512 * 2**20, dtype=np.uint8)
    code = (
        "import torch\n"
        "from pointad_core.evaluation.stopwatch import peak_memory\n"
        "print(peak_memory(torch.device('cpu'))(False))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    alone = float(done.stdout)
    assert 50 < alone < peak_memory(torch.device("cpu"))(False) - 200
    del held


def test_a_system_without_the_counter_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pointad_core.evaluation.stopwatch.STATUS", tmp_path / "status")
    with pytest.raises(InputError, match="VmHWM"):
        peak_memory(torch.device("cpu"))(False)


def test_a_processor_is_called_what_the_system_calls_it(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: Some Processor 3.0\nmodel name\t: Other\n")
    assert name_device(cpu, path) == "Some Processor 3.0"
    path.write_text("processor\t: 0\n")
    assert name_device(cpu, path) == "CPU"
    assert name_device(cpu, tmp_path / "none") == "CPU"
    assert settle(cpu)() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_memory_and_time_of_a_gpu_are_its_own() -> None:
    device = torch.device("cuda")
    memory = peak_memory(device)
    torch.zeros(2**28, dtype=torch.uint8, device=device)
    assert memory(False) >= 256
    assert memory(True) < 200  # it starts anew
    held = torch.zeros(2**27, dtype=torch.uint8, device=device)
    assert 128 <= memory(False) < 256
    del held
    assert name_device(device) == torch.cuda.get_device_name()
    matrix = torch.randn(4096, 4096, device=device)
    matrix @ matrix

    def work() -> None:
        for _ in range(50):
            matrix @ matrix

    def seconds(wait: Callable[[], Any]) -> float:
        watch = Stopwatch(settle=wait)
        with watch("work"):
            work()
        torch.cuda.synchronize(device)
        return watch.seconds["work"]

    # 50 products of this size take milliseconds on any GPU; handing them over takes much less.
    assert seconds(settle(device)) > 3 * seconds(lambda: None)
