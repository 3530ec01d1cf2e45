"""What every stage's job has around it: a log, progress, threads and a device."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pointad_core.errors import InputError
from pointad_core.imports import import_torch

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger("pointad_core")


def printable(text: str) -> str:
    """Text as it can be shown: what came out of a file moves no cursor and looks like no line of the log's own."""
    shown = (c if c.isprintable() else "\n    " if c == "\n" else repr(c)[1:-1] for c in text)
    return "".join(shown)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


@contextmanager
def logged(path: str | Path) -> Iterator[None]:
    """Send the package's log to a file for the length of a job.

    A failure ends up there too: an InputError as its message alone, anything else with its traceback. The
    process then exits with status 1, so that the log is the one place where the cause is told.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w")
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.info("started")
    start = time.perf_counter()
    try:
        yield
        logger.info("finished after %.1f s", time.perf_counter() - start)
    except (InputError, OSError) as error:
        # A full disk or a forbidden folder is the user's to mend as well; the error names the file.
        logger.error("%s", error)
        sys.exit(f"Error: {printable(str(error))}")
    except Exception:
        logger.error("%s", traceback.format_exc())
        raise
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def progress(items: Collection[T], label: str, unit: str = "scan") -> Iterator[T]:
    """Pass items through; log each one's time and, on a terminal, draw a bar."""
    from tqdm import tqdm

    bar = tqdm(items, desc=label, unit=unit, disable=not sys.stderr.isatty(), leave=False)
    for number, item in enumerate(bar, start=1):
        start = time.perf_counter()
        yield item
        logger.info("%s: %s %d/%d, %.2f s", label, unit, number, len(items), time.perf_counter() - start)


def ahead(load: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """What `load` gives of each item, in a thread of its own: the next one's while the one before is worked on.

    An error comes where the item that it belongs to would.
    """
    with ThreadPoolExecutor(1) as reader:
        coming: deque[Future[R]] = deque()
        for item in items:
            coming.append(reader.submit(load, item))
            if len(coming) > 1:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


@contextmanager
def behind(work: Callable[..., object]) -> Iterator[Callable[..., None]]:
    """`work` done in a thread of its own, call by call: the last one's while the next one is made ready.

    A call waits until the one before is done, and raises its error; so does the end of the block.
    """
    with ThreadPoolExecutor(1) as worker:
        last: list[Future[object]] = []

        def hand_over(*given: object) -> None:
            finish()
            last.append(worker.submit(work, *given))

        def finish() -> None:
            if last:
                last.pop().result()

        yield hand_over
        finish()


def use(threads: int, gpus: int) -> None:
    """Compute with what the job has asked for: so many threads, and a GPU or none.

    On a CPU results repeat to the byte for the same number of threads. Whoever has set CUDA_VISIBLE_DEVICES, a cluster
    or the user, has assigned a GPU, whatever the job has asked for.
    """
    if not gpus:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    import_torch().set_num_threads(threads)


@cache
def pick_device() -> torch.device:
    """The device of this process: the CPU, the only GPU that it sees, or one of several that no other job holds.

    Waits where this user's other processes hold all. A GPU is held by a lock on a file that is named after the GPU
    itself (its number depends on what a process may see); the kernel takes it back when the process ends, however.
    """
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if count == 1:
        return torch.device("cuda")
    folder = Path(tempfile.gettempdir()) / f"pointad-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    waiting = False
    while True:
        for index in range(count):
            gpu = torch.cuda.get_device_properties(index).uuid
            # Left open on purpose: the lock lives as long as the file is open.
            file = os.open(folder / f"{gpu}.lock", os.O_RDWR | os.O_CREAT, mode=0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                continue
            logger.info("GPU %d of %d (%s)", index, count, gpu)
            torch.cuda.set_device(index)
            return torch.device("cuda", index)
        if not waiting:
            logger.info("waiting for a GPU: other jobs hold all %d", count)
            waiting = True
        time.sleep(1)
