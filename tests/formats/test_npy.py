"""NumPy's files, and what could hide in them."""

import gzip
import io
import pickle
import zipfile

import numpy as np
import pytest
from raw_files import write

from pointad_core.errors import InputError
from pointad_core.formats.npy import read

POINTS = np.random.default_rng(0).normal(size=(30, 3))


def npy(array: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["<f4", ">f8", "f2", "<i2", "u1", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays(tmp_path, kind, order):
    array = np.asarray(np.abs(POINTS * 50), kind, order=order)
    reading = read(write(tmp_path / "a.npy", npy(array)), unit="mm")
    np.testing.assert_array_equal(reading.points, array)
    assert reading.points.dtype == np.float64
    grid = read(write(tmp_path / "a.npy", gzip.compress(npy(array.reshape(5, 6, 3)))), unit="mm")
    np.testing.assert_array_equal(grid.points, array.reshape(5, 6, 3))
    assert grid.notes == ("gzipped",)
    assert grid.unit == "mm"


def test_more_columns_and_names(tmp_path):
    more = np.c_[POINTS, np.arange(30)]
    reading = read(write(tmp_path / "a.npy", npy(more)))
    np.testing.assert_array_equal(reading.points, POINTS)
    assert reading.notes == ("1 further columns are not read",)
    rgb = np.random.default_rng(1).integers(0, 255, (30, 3)).astype(np.uint8)
    labels = np.arange(30) > 20
    for arrays in (
        {"a": POINTS},
        {"xyz": POINTS, "other": more},
        {"points": POINTS, "colors": rgb, "labels": labels},
        {"Points": POINTS, "rgb": rgb / 255, "gt": labels * 255},
    ):
        reading = read(write(tmp_path / "a.npz", npz(**arrays)))
        np.testing.assert_array_equal(reading.points, POINTS)
        if len(arrays) == 3:
            np.testing.assert_array_equal(reading.colours, rgb)
            np.testing.assert_array_equal(reading.labels, labels)
    two = write(tmp_path / "a.npz", npz(first=POINTS, second=2 * POINTS))
    np.testing.assert_array_equal(read(two, key="second").points, 2 * POINTS)


@pytest.mark.parametrize("shape", [(48, 64), (3, 30)])
def test_a_depth_image_and_points_lying_down_are_no_rows_of_points(tmp_path, shape):
    path = write(tmp_path / "a.npy", npy(np.random.default_rng(0).random(shape)))
    with pytest.raises(InputError, match=rf"a\.npy: array of shape \({shape[0]}, {shape[1]}\) .*expected numbers"):
        read(path)


def changed(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new.ljust(len(old)))


def zip_of(content: bytes, name: str = "points.npy") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (pickle.dumps(POINTS), "not an npy or npz (it seems to be a pickle)"),
        (npy(np.array([{}, 1], object), allow_pickle=True), "is no readable array"),
        (zip_of(npy(np.array([{}, 1], object), allow_pickle=True)), "is no readable array"),
        (npy(POINTS)[:-9], "announces 720 bytes, but"),
        (changed(npy(POINTS), b"(30, 3), }   ", b"(99999999999, 3), }"[:12]), "is no readable array"),
        (changed(npy(POINTS), b"(30, 3), }" + 12 * b" ", b"(99999999999, 3), }"), "announces 2399999999976 bytes"),
        (npy(POINTS[:, :2]), "array of shape (30, 2) and type float64, expected numbers [N,3] or [H,W,3]"),
        (npy(POINTS[:0]), "array of shape (0, 3)"),
        (npy(POINTS + 1j), "type complex128, expected numbers"),
        (npy(POINTS > 0), "type bool, expected numbers"),
        (npy((POINTS * 9).astype(int)), "its numbers are integers (int64); give the unit"),
        (npz(a=POINTS, b=POINTS), "which array holds the points? It has a, b"),
        (npz(points=POINTS, rgb=np.zeros((2, 3))), "colours of shape (2, 3) for points of shape (30, 3)"),
        (npz(points=POINTS, labels=np.zeros(3)), "labels of shape (3,)"),
        (npz(points=POINTS, labels=np.full(30, -1)), "label of point 0: label -1"),
        (zip_of(b"text", "readme.txt"), "a zip archive without arrays, not an npz"),
        (npz(points=POINTS)[:-30], "not a whole npz"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, content, message):
    path = write(tmp_path / "a.npz", content)
    with pytest.raises(InputError) as error:
        read(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_bomb_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("pointad_core.formats.npy.LARGEST_UNZIPPED", 1 << 20)
    path = write(tmp_path / "a.npz", npz(points=np.zeros((100_000, 3))))
    with pytest.raises(InputError, match="unzips to 2 MiB, more than 1"):
        read(path)
    with pytest.raises(InputError, match="has no array 'x'; it has points"):
        read(path, key="x")
