"""Stores: one zarr group in one zip file for all scans of a category.

A store is written beside its place and moved there when it is whole, so that a file which exists under its
name is complete; its bytes depend on its content alone (no time stamps). Each scan is a group of arrays, one
chunk an array, so that a stage reads and writes scan by scan and never holds a category in memory.

Layout::

    zarr.json                   attributes: kind, schema, complete, scans, provenance, and those of the stage
    scans/00000/zarr.json       attributes of the first scan, its name among them
    scans/00000/<array>         arrays of the first scan
"""

from __future__ import annotations

import errno
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import MemoryStore, ZipStore

from pointad_core.errors import InputError

SCHEMA = 1
"""Version of the layout above; a store of another version is refused."""

# The archive's comment is its last bytes: a file cut short or changed at its end lacks it.
_SEAL = b"pointad_core store, complete"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
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


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path to write to; move what was written there to `path` when the block ends without an error.

    Whatever goes wrong, `path` is either untouched or whole, and the partial file is removed. Raises OSError with the
    path where the disk is full, which the system's own error does not name.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        if error.errno in _NO_ROOM and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


class StoreWriter:
    """What `write` hands out: takes the scans one after the other."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._scans: list[str] = []

    def _copy(self, entries: Mapping[str, Any]) -> None:
        # Fixed order and date: the same content gives the same bytes.
        for key in sorted(entries):
            info = zipfile.ZipInfo(key, date_time=_EPOCH)
            info.external_attr = 0o644 << 16
            self._archive.writestr(info, entries[key].to_bytes())

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
        self._archive.comment = _SEAL


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
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
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


class StoreReader:
    """What `read` hands out: attributes, names of the scans, and the arrays of one scan at a time."""

    def __init__(self, path: Path, group: zarr.Group) -> None:
        self.path = path
        self._group = group

    @cached_property
    def attributes(self) -> dict[str, Any]:
        return dict(self._group.attrs)

    @property
    def scans(self) -> list[str]:
        """Names of the scans in the order in which they were written."""
        return list(self.attributes["scans"])

    @contextmanager
    def _open_scan(self, scan: str) -> Iterator[zarr.Group]:
        # Zip keeps a CRC-32 of each entry and checks it when the entry is read: a flipped bit is seen.
        if scan not in self.attributes["scans"]:
            raise InputError(f"{self.path}: no scan {scan!r} in this store; make it again")
        try:
            yield self._group[f"scans/{self.attributes['scans'].index(scan):05d}"]  # type: ignore[misc]
        except InputError:
            raise
        except (zipfile.BadZipFile, KeyError, RuntimeError, ValueError, OSError) as error:
            raise InputError(f"{self.path}: the store is damaged ({error}); delete it and run again") from error

    def scan_attributes(self, scan: str) -> dict[str, Any]:
        with self._open_scan(scan) as group:
            return dict(group.attrs)

    def arrays(self, scan: str) -> list[str]:
        """Names of a scan's arrays."""
        with self._open_scan(scan) as group:
            return sorted(group.array_keys())

    def load(self, scan: str, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Read the named arrays of a scan; a name that the scan lacks is an InputError."""
        loaded = {}
        with self._open_scan(scan) as group:
            for name in names:
                if name not in group:
                    found = sorted(group.array_keys())
                    raise InputError(f"{self.path}: scan {scan!r} has no array {name!r}, only {found}")
                loaded[name] = np.asarray(group[name][...])  # type: ignore[index]
        return loaded


@contextmanager
def read(path: str | os.PathLike[str], kind: str) -> Iterator[StoreReader]:
    """Open a store; refuse one that is missing, damaged, incomplete, or of another kind or schema."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such store")
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.comment != _SEAL:
                raise zipfile.BadZipFile("its end is not as it was written")
        store = ZipStore(path, mode="r")
        group = zarr.open_group(store, mode="r")
        attributes = dict(group.attrs)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable store ({error}); delete it and run again") from error
    try:
        for key, wanted in (("kind", kind), ("schema", SCHEMA), ("complete", True)):
            if attributes.get(key) != wanted:
                raise InputError(f"{path}: {key} is {attributes.get(key)!r}, expected {wanted!r}; make it again")
        yield StoreReader(path, group)
    finally:
        store.close()


def check(path: str | os.PathLike[str], kind: str) -> None:
    """Refuse a store as `read` does, without reading a scan: a job can do so before its slow imports."""
    with read(path, kind):
        pass
