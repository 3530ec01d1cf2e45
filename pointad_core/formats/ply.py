"""PLY: the Polygon File Format, ASCII and binary of both byte orders, with properties of any type.

The vertices are the points. A mesh of few vertices is drawn rather than scanned: points are then taken from its faces.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.errors import InputError
from pointad_core.formats.colours import join_colours
from pointad_core.formats.columns import RGB, as_labels, canonical
from pointad_core.formats.reading import BYTE_ORDER_MARK, Reading, load, seems, shorten
from pointad_core.formats.rows import parse_rows
from pointad_core.formats.surface import FEW_VERTICES, as_triangles, sample, spread

TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "float": "f4",
    "double": "f8",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "int64": "i8",
    "uint64": "u8",
    "float32": "f4",
    "float64": "f8",
}
FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass
class Element:
    name: str
    count: int
    properties: list[tuple[str, str, str | None]]
    """Name, NumPy's type, and that of the length for a list."""

    @property
    def has_lists(self) -> bool:
        return any(length for _, _, length in self.properties)

    @property
    def smallest(self) -> int:
        """Bytes of a row at least."""
        return sum(np.dtype(length or kind).itemsize for _, kind, length in self.properties)


def read(path: Path, unit: str | None = None, n_samples: int | None = None, seed: int = 0, **_: Any) -> Reading:
    """Points of a ply, with their colours and labels where it has such properties.

    n_samples: points to draw from the faces, where there are faces; without it 200,000 of a mesh with fewer than
    20,000 vertices, and the vertices themselves of any other.

    Raises InputError where the header is none, or the data are not as long as it says.
    """
    content, notes = load(path)
    order, elements, body, n_lines = read_header(path, content)
    tables = read_binary(path, order, elements, body) if order else read_ascii(path, elements, bytes(body), n_lines)
    vertices = {canonical(name): column for name, column in tables["vertex"].items()}
    if missing := [name for name in "xyz" if name not in vertices]:
        raise InputError(f"{path}: vertices have no property {missing[0]}, but {', '.join(vertices) or 'none'}")
    points = np.empty((len(vertices["x"]), 3))
    with np.errstate(invalid="ignore"):
        for at, name in enumerate("xyz"):
            points[:, at] = vertices[name]
    colours = join_colours(path, [vertices[name] for name in RGB]) if vertices.keys() >= set(RGB) else None
    labels = None
    if "label" in vertices:
        labels = as_labels(path, vertices["label"], lambda row: f"label of vertex {row}")
    faces = tables.get("face", {})
    polygons = next((faces[name] for name in ("vertex_indices", "vertex_index") if name in faces), None)
    if polygons is None or len(polygons) == 0:
        return Reading(points, colours, labels, unit, notes)
    if n_samples is None and len(points) >= FEW_VERTICES:
        notes += (f"a mesh of {len(polygons)} faces, of which the {len(points)} vertices are taken",)
        return Reading(points, colours, labels, unit, notes)
    triangles = as_triangles(polygons)
    drawn, chosen, weights = sample(path, points, triangles, n_samples, seed)
    if colours is not None:
        colours = spread(colours, triangles, chosen, weights)
    if labels is not None:
        labels = labels[triangles[chosen, weights.argmax(axis=1)]]
    notes += (f"a mesh of {len(polygons)} faces and {len(points)} vertices, sampled to {len(drawn)} points",)
    return Reading(drawn, colours, labels, unit, notes)


def read_header(path: Path, content: bytes) -> tuple[str, list[Element], memoryview, int]:
    """Byte order ("" for ASCII), elements, what follows the header, and how many lines that has."""
    content = content.removeprefix(BYTE_ORDER_MARK)
    if not content.startswith((b"ply\n", b"ply\r")):
        raise InputError(f"{path}: not a ply{seems(content)}; it does not begin with a line `ply`")
    end = next(
        (
            content.find(b"end_header" + sign)
            for sign in (b"\r\n", b"\n", b"\r")
            if content.find(b"end_header" + sign, 0, 1_000_000) >= 0
        ),
        -1,
    )
    if end < 0:
        raise InputError(f"{path}: its header has no line end_header, or is cut short")
    start = end + 10 + (2 if content[end + 10 : end + 12] == b"\r\n" else 1)
    lines = content[:end].decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    order, elements = None, list[Element]()
    for number, line in enumerate(lines, 1):
        words = line.split()
        try:
            match words:
                case [] | ["ply"] | ["comment" | "obj_info", *_]:
                    pass
                case ["format", name, _] if name in FORMATS:
                    order = FORMATS[name]
                case ["element", name, count] if count.isascii() and count.isdecimal() and len(count) < 19:
                    elements.append(Element(name, int(count), []))
                case ["property", "list", length, kind, name] if TYPES[length][0] in "iu":
                    elements[-1].properties.append((name, TYPES[kind], TYPES[length]))
                case ["property", kind, name]:
                    elements[-1].properties.append((name, TYPES[kind], None))
                case _:
                    raise KeyError
        except LookupError:
            raise InputError(f"{path}: line {number} of its header is not understood: {shorten(line)}") from None
    if order is None:
        raise InputError(f"{path}: its header has no line format")
    if [element.name for element in elements].count("vertex") != 1:
        raise InputError(
            f"{path}: its header has no element vertex, or two; found "
            f"{shorten(', '.join(element.name for element in elements) or 'none')}"
        )
    body = memoryview(content)[start:]
    for element in elements:
        least = element.count * (element.smallest if order else 1)
        names = [name for name, _, _ in element.properties]
        if len(set(names)) != len(names):
            raise InputError(f"{path}: element {shorten(element.name)} has two properties of one name")
        if not element.properties and element.count:
            raise InputError(f"{path}: element {shorten(element.name)} has no properties")
        if least > len(body) + 1:
            raise InputError(
                f"{path}: the header says {element.count} of element {shorten(element.name)}, {least} bytes at least, "
                f"but {len(body)} follow it"
            )
        if element.name == "vertex" and element.count == 0:
            raise InputError(f"{path}: the header says 0 vertices")
    return order, elements, body, len(lines)


def read_binary(path: Path, order: str, elements: list[Element], body: memoryview) -> dict[str, dict[str, Any]]:
    tables, at = {}, 0
    for element in elements:
        if element.has_lists:
            table, at = read_lists(path, order, element, body, at)
        else:
            kind = np.dtype([(name, order + kind) for name, kind, _ in element.properties])
            if len(body) - at < element.count * kind.itemsize:
                raise InputError(
                    f"{path}: cut short, the header says {element.count} of element {shorten(element.name)} of "
                    f"{kind.itemsize} bytes, but {len(body) - at} bytes are left for them"
                )
            rows = np.frombuffer(body, kind, element.count, at)
            table = {name: rows[name] for name, _, _ in element.properties}
            at += element.count * kind.itemsize
        tables[element.name] = table
    # A line's end that a text tool put there does no harm.
    if bytes(body[at : at + 3]) not in (b"", b"\n", b"\r\n"):
        raise InputError(f"{path}: {len(body) - at} bytes follow the last element that the header says")
    return tables


def read_lists(path: Path, order: str, element: Element, body: memoryview, at: int) -> tuple[dict[str, Any], int]:
    """Columns of an element with lists, and where it ends; a list's column is [n,k] where all have k entries."""
    if element.count == 0:
        return {name: np.zeros((0, 0)) for name, _, _ in element.properties}, at
    # Nearly all files have triangles alone: one look at the first row, and all others are held against it.
    fields, offset = [], at
    for place, (_, kind, length) in enumerate(element.properties):
        number = 1
        if length:
            number = int(take(path, element, body, order + length, 1, offset)[0])
            fields.append((f"length{place}", order + length))
            offset += np.dtype(length).itemsize
        take(path, element, body, order + kind, number, offset)
        fields.append((f"values{place}", f"({number},){order}{kind}" if length else order + kind))
        offset += number * np.dtype(kind).itemsize
    row = np.dtype(fields)
    if len(body) - at >= element.count * row.itemsize:
        rows = np.frombuffer(body, row, element.count, at)
        lengths = [f"length{place}" for place, (_, _, length) in enumerate(element.properties) if length]
        if all((rows[name] == rows[name][0]).all() for name in lengths):
            columns = {name: rows[f"values{place}"] for place, (name, _, _) in enumerate(element.properties)}
            return columns, at + element.count * row.itemsize
    walked: dict[str, list[np.ndarray]] = {name: [] for name, _, _ in element.properties}
    for _ in range(element.count):
        for name, kind, length in element.properties:
            number = 1
            if length:
                number = int(take(path, element, body, order + length, 1, at)[0])
                at += np.dtype(length).itemsize
            walked[name].append(take(path, element, body, order + kind, number, at))
            at += number * np.dtype(kind).itemsize
    return gather(element, walked), at


def gather(element: Element, walked: dict[str, list[np.ndarray]]) -> dict[str, Any]:
    """Columns of rows that were walked: lists stay, and single values become an array."""
    lists = {name for name, _, length in element.properties if length}
    return {name: rows if name in lists or not rows else np.concatenate(rows) for name, rows in walked.items()}


def take(path: Path, element: Element, body: memoryview, kind: str, number: int, at: int) -> np.ndarray:
    if number < 0 or at + number * np.dtype(kind).itemsize > len(body):
        raise InputError(f"{path}: cut short or damaged within its {element.count} of element {shorten(element.name)}")
    return np.frombuffer(body, kind, number, at)


def read_ascii(path: Path, elements: list[Element], body: bytes, n_lines: int) -> dict[str, dict[str, Any]]:
    # Some programs put a byte-order mark between the header and the rows.
    body = body.removeprefix(BYTE_ORDER_MARK)
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    tables, at = {}, 0
    for element in elements:
        start, left = at, element.count
        while left and at < len(lines):
            left -= bool(lines[at].strip())
            at += 1
        if left:
            raise InputError(
                f"{path}: the header says {element.count} of element {shorten(element.name)}, but "
                f"{element.count - left} rows of it follow"
            )
        text, first = b"\n".join(lines[start:at]), n_lines + start + 1
        if element.has_lists:
            tables[element.name] = parse_lists(path, element, text, first)
        else:
            rows = parse_rows(path, text, first, len(element.properties))
            # As they stand: a float's 4 bytes are how a binary file would keep them.
            tables[element.name] = {
                name: rows[:, column]
                if kind[0] == "f" or kind[1] == "8"
                else as_integers(path, name, kind, rows[:, column])
                for column, (name, kind, _) in enumerate(element.properties)
            }
    if any(line.strip() for line in lines[at:]):
        raise InputError(f"{path}: line {n_lines + at + 1}: rows follow the last element that the header says")
    return tables


def as_integers(path: Path, name: str, kind: str, column: np.ndarray) -> np.ndarray:
    limits = np.iinfo(kind)
    wrong = ~((column == np.trunc(column)) & (column >= limits.min) & (column <= limits.max))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"{path}: row {row + 1} of property {shorten(name)} is {column[row]:g}, expected an integer from "
            f"{limits.min} to {limits.max}"
        )
    return column.astype(kind)


def parse_lists(path: Path, element: Element, text: bytes, first: int) -> dict[str, Any]:
    """Columns of an element with lists; only that of a single list is taken where all rows have the same width."""
    walked: dict[str, list[np.ndarray]] = {name: [] for name, _, _ in element.properties}
    if len(element.properties) == 1 and element.count:
        width = len(text.split(b"\n", 1)[0].split())
        if width == 4 and all(len(line.split()) == width for line in text.split(b"\n") if line.strip()):
            rows = parse_rows(path, text, first)
            if (rows[:, 0] == width - 1).all():
                return {element.properties[0][0]: rows[:, 1:]}
    for number, line in enumerate(text.split(b"\n"), first):
        if not line.strip():
            continue
        numbers = parse_rows(path, line, number)[0]
        at = 0
        for name, _, length in element.properties:
            size = 1
            if length:
                size = (
                    int(numbers[at]) if at < len(numbers) and numbers[at] >= 0 and numbers[at] < 1e6 else len(numbers)
                )
                at += 1
            walked[name].append(numbers[at : at + size])
            at += size
        if at != len(numbers):
            raise InputError(
                f"{path}: line {number}: {len(numbers)} numbers, expected {at} by the lengths of its lists"
            )
    return gather(element, walked)
