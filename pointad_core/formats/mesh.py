"""STL and OBJ: meshes, of whose surface points are drawn, or whose corners are the points."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.errors import InputError
from pointad_core.formats.colours import join_colours
from pointad_core.formats.reading import BYTE_ORDER_MARK, Reading, load, seems, shorten
from pointad_core.formats.rows import lines_of, parse_rows
from pointad_core.formats.surface import FEW_VERTICES, as_triangles, sample, spread


def read(path: Path, unit: str | None = None, n_samples: int | None = None, seed: int = 0, **_: Any) -> Reading:
    """Points drawn evenly from the surface of a mesh; the vertices of an obj as they stand where it has many.

    n_samples: how many, 200,000 without it. Raises InputError for what is none of both, and a mesh without faces.
    """
    content, notes = load(path)
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".stl"):
        corners, colours, triangles = read_stl(path, content)
    else:
        corners, colours, triangles = read_obj(path, content)
        if n_samples is None and len(corners) >= FEW_VERTICES and len(triangles):
            notes += (f"a mesh of {len(triangles)} faces, of which the {len(corners)} vertices are taken",)
            return Reading(corners, colours, None, unit, notes)
    points, chosen, weights = sample(path, corners, triangles, n_samples, seed)
    if colours is not None:
        colours = spread(colours, triangles, chosen, weights)
    notes += (f"a mesh of {len(triangles)} triangles, sampled to {len(points)} points",)
    return Reading(points, colours, None, unit, notes)


def read_corners(path: Path) -> Reading:
    """The corners of an stl's triangles, each once, in the order in which the file first has them: a scanner's points.

    Raises InputError for what is no stl.
    """
    content, notes = load(path)
    corners, _, triangles = read_stl(path, content)
    # -0 is 0.
    first = np.unique(corners + 0.0, axis=0, return_index=True)[1]
    points = corners[np.sort(first)]
    return Reading(
        points, notes=(*notes, f"a mesh of {len(triangles)} triangles, of which the {len(points)} corners are taken")
    )


def read_stl(path: Path, content: bytes) -> tuple[np.ndarray, None, np.ndarray]:
    """Corners f8[3T,3] and triangles i8[T,3], a corner for each triangle that has it."""
    number = int.from_bytes(content[80:84], "little")
    # A binary file may begin with "solid" too: its length tells.
    if len(content) >= 84 and len(content) == 84 + 50 * number:
        kind = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("more", "<u2")])
        with np.errstate(invalid="ignore"):
            corners = np.frombuffer(content, kind, number, 84)["corners"].reshape(-1, 3).astype(np.float64)
    elif re.match(rb"\s*solid\b", content, re.IGNORECASE) and b"\0" not in content:
        text = content.lower().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not re.search(rb"\bendsolid\b", text):
            raise InputError(f"{path}: cut short, it has no line endsolid")
        corners = parse_rows(path, only(text, rb"vertex"), width=3, shift=1)
        if len(corners) != 3 * len(re.findall(rb"(?m)^[ \t]*facet\b", text)):
            raise InputError(f"{path}: {len(corners)} lines vertex, expected three for each facet")
    elif len(content) >= 84 and not seems(content):
        expected = 84 + 50 * number
        raise InputError(
            f"{path}: not a whole stl; {number} triangles take {expected} bytes, but it has {len(content)}"
        )
    else:
        raise InputError(f"{path}: not an stl{seems(content)}")
    return corners, None, np.arange(len(corners)).reshape(-1, 3)


def read_obj(path: Path, content: bytes) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Corners f8[V,3], their colours u1[V,3] where the file has some, and triangles i8[T,3]."""
    if b"\0" in content[:4000] or seems(content):
        raise InputError(f"{path}: not an obj{seems(content)}")
    text = content.removeprefix(BYTE_ORDER_MARK).replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\\\n", b" ")
    rows = parse_rows(path, only(text, rb"v"), shift=1)
    # A weight may follow, or a colour of 0 to 1, or both.
    if rows.shape[1] not in (3, 4, 6, 7):
        raise InputError(f"{path}: no obj with vertices; lines v have {rows.shape[1]} numbers, expected 3, 4, 6 or 7")
    colours = None
    if rows.shape[1] >= 6:
        colours = join_colours(path, list(rows[:, -3:].T))
    return rows[:, :3].copy(), colours, as_triangles(read_faces(path, text, len(rows)))


def read_faces(path: Path, text: bytes, n_vertices: int) -> np.ndarray | list[np.ndarray]:
    """Corners, from 0 on, of an obj's faces: [T,3] where all are triangles."""
    faces = only(text, rb"f")
    words = [line.split() for line in faces.split(b"\n")]
    lines = np.array([number for number, line in enumerate(words, 1) if line], np.int64)
    counts = np.array([len(line) for line in words if line], np.int64)
    if len(lines) == 0:
        return np.zeros((0, 3), np.int64)

    def refuse(line: int) -> InputError:
        found = shorten(b" ".join(words[line - 1]).decode("utf-8", "replace"))
        return InputError(f"{path}: line {line}: face {found}, expected corners from 1 to {n_vertices}")

    # Of "corner/texture/normal" the corner.
    flat = [word.partition(b"/")[0] for line in words for word in line]
    try:
        corners = np.array(flat).astype(np.int64)
    except (ValueError, OverflowError):
        first = next(at for at, word in enumerate(flat) if not re.fullmatch(rb"[+-]?\d{1,18}", word))
        raise refuse(int(np.repeat(lines, counts)[first])) from None
    if (corners < 0).any():
        # Counted back from the vertex before the face.
        before = np.searchsorted(lines_of(only(text, rb"v")), lines)
        corners = np.where(corners < 0, corners + np.repeat(before, counts) + 1, corners)
    wrong = (corners < 1) | (corners > n_vertices)
    if wrong.any():
        raise refuse(int(np.repeat(lines, counts)[np.argmax(wrong)]))
    corners -= 1
    if (counts == 3).all():
        return corners.reshape(-1, 3)
    return np.split(corners, np.cumsum(counts)[:-1])


def only(text: bytes, key: bytes) -> bytes:
    """The lines of a text that begin with a key, without it; the others are blank, so that each keeps its number."""
    rest = re.sub(rb"(?m)^(?![ \t]*" + key + rb"[ \t])[^\n]+", b"", text)
    return re.sub(rb"(?m)^[ \t]*" + key + rb"[ \t]", b" ", rest)
