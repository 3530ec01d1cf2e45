"""The small CLIP's tokenizer: byte-pair merges learned from its captions, in the file format of open_clip's own.

open_clip's vocabulary of 49,408 entries would be several times the size of the model's text tower. A word that the
captions lack is spelled in smaller pieces, down to single bytes, as in any byte-pair encoding.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

MERGES = 510
"""With 256 bytes, in and at the end of words, and the start and end tokens: a vocabulary of 1,024."""


def learn_merges(texts: Iterable[str], count: int = MERGES) -> list[tuple[str, str]]:
    """The `count` most frequent pairs, one after the other, of the words in these texts; ties go by alphabet.

    Raises ValueError where the texts have too few different pairs.
    """
    frequency = Counter(word for text in texts for word in re.findall(r"[a-z]+", text.lower()))
    words = {(*word[:-1], word[-1] + "</w>"): number for word, number in frequency.items()}
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, number in words.items():
            for pair in pairwise(word):
                pairs[pair] += number
        if not pairs:
            raise ValueError(f"the texts give {len(merges)} merges, {count} are needed")
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {merge(word, best): number for word, number in words.items()}
    return merges


def merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """A word's pieces with every occurrence of a pair made one."""
    pieces: list[str] = []
    for piece in word:
        if pieces and (pieces[-1], piece) == pair:
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return tuple(pieces)


def encode(merges: Iterable[tuple[str, str]]) -> bytes:
    """The file that open_clip's SimpleTokenizer reads: a comment and a merge a line, compressed."""
    lines = ["#version: 1", *(" ".join(pair) for pair in merges)]
    return gzip.compress("\n".join(lines).encode(), mtime=0)
