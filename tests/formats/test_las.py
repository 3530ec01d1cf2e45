"""LAS and LAZ, by bytes written here and by laspy."""

import struct
from pathlib import Path

import laspy
import numpy as np
import pytest
from raw_files import write

from pointad_core.errors import InputError
from pointad_core.formats.las import read


def by_hand(counts: np.ndarray, offset: tuple[float, ...], scale: float) -> bytes:
    """A las 1.2 of point format 0: coordinates as integers i4[N,3] of a step from an offset on."""
    n = len(counts)
    header = struct.pack(
        "<4sHHIHH8sBB32s32sHHHIIBHI5I12d", b"LASF", 0, 0, 0, 0, 0, bytes(8), 1, 2, b"", b"", 1, 2026, 227, 227, 0, 0,
        20, n, n, 0, 0, 0, 0, scale, scale, scale, *offset, *[0.0] * 6,
    )  # fmt: skip
    return header + b"".join(struct.pack("<3iHBBbBH", *row, 7, 9, 2, 0, 0, 0) for row in counts.tolist())


COUNTS = np.random.default_rng(0).integers(-100_000, 100_000, (60, 3))


def test_large_coordinates_in_double(tmp_path):
    reading = read(write(tmp_path / "a.las", by_hand(COUNTS, (4e5, 5e6, 100), 0.001)))
    np.testing.assert_array_equal(reading.points, COUNTS * 0.001 + (4e5, 5e6, 100))
    assert np.unique(reading.points[:, 1]).size == np.unique(COUNTS[:, 1]).size
    assert reading.colours is None
    assert reading.unit is None


def saved(path: Path, full: bool = True) -> tuple[Path, laspy.LasData]:
    las = laspy.create(point_format=7 if full else 1)
    rng = np.random.default_rng(0)
    las.header.offsets, las.header.scales = (4e5, 5e6, 0), (1e-4, 1e-4, 1e-4)
    if full:
        las.add_extra_dim(laspy.ExtraBytesParams("label", "uint8"))
    las.x, las.y, las.z = rng.random(40) + 4e5, rng.random(40) + 5e6, rng.random(40)
    if full:
        las.red, las.green, las.blue = (rng.integers(0, 65536, 40) for _ in range(3))
        las["label"] = rng.integers(0, 2, 40) * 3
    las.write(str(path))
    return path, las


@pytest.mark.parametrize("name", ["a.las", "a.laz"])
def test_colours_and_labels(tmp_path, name):
    path, las = saved(tmp_path / name)
    reading = read(path, unit="m")
    np.testing.assert_array_equal(reading.points, np.stack([las.x, las.y, las.z], axis=1))
    np.testing.assert_array_equal(reading.colours[:, 1], np.round(np.asarray(las.green) / 257))
    np.testing.assert_array_equal(reading.labels, np.asarray(las["label"]) == 3)
    assert reading.unit == "m"
    plain, _ = saved(tmp_path / f"plain_{name}", full=False)
    assert read(plain).labels is None


def test_what_is_wrong_is_said(tmp_path):
    whole = by_hand(COUNTS, (0, 0, 0), 0.001)
    many = bytearray(whole)
    many[107:111] = struct.pack("<I", 4_000_000_000)
    records = bytearray(whole)
    records[100:104] = struct.pack("<I", 4_000_000_000)
    stuck = COUNTS.copy()
    stuck[3:7, 1] = -(2**31)
    laz = saved(tmp_path / "a.laz")[0].read_bytes()
    for content, message in (
        (b"", "the file is empty"),
        (b"ply\n", "not a las or laz (it seems to be a ply)"),
        (whole[:100], "not a readable las or laz"),
        (whole[:-40], "the header says 60 points, but"),
        (whole[:-30], "not a readable las or laz"),
        (bytes(many), "the header says 4000000000 points, but it has 1427 bytes"),
        (bytes(records), "the header says 4000000000 records, but it has 1427 bytes"),
        (by_hand(COUNTS[:0], (0, 0, 0), 0.001), "no points"),
        (by_hand(stuck, (0, 0, 0), 0.001), "y of 4 points did not fit into the file when it was written"),
        (laz[: len(laz) // 2], "las"),
    ):
        path = write(tmp_path / "b.laz", content)
        with pytest.raises(InputError) as error:
            read(path)
        assert message in str(error.value)
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)
