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

import errno
import os
import resource
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import zarr
from zarr.buffer import cpu
from zarr.storage import MemoryStore

from pointad_core.errors import InputError
from pointad_core.storage import files

SCHEMA = 2
"""Version of the layout above; a store of another version is refused."""

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A store, or the shards of one."""


def package_versions() -> dict[str, str]:
    """Versions of the packages that results depend on, without importing them."""
    versions = {}
    for package in ("pointad_core", "numpy", "torch", "open_clip_torch", "open3d-cpu", "scipy", "zarr"):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


class StoreWriter:
    """What `write` hands out: takes the scans one after the other."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._scans: dict[str, None] = {}  # in their order; a list would be searched through for each scan

    def add(self, scan: str, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any] | None = None) -> None:
        """Append a scan: its name, its arrays of any shape, and JSON-able attributes."""
        if scan in self._scans:
            raise ValueError(f"scan {scan!r} was added twice")
        self._put(f"scans/{len(self._scans):05d}/", {**(attributes or {}), "name": scan}, arrays)
        self._scans[scan] = None

    def _put(self, group: str, attributes: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        entries: dict[str, Any] = {}
        memory = MemoryStore(entries)
        zarr.create_group(memory, attributes=attributes)
        for name, array in arrays.items():
            array = np.ascontiguousarray(array)
            # An empty axis has no chunk of its own length; any positive length will do.
            zarr.create_array(memory, name=name, data=array, chunks=tuple(max(1, n) for n in array.shape))
        # In a fixed order and of a fixed date, 1980: the same content gives the same bytes.
        for key in sorted(entries):
            info = zipfile.ZipInfo(group + key)
            info.external_attr = 0o644 << 16
            self._archive.writestr(info, entries[key].to_bytes())


@contextmanager
def write(
    path: str | os.PathLike[str], kind: str, provenance: Mapping[str, Any], attributes: Mapping[str, Any] | None = None
) -> Iterator[StoreWriter]:
    """Write a store of the given kind ("clouds", "renders", ...) to `path`, whole or not at all.

    `provenance` says what made it (config values, code fingerprint, seed, device); package versions are added where
    it has none. `attributes` are the stage's own and may be filled in until the block ends.
    """
    with files.replacing(path) as partial:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            writer = StoreWriter(archive)
            yield writer
            made = {"packages": package_versions(), **provenance}
            own = {"kind": kind, "schema": SCHEMA, "provenance": made, "scans": list(writer._scans), "complete": True}
            writer._put("scans/", {}, {})
            writer._put("", {**(attributes or {}), **own}, {})
            archive.comment = f"pointad_core store, {files.BLANK_SEAL}".encode()
        with open(partial, "rb+") as file:
            file.seek(archive.start_dir)
            directory = file.read()
            file.seek(archive.start_dir)
            file.write(files.seal(directory))


class _Archive:
    """The open file of a store, every byte of which is held against its directory, and this against its seal."""

    def __init__(self, path: Path, kind: str, stack: ExitStack) -> None:
        self.path, self._reading = path, Lock()
        if not path.is_file():
            raise InputError(f"{path}: no such store")
        try:
            self._file = stack.enter_context(open(path, "rb"))  # noqa: SIM115
        except OSError as error:
            hint = "; set a larger shard_size" if error.errno == errno.EMFILE else ""
            raise InputError(f"{path}: {error.strerror}{hint}") from error
        try:
            archive = zipfile.ZipFile(self._file)
            self._file.seek(archive.start_dir)
            if not files.is_sealed(self._file.read()):
                raise zipfile.BadZipFile("its directory or its end is not as it was written")
        except Exception as error:  # zipfile raises whatever a damaged directory leads it to
            raise InputError(
                f"{path}: not a readable store ({error}); where a run made it, delete it and run again"
            ) from error
        self._directory = archive.NameToInfo
        self.entries: dict[str, dict[str, list[str]]] = {}
        """By the scan's number and the array's name."""
        for entry in self._directory:
            match entry.split("/"):
                case ["scans", number, array, *_, _]:
                    self.entries.setdefault(number, {}).setdefault(array, []).append(entry)
        self.attributes = self.read_attributes("")
        for key, wanted in (("kind", kind), ("schema", SCHEMA), ("complete", True)):
            if (found := self.attributes.get(key)) != wanted:
                raise InputError(f"{path}: {key} is {found!r}, expected {wanted!r}; make it again")
        self._read("scans/zarr.json")  # says nothing, and must be as it was written all the same

    def _read(self, entry: str) -> cpu.Buffer:
        info, written = self._directory[entry], zipfile.ZipInfo(entry)
        written.CRC, written.file_size, written.compress_size = info.CRC, info.file_size, info.compress_size
        # zipfile's own rule, when it writes, for content too large for a plain header.
        header = written.FileHeader(zip64=info.file_size * 1.05 > zipfile.ZIP64_LIMIT)
        try:
            with self._reading:  # the file has one place at which it is read, whoever reads
                self._file.seek(info.header_offset)
                found, content = self._file.read(len(header)), self._file.read(info.file_size)
            if found != header or len(content) != info.file_size or zlib.crc32(content) != info.CRC:
                raise OSError("not as it was written")
        except OSError as error:
            raise InputError(
                f"{self.path}: the store is damaged ({entry}: {error}); delete it and run again"
            ) from error
        return cpu.Buffer.from_bytes(content)

    def read_attributes(self, group: str) -> dict[str, Any]:
        return dict(zarr.open_group(MemoryStore({"zarr.json": self._read(group + "zarr.json")}), mode="r").attrs)

    def read_array(self, number: str, array: str) -> np.ndarray:
        content: dict[str, Any] = {entry.split("/", 2)[2]: self._read(entry) for entry in self.entries[number][array]}
        return np.asarray(zarr.open_array(MemoryStore(content), path=array, mode="r")[...])


class StoreReader:
    """What `read` hands out: attributes, names of the scans, and the arrays of one scan at a time."""

    def __init__(self, parts: Sequence[_Archive]) -> None:
        self.path = parts[0].path if len(parts) == 1 else parts[0].path.parent
        """The store, or the folder of its shards."""
        self.attributes = parts[0].attributes if len(parts) == 1 else _common_attributes(parts)
        self.scans: list[str] = self.attributes["scans"]
        """Their names in the order in which they were written; those of shards sorted, as they were before."""
        self._places: dict[str, tuple[_Archive, str]] = {}
        for part in parts:
            for index, scan in enumerate(part.attributes["scans"]):
                if scan in self._places:
                    raise InputError(f"{part.path}: scan {scan!r} is in {self._places[scan][0].path} as well")
                self._places[scan] = part, f"{index:05d}"

    def _place(self, scan: str) -> tuple[_Archive, str]:
        if scan not in self._places:
            raise InputError(f"{self.path}: no scan {scan!r} in this store; make it again")
        return self._places[scan]

    def check_scans(self, category: str, scans: Iterable[str]) -> None:
        """Refuse scans of which the category has one not, and say some that it has."""
        if unknown := sorted(set(scans) - set(self.scans)):
            some = ", ".join(map(repr, self.scans[:3]))
            raise InputError(f"category {category!r} has no scan {unknown[0]!r}; it has {some}")

    def scan_attributes(self, scan: str) -> dict[str, Any]:
        part, number = self._place(scan)
        return part.read_attributes(f"scans/{number}/")

    def arrays(self, scan: str) -> list[str]:
        """Names of a scan's arrays."""
        part, number = self._place(scan)
        return sorted(part.entries.get(number, {}))

    def load(self, scan: str, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Read the named arrays of a scan; a name that the scan lacks is an InputError."""
        part, number = self._place(scan)
        found = self.arrays(scan)
        if missing := [name for name in names if name not in found]:
            raise InputError(f"{part.path}: scan {scan!r} has no array {missing[0]!r}, only {found}")
        return {name: part.read_array(number, name) for name in names}


def _common_attributes(shards: Sequence[_Archive]) -> dict[str, Any]:
    """Attributes that the shards' store would have as one; InputError where the shards do not belong together.

    What made them (a device, a package's version) may differ among shards: then all that was found is listed.
    """
    first = shards[0]
    for shard in shards[1:]:
        for key in sorted((first.attributes.keys() | shard.attributes.keys()) - {"scans", "provenance"}):
            found, expected = shard.attributes.get(key), first.attributes.get(key)
            if found != expected:
                raise InputError(f"{shard.path}: {key} is {found!r}, but {expected!r} in {first.path}; make both again")
    made = [shard.attributes["provenance"] for shard in shards]
    provenance = {}
    for key in dict.fromkeys(key for one in made for key in one):
        values = [one.get(key) for one in made]
        different = [value for index, value in enumerate(values) if value not in values[:index]]
        provenance[key] = different[0] if len(different) == 1 else different
    scans = sorted(scan for shard in shards for scan in shard.attributes["scans"])
    return {**first.attributes, "provenance": provenance, "scans": scans}


@contextmanager
def read(paths: Paths, kind: str) -> Iterator[StoreReader]:
    """Open a store, or its shards as if they were one.

    Raises InputError for a file that is missing, damaged or of another kind or schema, and for shards of two stores.
    """
    parts = [paths] if isinstance(paths, str | os.PathLike) else paths
    with ExitStack() as stack:
        # As many more open files as the system allows: a process's own limit is low by custom.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            more = soft + len(parts) if hard == resource.RLIM_INFINITY else min(soft + len(parts), hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        yield StoreReader([_Archive(Path(part), kind, stack) for part in parts])


def join(paths: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str], kind: str) -> None:
    """Put shards together, scan by scan: the bytes are those of the store that was written whole."""
    with read(paths, kind) as reader, write(output, kind, reader.attributes["provenance"], reader.attributes) as writer:
        for scan in reader.scans:
            writer.add(scan, reader.load(scan, reader.arrays(scan)), reader.scan_attributes(scan))


def check(path: str | os.PathLike[str], kind: str) -> None:
    """Refuse a store as `read` does, without reading a scan: a job can do so before its slow imports."""
    with read(path, kind):
        pass
