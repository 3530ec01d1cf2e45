"""Stores: one zarr group in one zip file for all scans of a category.

A store is written beside its place and moved there when it is whole, so that a file which exists under its
name is complete; its bytes depend on its content alone (no time stamps). Each scan is a group of arrays, one
chunk an array, so that a stage reads and writes scan by scan and never holds a category in memory.

Layout::

    zarr.json                   attributes: kind, schema, complete, scans, provenance, and those of the stage
    scans/00000/zarr.json       attributes of the first scan, its name among them
    scans/00000/<array>         arrays of the first scan

Any byte that changes after writing is noticed when it is read. Zip keeps a CRC-32 of each entry's content, in a
directory at the archive's end; the archive's comment, its last bytes, holds the SHA-256 of that directory. A store is
thus as quick to open as its directory is to read, and each scan is checked as it is read.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import zarr
from zarr.buffer import cpu
from zarr.storage import MemoryStore

from pointad_core import files
from pointad_core.errors import InputError

SCHEMA = 2
"""Version of the layout above; a store of another version is refused."""

_COMMENT = f"pointad_core store, {files.BLANK_SEAL}".encode()
_EPOCH = (1980, 1, 1, 0, 0, 0)
_PACKAGES = ("pointad_core", "numpy", "torch", "open_clip_torch", "open3d-cpu", "scipy", "zarr")


def package_versions() -> dict[str, str]:
    """Versions of the packages that results depend on, without importing them."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _zip_info(entry: str) -> zipfile.ZipInfo:
    # Fixed date: the same content gives the same bytes.
    info = zipfile.ZipInfo(entry, date_time=_EPOCH)
    info.external_attr = 0o644 << 16
    return info


class StoreWriter:
    """What `write` hands out: takes the scans one after the other."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._scans: list[str] = []

    def _copy(self, entries: Mapping[str, Any]) -> None:
        # Fixed order: the same content gives the same bytes.
        for key in sorted(entries):
            self._archive.writestr(_zip_info(key), entries[key].to_bytes())

    def add(self, scan: str, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any] | None = None) -> None:
        """Append a scan: its name, its arrays of any shape, and JSON-able attributes."""
        if scan in self._scans:
            raise ValueError(f"scan {scan!r} was added twice")
        entries: dict[str, Any] = {}
        memory = MemoryStore(entries)
        zarr.create_group(memory, attributes={**(attributes or {}), "name": scan})
        for name, array in arrays.items():
            array = np.ascontiguousarray(array)
            # An empty axis has no chunk of its own length; any positive length will do.
            zarr.create_array(memory, name=name, data=array, chunks=tuple(max(1, n) for n in array.shape))
        prefix = f"scans/{len(self._scans):05d}/"
        self._copy({prefix + key: value for key, value in entries.items()})
        self._scans.append(scan)

    def _finish(self, attributes: Mapping[str, Any]) -> None:
        for group, content in (("scans/", {}), ("", {**attributes, "scans": self._scans, "complete": True})):
            entries: dict[str, Any] = {}
            zarr.create_group(MemoryStore(entries), attributes=content)
            self._copy({group + key: value for key, value in entries.items()})
        self._archive.comment = _COMMENT


@contextmanager
def write(
    path: str | os.PathLike[str],
    kind: str,
    provenance: Mapping[str, Any],
    attributes: Mapping[str, Any] | None = None,
) -> Iterator[StoreWriter]:
    """Write a store of the given kind ("clouds", "renders", ...) to `path`, whole or not at all.

    `provenance` says what made it (config values, code fingerprint, seed, device); package versions are added.
    `attributes` are the stage's own and may be filled in until the block ends.
    """
    with files.replacing(path) as partial:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            writer = StoreWriter(archive)
            yield writer
            writer._finish(
                {
                    **(attributes or {}),
                    "kind": kind,
                    "schema": SCHEMA,
                    "provenance": {**provenance, "packages": package_versions()},
                }
            )
        with open(partial, "rb+") as file:
            file.seek(archive.start_dir)
            directory = file.read()
            file.seek(archive.start_dir)
            file.write(files.seal(directory))


class _Archive:
    """The open file of a store, every byte of which is held against its directory, and this against its seal."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        try:
            archive = zipfile.ZipFile(file)
            file.seek(archive.start_dir)
            if not files.is_sealed(file.read()):
                raise zipfile.BadZipFile("its directory or its end is not as it was written")
        except Exception as error:  # zipfile raises whatever a damaged directory leads it to
            raise InputError(f"{path}: not a readable store ({error}); delete it and run again") from error
        self._directory = archive.NameToInfo
        self._arrays: dict[str, dict[str, list[str]]] = {}
        for entry in self._directory:
            match entry.split("/"):
                case ["scans", number, array, *_, _]:
                    self._arrays.setdefault(number, {}).setdefault(array, []).append(entry)
        self.attributes = self._read_attributes("")

    def _read(self, entry: str) -> cpu.Buffer:
        info, written = self._directory[entry], _zip_info(entry)
        written.CRC, written.file_size, written.compress_size = info.CRC, info.file_size, info.compress_size
        # zipfile's own rule, when it writes, for content too large for a plain header.
        header = written.FileHeader(zip64=info.file_size * 1.05 > zipfile.ZIP64_LIMIT)
        try:
            self._file.seek(info.header_offset)
            found, content = self._file.read(len(header)), self._file.read(info.file_size)
        except OSError as error:
            raise InputError(f"{self.path}: {entry} in it cannot be read ({error}); delete it and run again") from error
        if found != header or len(content) != info.file_size or zlib.crc32(content) != info.CRC:
            raise InputError(
                f"{self.path}: the store is damaged ({entry} in it is not as it was written); delete it and run again"
            )
        return cpu.Buffer.from_bytes(content)

    def _read_attributes(self, group: str) -> dict[str, Any]:
        return dict(zarr.open_group(MemoryStore({"zarr.json": self._read(group + "zarr.json")}), mode="r").attrs)

    def scan_attributes(self, index: int) -> dict[str, Any]:
        return self._read_attributes(f"scans/{index:05d}/")

    def arrays(self, index: int) -> list[str]:
        return sorted(self._arrays.get(f"{index:05d}", {}))

    def load(self, index: int, array: str) -> np.ndarray:
        entries = self._arrays[f"{index:05d}"][array]
        content: dict[str, Any] = {entry.split("/", 2)[2]: self._read(entry) for entry in entries}
        return np.asarray(zarr.open_array(MemoryStore(content), path=array, mode="r")[...])


class StoreReader:
    """What `read` hands out: attributes, names of the scans, and the arrays of one scan at a time."""

    def __init__(self, archive: _Archive) -> None:
        self.path = archive.path
        self.attributes = archive.attributes
        self._archive = archive

    def _index(self, scan: str) -> int:
        if scan not in self.attributes["scans"]:
            raise InputError(f"{self.path}: no scan {scan!r} in this store; make it again")
        return self.attributes["scans"].index(scan)

    @property
    def scans(self) -> list[str]:
        """Names of the scans in the order in which they were written."""
        return list(self.attributes["scans"])

    def scan_attributes(self, scan: str) -> dict[str, Any]:
        return self._archive.scan_attributes(self._index(scan))

    def arrays(self, scan: str) -> list[str]:
        """Names of a scan's arrays."""
        return self._archive.arrays(self._index(scan))

    def load(self, scan: str, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Read the named arrays of a scan; a name that the scan lacks is an InputError."""
        found = self.arrays(scan)
        for name in names:
            if name not in found:
                raise InputError(f"{self.path}: scan {scan!r} has no array {name!r}, only {found}")
        return {name: self._archive.load(self._index(scan), name) for name in names}


@contextmanager
def read(path: str | os.PathLike[str], kind: str) -> Iterator[StoreReader]:
    """Open a store; refuse one that is missing, damaged, incomplete, or of another kind or schema."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such store")
    with open(path, "rb") as file:
        archive = _Archive(path, file)
        for key, wanted in (("kind", kind), ("schema", SCHEMA), ("complete", True)):
            found = archive.attributes.get(key)
            if found != wanted:
                raise InputError(f"{path}: {key} is {found!r}, expected {wanted!r}; make it again")
        yield StoreReader(archive)


def check(path: str | os.PathLike[str], kind: str) -> None:
    """Refuse a store as `read` does, without reading a scan: a job can do so before its slow imports."""
    with read(path, kind):
        pass
