"""What a scan costs: seconds by step and peak memory, one scan at a time (Table 5 of the paper).

A device computes while its program goes on: the clock is read when the device has come to rest, before and after
every step. The first runs, in which libraries and caches are set up, do not count.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pointad_core.errors import InputError

STATUS = Path("/proc/self/status")
"""What Linux tells of this process."""
WHOLE = "seconds"
"""A scan from its points to its scores, with what is between the steps."""


@dataclass
class Stopwatch:
    """Adds up the seconds of each step; `settle` returns when the device has come to rest."""

    clock: Callable[[], float] = time.perf_counter
    settle: Callable[[], Any] = lambda: None
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        self.settle()
        start = self.clock()
        yield
        self.settle()
        self.seconds[step] += self.clock() - start


def measure(
    scans: Mapping[str, Callable[[], Any]],
    watch: Stopwatch,
    memory: Callable[[bool], float],
    warm_up: int,
    repeats: int,
) -> list[dict[str, Any]]:
    """Score each scan `repeats` times, after `warm_up` scores of the first one that do not count.

    scans: by name, a function that scores it and enters `watch` around its steps; memory: see `peak_memory`. Returns a
    row for each score: scan, repeat (from 1), WHOLE and each step in seconds, and memory_mb.
    """
    first = next(iter(scans.values()))
    for _ in range(warm_up):
        first()
    memory(True)
    rows = []
    for repeat in range(1, repeats + 1):
        for name, score in scans.items():
            watch.seconds.clear()
            with watch(WHOLE):
                score()
            rows.append({"scan": name, "repeat": repeat, **watch.seconds, "memory_mb": memory(False)})
    return rows


def peak_memory(device: torch.device) -> Callable[[bool], float]:
    """A function that tells the peak of memory in MB (2^20 bytes), and starts anew where it is told to.

    On a GPU what PyTorch's tensors took of it at most, by its own counter, without what its allocator keeps and what
    the driver needs. On the CPU the most that this process held of the main memory since it began, with the
    interpreter, the libraries and the loading of the weights: the kernel's counter, which does not start anew. (Not
    that of getrusage, which begins with what the process held that started this one.) Raises InputError where the
    system has no such counter.
    """

    def of_gpu(anew: bool) -> float:
        if anew:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.max_memory_allocated(device) / 2**20

    def of_process(anew: bool) -> float:
        lines = STATUS.read_text().splitlines() if STATUS.exists() else []
        if (line := next((line for line in lines if line.startswith("VmHWM:")), None)) is None:
            raise InputError(f"{STATUS} does not tell the peak of a process's memory (VmHWM), as Linux does")
        return int(line.split()[1]) / 2**10

    return of_gpu if device.type == "cuda" else of_process


def name_device(device: torch.device, processors: str | Path = "/proc/cpuinfo") -> str:
    """The name of a GPU, or of the processor as the system gives it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path(processors).read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "CPU")


def settle(device: torch.device) -> Callable[[], Any]:
    """What `Stopwatch` waits for on a device."""
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)
