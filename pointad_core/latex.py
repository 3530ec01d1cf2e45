"""Words and numbers as LaTeX that compiles with pdflatex, whatever the config holds."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "–": "--",
    "—": "---",
    "’": "'",
    "→": r"\ensuremath{\rightarrow}",
    "×": r"\ensuremath{\times}",
    "±": r"\ensuremath{\pm}",
    "≥": r"\ensuremath{\geq}",
    "≤": r"\ensuremath{\leq}",
    "°": r"\ensuremath{^\circ}",
    "µ": r"\ensuremath{\mu}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
}
# Read as one other character where they meet.
_LIGATURES = ("--", "''", "``", ",,", "?`", "!`")
_ACCENTS = {
    "\u0300": r"\`",
    "\u0301": r"\'",
    "\u0302": r"\^",
    "\u0303": r"\~",
    "\u0304": r"\=",
    "\u0306": r"\u",
    "\u0307": r"\.",
    "\u0308": r"\"",
    "\u030a": r"\r",
    "\u030b": r"\H",
    "\u030c": r"\v",
    "\u0327": r"\c",
}
_GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "kappa", "lamda", "mu", "pi", "rho", "sigma")


def _escape_character(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character.isspace():
        return " "
    if " " <= character <= "~":
        return character
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS:
        return f"{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    greek = unicodedata.name(character, "").removeprefix("GREEK SMALL LETTER ").lower()
    if greek in _GREEK:
        return rf"\ensuremath{{\{'lambda' if greek == 'lamda' else greek}}}"
    # The base fonts lack it: say which one it was rather than fail after days of work.
    return rf"\texttt{{U+{ord(character):04X}}}"


def escape(text: str) -> str:
    """Text that prints as it is: LaTeX's own characters escaped, accents as commands, others by code point."""
    text = unicodedata.normalize("NFC", text)
    return "".join(
        _escape_character(character) + ("{}" if text[index : index + 2] in _LIGATURES else "")
        for index, character in enumerate(text)
    )


def percent(value: float) -> str:
    """A fraction as percent with one decimal, as the paper prints it."""
    return f"{100 * value:.1f}"


def rank(values: Sequence[float | None]) -> list[str]:
    """The command for each value of a column: best "textbf", second "underline", others and None "".

    Values that print alike rank alike: all the best are bold, and the next lower number is second. A column
    with one number compares nothing and stays plain.
    """
    printed = [None if value is None else percent(value) for value in values]
    if sum(text is not None for text in printed) < 2:
        return [""] * len(printed)
    order = sorted({text for text in printed if text is not None}, key=float, reverse=True)
    commands = dict(zip(order, ("textbf", "underline"), strict=False))
    return [commands.get(text, "") if text is not None else "" for text in printed]


def fit_width(tabular: str) -> str:
    """A tabular as wide as it is, shrunk to the line where it is wider (needs graphicx)."""
    return f"\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n{tabular}}}"
