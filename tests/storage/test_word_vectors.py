"""Files of word vectors: what is read of them, and what is refused."""

import io

import pytest

from pointad_core.errors import InputError
from pointad_core.storage import word_vectors
from pointad_core.storage.word_vectors import read_word_vectors

WORDS = {"cable": [1.0, 0.0, 2.5], "gland": [0.0, -4.0, 1e-3], "damaged": [3.0, 3.0, 3.0], "übrig": [9.0, 9.0, 9.0]}


@pytest.fixture
def vectors(tmp_path):
    """A file as gensim or the original tool write it: a blank ends each line of the latter."""
    lines = [f"{word} {' '.join(map(str, vector))} " for word, vector in WORDS.items()]
    path = tmp_path / "words.txt"
    path.write_text("\n".join([f"{len(WORDS)} 3", *lines]) + "\n", encoding="utf-8")
    return path


def test_vectors_of_words(vectors):
    found = read_word_vectors(vectors, ["damaged", "cable"])
    assert found.keys() == {"damaged", "cable"}
    assert found["cable"].tolist() == [1.0, 0.0, 2.5]


def test_of_a_word_that_comes_twice_the_first_counts(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("3 1\ncable 1\ncable 2\ngland 3\n")
    assert {word: vector.item() for word, vector in read_word_vectors(path, ["gland", "cable"]).items()} == {
        "cable": 1,
        "gland": 3,
    }


def test_what_is_not_needed_is_not_looked_at(vectors):
    vectors.write_text(vectors.read_text(encoding="utf-8").replace("damaged 3.0", "damaged broken"), encoding="utf-8")
    assert read_word_vectors(vectors, ["gland"])["gland"].shape == (3,)


def test_reading_ends_with_the_last_word_that_is_needed(vectors, monkeypatch):
    class Lines(io.StringIO):
        def __next__(self):
            line = super().__next__()
            assert not line.startswith("damaged"), "read beyond the last word"
            return line

    text = vectors.read_text(encoding="utf-8")
    monkeypatch.setattr(word_vectors, "open", lambda *_, **__: Lines(text), raising=False)
    assert read_word_vectors(vectors, ["gland", "cable"]).keys() == {"gland", "cable"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("2 3\ncable 1 2 3\nrope 1 2 3\n", r"has no vector of the word 'gland'"),
        ("2 3\nrope 1 2 3\n", r"has no vector of the word 'cable', 'gland'"),
        ("cable 1 2 3\ngland 1 2 3\n", r"first line is 'cable 1 2 3', expected two whole numbers"),
        ("", "expected two whole numbers"),
        ("2 0\n", "expected two whole numbers"),
        ("2 3\ncable 1 2\ngland 1 2 3\n", "line 2, of the word 'cable', has not 3 finite numbers"),
        ("2 3\ncable 1 2 3\ngland 1 x 3\n", "line 3, of the word 'gland', has not 3 finite numbers"),
        ("2 3\ncable 1 2 3\ngland 1 nan 3\n", "line 3, of the word 'gland', has not 3 finite numbers"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "words.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_word_vectors(path, ["cable", "gland"])
    assert str(path) in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none.txt: no readable file of word vectors"):
        read_word_vectors(tmp_path / "none.txt", ["cable"])
