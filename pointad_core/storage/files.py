"""Files that are written whole or not at all, and whose bytes say whether they were changed since."""

import errno
import glob
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pointad_core.errors import InputError

BLANK_SEAL = "sha256:" + 64 * "0"
"""Stands in content that is to be sealed where its checksum will be."""


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path to write to; move what was written there to `path` when the block ends without an error.

    Whatever goes wrong, `path` is either untouched or whole, and the partial file is removed. Where two processes
    write the same file, the one that started last wins: a job that outlived its killed run fails instead of putting
    its file over that of the run that went on. Raises OSError with the path where the disk is full, which the
    system's own error does not name, and in place of the partial file's.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.glob(f"{glob.escape(path.name)}.{8 * '[0-9a-f]'}.partial"):
        other.unlink(missing_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            error.filename = error.filename or str(path)
        if error.filename in (partial, str(partial)):
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def check_place(path: str | os.PathLike[str]) -> None:
    """InputError where no file could be written to `path`, which is better known before hours of work than after."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file")
    there = next(place for place in path.absolute().parents if place.exists())
    if not there.is_dir():
        raise InputError(f"{path}: cannot be written, for {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{path}: cannot be written, for {there} may not be written to")


def seal(content: bytes) -> bytes:
    """Content with its SHA-256 in the place of its first blank seal."""
    return content.replace(BLANK_SEAL.encode(), b"sha256:" + hashlib.sha256(content).hexdigest().encode(), 1)


def is_sealed(content: bytes) -> bool:
    """Whether content is, to the byte, what `seal` gave."""
    blank = re.sub(rb"sha256:[0-9a-f]{64}", BLANK_SEAL.encode(), content, count=1)
    return content != blank and content == seal(blank)
