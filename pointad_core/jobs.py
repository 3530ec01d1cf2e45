"""What every stage's job has around it: a log, progress, threads and a device."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pointad_core.errors import InputError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

logger = logging.getLogger("pointad_core")


@contextmanager
def logged(path: str | Path) -> Iterator[None]:
    """Send the package's log to a file for the length of a job.

    A failure ends up there too: an InputError as its message alone, anything else with its traceback. The
    process then exits with status 1, so that the log is the one place where the cause is told.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.info("started")
    start = time.perf_counter()
    try:
        yield
        logger.info("finished after %.1f s", time.perf_counter() - start)
    except InputError as error:
        logger.error("%s", error)
        sys.exit(f"Error: {error}")
    except OSError as error:
        # A full disk or a forbidden folder is the user's to mend as well; the error names the file.
        logger.error("%s", error)
        sys.exit(f"Error: {error}")
    except Exception:
        logger.error("%s", traceback.format_exc())
        raise
    finally:
        logger.removeHandler(handler)
        handler.close()


def progress(items: Iterable[T], label: str, unit: str = "scan") -> Iterator[T]:
    """Pass items through; log each one's time and, on a terminal, draw a bar."""
    from tqdm import tqdm

    total = len(items) if isinstance(items, Sized) else None
    with tqdm(total=total, desc=label, unit=unit, disable=not sys.stderr.isatty(), leave=False) as bar:
        for number, item in enumerate(items, start=1):
            start = time.perf_counter()
            yield item
            logger.info(
                "%s: %s %d%s, %.2f s", label, unit, number, f"/{total}" if total else "", time.perf_counter() - start
            )
            bar.update()


def use_threads(threads: int) -> None:
    """Let torch compute with this many threads; results repeat to the byte for the same number."""
    import torch

    torch.set_num_threads(threads)


def pick_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
