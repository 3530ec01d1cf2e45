"""Text and numbers for LaTeX."""

import re
from math import nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointad_core.evaluation.latex import escape, percent, rank


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PointAD+", "PointAD+"),
        ("50 % & more", r"50 \% \& more"),
        ("cable_gland #1 $x", r"cable\_gland \#1 \$x"),
        ("a~b^c", r"a\textasciitilde{}b\textasciicircum{}c"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("<a|b>", r"\textless{}a\textbar{}b\textgreater{}"),
        ("--pretrained", r"-{}-pretrained"),
        ("3-D", "3-D"),
        ("Größe é ç", r"Gr\"{o}\ss{}e \'{e} \c{c}"),
        ("α = 0.5, λ", r"\ensuremath{\alpha} = 0.5, \ensuremath{\lambda}"),
        ("物", r"\texttt{U+7269}"),
        ("two\nlines\there", "two lines here"),
    ],
)
def test_escape(text, expected):
    assert escape(text) == expected


@settings(deadline=None)
@given(st.text() | st.text(alphabet="\\{}%&#$_~^<>|°µαßé-'`,?! ", max_size=12))
def test_escaped_text_is_harmless(text):
    escaped = escape(text)
    assert escaped.isascii()
    assert not re.search(r"[\x00-\x1f\x7f]", escaped)
    # Braces pair up and, outside of math, every special character is behind a backslash.
    bare = re.sub(r"\\ensuremath{[^{}]*}|\\[a-zA-Z]+|\\.", "", escaped)
    assert not re.search(r"[\\%&#$_~^]", bare)
    depth = 0
    for brace in re.findall(r"[{}]", bare):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0


def test_percent_has_one_decimal():
    assert [percent(value) for value in (0.95549, 1.0, 0.0, 0.8, nan)] == ["95.5", "100.0", "0.0", "80.0", "-"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, 0.9, 0.7], ["", "textbf", "underline"]),
        ([0.9, 0.9, 0.7, 0.7, 0.1], ["textbf", "textbf", "underline", "underline", ""]),
        # What prints alike ranks alike: 90.0 and 90.0.
        ([0.90001, 0.9, 0.899], ["textbf", "textbf", "underline"]),
        # Numbers, not words: 100.0 beats 99.9.
        ([0.999, 1.0, 0.02], ["underline", "textbf", ""]),
        ([nan, 0.4, 0.5], ["", "underline", "textbf"]),
        ([nan, 0.4], ["", ""]),
        ([nan, nan], ["", ""]),
        ([0.4, 0.4], ["textbf", "textbf"]),
    ],
)
def test_rank(values, expected):
    assert rank(values) == expected
