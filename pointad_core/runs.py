"""One run at a time in a folder, and none that was killed in the way of the next.

Snakemake's own lock are files, which a killed run leaves behind: the next one stops and asks. The kernel's lock on a
file goes with the process that holds it, whatever ends it, and so tells which of Snakemake's locks mean nothing.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
from pathlib import Path

from pointad_core.errors import InputError

FOLDER = Path(".snakemake")
_NAME = "run.lock"


def hold(folder: Path = FOLDER) -> None:
    """Hold the folder of a run until this process ends; InputError where another process holds it, or it is another's.

    A file system that has no such locks leaves it to Snakemake's own.
    """
    # Never closed, and not inherited by jobs, which may outlive a run that is killed.
    try:
        # Whether others of one's group may go on with this run is for the umask to say.
        file = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputError(
            f"{folder.resolve() / _NAME}: {error.strerror}; name another folder with --directory"
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"{folder.resolve().parent}: another run is going on in this folder; wait for its end, or name another "
            "folder with --directory"
        ) from None
    except OSError:
        os.truncate(file, 0)
        return
    os.truncate(file, 0)
    os.write(file, platform.node().encode())


def forget_killed(folder: Path = FOLDER) -> None:
    """Remove Snakemake's lock of a run that was killed.

    Only of one on this machine: whether a lock reaches from one machine to another depends on the file system.
    """
    try:
        file = os.open(folder / _NAME, os.O_RDWR)
    except OSError:
        return  # There is none, or it is another user's.
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.read(file, 1000) == platform.node().encode():
            shutil.rmtree(folder / "locks", ignore_errors=True)
    except OSError:
        pass  # A run is going on, or nobody knows.
    finally:
        os.close(file)
