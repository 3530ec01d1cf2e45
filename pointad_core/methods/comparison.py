"""Mutual scoring: how far a scan's patches are from those of the other scans of its category (MuSc, MuSc-V2; not the
paper's).

Neither labels nor text nor training: what most scans of a category have is taken for normal. A patch's score is its
smallest distance to the patches of every other scan, averaged over those scans that are nearest to it, the lowest share
of them; a defect is far from all of them, and a rare but good place near to some. Distances are Euclidean between
features of length 1, halved, so that they lie in 0 to 1. Patches are seen with their neighbourhoods: the features of r
x r patches averaged, of what lies beyond the border nothing, and brought back to length 1; scores are the mean over the
sizes r.

Every scan is compared with every other, which takes time by the square of their number, or with some that are drawn.
Memory does not grow with it: a block of scans is held, and all others pass it one after the other. A distance is
computed by the same product whatever the block, so that blocks, shards and what else is asked for change no bit.

Shapes: G groups of patches that are compared with their like alone (a neighbourhood's, of one view or of all), Q
patches in each, d feature dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import torch
from torch.nn import functional as F

from pointad_core.errors import InputError
from pointad_core.storage.shards import bits

MEMORY = 2 << 30
"""Bytes that a block of scans takes: their features, and their distances to all others."""
PRODUCT = 1 << 24
"""Cosines that are at hand at once."""

Parts = dict[str, torch.Tensor]
"""What of a scan is compared, by name, such as views and photograph: features float [G, Q, d] of length 1."""


def neighbourhoods(patches: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """Features of patches with their surroundings: float [K, P, d] on a square grid -> [R, K, P, d], of length 1.

    sizes: R odd numbers of patches a side; of 1 a patch stands for itself.
    """
    grid = math.isqrt(patches.shape[1])
    maps = patches.float().transpose(1, 2).unflatten(2, (grid, grid))
    # The mean's length is lost afterwards, so that what is beyond the border need not be counted.
    pooled = [F.avg_pool2d(maps, size, stride=1, padding=size // 2) for size in sizes]
    return F.normalize(torch.stack(pooled).flatten(3).transpose(2, 3), dim=-1)


def nearest(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each patch of `one` [G, Q, d] the distance to the nearest of `other` [G, T, d], float [G, Q], and of each of
    the other's the distance to the nearest of the one's, [G, T]."""
    rows = max(1, PRODUCT // (len(one) * other.shape[1]))
    turned, own, others = other.transpose(1, 2), [], one.new_full(other.shape[:2], -1.0)
    for part in one.split(rows, dim=1):
        cosines = torch.bmm(part, turned)
        own.append(cosines.amax(2))
        others = torch.maximum(others, cosines.amax(1))
    return _distance(torch.cat(own, dim=1)), _distance(others)


def _distance(cosines: torch.Tensor) -> torch.Tensor:
    """Half the distance between features of length 1 with these cosines."""
    return (0.5 - 0.5 * cosines).clamp(min=0).sqrt()


def mean_lowest(distances: torch.Tensor, share: float) -> torch.Tensor:
    """Mean over the lowest share of the first axis, rounded down, of at least one: float [n, ...] -> [...]."""
    # The share as it is written: in floats 0.7 of 90 is a hair below 63.
    count = max(1, int(Fraction(repr(float(share))) * len(distances)))
    return distances.sort(dim=0).values[:count].mean(0)


def compared_scans(names: Sequence[str], count: int | None) -> list[str]:
    """That many of a category's scans, chosen by their names alone, in the order in which more would follow them; None
    for all."""
    return sorted(names, key=bits)[:count]


@torch.no_grad()
def mutual_scores(
    load: Callable[[str], Parts],
    names: Sequence[str],
    wanted: Sequence[str],
    share: float,
    references: int | None,
    memory: int = MEMORY,
) -> Iterator[Parts]:
    """Scores of some scans' patches, float [G, Q] in 0..1 by the part's name, in the order wanted.

    load: reads what is compared of a scan; names: the category's scans, in any order; share: of the scans compared
    with, those nearest to a patch that count; references: how many others a scan is compared with, drawn; None for all.
    Raises InputError for a category of one scan, and for a part that no other scan has.
    """
    if len(names) < 2:
        raise InputError("it is scored by other scans of its category, of which there are none; expected 2 or more")
    place = {name: number for number, name in enumerate(sorted(names))}
    count = len(names) - 1 if references is None else references
    drawn = compared_scans(names, count + 1)  # one more, for a scan that is among them and is not compared with itself
    waiting = list(wanted)
    while waiting:
        first = load(waiting[0])
        each = sum(part.nbytes + part.nbytes // part.shape[-1] * count for part in first.values())
        size = max(1, memory // each)
        block, waiting = waiting[:size], waiting[size:]
        kept = {name: first if name == block[0] else load(name) for name in block}
        others_of = {name: dict.fromkeys([other for other in drawn if other != name][:count]) for name in block}
        found: dict[str, dict[str, Parts]] = {name: {} for name in block}
        for other in dict.fromkeys(other for others in others_of.values() for other in others):
            passing = kept[other] if other in kept else load(other)
            for name in block:
                if other not in others_of[name] or other in found[name]:
                    continue
                # Always the product of these two in this order, whoever is asked for.
                turned = place[other] < place[name]
                pair = (passing, kept[name]) if turned else (kept[name], passing)
                both = {part: nearest(*(scan[part] for scan in pair)) for part in pair[0].keys() & pair[1].keys()}
                found[name][other] = {part: of_both[turned] for part, of_both in both.items()}
                if name in others_of.get(other, ()):
                    found[other][name] = {part: of_both[not turned] for part, of_both in both.items()}
        for name in block:
            yield {part: _score(name, part, found[name], share) for part in kept[name]}


def _score(name: str, part: str, found: dict[str, Parts], share: float) -> torch.Tensor:
    distances = [parts[part] for _, parts in sorted(found.items()) if part in parts]
    if not distances:
        raise InputError(f"scan {name!r} has a {part}, and none of those that it is compared with")
    return mean_lowest(torch.stack(distances), share)


def to_range(values: torch.Tensor, own: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Values brought to another range by their ranks: each becomes the quantile of `target` that it is of `own`.

    own, target: samples of both, float [n] and [m], sorted. Monotone; beyond `own` the ends of `target`.
    """
    below, upto = (torch.searchsorted(own, values.contiguous(), right=right).double() for right in (False, True))
    # A rank is the middle of those of equal values; from 0 for the lowest to 1 for the highest.
    rank = ((below + upto - 1) / 2 / max(1, len(own) - 1)).clamp(0, 1) * (len(target) - 1)
    low = rank.floor().long()
    between = (rank - low).to(target.dtype)
    high = (low + 1).clamp(max=len(target) - 1)
    return target[low] * (1 - between) + target[high] * between
