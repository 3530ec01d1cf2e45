"""PCD: the Point Cloud Library's files, ASCII, binary and compressed, held against what their header says.

Written for every type of field, which neither of Open3D's readers is right for: the one for points of floats of
8 bytes gives zeros, the other takes memory for whatever number of points the header announces.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.errors import InputError
from pointad_core.formats.colours import join_colours, unpack_colours
from pointad_core.formats.columns import as_labels
from pointad_core.formats.reading import BYTE_ORDER_MARK, Reading, load, seems, shorten
from pointad_core.formats.rows import lines_of, parse_rows

TYPES = {"F": (4, 8), "I": (1, 2, 4, 8), "U": (1, 2, 4, 8)}
"""Sizes in bytes of floats, integers with a sign and without one."""

KEYS = {"VERSION", "FIELDS", "COLUMNS", "SIZE", "TYPE", "COUNT", "WIDTH", "HEIGHT", "VIEWPOINT", "POINTS", "DATA"}


@dataclass(frozen=True)
class Header:
    fields: tuple[str, ...]
    types: tuple[str, ...]
    """NumPy's, such as "<f4"."""
    counts: tuple[int, ...]
    width: int
    height: int
    data: str
    n_lines: int
    notes: tuple[str, ...]

    @property
    def n_points(self) -> int:
        return self.width * self.height

    @property
    def row_size(self) -> int:
        return sum(int(kind[2:]) * count for kind, count in zip(self.types, self.counts, strict=True))


def read(path: Path, unit: str | None = None, **_: Any) -> Reading:
    """Points of a pcd as they stand in it, organised where it has more than one row; colours where it has any.

    Raises InputError where the header does not say what it must, the data is not as long as the header says, or a
    number of an ASCII row is none.
    """
    content, notes = load(path)
    content = content.removeprefix(BYTE_ORDER_MARK)
    header, body = read_header(path, content)
    if header.data == "ascii":
        columns = read_ascii(path, header, body)
    elif header.data == "binary":
        columns = read_binary(path, header, body)
    else:
        columns = read_compressed(path, header, body)
    shape = (header.height, header.width) if header.height > 1 and header.width > 1 else (header.n_points,)
    points = np.empty((header.n_points, 3))
    # A NaN may be one that signals, as bytes happen to be.
    with np.errstate(invalid="ignore"):
        for at, name in enumerate("xyz"):
            points[:, at] = columns[name]
    colours = None
    packed = next((name for name in ("rgb", "rgba") if name in columns), None)
    if packed:
        colours = unpack_colours(columns[packed])
    for names in (("r", "g", "b"), ("red", "green", "blue")):
        if colours is None and columns.keys() >= set(names):
            colours = join_colours(path, [columns[name] for name in names])
    labels = None
    if "label" in columns:
        labels = as_labels(path, columns["label"], lambda row: f"label of point {row}")
    return Reading(
        points.reshape(*shape, 3),
        None if colours is None else colours.reshape(*shape, 3),
        None if labels is None else labels.reshape(shape),
        unit,
        notes + header.notes,
    )


def read_header(path: Path, content: bytes) -> tuple[Header, memoryview]:
    """The header, and the data that follow it."""
    said: dict[str, list[str]] = {}
    start = n_lines = 0
    while "DATA" not in said:
        end = content.find(b"\n", start, start + 100_000)
        line = content[start : end if end >= 0 else start + 200].decode("utf-8", "replace").strip()
        start, n_lines = end + 1, n_lines + 1
        key, *words = line.split() or [""]
        key = key.upper()
        if key in KEYS:
            if key in said:
                raise InputError(f"{path}: line {n_lines}: the header says {key} a second time")
            said[key] = words
        elif (key and not key.startswith("#") and not said) or n_lines > 1000:
            raise InputError(f"{path}: not a pcd{seems(content)}; line {n_lines} of its header begins {shorten(key)}")
        if end < 0:
            break
    if "DATA" not in said:
        raise InputError(f"{path}: not a pcd{seems(content)}; its header has no line DATA, or is cut short")
    return understand(path, said, n_lines, len(content) - start), memoryview(content)[start:]


def understand(path: Path, said: dict[str, list[str]], n_lines: int, size: int) -> Header:
    """The header by its words; `size` bytes follow it."""
    fields = tuple(name.lower() for name in said.get("FIELDS", said.get("COLUMNS", [])))
    if missing := [name for name in "xyz" if fields.count(name) != 1]:
        found = " ".join(fields) or "none"
        raise InputError(f"{path}: FIELDS are {shorten(found)}, expected x, y and z once each; {missing[0]} is not")
    for key in ("SIZE", "TYPE", "COUNT"):
        if len(said.get(key, fields if key == "COUNT" else [])) != len(fields):
            raise InputError(f"{path}: {len(fields)} FIELDS, but {len(said.get(key, []))} words after {key}")
    types = []
    for kind, length in zip(said["TYPE"], said["SIZE"], strict=True):
        kind = kind.upper()
        if not length.isdecimal() or int(length) not in TYPES.get(kind, ()):
            raise InputError(f"{path}: TYPE {shorten(kind)} of SIZE {shorten(length)}, expected F 4 8, I or U 1 2 4 8")
        types.append(f"<{kind.lower()}{int(length)}")
    counts = tuple(number(path, "COUNT", word, 0, 1 << 20) for word in said.get("COUNT", ["1"] * len(fields)))
    if any(count != 1 for name, count in zip(fields, counts, strict=True) if name in "xyz"):
        raise InputError(f"{path}: COUNT of x, y and z must be 1, found {' '.join(map(str, counts))}")
    width, height, n_points = (
        number(path, key, said[key][0] if len(said[key]) == 1 else " ".join(said[key]), 0, 1 << 40)
        if key in said
        else None
        for key in ("WIDTH", "HEIGHT", "POINTS")
    )
    if width is None:
        width, height = n_points, 1
    if width is None:
        raise InputError(f"{path}: the header has neither WIDTH nor POINTS")
    height = 1 if height is None else height
    if n_points is not None and n_points != width * height:
        raise InputError(f"{path}: WIDTH {width} times HEIGHT {height} is not POINTS {n_points}")
    data = " ".join(said["DATA"]).lower()
    if data not in ("ascii", "binary", "binary_compressed"):
        raise InputError(f"{path}: DATA {shorten(data)}, expected ascii, binary or binary_compressed")
    if width * height == 0:
        raise InputError(f"{path}: the header says 0 points")
    # Even compressed, a point takes more than a hundredth of a byte.
    if width * height > 100 * size:
        raise InputError(f"{path}: the header says {width * height} points, but {size} bytes follow it")
    turned = said.get("VIEWPOINT", ["0", "0", "0", "1", "0", "0", "0"])
    notes = (
        ()
        if [word.strip("-0.") for word in turned] == ["", "", "", "1", "", "", ""]
        else (f"VIEWPOINT {shorten(' '.join(turned))[1:-1]} is not applied: points are taken as they stand",)
    )
    return Header(fields, tuple(types), counts, width, height, data, n_lines, notes)


def number(path: Path, key: str, word: str, low: int, high: int) -> int:
    if not (word.isascii() and word.isdecimal() and len(word) < 19 and low <= int(word) <= high):
        raise InputError(f"{path}: the header says {key} {shorten(word)}, expected a count")
    return int(word)


def read_ascii(path: Path, header: Header, body: memoryview) -> dict[str, np.ndarray]:
    text = bytes(body).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"#" in text:
        text = re.sub(rb"(?m)^[ \t]*#.*$", b"", text)
    rows = parse_rows(path, text, header.n_lines + 1, sum(header.counts))
    if len(rows) != header.n_points:
        raise InputError(f"{path}: the header says {header.n_points} points, but {len(rows)} rows follow")
    columns, at = {}, 0
    for name, kind, count in zip(header.fields, header.types, header.counts, strict=True):
        column = rows[:, at]
        at += count
        if name == "_" or count != 1:
            continue
        if kind[1] == "f":
            # As they stand: the header's 4 bytes are how a binary file would keep them.
            columns[name] = pack(column) if name in ("rgb", "rgba") else column
            continue
        limits = np.iinfo(kind)
        # Of integers of 8 bytes a float holds the limits rounded up.
        whole = (column == np.trunc(column)) & (column >= float(limits.min)) & (column <= float(limits.max))
        if not whole.all():
            row = int(np.argmin(whole))
            line = lines_of(text, header.n_lines + 1)[row]
            raise InputError(
                f"{path}: line {line}, column {at - count + 1}: {column[row]:g} for field {name}, expected an "
                f"integer from {limits.min} to {limits.max}"
            )
        columns[name] = column if limits.bits == 64 else column.astype(kind)
    return columns


def pack(column: np.ndarray) -> np.ndarray:
    """Colours u4 of a column of an ASCII file: the integer itself, or a float whose four bytes they are."""
    as_bits = column.astype(np.float32).view(np.uint32)
    # A float with colours in its bytes and no or full opacity is far below 1 or no number.
    is_integer = (column >= 1) & (column < 2**32) & (column == np.trunc(column))
    return np.where(is_integer, np.where(is_integer, column, 0).astype(np.uint32), as_bits)


def read_binary(path: Path, header: Header, body: memoryview) -> dict[str, np.ndarray]:
    expected = header.n_points * header.row_size
    check_length(path, header, expected, len(body), bytes(body[expected : expected + 3]))
    offsets = np.cumsum([0] + [int(kind[2:]) * count for kind, count in zip(header.types, header.counts, strict=True)])
    columns = {}
    for name, kind, count, offset in zip(header.fields, header.types, header.counts, offsets[:-1], strict=True):
        if name != "_" and count == 1:
            table = np.dtype({"names": ["_"], "formats": [kind], "offsets": [offset], "itemsize": header.row_size})
            columns[name] = np.frombuffer(body, table, header.n_points)["_"]
    return columns


def check_length(path: Path, header: Header, expected: int, found: int, more: bytes = b"") -> None:
    # A line's end that a text tool put there does no harm.
    if found < expected or (found > expected and more not in (b"\n", b"\r\n")):
        raise InputError(
            f"{path}: the header says {header.n_points} points of {header.row_size} bytes, {expected} bytes in all, "
            f"but {found} follow it"
        )


def read_compressed(path: Path, header: Header, body: memoryview) -> dict[str, np.ndarray]:
    """Columns of data that were put field after field and then compressed by LZF."""
    import imagecodecs

    expected = header.n_points * header.row_size
    if len(body) < 8:
        raise InputError(f"{path}: cut short, no compressed data follow the header")
    size, unpacked = struct.unpack_from("<II", body)
    if size > len(body) - 8:
        raise InputError(f"{path}: cut short, {size} bytes of compressed data are announced and {len(body) - 8} there")
    check_length(path, header, expected, unpacked)
    try:
        data = imagecodecs.lzf_decode(bytes(body[8 : 8 + size]), out=expected)
    except Exception as error:
        if size != expected:
            raise InputError(f"{path}: its compressed data are damaged ({error})") from None
        # Some programs write what compression would make longer as it is.
        data = bytes(body[8 : 8 + size])
    if len(data) != expected:
        raise InputError(f"{path}: its compressed data unpack to {len(data)} bytes, expected {expected}")
    columns, at = {}, 0
    for name, kind, count in zip(header.fields, header.types, header.counts, strict=True):
        size = int(kind[2:]) * count * header.n_points
        if name != "_" and count == 1:
            columns[name] = np.frombuffer(data, kind, header.n_points, at)
        at += size
    return columns
