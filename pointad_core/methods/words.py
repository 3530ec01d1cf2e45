"""Word vectors of names: from a file, or CLIP's own token embeddings (Cheraghian, Sec. 4.1)."""

from __future__ import annotations

import os
import re

import torch

from pointad_core.clip.tower import Clip
from pointad_core.errors import InputError
from pointad_core.storage.word_vectors import read_word_vectors


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case: "Cable_gland" has "cable" and "gland"; InputError where there is none."""
    words = [word for word in re.split(r"[\s_-]+", name.lower()) if word]
    if not words:
        raise InputError(f"the name {name!r} has no word")
    return words


@torch.no_grad()
def embed_by_tokens(clip: Clip, name: str) -> torch.Tensor:
    """The mean float32 [dt] of the token embeddings of a name's words."""
    tokens = clip.tokenize([" ".join(words_of(name))])
    return clip.embed_tokens(tokens)[0, 1 : int(clip.end_positions(tokens)[0])].float().mean(0)


def embed_by_vectors(path: str | os.PathLike[str], name: str) -> torch.Tensor:
    """The mean float32 [v] of the vectors of a name's words in a file."""
    words = words_of(name)
    vectors = read_word_vectors(path, words)
    return torch.stack([vectors[word] for word in words]).mean(0)
