"""Word vectors of names: the words of a name, and the mean of their vectors, of a file or of CLIP's tokens."""

import numpy as np
import pytest
import torch

from pointad_core.clip.loading import load_clip
from pointad_core.errors import InputError
from pointad_core.methods.words import embed_by_tokens, embed_by_vectors, words_of


@pytest.fixture
def vectors(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("3 3\ncable 1.0 0.0 2.5\ngland 0.0 -4.0 0.001\ndamaged 3.0 3.0 3.0\n", encoding="utf-8")
    return path


def test_words_of_a_name():
    assert words_of("cable gland") == words_of("Cable_Gland") == words_of(" cable-gland ") == ["cable", "gland"]


def test_a_name_has_the_mean_of_its_words(vectors):
    np.testing.assert_allclose(embed_by_vectors(vectors, "cable gland"), [0.5, -2.0, 1.2505], rtol=1e-6)
    np.testing.assert_allclose(embed_by_vectors(vectors, "damaged"), [3, 3, 3])


def test_a_name_without_words_or_with_unknown_ones_is_refused(vectors):
    with pytest.raises(InputError, match=r"words.txt: has no vector of the word 'rope'"):
        embed_by_vectors(vectors, "cable rope")
    with pytest.raises(InputError, match="no word"):
        embed_by_vectors(vectors, "_")


def test_token_embeddings_stand_for_words():
    clip = load_clip("pointad-pocket", 1, random_seed=3)
    table = clip.text.token_embedding.weight
    start, wheel, part, end = clip.tokenize(["wheel part"])[0, :4].tolist()
    assert (start, end) == (1022, 1023)
    got = embed_by_tokens(clip, "Wheel_part")
    torch.testing.assert_close(got, (table[wheel] + table[part]) / 2)
    with pytest.raises(InputError, match="no word"):
        embed_by_tokens(clip, "_")
