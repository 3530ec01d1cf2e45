"""What a reader of files gives, and how a file's bytes come in: gzipped or not, bounded, and what they seem to be."""

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pointad_core.errors import InputError

LARGEST_UNZIPPED = 2 << 30
"""Bytes that a gzipped file may hold: more is unpacked by its owner, who then knows of it."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What editors put before text in UTF-8."""

STARTS = {
    b"ply\n": "a ply",
    b"ply\r": "a ply",
    b"# .PCD": "a pcd",
    b"\x89PNG": "a png",
    b"II*\0": "a tiff",
    b"MM\0*": "a tiff",
    b"II+\0": "a tiff",
    b"MM\0+": "a tiff",
    b"\x93NUMPY": "an npy array",
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "a zip archive",
    b"\x1f\x8b": "gzipped",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"LASF": "a las or laz",
    b"ASTM-E57": "an e57",
    b"\x89HDF": "an HDF5 file",
    b"%PDF": "a pdf",
    b"\xff\xd8\xff": "a jpeg",
    b"glTF": "a glb",
    b"Kaydara FBX": "an fbx",
    b"<!DOCTYPE": "an html page",
    b"<html": "an html page",
    b"<?xml": "an xml file",
    b"version https://git-lfs": "a pointer of git-lfs, whose content was not fetched",
    b"\xff\xfe": "a text in UTF-16",
    b"\xfe\xff": "a text in UTF-16",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
}


@dataclass(frozen=True)
class Reading:
    """What a file holds.

    points: f8 [N,3], or [H,W,3] where the file is organised, as they stand in it, missing ones too; colours: u1 of
    the same shape; labels: bool [N] or [H,W], where the file has a column or property of that name; unit: name in
    `formats.unit.UNITS`, where the file or the caller says it; notes: what a log should say of this file.
    """

    points: np.ndarray
    colours: np.ndarray | None = None
    labels: np.ndarray | None = None
    unit: str | None = None
    notes: tuple[str, ...] = ()


def load(path: str | os.PathLike[str]) -> tuple[bytes, tuple[str, ...]]:
    """Content of a file, unzipped where it is gzipped whatever it is called, and a note where it was.

    Raises InputError for what is no file, cannot be read, is empty, or unzips to more than 2 GiB.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is no file that could be read" + (", but a folder" if path.is_dir() else ""))
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    notes: tuple[str, ...] = ()
    if content.startswith(b"\x1f\x8b"):
        content, notes = unzip(path, content), ("gzipped",)
    if not content:
        raise InputError(f"{path}: the file is empty")
    return content, notes


def unzip(path: Path, content: bytes) -> bytes:
    import io

    pieces, size = [], 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            while piece := file.read(1 << 24):
                size += len(piece)
                if size > LARGEST_UNZIPPED:
                    raise InputError(f"{path}: unzips to more than {LARGEST_UNZIPPED >> 20} MiB; unpack it first")
                pieces.append(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a whole gzip file ({error})") from None
    return b"".join(pieces)


def seems(content: bytes) -> str:
    """What content seems to be, by its first bytes: " (it seems to be a ply)", "" where nothing is known."""
    for start, kind in STARTS.items():
        if content.startswith(start):
            return f" (it seems to be {kind})"
    return ""


def shorten(found: str) -> str:
    """A word of a file as an error shows it: printable, on one line, not too long."""
    text = ascii(found) if len(found) <= 40 else ascii(found[:37]) + "..."
    return text
