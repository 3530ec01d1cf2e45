"""Raw files of the layouts, written byte by byte: with no library that the readers use."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def tiff(points: np.ndarray) -> bytes:
    """A little-endian tiff of f4[H,W,C], uncompressed, a row a strip, as MVTec's files are."""
    height, width, channels = points.shape
    row = width * channels * 4
    data = points.astype("<f4").tobytes()
    start = 8
    extra = start + len(data)
    # Values that do not fit into their entry: bits and sample formats, offsets and counts of the strips.
    bits, formats = struct.pack(f"<{channels}H", *[32] * channels), struct.pack(f"<{channels}H", *[3] * channels)
    offsets = struct.pack(f"<{height}I", *range(start, extra, row))
    counts = struct.pack(f"<{height}I", *[row] * height)
    at_bits = extra
    at_formats = at_bits + len(bits) + len(bits) % 4
    at_offsets = at_formats + len(formats) + len(formats) % 4
    at_counts = at_offsets + len(offsets)
    at_directory = at_counts + len(counts)
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, channels, at_bits),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, height, at_offsets),
        (277, 3, 1, channels),
        (278, 3, 1, 1),
        (279, 4, height, at_counts),
        (284, 3, 1, 1),
        (339, 3, channels, at_formats),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    body = bits.ljust(at_formats - at_bits, b"\0") + formats.ljust(at_offsets - at_formats, b"\0") + offsets + counts
    return b"II*\0" + struct.pack("<I", at_directory) + data + body + directory + struct.pack("<I", 0)


def png(pixels: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """A png of u1 or u2 [H,W] or [H,W,C], of one to four channels; with a palette u1[n,3] of its numbers u1[H,W]; of
    bool[H,W] with a bit each."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    depth = {"u": 8 * pixels.dtype.itemsize, "b": 1}[pixels.dtype.kind]
    colour = 3 if palette is not None else {1: 0, 2: 4, 3: 2, 4: 6}[pixels[0, 0].size]
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, colour, 0, 0, 0)
    lines = [np.packbits(row) if depth == 1 else row.astype(f">u{depth // 8}") for row in pixels]
    parts = [(b"IHDR", header)] + ([] if palette is None else [(b"PLTE", palette.tobytes())])
    parts += [(b"IDAT", zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines), 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def pcd(points: np.ndarray, kind: str = "ascii") -> bytes:
    """A pcd of f4[n,3], "ascii" or "binary"."""
    n = len(points)
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        f"WIDTH {n}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {n}\nDATA {kind}\n"
    )
    body = points.astype("<f4").tobytes()
    if kind == "ascii":
        body = "".join(f"{x:.7g} {y:.7g} {z:.7g}\n" for x, y, z in points.tolist()).encode()
    return header.encode() + body


def stl(corners: np.ndarray) -> bytes:
    """A binary stl of triangles, by their corners [T,3,3]; no normals."""
    body = b"".join(struct.pack("<12fH", 0, 0, 0, *triangle.ravel().tolist(), 0) for triangle in corners)
    return b"a mesh".ljust(80) + struct.pack("<I", len(corners)) + body


def rows(points: np.ndarray, labels: np.ndarray, separator: str = " ") -> str:
    """Rows `x y z label` of a label file."""
    return "".join(
        separator.join([f"{x:.6f}", f"{y:.6f}", f"{z:.6f}", str(int(label))]) + "\n"
        for (x, y, z), label in zip(points.tolist(), labels.tolist(), strict=True)
    )


def mvtec_scan(root: Path, name: str, points: np.ndarray, rgb: np.ndarray, gt: np.ndarray) -> dict[str, Path]:
    """A scan "<category>/test/<defect>/<id>" by its role."""
    folder, number = (root / name).parent, Path(name).name
    return {
        "xyz": write(folder / "xyz" / f"{number}.tiff", tiff(points)),
        "rgb": write(folder / "rgb" / f"{number}.png", png(rgb)),
        "gt": write(folder / "gt" / f"{number}.png", png(gt)),
    }


def plane_and_ball(side: int = 60, missing: float = 0.1, seed: int = 0) -> tuple[np.ndarray, ...]:
    """points f4[H,W,3] in metres of half a ball on a tilted plane, rgb, gt with a patch on the ball, and where the
    ball is; a part of the pixels is missing."""
    rng = np.random.default_rng(seed)
    line = np.linspace(-0.05, 0.05, side)
    x, y = np.meshgrid(line, line)
    plane = 0.65 + 0.2 * y + 0.1 * x
    height = np.sqrt(np.maximum(0.025**2 - x**2 - y**2, 0))
    ball = height > 0.006
    points = np.stack([x, y, plane - height], axis=2).astype(np.float32)
    points[rng.random((side, side)) < missing] = 0
    rgb = rng.integers(1, 255, (side, side, 3)).astype(np.uint8)
    gt = np.zeros((side, side), np.uint8)
    middle = side // 2
    gt[middle : middle + side // 12, middle : middle + side // 12] = 253
    return points, rgb, gt, ball


POSE = np.array([[0.8, -0.6, 0, 0.3], [0.36, 0.48, -0.8, -0.2], [0.48, 0.64, 0.6, 1.5], [0, 0, 0, 1]])
"""The camera of `eyecandies_sample`."""


def eyecandies_sample(root: Path, sample: str, anomalous: bool | None, mask: bool, seed: int = 0) -> dict[str, Path]:
    """A sample of the category Gum by its item; `anomalous` None for one without metadata."""
    rng = np.random.default_rng(seed)
    grey = np.zeros((512, 512), np.uint8)
    grey[100:110, 200:220] = 255 * mask
    depth = rng.integers(0, 65536, (512, 512)).astype(np.uint16)
    contents = {
        "depth.png": png(depth),
        "info_depth.yaml": "normalization:\n  max: 3.25\n  min: 1.5\n",
        "pose.txt": "\n".join(" ".join(repr(float(number)) for number in row) for row in POSE),
        "image_0.png": png(rng.integers(0, 255, (512, 512, 3)).astype(np.uint8)),
        "mask.png": png(grey),
        # What is not read, but is there.
        "bumps_mask.png": png(grey),
        "image_4.png": "not read",
        "normals.png": "not read",
        "obj_params.yaml": "not: read",
    }
    if anomalous is not None:
        contents["metadata.yaml"] = f"anomalous: {int(anomalous)}\n"
    folder = root / "Gum" / "test_public" / "data"
    return {item: write(folder / f"{sample}_{item}", content) for item, content in contents.items()}
