"""Entries of stores against zarr's own."""

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from pointad_core.storage.arrays import DTYPES, decode_array, decode_group, encode_array, encode_group


def entries_of_zarr(array):
    store = {}
    zarr.create_array(MemoryStore(store), name="x", data=array, chunks=tuple(max(1, n) for n in array.shape))
    return {name[2:]: content.to_bytes() for name, content in store.items() if name.startswith("x/")}


@pytest.mark.parametrize("shape", [(1,), (0,), (3,), (0, 3), (2, 3, 4), (150, 200)])
@pytest.mark.parametrize("kind", DTYPES)
def test_entries_are_those_of_zarr_to_the_byte_and_come_back_as_they_were(kind, shape):
    drawn = np.random.default_rng(7).normal(size=shape) * 50
    for array in (drawn.astype(kind), np.zeros(shape, kind), np.full(shape, -0.0).astype(kind)):
        entries = encode_array(array)
        assert entries == entries_of_zarr(array)
        back = decode_array(entries)
        assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_an_array_that_is_not_in_order_in_memory_is_written_as_it_reads():
    array = np.arange(24, dtype=">i4").reshape(2, 3, 4).transpose(2, 0, 1)[::-1]
    entries = encode_array(array)
    assert entries == entries_of_zarr(np.ascontiguousarray(array, "<i4"))
    assert (decode_array(entries) == array).all()


def test_attributes_are_written_as_by_zarr():
    attributes = {"b": None, "a": [1, 2.5, "Käse\n"], "small": 1e-7, "nested": {"z": True, "a": {}}}
    store = {}
    zarr.create_group(MemoryStore(store), attributes=attributes)
    assert encode_group(attributes) == store["zarr.json"].to_bytes()
    assert decode_group(encode_group(attributes)) == attributes


def test_an_array_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="stores keep no arrays of complex64"):
        encode_array(np.zeros(3, np.complex64))
