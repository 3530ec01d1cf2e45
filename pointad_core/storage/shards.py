"""Shards: which scans of a big category belong to one job.

A category of more than `size` scans is split in two by the first bit of a hash of each scan's name, a half that still
has more by the second bit, and so on. So a shard is named by its bits, its scans follow from their names alone, and a
scan that is added or deleted concerns its own shard, which at most is split, or put together with its other half.
"""

import hashlib
from collections.abc import Iterable

WHOLE = ""
"""The one shard of a category that is not split."""


def bits(scan: str) -> str:
    """The 256 bits of a scan's name, as zeros and ones."""
    return f"{int.from_bytes(hashlib.sha256(scan.encode()).digest()):0256b}"


def holds(shard: str, scan: str) -> bool:
    """Whether a scan belongs to a shard."""
    return bits(scan).startswith(shard)


def split(scans: Iterable[str], size: int | None) -> dict[str, list[str]]:
    """Scans by shard, at most `size` in each; None for all in one. Shards and their scans are sorted.

    The names must differ, and size be positive.
    """
    shards: dict[str, list[str]] = {}
    waiting = [(WHOLE, [(bits(scan), scan) for scan in scans])]
    while waiting:
        shard, members = waiting.pop()
        if size is not None and len(members) > size:
            waiting += [(shard + bit, [pair for pair in members if pair[0][len(shard)] == bit]) for bit in "10"]
        elif members:
            shards[shard] = sorted(scan for _, scan in members)
    return shards
