"""Organised tiffs: by tifffile's writer in every layout, by hand, and those that people have."""

import gzip
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from raw_files import tiff, write

from pointad_core.errors import InputError
from pointad_core.formats.tiff import read

CASES = Path(__file__).parents[3] / "shared/cases"
POINTS = np.random.default_rng(0).normal(size=(30, 40, 3)).astype(np.float32)
POINTS[3:5] = np.nan


def written(array: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def by_hand(points: np.ndarray) -> bytes:
    """Deflate with the predictor for floats, as written by its description: in each row the bytes of one weight
    together, from the highest on, and then the differences of neighbours, a pixel apart."""
    height, width, _ = points.shape
    raw = b""
    for row in points.astype(">f4"):
        bytes_of = np.frombuffer(row.tobytes(), np.uint8).reshape(-1, 4).T.ravel()
        differences = bytes_of.copy()
        differences[3:] -= bytes_of[:-3]
        raw += differences.tobytes()
    data = zlib.compress(raw)
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 8 + len(data)), (259, 3, 1, 8), (262, 3, 1, 2),
        (273, 4, 1, 8), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(data)), (284, 3, 1, 1), (317, 3, 1, 3),
        (339, 3, 3, 8 + len(data) + 6),
    ]  # fmt: skip
    extra = struct.pack("<3H", 32, 32, 32) + struct.pack("<3H", 3, 3, 3)
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(data) + 12) + data + extra + directory + struct.pack("<I", 0)


@pytest.mark.parametrize(
    "content",
    [
        tiff(POINTS),
        by_hand(POINTS),
        gzip.compress(tiff(POINTS)),
        written(POINTS, photometric="rgb"),
        written(POINTS, photometric="minisblack"),
        written(POINTS, byteorder=">", bigtiff=True, photometric="rgb"),
        written(POINTS, photometric="rgb", tile=(16, 16)),
        *(
            written(POINTS, photometric="rgb", compression=compression, predictor=predictor)
            for compression in ("lzw", "zlib", "zstd", "lzma")
            for predictor in (False, True)
        ),
        *(
            written(np.ascontiguousarray(np.moveaxis(POINTS, 2, 0)), **options)
            for options in (
                {"photometric": "rgb", "planarconfig": "separate"},
                {"photometric": "rgb", "planarconfig": "separate", "compression": "lzw", "predictor": True},
                {"photometric": "minisblack"},
                {"photometric": "minisblack", "compression": "zlib"},
                {"imagej": True},
            )
        ),
    ],
)
def test_every_layout(tmp_path, content):
    np.testing.assert_array_equal(read(write(tmp_path / "a.tiff", content)).points, POINTS)


@pytest.mark.parametrize("kind", ["f2", "f8", "u1", "i2", "u2", "i4"])
def test_types(tmp_path, kind):
    array = np.nan_to_num(POINTS * 20 + 100).astype(kind)
    path = write(tmp_path / "a.tiff", written(array, photometric="rgb"))
    np.testing.assert_array_equal(read(path, unit="mm").points, array)
    assert read(path, unit="mm").unit == "mm"
    if kind[0] != "f":
        with pytest.raises(InputError, match=r"its numbers are integers .* give the unit that they count"):
            read(path)
        with pytest.raises(InputError, match="unit 'ell' is unknown"):
            read(path, unit="ell")


def announced(height: int) -> bytes:
    """The directory of a huge picture."""
    content = bytearray(tiff(POINTS))
    at = content.index(struct.pack("<HHII", 257, 3, 1, 30))
    content[at : at + 12] = struct.pack("<HHII", 257, 4, 1, height)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\x89PNG\r\n", "not a readable tiff (it seems to be a png)"),
        (tiff(POINTS)[:2000], "not a readable tiff"),
        (b"II*\0", "not a readable tiff"),
        (announced(100_000_000), "100000000 x 40 x 3 of float32, more than 1024 MiB"),
        (written(POINTS[..., 0]), "array of shape (30, 40) and type float32, expected height x width x 3 floats"),
        (written(POINTS[..., :2], photometric="minisblack", planarconfig="contig"), "expected height x width x 3"),
        (written(POINTS[..., [0, 1, 2, 2]], photometric="rgb", extrasamples=[0]), "expected height x width x 3"),
        (written(POINTS.astype(complex), photometric="minisblack"), "expected height x width x 3"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, content, message):
    path = write(tmp_path / "a.tiff", content)
    with pytest.raises(InputError) as error:
        read(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not CASES.exists(), reason="the files are not here")
def test_files_that_people_have():
    for name in ("nan.tiff", "planar.tiff", "missing_is_z0.tiff"):
        expected = tifffile.imread(CASES / name)
        if name == "planar.tiff":
            expected = expected.transpose(1, 2, 0)
        np.testing.assert_array_equal(read(CASES / name).points, expected)
