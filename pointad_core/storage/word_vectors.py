"""Files of word vectors in word2vec's text format."""

import os
from collections.abc import Iterable

import torch

from pointad_core.errors import InputError


def read_word_vectors(path: str | os.PathLike[str], words: Iterable[str]) -> dict[str, torch.Tensor]:
    """Vectors float32 [v] of some words from a file in word2vec's text format.

    Its first line says how many words it has and how long a vector is; every other line is a word and its vector's
    numbers, with blanks between. It is read no further than to the last of the words. Raises InputError for a file that
    is missing or not of this format, and for a word that it lacks.
    """
    path, missing = os.path.expanduser(path), set(words)
    found: dict[str, torch.Tensor] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            header = file.readline().split()
            if len(header) != 2 or not all(map(str.isdecimal, header)) or not int(header[1]):
                raise InputError(
                    f"{path}: its first line is {' '.join(header)[:40]!r}, expected two whole numbers, of words and of "
                    "a vector's numbers (word2vec's text format)"
                )
            length = int(header[1])
            for number, line in enumerate(file, start=2):
                if (word := line.split(" ", 1)[0]) not in missing:
                    continue
                try:
                    vector = torch.tensor([float(field) for field in line.split()[1:]])
                except ValueError:
                    vector = torch.empty(0)
                if len(vector) != length or not vector.isfinite().all():
                    raise InputError(f"{path}: line {number}, of the word {word!r}, has not {length} finite numbers")
                found[word] = vector
                missing.remove(word)
                if not missing:
                    break
    except OSError as error:
        raise InputError(f"{path}: no readable file of word vectors ({error.strerror})") from error
    if missing:
        raise InputError(f"{path}: has no vector of the word {', '.join(map(repr, sorted(missing)))}")
    return found
