"""Stores: one zarr group in one zip file for all scans of a category, or of a shard of it.

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

import errno
import os
import resource
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import zarr
from zarr.buffer import cpu
from zarr.storage import MemoryStore

from pointad_core.errors import InputError
from pointad_core.storage import files

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
        self._scans: dict[str, None] = {}  # in their order; a list would be searched through for each scan

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
        self._scans[scan] = None

    def _finish(self, attributes: Mapping[str, Any]) -> None:
        for group, content in (("scans/", {}), ("", {**attributes, "scans": list(self._scans), "complete": True})):
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

    `provenance` says what made it (config values, code fingerprint, seed, device); package versions are added where
    it has none. `attributes` are the stage's own and may be filled in until the block ends.
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
                    "provenance": {"packages": package_versions(), **provenance},
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

    def __init__(self, parts: Sequence[_Archive]) -> None:
        self.path = parts[0].path if len(parts) == 1 else parts[0].path.parent
        """The store, or the folder of its shards."""
        self.attributes = _common_attributes(parts)
        self._places: dict[str, tuple[_Archive, int]] = {}
        for part in parts:
            for index, scan in enumerate(part.attributes["scans"]):
                if scan in self._places:
                    raise InputError(f"{part.path}: scan {scan!r} is in {self._places[scan][0].path} as well")
                self._places[scan] = part, index

    def _place(self, scan: str) -> tuple[_Archive, int]:
        if scan not in self._places:
            raise InputError(f"{self.path}: no scan {scan!r} in this store; make it again")
        return self._places[scan]

    @property
    def scans(self) -> list[str]:
        """Names of the scans in the order in which they were written; those of shards sorted, as they were before."""
        return list(self.attributes["scans"])

    def scan_attributes(self, scan: str) -> dict[str, Any]:
        archive, index = self._place(scan)
        return archive.scan_attributes(index)

    def arrays(self, scan: str) -> list[str]:
        """Names of a scan's arrays."""
        archive, index = self._place(scan)
        return archive.arrays(index)

    def load(self, scan: str, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Read the named arrays of a scan; a name that the scan lacks is an InputError."""
        archive, index = self._place(scan)
        found = archive.arrays(index)
        for name in names:
            if name not in found:
                raise InputError(f"{archive.path}: scan {scan!r} has no array {name!r}, only {found}")
        return {name: archive.load(index, name) for name in names}


def _common_attributes(parts: Sequence[_Archive]) -> dict[str, Any]:
    """Attributes that the shards' store would have as one; InputError where the shards do not belong together.

    What made them (a device, a package's version) may differ among shards: then all that was found is listed.
    """
    if len(parts) == 1:
        return parts[0].attributes
    first = parts[0]
    for part in parts[1:]:
        for key in sorted((first.attributes.keys() | part.attributes.keys()) - {"scans", "provenance"}):
            if first.attributes.get(key) != part.attributes.get(key):
                raise InputError(
                    f"{part.path}: {key} is {part.attributes.get(key)!r}, but {first.attributes.get(key)!r} in "
                    f"{first.path}; make both again"
                )
    provenance = {}
    for key in dict.fromkeys(key for part in parts for key in part.attributes["provenance"]):
        found: list[Any] = []
        for part in parts:
            value = part.attributes["provenance"].get(key)
            if value not in found:
                found.append(value)
        provenance[key] = found[0] if len(found) == 1 else found
    scans = sorted(scan for part in parts for scan in part.attributes["scans"])
    return {**first.attributes, "provenance": provenance, "scans": scans}


Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A store, or the shards of one."""


@contextmanager
def read(paths: Paths, kind: str) -> Iterator[StoreReader]:
    """Open a store, or its shards as if they were one.

    Refuses a file that is missing, damaged, incomplete, or of another kind or schema, and shards that do not belong
    together.
    """
    parts = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    with ExitStack() as stack:
        stack.enter_context(_more_open_files(len(parts)))
        yield StoreReader([stack.enter_context(_open(Path(part), kind)) for part in parts])


@contextmanager
def _more_open_files(count: int) -> Iterator[None]:
    """Let this process have so many more files open, if the system does: its own limit is low by custom."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        more = soft + count if hard == resource.RLIM_INFINITY else min(soft + count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def _open(path: Path, kind: str) -> Iterator[_Archive]:
    if not path.is_file():
        raise InputError(f"{path}: no such store")
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        hint = "; set a larger shard_size" if error.errno == errno.EMFILE else ""
        raise InputError(f"{path}: {error.strerror}{hint}") from error
    with file:
        archive = _Archive(path, file)
        for key, wanted in (("kind", kind), ("schema", SCHEMA), ("complete", True)):
            found = archive.attributes.get(key)
            if found != wanted:
                raise InputError(f"{path}: {key} is {found!r}, expected {wanted!r}; make it again")
        yield archive


def join(paths: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str], kind: str) -> None:
    """Put shards together, scan by scan: the bytes are those of the store that was written whole."""
    with read(paths, kind) as reader:
        own = {"kind", "schema", "provenance", "scans", "complete"}
        attributes = {key: value for key, value in reader.attributes.items() if key not in own}
        with write(output, kind, reader.attributes["provenance"], attributes) as writer:
            for scan in reader.scans:
                writer.add(scan, reader.load(scan, reader.arrays(scan)), reader.scan_attributes(scan))


def check(path: str | os.PathLike[str], kind: str) -> None:
    """Refuse a store as `read` does, without reading a scan: a job can do so before its slow imports."""
    with read(path, kind):
        pass
