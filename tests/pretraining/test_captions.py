"""Captions of the small CLIP's training."""

import re

import numpy as np

from pointad_core.datasets.generator.shapes import SHAPES
from pretraining import captions
from pretraining.defects import DEFECT_WORDS
from pretraining.shapes import FAMILIES, WORDS


def test_pairs_differ_in_the_state_alone() -> None:
    rng = np.random.default_rng()
    for _ in range(300):
        normal, damaged = captions.state_pair("gear", rng)
        assert normal != damaged
        assert "gear" in normal
        assert "gear" in damaged
        states = {*captions.NORMAL, *captions.DAMAGED}
        states |= {word for phrase in (*captions.WITHOUT, *captions.WITH) for word in phrase.split()}
        rest = [[word for word in re.findall(r"\w+", text) if word not in states] for text in (normal, damaged)]
        assert rest[0] == rest[1], (normal, damaged)


def test_wordings_of_the_two_states_are_disjoint() -> None:
    assert not set(captions.NORMAL) & set(captions.DAMAGED)
    assert not set(captions.WITHOUT) & set(captions.WITH)


def test_a_text_for_every_kind_and_family() -> None:
    rng = np.random.default_rng()
    for text, words in zip(captions.kind_texts(rng), DEFECT_WORDS.values(), strict=True):
        assert any(word in text for word in words)
    for text, words in zip(captions.family_texts(rng), WORDS.values(), strict=True):
        assert any(word in text for word in words)


def test_names_never_say_what_the_embedded_categories_are() -> None:
    """The names of the categories that the model is tested on stay unheard."""
    spoken = set(re.findall(r"[a-z]+", " ".join(captions.corpus()).lower()))
    tested = {word for name in SHAPES for word in re.findall(r"[a-z]+", re.sub(r"([A-Z])", r" \1", name).lower())}
    assert not spoken & tested, spoken & tested


def test_names_come_from_the_family_from_general_words_and_from_nowhere() -> None:
    rng = np.random.default_rng(0)
    for family in FAMILIES:
        drawn = [captions.name_of(family, rng) for _ in range(100)]
        assert all(own == (name in WORDS[family]) for name, own in drawn)
        names = {name for name, _ in drawn}
        assert names & set(WORDS[family])
        assert names & set(captions.GENERAL)
        assert names - {*WORDS[family], *captions.GENERAL}
