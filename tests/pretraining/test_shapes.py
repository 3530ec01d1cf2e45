"""Shapes for pre-training: others than the data sets' categories, the same for the same state, changed where marked."""

import copy

import numpy as np
import pytest

from pointad_core.datasets.generator.defects import DEFECTS
from pointad_core.datasets.generator.shapes import CELL, SHAPES, make_shape
from pointad_core.methods.cheraghian import words_of
from pretraining.defects import DEFECT_WORDS, add_pretraining_defect
from pretraining.shapes import FAMILIES, WORDS, make_pretraining_shape
from tests.datasets.test_generate import check_in_the_grid

TOWARD = np.array([0.0, -0.6, 0.8])


def both(family: str, kind: str, seed: int):
    """A shape without and with a defect."""
    rng = np.random.default_rng(seed)
    _, before = make_pretraining_shape(rng, family)
    after = copy.deepcopy(before)
    assert add_pretraining_defect(after, TOWARD, rng, kind) == kind
    return before, after


def test_no_family_is_a_category():
    assert not FAMILIES.keys() & SHAPES.keys()
    assert not set(FAMILIES.values()) & set(SHAPES.values())
    categories = {word.lower() for name in SHAPES for word in [name, *words_of(name)]}
    categories |= {"chocolate", "licorice", "sandwich", "peppermint", "candy", "toffee", "gemstone"}
    families = {word.lower() for names in WORDS.values() for name in names for word in [name, *words_of(name)]}
    assert not categories & families


def test_families_and_defects_have_words_of_their_own():
    assert WORDS.keys() == FAMILIES.keys()
    assert all(2 <= len(names) <= 4 for names in WORDS.values())
    assert DEFECT_WORDS.keys() > DEFECTS.keys()
    assert all(4 <= len(names) <= 8 for names in DEFECT_WORDS.values())
    for words in (WORDS, DEFECT_WORDS):
        every = [name for names in words.values() for name in names]
        assert len(set(every)) == len(every)


@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_lie_in_the_grid_and_vary(family):
    shapes = []
    for seed in range(4):
        name, shape = make_pretraining_shape(np.random.default_rng(seed), family)
        assert name == family
        check_in_the_grid(shape)
        assert 0.03 < shape.inside.mean() < 0.72
        assert not shape.defect.any()
        shapes.append(shape)
    assert len({shape.height.tobytes() for shape in shapes}) == len({shape.colour.tobytes() for shape in shapes}) == 4


def test_same_state_same_bytes():
    def draw(seed: int) -> tuple:
        rng = np.random.default_rng(seed)
        family, shape = make_pretraining_shape(rng)
        kind = add_pretraining_defect(shape, TOWARD, rng)
        return family, kind, shape.height.tobytes(), shape.colour.tobytes(), shape.defect.tobytes()

    draws = [draw(seed) for seed in range(6)]
    assert draws == [draw(seed) for seed in range(6)]
    assert len({draw[0] for draw in draws}) > 2
    assert len({draw[1] for draw in draws}) > 2


@pytest.mark.parametrize("kind", DEFECT_WORDS)
def test_a_defect_is_marked_where_the_shape_changes_and_nowhere_else(kind):
    shares = []
    for seed, family in enumerate(FAMILIES):
        before, after = both(family, kind, seed)
        change = after.height - before.height
        tint = np.abs(after.colour - before.colour).max(axis=2)
        marked = after.defect
        assert np.isfinite(after.height).all()
        assert not (((change != 0) | (tint > 0)) & ~marked).any()
        assert not (marked & ~before.inside).any()
        # Some of it can be seen by a scanner, even where a piece is gone.
        assert (marked & after.inside).sum() * CELL**2 > 0.002, family
        if kind == "stain":
            assert (change == 0).all()
            assert np.median(tint[marked]) > 0.08
        else:
            assert np.mean(change[marked] != 0) > 0.85, family
            assert np.abs(change[marked]).max() > (0.004 if kind == "scratch" else 0.01), family
        if kind in ("chip", "worn", "scratch", "bite", "hole", "crack", "cut", "dent"):
            assert (change <= 0).all()
        if kind != "bite":
            assert np.array_equal(after.inside, before.inside)
        shares.append(marked.sum() / before.inside.sum())
    assert min(shares) > 0.001
    assert max(shares) < 0.2
    assert 0.004 < np.mean(shares) < 0.1


def test_a_piece_is_missing_down_to_the_ground():
    before, after = both("coin", "bite", 3)
    gone = before.inside & ~after.inside
    assert gone.sum() > 0.2 * after.defect.sum()
    assert not (gone & ~after.defect).any()


def test_the_share_of_a_defect_is_what_is_asked():
    for low, high in ((0.006, 0.01), (0.1, 0.12)):
        for seed in range(4):
            rng = np.random.default_rng(seed)
            _, shape = make_pretraining_shape(rng, "pebble")
            add_pretraining_defect(shape, TOWARD, rng, "dent", (low, high))
            assert 0.7 * low < shape.defect.sum() / shape.inside.sum() < 1.15 * high


def test_the_data_sets_have_no_such_draw():
    """The same generator state gives another shape than any category's."""
    heights = {make_shape(category, np.random.default_rng(0)).height.tobytes() for category in SHAPES}
    assert not heights & {
        make_pretraining_shape(np.random.default_rng(0), name)[1].height.tobytes() for name in FAMILIES
    }
