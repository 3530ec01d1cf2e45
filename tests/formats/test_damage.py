"""Damaged files of every kind: other numbers, or one clear line, and never anything else."""

import gzip
import io
import json
from pathlib import Path

import laspy
import numpy as np
import pye57
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from plyfile import PlyData, PlyElement
from raw_files import pcd, png, rows

from pointad_core.errors import InputError
from pointad_core.formats.labels import read_labels
from pointad_core.formats.missing import find_missing
from pointad_core.formats.registry import read

POINTS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


def in_memory(save) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def ply(text: bool) -> bytes:
    table = np.zeros(40, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")])
    faces = np.empty(9, [("vertex_indices", object)])
    faces["vertex_indices"] = [np.arange(at, at + 3 + at % 2) for at in range(9)]
    for at, name in enumerate("xyz"):
        table[name] = POINTS[:, at]
    elements = [
        PlyElement.describe(table, "vertex"),
        PlyElement.describe(faces, "face", val_types={"vertex_indices": "i4"}, len_types={"vertex_indices": "u1"}),
    ]
    return in_memory(PlyData(elements, text=text, byte_order="=" if text else "<").write)


def las() -> bytes:
    data = laspy.create(point_format=7)
    data.x, data.y, data.z = POINTS.T
    return in_memory(data.write)


def e57(folder: Path) -> bytes:
    file = pye57.E57(str(folder / "whole.e57"), mode="w")
    file.write_scan_raw({f"cartesian{axis}": POINTS[:, at].astype(float) for at, axis in enumerate("XYZ")})
    file.close()
    return (folder / "whole.e57").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    grid = POINTS[:36].reshape(4, 9, 3)
    text = rows(POINTS, POINTS[:, 0] > 0)
    obj = "".join(f"v {x} {y} {z}\n" for x, y, z in POINTS.tolist()) + "f 1 2 3\nf 4/1 5/1 6/1 7/1\nf -1 -2 -3\n"
    stl = bytes(80) + (12).to_bytes(4, "little") + b"".join(POINTS[:4].tobytes() + b"\0\0" for _ in range(12))
    return folder, {
        "a.pcd": pcd(POINTS),
        "b.pcd": pcd(POINTS, "binary"),
        "a.ply": ply(True),
        "b.ply": ply(False),
        "a.xyz": text.encode(),
        "a.csv": ("x;y;z;label\n" + text.replace(" ", ";")).encode(),
        "a.pts": b"2\n1 2 3 -4 5 6 7\n1 2 3 -4 5 6 8\n",
        "a.obj": obj.encode(),
        "a.stl": stl,
        "a.tiff": in_memory(lambda file: tifffile.imwrite(file, grid, photometric="rgb")),
        "b.tiff": in_memory(lambda file: tifffile.imwrite(file, grid, photometric="rgb", compression="lzw")),
        "a.npy": in_memory(lambda file: np.save(file, POINTS)),
        "a.npz": in_memory(lambda file: np.savez_compressed(file, points=POINTS)),
        "a.png": png(np.arange(500, 560, dtype=np.uint16).reshape(6, 10)),
        "a.las": las(),
        "a.e57": e57(folder),
        "a.pcd.gz": gzip.compress(pcd(POINTS, "binary")),
    }


NAMES = [
    *("a.pcd", "b.pcd", "a.ply", "b.ply", "a.xyz", "a.csv", "a.pts", "a.obj", "a.stl", "a.tiff", "b.tiff", "a.npy"),
    *("a.npz", "a.png", "a.las", "a.e57", "a.pcd.gz"),
]
INTERESTING = st.sampled_from([0, 1, 9, 10, 13, 32, 45, 46, 48, 57, 127, 128, 255]) | st.integers(0, 255)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damage_is_read_or_said(whole, name, data):
    folder, files = whole
    content = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1) | st.integers(0, min(300, len(content) - 1)))
        match data.draw(st.sampled_from(["change", "cut", "add", "drop"])):
            case "change":
                content[at] = data.draw(INTERESTING)
            case "cut":
                del content[max(at, 1) :]
            case "add":
                content[at:at] = bytes([data.draw(INTERESTING)])
            case "drop":
                del content[at : at + data.draw(st.integers(1, 9))]
        content = content or bytearray(b"x")
    path = folder / name
    path.write_bytes(bytes(content))
    (folder / "intrinsics.json").write_text(json.dumps({"fx": 9, "fy": 9, "cx": 4, "cy": 4, "unit": "mm"}))
    try:
        reading = read(path, n_samples=10, unit="mm")
        assert reading.points.dtype == np.float64
        assert reading.points.shape[-1] == 3
        assert reading.points.size > 0
        for other in (reading.colours, reading.labels):
            assert other is None or other.shape[: reading.points.ndim - 1] == reading.points.shape[:-1]
        find_missing(reading.points)
    except InputError as error:
        text = str(error)
    else:
        text = f"{path}: "
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    if name in ("a.xyz", "a.csv"):
        try:
            places, labels = read_labels(path)
            assert places is None or len(places) == len(labels)
        except InputError as error:
            text = str(error)
        assert text.startswith(f"{path}: ")
