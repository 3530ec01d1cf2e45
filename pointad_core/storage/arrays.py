"""Arrays and groups of a store in version 3 of the zarr format: entries by name, as zarr itself writes and reads them.

Stores need little of the format: an array is one chunk, compressed by Zstandard. zarr's own code for all the rest takes
a quarter of a second to import, in every job, and milliseconds for each array; any program that has it reads a store.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numcodecs.zstd import Zstd

DTYPES = {np.dtype(kind).name: np.dtype(kind) for kind in "?bhilBHILefd"}
_ZSTD = Zstd(level=0, checksum=False)


def _dump(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode()


def encode_group(attributes: Mapping[str, Any]) -> bytes:
    """The content of a group's zarr.json."""
    return _dump({"attributes": attributes, "zarr_format": 3, "node_type": "group"})


def decode_group(content: bytes) -> dict[str, Any]:
    """Attributes of a group from its zarr.json."""
    attributes: dict[str, Any] = json.loads(content)["attributes"]
    return attributes


def encode_array(array: np.ndarray) -> dict[str, bytes]:
    """An array's entries, "zarr.json" and its chunk, which one that is zero everywhere has not.

    Raises ValueError for elements other than bool, integers of up to 8 bytes and floats of up to 8.
    """
    if array.dtype.name not in DTYPES:
        raise ValueError(f"stores keep no arrays of {array.dtype}")
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    # An empty axis has no chunk of its own length; any positive length will do.
    grid = {"name": "regular", "configuration": {"chunk_shape": [max(1, n) for n in array.shape]}}
    endian = {"configuration": {"endian": "little"}} if array.itemsize > 1 else {}
    about = {
        "shape": list(array.shape),
        "data_type": array.dtype.name,
        "chunk_grid": grid,
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": array.dtype.type(0).item(),
        "codecs": [
            {"name": "bytes", **endian},
            {"name": "zstd", "configuration": {"level": _ZSTD.level, "checksum": _ZSTD.checksum}},
        ],
        "attributes": {},
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    # By its bits, so that -0.0 stays what it is.
    chunk = {_chunk_of(array.ndim): bytes(_ZSTD.encode(array))} if array.view(f"u{array.itemsize}").any() else {}
    return {"zarr.json": _dump(about), **chunk}


def decode_array(entries: Mapping[str, bytes]) -> np.ndarray:
    """An array from its entries as `encode_array` makes them."""
    about = json.loads(entries["zarr.json"])
    array = np.zeros(about["shape"], DTYPES[about["data_type"]].newbyteorder("<"))
    if chunk := entries.get(_chunk_of(array.ndim)):
        _ZSTD.decode(chunk, out=array)
    return array


def _chunk_of(ndim: int) -> str:
    """Name of the only chunk of an array."""
    return "/".join(["c", *"0" * ndim])
