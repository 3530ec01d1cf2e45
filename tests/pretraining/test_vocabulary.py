"""The small CLIP's own byte-pair vocabulary."""

import gzip
from pathlib import Path

import pytest

import pointad_core
from pointad_core.clip.loading import load_clip
from pretraining import captions, vocabulary


def test_merges_are_the_most_frequent_pairs() -> None:
    merges = vocabulary.learn_merges(["low low low", "lower lower"], 3)
    # "l o" and "o w" (with or without an end) compete: lo 5, then low</w> 3, then e r</w> 2 before others by alphabet.
    assert merges == [("l", "o"), ("lo", "w</w>"), ("e", "r</w>")]


def test_merge_takes_every_pair_from_the_left() -> None:
    assert vocabulary.merge(("a", "a", "a", "b"), ("a", "a")) == ("aa", "a", "b")


def test_too_few_texts() -> None:
    with pytest.raises(ValueError, match="give 2 merges, 9 are needed"):
        vocabulary.learn_merges(["abc"], 9)


def test_shipped_vocabulary_is_that_of_the_captions() -> None:
    """The file beside the model is what the captions give: whoever changes them sees that the weights go with it."""
    models = Path(pointad_core.__file__).with_name("clip") / "models"
    shipped = gzip.decompress((models / "pointad-pocket.bpe.gz").read_bytes())
    assert shipped == gzip.decompress(vocabulary.encode(vocabulary.learn_merges(captions.corpus())))


def test_tokenizer_knows_its_words_and_spells_others() -> None:
    clip = load_clip("pointad-pocket", 1, random_seed=0)
    assert clip.tokenizer.vocab_size == clip.text.token_embedding.num_embeddings == 1024
    tokens = clip.tokenize(["damaged object.", "a photo of a Zyzzyva Ωmega"])
    assert int(tokens.max()) == 1023, "the end token"
    assert clip.end_positions(tokens)[0] == 4, "one token a word: start, damaged, object, the point, end"
    words = clip.tokenizer.decode(tokens[1, 1 : int(clip.end_positions(tokens)[1])].tolist())
    assert words.strip() == "a photo of a zyzzyva ωmega"
