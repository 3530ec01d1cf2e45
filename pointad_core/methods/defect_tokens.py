"""Defect tokens: what a scan shows that good scans do not, as a token of the abnormal prompts (after GS-CLIP; not the
paper's).

Prototypes are learnt once, from the patch features of the auxiliary category's good scans: the centres of their
clusters. A scan's features that lie farthest from all prototypes are what looks least normal in it; their mean
direction goes through a learnt map, one for each layer of prompts, to a token of the text tower, which stands behind
the context of the abnormal prompt alone. So the abnormal text embedding is each scan's own, the normal one is not.

Readings taken where the description is open: the features are those of patches that show a point of the object;
distances are between directions; without any good scan there is nothing to learn from, which is refused.

Shapes: K views, P patches a view, d feature dimensions, c prototypes, dt width of the text tower.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F

from pointad_core.errors import InputError
from pointad_core.methods.aggregation import patch_indices
from pointad_core.methods.segmentation import Sample

MOST = 512
"""Features of a scan that prototypes are learnt from at most, evenly among those it has."""
ROUNDS = 50
"""Of the clustering at most; it mostly stands still before."""


def find_shown(sample: Sample) -> torch.Tensor:
    """Which patches show a point, bool [K, P]."""
    shape = sample.patches.shape[:2]
    index = patch_indices(sample.pixels, sample.resolution, math.isqrt(shape[1]))
    # Counted, so that nobody waits for a GPU to tell how many there are.
    counts = torch.zeros(shape, device=sample.patches.device)
    return counts.scatter_add_(1, index, sample.visible.float()) > 0


def find_prototypes(features: torch.Tensor, count: int) -> torch.Tensor:
    """Centres float32 [c, d], L2-normalised, of the clusters of features float [m, d], L2-normalised: k-means by the
    cosine, from starts that lie farthest apart, the first of them the one nearest to the mean of all.

    Deterministic. Raises InputError for fewer features than clusters.
    """
    if len(features) < count:
        raise InputError(f"prototypes is {count}, but the good scans have only {len(features)} patches with points")
    features = features.float()
    nearest = (features @ features.mean(0)).argmax()
    starts, cosines = [nearest], features @ features[nearest]
    while len(starts) < count:
        starts.append(cosines.argmin())
        cosines = torch.maximum(cosines, features @ features[starts[-1]])
    centres, belongs = features[torch.stack(starts)], None
    for _ in range(ROUNDS):
        now = (features @ centres.T).argmax(dim=1)
        if belongs is not None and torch.equal(now, belongs):
            break
        belongs = now
        # A product with the members of each cluster: sums in one order, on a GPU as well.
        sums = F.one_hot(belongs, count).to(features.dtype).T @ features
        # A cluster without members keeps its centre.
        centres = torch.where(sums.any(dim=1, keepdim=True), F.normalize(sums, dim=1), centres)
    return centres


def find_direction(features: torch.Tensor, shown: torch.Tensor, prototypes: torch.Tensor, count: int) -> torch.Tensor:
    """Mean direction, float [d], L2-normalised, of the `count` features with the greatest distance to their nearest
    prototype, or of all where there are fewer.

    features: float [m, d], L2-normalised; shown: bool [m], of which of them; prototypes: float [c, d]. Raises
    InputError where both are not of one width.
    """
    if features.shape[1] != prototypes.shape[1]:
        told = f"the prompts' prototypes have {prototypes.shape[1]} dimensions"
        raise InputError(f"{told}, the features have {features.shape[1]}; train the prompts again")
    cosines = (features @ prototypes.T).amax(dim=1).masked_fill(~shown, math.inf)
    places = cosines.argsort(stable=True)[:count]
    return F.normalize((features[places] * shown[places, None]).sum(0), dim=0)


@dataclass(frozen=True)
class DefectToken:
    """What makes a scan's defect tokens, a token for each layer of prompts."""

    prototypes: torch.Tensor  # float32 [c, d], L2-normalised; empty until the good scans have been seen
    maps: Mapping[str, torch.Tensor]  # by layer float32 [dt, d]; learnt
    count: int  # features that a token is made of

    @classmethod
    def first(
        cls, layers: Iterable[str], count: int, width: int, dim: int, generator: torch.Generator, device: torch.device
    ) -> DefectToken:
        """Before training; tokens are drawn like those of the context, of standard deviation 0.02."""
        maps = {layer: torch.randn(width, dim, generator=generator) * 0.02 for layer in layers}
        learnable = {layer: values.to(device).requires_grad_() for layer, values in maps.items()}
        return cls(torch.empty(0, dim, device=device), learnable, count)

    def learn(self, good: Iterable[Sample], n_prototypes: int) -> DefectToken:
        """The same with prototypes of good scans, which are looked at one after the other."""
        parts = []
        for sample in good:
            features = sample.patches[find_shown(sample)]
            parts.append(features[:: math.ceil(len(features) / MOST)])
        if not parts:
            raise InputError("defect_features: no good scan, from which prototypes could be learnt")
        return replace(self, prototypes=find_prototypes(torch.cat(parts), n_prototypes))

    def of(self, sample: Sample) -> dict[str, torch.Tensor]:
        """The tokens of a scan by layer, float32 [dt], differentiable in the maps."""
        shown = find_shown(sample).flatten()
        direction = find_direction(sample.patches.flatten(0, 1), shown, self.prototypes, self.count)
        return {layer: values @ direction for layer, values in self.maps.items()}
