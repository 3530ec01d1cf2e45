"""Fewer and more views: as many as there are change nothing, and whatever is taken is spread from end to end."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointad_core.errors import InputError
from pointad_core.rendering.view_sets import take_views

ORGANISED = {"tilt": 180, "x": [-45, -15, 0, 15, 45], "y": [-30, -15, 15, 30]}
AROUND = {"tilt": 180, "x": [-144, -108, -72, -36, 0, 36, 72, 108, 144], "y": []}
WRITTEN_OUT = [  # by hand, from the definition in config/README.md
    (ORGANISED, 1, [0], []),
    (ORGANISED, 3, [0], [-30, 30]),
    (ORGANISED, 5, [-45, 0, 45], [-30, 30]),
    (ORGANISED, 7, [-45, 0, 45], [-30, -15, 15, 30]),
    (ORGANISED, 11, [-45, -25, -10, 0, 10, 25, 45], [-30, -15, 15, 30]),
    (ORGANISED, 13, [-45, -25, -10, 0, 10, 25, 45], [-30, -21, -9, 9, 21, 30]),
    (AROUND, 1, [0], []),
    (AROUND, 3, [-144, 0, 144], []),
    (AROUND, 5, [-144, -72, 0, 72, 144], []),
    (AROUND, 7, [-144, -108, -36, 0, 36, 108, 144], []),
    (AROUND, 11, [-144, -115.2, -86.4, -57.6, -28.8, 0, 28.8, 57.6, 86.4, 115.2, 144], []),
    (AROUND, 13, [*range(-144, 145, 24)], []),
]


@pytest.mark.parametrize(("views", "n_views", "x", "y"), WRITTEN_OUT)
def test_the_rows_of_table_7(views, n_views, x, y):
    taken = take_views(views, n_views)
    assert (taken["tilt"], taken["x"], taken["y"]) == (180, pytest.approx(x), pytest.approx(y))
    assert len(x) + len(y) == n_views


def test_as_many_as_there_are_are_the_set_itself_in_its_own_order():
    views = {"tilt": 3, "x": [5, -7.5, 0], "y": [2]}
    assert take_views(views, 4) == views


ARC = st.lists(st.integers(-180, 180), min_size=2, max_size=12, unique=True)


@settings(max_examples=200, deadline=None)
@given(x=ARC, y=st.one_of(st.just([]), ARC), n_views=st.integers(1, 40))
def test_arcs_keep_their_ends_and_are_spread_evenly(x, y, n_views):
    views = {"tilt": 0, "x": x, "y": y}
    taken = take_views(views, n_views)
    assert len(taken["x"]) + len(taken["y"]) == n_views
    for axis in ("x", "y"):
        there, found = sorted(views[axis]), sorted(taken[axis])
        assert len(set(found)) == len(found)
        # In proportion: no arc is off its share by more than one view, which evenness about the front can cost.
        assert abs(len(found) - n_views * len(there) / (len(x) + len(y))) <= 1
        if len(found) > 1:
            assert (found[0], found[-1]) == (there[0], there[-1])
        if len(found) <= len(there):
            assert set(found) <= set(there)
            places = [there.index(angle) for angle in found]
            steps = [after - before for before, after in itertools.pairwise(places)]
            # No two steps between the chosen ones differ by more than one place.
            assert not steps or max(steps) - min(steps) <= 1
        else:
            # Where an angle stands among those that are there, counted naively; equal steps from the first to the last.
            ends = range(len(there) - 1)
            places = [
                next(i + (a - there[i]) / (there[i + 1] - there[i]) for i in ends if there[i] <= a <= there[i + 1])
                for a in found
            ]
            step = (len(there) - 1) / (len(found) - 1)
            assert places == pytest.approx([number * step for number in range(len(found))])


@given(right=st.lists(st.integers(1, 90), min_size=1, max_size=5, unique=True), n_views=st.integers(1, 25))
def test_a_symmetric_set_stays_symmetric_and_shows_the_front_once(right, n_views):
    sides = sorted([*right, *(-angle for angle in right)])
    taken = take_views({"tilt": 0, "x": sorted([*sides, 0]), "y": sides}, n_views)
    for arc in (taken["x"], taken["y"]):
        assert sorted(-angle for angle in arc) == pytest.approx(arc)
    assert (taken["x"].count(0), taken["y"].count(0)) == (n_views % 2, 0)


def test_one_angle_is_not_many():
    with pytest.raises(InputError, match="n_views is 3, but 3 of them cannot be spread over the one angle in x"):
        take_views({"tilt": 0, "x": [5], "y": []}, 3)
    assert take_views({"tilt": 0, "x": [5], "y": [1, 2]}, 1)["x"] == [5]
