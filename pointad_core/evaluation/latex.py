"""Words, numbers and tables as LaTeX that compiles with pdflatex, whatever the config holds."""

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from math import isnan

_WORDS = ("backslash", "asciitilde", "asciicircum", "less", "greater", "bar")
_SIGNS = ("rightarrow", "times", "pm", "geq", "leq", "mu")
_LETTERS = ("ss", "ae", "AE", "o", "O", "l", "L")
_SPECIAL = {
    **{character: f"\\{character}" for character in "{}%&#$_"},
    **dict(zip("\\~^<>|", (rf"\text{name}{{}}" for name in _WORDS), strict=True)),
    **dict(zip("→×±≥≤µ", (rf"\ensuremath{{\{name}}}" for name in _SIGNS), strict=True)),
    **dict(zip("ßæÆøØłŁ", (rf"\{name}{{}}" for name in _LETTERS), strict=True)),
    **dict(zip('°"–—’', (r"\ensuremath{^\circ}", "''", "--", "---", "'"), strict=True)),
}
# Read as one other character where they meet.
_LIGATURES = ("--", "''", "``", ",,", "?`", "!`")
# Combining grave, acute, circumflex, tilde, macron, breve, dot, diaeresis, ring, double acute, caron, cedilla.
_ACCENTS = dict(
    zip("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327", "`'^~=u.\"rHvc", strict=True)
)
_GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "kappa", "lambda", "mu", "pi", "rho", "sigma")
_PREAMBLE = r"""\documentclass[10pt]{article}
\usepackage[a4paper,PAGE,margin=15mm]{geometry}
\usepackage{booktabs,graphicx,xcolor}
\pagestyle{empty}
\setlength{\tabcolsep}{4.5pt}
\renewcommand{\floatpagefraction}{0.4}
\begin{document}
"""


def _escape_character(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character.isspace():
        return " "
    if " " <= character <= "~":
        return character
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS:
        return rf"\{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    greek = unicodedata.name(character, "").removeprefix("GREEK SMALL LETTER ").lower().replace("lamda", "lambda")
    if greek in _GREEK:
        return rf"\ensuremath{{\{greek}}}"
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
    """A fraction as percent with one decimal, as the paper prints it; a dash for NaN, which is undefined."""
    return "-" if isnan(value) else f"{100 * value:.1f}"


def rank(values: Iterable[float]) -> list[str]:
    """The command for each value of a column: best "textbf", second "underline", others and NaN "".

    Values that print alike rank alike. A column with one number compares nothing and stays plain.
    """
    printed = [percent(value) for value in values]
    numbers = [text for text in printed if text != "-"]
    order = sorted(set(numbers), key=float, reverse=True) if len(numbers) > 1 else []
    commands = dict(zip(order, ("textbf", "underline"), strict=False))
    return [commands.get(text, "") for text in printed]


def tabular(heads: Sequence[tuple[Sequence[tuple[str, int]], bool]], rows: Sequence[Sequence[str]]) -> str:
    r"""A booktabs tabular as wide as it is, shrunk to the line where it is wider (needs graphicx).

    Written here because pandas' own has no \cmidrule under heads that span columns.

    heads: lines above the names of the columns: heads as (text, columns that it spans), from the second column on, and
    whether there is a rule under each; rows: cells, first the names of the columns.
    """
    lines = [rf"\begin{{tabular}}{{l{'c' * (len(rows[0]) - 1)}}}", r"\toprule"]
    for spans, ruled in heads:
        lines.append("".join(rf" & \multicolumn{{{width}}}{{c}}{{{text}}}" for text, width in spans) + r" \\")
        if ruled:
            places = pairwise(accumulate((width for _, width in spans), initial=2))
            lines.append("".join(rf"\cmidrule(lr){{{start}-{after - 1}}}" for start, after in places))
    names, *body = (" & ".join(row) + r" \\" for row in rows)
    text = "\n".join([*lines, names, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"])
    return f"\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n{text}}}"


def document(bodies: Iterable[str], landscape: bool = True) -> str:
    """A document of the given tables or figures, one after the other, that compiles on its own."""
    preamble = _PREAMBLE.replace("PAGE", "landscape" if landscape else "portrait")
    return "\n".join([preamble, *(body + "\\clearpage\n" for body in bodies), "\\end{document}\n"])
