"""Memory banks, as PatchCore has them: features of good scans, thinned out to a coreset, and the nearest of them.

Features at full size fill a machine: 765,184 of 1,152 numbers, of one category, are 3.5 GB. All that is made of them
here is their projection, in blocks, to some 330 numbers each (1 GB), and of distances one block at a time. Distances
are exact: candidates come from a matrix product, how far they are from differences. Trees are no faster in so many
dimensions, and libraries of approximate search neither exact nor the same on every machine.
"""

import math
from collections.abc import Sequence

import torch

EPSILON = 0.9
"""By how much a distance may change in the projection, in the lemma of Johnson and Lindenstrauss."""
BLOCK = 1 << 24
"""Numbers of a block of features or distances: 64 MB."""


def coreset(
    features: torch.Tensor | Sequence[torch.Tensor], share: float, seed: int, device: torch.device
) -> torch.Tensor:
    """Ascending indices i8[m], m = int(share n), at least 1, of features [n, d] that cover all of them.

    By farthest-first traversal (greedy k-centre) from the first feature on, in a sparse random projection where that
    has fewer dimensions than the features. features: or several parts [n, d1], [n, d2], ..., which count as one, side
    by side. Memory beside the features: 8 n min(d, k) bytes, k about 300 for n = 200,000.
    """
    parts = [features] if isinstance(features, torch.Tensor) else list(features)
    n = len(parts[0])
    count = max(1, int(share * n))
    if count >= n:
        return torch.arange(n)
    return farthest_first(_centre(project(parts, seed, device)), count).sort().values.cpu()


def project(parts: Sequence[torch.Tensor], seed: int, device: torch.device) -> torch.Tensor:
    """Features float32 [n, k] in a sparse random projection of parts [n, d1], [n, d2], ..., side by side.

    k is what keeps distances to `EPSILON`; where that is not below d, they are left as they are. One in sqrt(d) entries
    of the projection is not 0, and is 1 or -1 but for the scale.
    """
    n, length = len(parts[0]), sum(part.shape[1] for part in parts)
    k = int(4 * math.log(n) / (EPSILON**2 / 2 - EPSILON**3 / 3)) if n > 1 else length
    matrix = None
    if k < length:
        generator = torch.Generator().manual_seed(seed)
        density = 1 / math.sqrt(length)
        there = torch.rand(length, k, generator=generator) < density
        signs = torch.randint(2, (length, k), generator=generator) * 2.0 - 1
        matrix = (there * signs / math.sqrt(density * k)).to(device)
    projected = torch.empty(n, length if matrix is None else k, device=device)
    rows = max(1, BLOCK // length)
    for start in range(0, n, rows):
        block = torch.cat([part[start : start + rows].to(device).float() for part in parts], dim=1)
        projected[start : start + rows] = block if matrix is None else block @ matrix
    return projected


def _centre(points: torch.Tensor) -> torch.Tensor:
    """Points moved so that their mean is the origin, in place."""
    points -= points.mean(0)
    return points


def farthest_first(points: torch.Tensor, count: int) -> torch.Tensor:
    """Indices i8[count] of points float32 [n, d], each the one farthest from those before it, from the first on. Of
    points in one place none is taken before all others have been.

    Looked at are those points alone that a new one can be nearer to than any before: along the direction in which the
    points spread most they lie no farther from it than the farthest point from all before. With features of scans that
    is one in five to twelve. Distances from products lose fewest digits where the points lie around the origin.
    """
    some = points[:: max(1, len(points) // 10_000)].double()  # which direction it is costs time alone
    spread = torch.linalg.eigh(some.T @ some).eigenvectors[:, -1]
    place = points @ spread.to(points.dtype)
    order = place.argsort(stable=True)
    points, place = points[order], place[order]
    squares = points.norm(dim=1).square()  # without a copy of all of them
    beyond = 1e-4 * float(place[-1] - place[0])  # for what rounding may do to a place
    nearest_chosen = torch.full_like(squares, torch.inf)
    chosen = torch.zeros(count, dtype=torch.int64, device=points.device)
    last = order.argmin()
    for index in range(count):
        chosen[index] = last
        reach = nearest_chosen[last].sqrt() + beyond
        low, high = torch.searchsorted(place, torch.stack([place[last] - reach, place[last] + reach])).tolist()
        near, known = points[low : high + 1], nearest_chosen[low : high + 1]
        squared = torch.addmv(squares[low : high + 1], near, points[last], alpha=-2) + squares[last]
        torch.minimum(known, squared.clamp_(min=0), out=known)
        nearest_chosen[last] = -torch.inf
        last = nearest_chosen.argmax()
    return order[chosen]


def nearest(queries: torch.Tensor, bank: torch.Tensor, k: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances float32 [m, k], ascending, from queries [m, d] to the nearest of a bank [n, d], and their indices i8.

    k is cut to n. Of entries equally near either may come first.
    """
    k = min(k, len(bank))
    middle = bank.mean(0)
    rows = max(1, BLOCK // max(1, len(queries)))
    best = queries.new_full((len(queries), 0), 0.0)
    index = torch.zeros((len(queries), 0), dtype=torch.int64, device=queries.device)
    centred = queries - middle
    for start in range(0, len(bank), rows):
        block = bank[start : start + rows] - middle
        squared = torch.addmm(block.square().sum(1), centred, block.T, alpha=-2)  # but for the queries' own squares
        found = squared.topk(min(k, len(block)), largest=False)
        best, index = torch.cat([best, found.values], 1), torch.cat([index, found.indices + start], 1)
        order = best.topk(min(k, best.shape[1]), largest=False).indices
        best, index = best.gather(1, order), index.gather(1, order)
    # The product says which, differences how far.
    exact = torch.cat([(bank[index[:, [j]]] - queries[:, None]).square().sum(2) for j in range(k)], 1).sqrt()
    order = exact.argsort(dim=1, stable=True)
    return exact.gather(1, order), index.gather(1, order)


def reweighted(distances: torch.Tensor, queries: torch.Tensor, bank: torch.Tensor, k: int = 3) -> float:
    """Object score of PatchCore (its Eq. 7): the largest distance s*, less the nearer the bank is crowded around there.

    distances: [m], from queries [m, d] to the nearest of a bank [n, d]. With q the query of s*, b its nearest entry,
    and c the k - 1 entries nearest to b beside itself, it is (1 - exp(s* / sqrt(d)) / sum exp(||q - c|| / sqrt(d))) s*,
    as the code of BTF has it; of a bank with one entry s* itself.
    """
    worst = distances.argmax()
    query, farthest = queries[worst], distances[worst]
    _, (own,) = nearest(query[None], bank)
    _, (around,) = nearest(bank[own], bank, k)
    around = around[around != own][: k - 1]
    if not len(around):
        return float(farthest)
    others = (query - bank[around]).norm(dim=1) / math.sqrt(len(query))
    share = torch.exp(farthest / math.sqrt(len(query)) - torch.logsumexp(others, 0))
    return float((1 - share) * farthest)
