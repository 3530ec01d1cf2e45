"""Tables as text: XYZ, TXT, CSV, ASC and PTS, with or without a line of names, and with any of the usual separators.

Columns are what the names say; without names the first three are x, y and z, and what follows are colours where it is
three integers of 0 to 255 (in PTS after the intensity), else further columns that are not read.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.errors import InputError
from pointad_core.formats.colours import join_colours
from pointad_core.formats.columns import COORDINATES, RGB, as_labels, canonical
from pointad_core.formats.reading import BYTE_ORDER_MARK, Reading, load, seems, shorten
from pointad_core.formats.rows import is_number, lines_of, parse_rows
from pointad_core.formats.unit import UNITS

REMARKS = ("#", "//", "%", "!")
"""What lines begin with that are no rows."""


@dataclass(frozen=True)
class Table:
    """Rows of a text file: values f8[M,C]; names of the columns by `columns.SYNONYMS`, else as they stand in lower
    case, None where the file has none; is_pts: whether a line with the number of points stood above the rows; unit:
    that of the names ("x [mm]")."""

    values: np.ndarray
    names: tuple[str, ...] | None
    is_pts: bool
    unit: str | None
    notes: tuple[str, ...]
    path: Path
    first_line: int
    text: bytes
    """The rows as they were parsed, for the line that an error names."""

    def columns(self, *names: str) -> np.ndarray:
        """Values f8[M,n] of columns that have these names."""
        return np.ascontiguousarray(self.values[:, [(self.names or ()).index(name) for name in names]])

    def line(self, row: int) -> int:
        """The line of the file that a row stands in."""
        return int(lines_of(self.text, self.first_line)[row])

    def labels(self, at: int) -> np.ndarray:
        """Labels bool[M] of the column `at`; InputError with line and column as for `as_labels`."""
        return as_labels(self.path, self.values[:, at], lambda row: f"line {self.line(row)}, column {at + 1}")


def read(path: Path, unit: str | None = None, **_: Any) -> Reading:
    """Points of a table, colours and labels where it has columns for them.

    Raises InputError, with line and column, for whatever is no number, a row of another width, names without x, y or
    z, and separators that could be decimal commas.
    """
    table = read_table(path)
    values, notes = table.values, table.notes
    n_columns = values.shape[1]
    if table.names is not None:
        if missing := [name for name in "xyz" if name not in table.names]:
            found = printable(", ".join(table.names))
            raise InputError(f"{path}: columns are named {found}; expected x, y and z, {missing[0]} is missing")
        points = table.columns(*COORDINATES)
        colours = join_colours(path, list(table.columns(*RGB).T)) if set(RGB) <= set(table.names) else None
        labels = table.labels(table.names.index("label")) if "label" in table.names else None
        if unread := [name for name in table.names if name not in (*COORDINATES, *RGB, "label")]:
            notes += (f"columns that are not read: {', '.join(printable(name or '(no name)') for name in unread)}",)
        return Reading(points, colours, labels, unit or table.unit, notes)
    if n_columns < 3:
        raise InputError(f"{path}: {n_columns} columns, expected x, y and z at least")
    points, rest = np.ascontiguousarray(values[:, :3]), values[:, 3:]
    # After the intensity of a PTS, and of programs that write its rows without its first line.
    start = 1 if rest.shape[1] == 4 and (table.is_pts or not is_rgb(rest[:, :3])) else 0
    colours = None
    if rest.shape[1] >= 3 and is_rgb(rest[:, start : start + 3]):
        colours = join_colours(path, list(rest[:, start : start + 3].T))
        start += 3
    elif rest.shape[1] == 3 and is_unit_rgb(rest):
        colours = join_colours(path, list(rest.T))
        start += 3
    else:
        start = 0
    left = rest.shape[1] - start
    if left:
        notes += (f"{left} further columns without a name are not read",)
    return Reading(points, colours, None, unit, notes)


def is_rgb(columns: np.ndarray) -> bool:
    """Whether three columns without names are colours of 0 to 255: all integers, and some above 1."""
    if columns.shape[1] != 3:
        return False
    return bool((columns == np.trunc(columns)).all() and columns.min() >= 0 and 1 < columns.max() <= 255)


def is_unit_rgb(columns: np.ndarray) -> bool:
    """Whether three columns without names are colours of 0 to 1, and no normals, of which some are below 0."""
    if not (columns.min() >= 0 and columns.max() <= 1):
        return False
    return not np.allclose(np.linalg.norm(columns, axis=1), 1, atol=1e-3)


def read_table(path: str | os.PathLike[str]) -> Table:
    """The rows and names of a table; InputError as for `read`."""
    path = Path(path)
    content, notes = load(path)
    text = decode(path, content)
    lines, start = [], 0
    # Names, comments and counts stand above the first row, which is the first line that begins with a number.
    while True:
        end = text.find(b"\n", start)
        line = text[start : end if end >= 0 else len(text)].decode("utf-8", "replace").strip()
        if is_row(line) and not is_count(line, text[end + 1 :][:1000] if end >= 0 else b""):
            break
        lines.append(line)
        if end < 0 or len(lines) > 1000:
            at = first_word(lines)
            where = "no rows" if at is None else f"line {at + 1}: {shorten(lines[at])} is no row of numbers"
            raise InputError(f"{path}: not a table of numbers{seems(content)}; {where}")
        start = end + 1
    names, is_remark, unit, n_announced = understand_head(path, lines)
    first = len(lines) + 1
    body, more = clean(path, text[start:], find_separator(path, line, first), first)
    values = parse_rows(path, body, first)
    if n_announced is not None and n_announced != len(values):
        raise InputError(f"{path}: its first line says {n_announced} points, but {len(values)} rows follow")
    if names is not None and len(names) != values.shape[1]:
        if not is_remark or names[0] == "x":
            raise InputError(f"{path}: {len(names)} columns are named, but the rows have {values.shape[1]}")
        names = None
    return Table(values, names, n_announced is not None, unit, notes + more, path, first, body)


def decode(path: Path, content: bytes) -> bytes:
    """Text in UTF-8 without byte-order mark, its lines ended by "\\n"."""
    head = content[:4000]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or (
        b"\0" in head and head.count(b"\0") >= len(head) // 4 and not seems(head)
    ):
        raise InputError(f"{path}: a text in UTF-16; save it as UTF-8")
    if b"\0" in head:
        raise InputError(f"{path}: not a text{seems(content)}; byte {content.index(0) + 1} is zero")
    text = content.removeprefix(BYTE_ORDER_MARK)
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def is_row(line: str) -> bool:
    """Whether a line begins with a number."""
    word = re.split(r"[\s,;]", line.lstrip('"'), maxsplit=1)[0].strip('"')
    return bool(word) and is_number(word)


def is_count(line: str, following: bytes) -> bool:
    """Whether a line is the number of points that a PTS begins with: alone in its line, above rows of three or more."""
    after = following.decode("utf-8", "replace").strip().split("\n")[0]
    return line.isdecimal() and len(re.split(r"[\s,;]+", after)) >= 3 and is_row(after)


def first_word(lines: list[str]) -> int | None:
    """Place of the first line that is neither blank nor a comment."""
    return next((at for at, line in enumerate(lines) if line and not line.startswith(REMARKS)), None)


def understand_head(path: Path, lines: list[str]) -> tuple[tuple[str, ...] | None, bool, str | None, int | None]:
    """Names of columns and whether they stand in a remark, their unit, and the number of rows, above the first row."""
    names, is_remark, unit, count = None, False, None, None
    for at, line in enumerate(lines, 1):
        if line.isdecimal():
            count = int(line)
        elif line and not re.fullmatch(r"sep=.", line, re.IGNORECASE):
            remark = line.startswith(REMARKS)
            words = split_names(line.lstrip("#/%! "))
            # A remark names columns where it names x, y and z; any other line does.
            if remark and not {"x", "y", "z"} <= set(words):
                continue
            if (names is not None and not is_remark) or not re.search(r"[^\W\d_]", line):
                raise InputError(f"{path}: line {at}: {shorten(line)} is no row of numbers")
            names, is_remark = words, remark
            units = {word.lower() for word in re.findall(r"[\[(] *(\w+) *[\])]", line)} & UNITS.keys()
            unit = units.pop() if len(units) == 1 else None
    if names is not None and (twice := [name for name in (*COORDINATES, *RGB, "label") if names.count(name) > 1]):
        raise InputError(f"{path}: two columns are named {twice[0]}; found {printable(', '.join(names))}")
    return names, is_remark, unit, count


def split_names(line: str) -> tuple[str, ...]:
    """Names in a line, those of `columns.SYNONYMS` as there."""
    line = re.sub(r"[\[(][^\])]*[\])]", "", line.strip().rstrip(",;"))
    separator = next((sign for sign in (";", ",", "\t") if sign in line), None)
    words = [word.strip(" \"'/").replace(" ", "_") for word in line.split(separator)]
    return tuple(map(canonical, words))


def find_separator(path: Path, line: str, number: int) -> str:
    """The separator of a row: ";", tab, "," or " "."""
    line = line.replace('"', "").strip()
    separator = next((sign for sign in (";", "\t", ",") if sign in line), " ")
    words = line.split()
    # "1.5, 2.5, 3.5" and "1.5,2.5,3.5", but "1,5 2,5 3,5" is something else.
    if separator == "," and len(words) >= 3 and all(re.fullmatch(r"[+-]?\d*,\d+", word) for word in words[:3]):
        raise InputError(
            f"{path}: line {number}, column 1: {shorten(words[0])} has a decimal comma, or a comma as separator "
            "beside blanks; write points, or semicolons between the columns"
        )
    return separator


def clean(path: Path, body: bytes, separator: str, first: int) -> tuple[bytes, tuple[str, ...]]:
    """Rows with blanks alone between their columns, without comments and quotes, and notes; lines stay lines."""
    if b"#" in body or b"//" in body:
        body = re.sub(rb"(?m)^[ \t]*(#|//)[^\n]*", b"", body)
    if b'"' in body:
        if separator == "," and (found := re.search(rb'"[+-]?\d*,\d', body)):
            where = first + body.count(b"\n", 0, found.start())
            raise InputError(
                f"{path}: line {where}: decimal commas in quotes; write points, or semicolons as separators"
            )
        body = body.replace(b'"', b" ")
    if separator == " ":
        return body, ()
    sign, notes = separator.encode(), tuple[str, ...]()
    if separator != "," and b"," in body:
        if found := re.search(rb"\d\.\d", body):
            where = first + body.count(b"\n", 0, found.start())
            raise InputError(f"{path}: line {where}: decimal commas elsewhere, but a point here; write one of them")
        body, notes = body.replace(b",", b"."), ("decimal commas",)
    if b" " in body:
        body = re.sub(rb" *" + sign + rb" *", sign, body)
    # A separator after the last column, as in "1,2,3,".
    if sign + b"\n" in body or body.endswith(sign):
        body = re.sub(sign + rb"+(?=\n|\Z)", b"", body)
    at = min((at for at in (body.find(b"\n" + sign) + 1, body.find(2 * sign) + 1) if at > 0), default=-1)
    if at >= 0 or body.startswith(sign):
        at = 0 if body.startswith(sign) else at
        line, column = count_to(body, at, sign)
        raise InputError(f"{path}: line {first + line}, column {column}: empty, expected a number")
    if separator == "," and b"." not in body and (found := re.search(rb"(?m)(^|,)[+-]?0\d+(?=,|$)", body)):
        line, column = count_to(body, found.end() - 1, sign)
        word = shorten(found.group().strip(b", \n").decode())
        raise InputError(
            f"{path}: line {first + line}, column {column}: {word} looks like the digits after a decimal comma; "
            "write points, or semicolons between the columns"
        )
    return body.replace(sign, b" "), notes


def count_to(body: bytes, at: int, sign: bytes) -> tuple[int, int]:
    """Lines before a place in a text, and the column it is in, from 1 on."""
    start = body.rfind(b"\n", 0, at) + 1
    return body.count(b"\n", 0, at), body.count(sign, start, at) + 1


def printable(found: str) -> str:
    """Names of a file as an error shows them."""
    return shorten(found)[1:-1]
