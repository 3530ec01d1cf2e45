"""One run at a time in a folder, and none that was killed in the way of the next.

Snakemake's own locks are files, which a killed run leaves behind: the next one stops and asks. The kernel's lock on a
file goes with the process that holds it, whatever ends it, and so tells which of Snakemake's locks mean nothing.

There are two such files. While the Snakefile is parsed, which is before Snakemake locks, nothing says whether a process
will run, lint or list; so each shares the first file from then to its end, and Snakemake's locks are removed only by
one that has it to itself, when there is nobody whose locks they could be. Runs exclude each other by the second one.
"""

import fcntl
import os
import platform
import shutil
from contextlib import suppress
from pathlib import Path

from pointad_core.errors import InputError

FOLDER = Path(".snakemake")
_RUN = "run.lock"


def enter(folder: Path = FOLDER) -> None:
    """Be known in the folder of a run until this process ends; remove what killed runs left, if it is alone there.

    To be called before Snakemake locks. Does nothing in another user's folder, or where the file system has none.
    """
    with suppress(OSError):
        # Never closed, and not inherited by jobs, which may outlive a run that is killed.
        file = os.open(folder / "processes.lock", os.O_RDWR | os.O_CREAT, 0o666)
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            machine, owner = platform.node().encode(), folder / _RUN
            # Another machine's locks stay: whether the kernel's reach from one to another depends on the file system.
            if not any(folder.glob("locks/*")) or (owner.exists() and owner.read_bytes() == machine):
                shutil.rmtree(folder / "locks", ignore_errors=True)
                owner.write_bytes(machine)
        fcntl.flock(file, fcntl.LOCK_SH)


def hold(folder: Path = FOLDER) -> None:
    """Hold the folder of a run until this process ends; InputError where another process holds it, or it is another's.

    A file system that has no such locks leaves it to Snakemake's own.
    """
    path, machine = folder.resolve() / _RUN, platform.node().encode()
    try:
        # Whether others of one's group may go on with this run is for the umask to say.
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name another folder with --directory") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        told = "another run is going on in this folder; wait for its end, or name another folder with --directory"
        raise InputError(f"{path.parents[1]}: {told}") from None
    except OSError:
        machine = b""
    os.truncate(file, 0)
    os.write(file, machine)
