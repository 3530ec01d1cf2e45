"""Shards: every scan in one, none too big, and a scan more or less concerns its own."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointad_core.storage.shards import WHOLE, holds, split

NAMES = st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=60)
SIZES = st.integers(1, 20)


@settings(deadline=None)
@given(NAMES, SIZES)
def test_every_scan_is_in_the_one_shard_that_holds_it(names, size):
    shards = split(names, size)
    assert sorted(name for members in shards.values() for name in members) == sorted(names)
    for shard, members in shards.items():
        assert 0 < len(members) <= size
        assert members == sorted(name for name in names if holds(shard, name))
    assert list(shards) == sorted(shards)


@settings(deadline=None)
@given(NAMES, SIZES)
def test_only_what_is_too_big_is_split(names, size):
    for shard in split(names, size):
        if shard != WHOLE:
            assert sum(holds(shard[:-1], name) for name in names) > size


@settings(deadline=None)
@given(NAMES, SIZES, st.text(min_size=1, max_size=8))
def test_a_scan_more_or_less_leaves_the_other_shards_alone(names, size, name):
    fewer, more = split(names - {name}, size), split(names | {name}, size)
    changed = {shard for shard in fewer if more.get(shard) != fewer[shard]}
    concerned = {shard for shard in more if fewer.get(shard) != more[shard]}
    # The scan's own shard, or the shards that it was split into.
    assert len(changed) <= 1
    assert all(holds(shard, name) for shard in changed)
    assert sum(len(more[shard]) for shard in concerned) <= size + 1
    if name not in names:
        assert any(name in more[shard] for shard in concerned)


def test_a_category_that_is_small_enough_is_whole():
    names = [f"good/{number:03d}" for number in range(7)]
    assert split(names, 7) == split(names, 100) == split(names, None) == {WHOLE: names}
    assert len(split(names, 6)) > 1
    assert split([], 6) == split([], None) == {}


@pytest.mark.parametrize("name", ["good/000", "Größe/é", "00"])
def test_bits_are_those_of_a_hash(name):
    """Shards are named by them: another hash would make every store of a split category anew."""
    digest = hashlib.sha256(name.encode("utf-8")).hexdigest()
    expected = "".join(f"{int(digit, 16):04b}" for digit in digest)
    for length in (1, 5, 30):
        (shard,) = (shard for shard in split([name, *map(str, range(40))], 1) if holds(shard, name))
        assert expected.startswith(shard)
        assert holds(expected[:length], name)
        assert not holds(expected[:length] + str(1 - int(expected[length])), name)
