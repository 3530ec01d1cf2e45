"""Files as the published data sets have them: what the generator writes its scans as."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pointad_core.storage.files import replacing


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def as_file(save: Callable[..., Any], *args: Any, **options: Any) -> bytes:
    """What a library writes that takes a file first."""
    buffer = io.BytesIO()
    save(buffer, *args, **options)
    return buffer.getvalue()


def png(pixels: np.ndarray) -> bytes:
    """Pixels u1[H,W], u1[H,W,3] or u2[H,W] as a PNG file."""
    return as_file(Image.fromarray(pixels).save, "png", compress_level=1)


def pcd(points: np.ndarray) -> bytes:
    """Points f4[n,3] as a binary pcd file."""
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        f"WIDTH {len(points)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(points)}\nDATA binary\n"
    )
    return header.encode() + points.astype("<f4").tobytes()


def stl(points: np.ndarray, triangles: np.ndarray) -> bytes:
    """A mesh of triangles i8[T,3] between points f4[n,3] as a binary stl file, which has each corner anew."""
    corners = points.astype(np.float32)[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    rows = np.zeros(len(triangles), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("more", "<u2")])
    rows["normal"], rows["corners"] = normals / np.where(lengths > 0, lengths, 1), corners
    return bytes(80) + len(rows).to_bytes(4, "little") + rows.tobytes()
