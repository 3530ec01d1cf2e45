"""Rows of numbers in a text: every number of every row is checked, and an error names line and column."""

import io
import re
from pathlib import Path

import numpy as np

from pointad_core.errors import InputError
from pointad_core.formats.reading import shorten

MISSING = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
"""Besides numbers, what a row may hold; `-1.#IND00` and other spellings are refused."""


def parse_rows(path: Path, text: bytes, first: int = 1, width: int | None = None, shift: int = 0) -> np.ndarray:
    """Numbers f8[M,C] of rows whose columns are apart by blanks.

    text: the rows, its lines ended by "\\n"; blank lines are passed over; first: the number of its first line in the
    file; width: columns of each row, as many as the first one has where None; shift: columns of the file before them.

    Raises InputError with line and column for a word that is no number, and with the line for a row of another width.
    """
    try:
        # NumPy's parser takes digits as Python does, "nan" and "inf", and nothing else; comments are none of its.
        rows = np.loadtxt(io.StringIO(text.decode()), comments=None, ndmin=2) if text.strip() else np.zeros((0, 0))
    except ValueError:
        rows = None
    if rows is None or (width is not None and len(rows) and rows.shape[1] != width):
        raise InputError(f"{path}: {find_fault(text, first, width, shift)}") from None
    return rows if len(rows) else np.zeros((0, width or 0))


def find_fault(text: bytes, first: int, width: int | None, shift: int) -> str:
    """The first thing that is wrong with rows, in words."""
    for number, line in enumerate(text.split(b"\n"), first):
        words = line.decode("utf-8", "replace").split()
        if not words:
            continue
        for column, word in enumerate(words, shift + 1):
            if not is_number(word):
                hint = ", a decimal comma" if re.fullmatch(r"[+-]?\d*,\d+([eE][+-]?\d+)?", word) else ""
                return f"line {number}, column {column}: {shorten(word)} is no number{hint}"
        width = width or len(words)
        if len(words) != width:
            cut = "; the file is cut short" if len(words) < width and text.endswith(line) else ""
            return f"line {number}: {shift + len(words)} columns, expected {shift + width}{cut}"
    return "not rows of numbers"


def is_number(word: str) -> bool:
    if MISSING.fullmatch(word):
        return True
    try:
        float(word)
    except ValueError:
        return False
    return word.isascii() and "_" not in word


def lines_of(text: bytes, first: int = 1) -> np.ndarray:
    """Number i8[M] in the file of the line that each row of `parse_rows` stands in."""
    return np.array([number for number, line in enumerate(text.split(b"\n"), first) if line.strip()])
