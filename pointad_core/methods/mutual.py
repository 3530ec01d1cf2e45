"""Mutual scoring on renders and photographs: MuSc-V2's idea on this project's features; not the paper's.

What `comparison` says of the patches of the views goes to the points as PointAD's probabilities do (Eq. 3), and a
photograph's map is made of its own patches; both are brought to one range by ranks before they are fused. Of MuSc-V2
are the distances, the share of the scans that counts, and the neighbourhoods; not its layers (features here are of the
last one, with V-V attention), and not the smoothing of object scores over similar scans. An object's score is the
maximum alone: there is no text that the scan as a whole could be held against.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pointad_core.errors import InputError
from pointad_core.methods.comparison import Parts, compared_scans, mutual_scores, neighbourhoods, to_range
from pointad_core.methods.interface import Encoded, Restore, Settings, State
from pointad_core.methods.segmentation import Sample, weighted_scores

__all__ = [
    "compare",
    "global_score",
    "object_score",
    "photograph_scores",
    "point_scores",
    "restore",
    "view_scores",
]

RANGED = 16
"""Scans of a category, drawn, by whose scores ranges are brought to each other."""


def restore(
    tensors: Mapping[str, torch.Tensor], settings: Settings, model: Mapping[str, Any], device: torch.device
) -> Restore:
    """Nothing: all that it scores with are the category's other scans."""
    return lambda name: {}


def compare(
    state: State, scans: Mapping[str, Encoded], wanted: Sequence[str], settings: Settings, device: torch.device
) -> Iterator[State]:
    """Of each wanted scan what is scored with: "views" float [K, P], and "photograph" [P] in the range of the views."""
    return compare_ranged(scans, wanted, settings, device, lambda scan, found: {"photograph": found["views"]})


def compare_ranged(
    scans: Mapping[str, Encoded],
    wanted: Sequence[str],
    settings: Settings,
    device: torch.device,
    target_of: Callable[[Encoded, Parts], Parts],
) -> Iterator[Parts]:
    """Mutual scores of some scans' patches as `compare_patches` gives them, each part that has a target in its range.

    target_of: of a scan and its mutual scores the values whose range a part is brought to. Ranges are those of RANGED
    scans together, which follow from the names of all, so that whoever asks for one scan gets what all get.
    """
    drawn = compared_scans(list(scans), RANGED)
    known = dict(zip(drawn, compare_patches(scans, drawn, settings, device), strict=True))
    targets = [target_of(scans[name], found) for name, found in known.items()]

    def gather(samples: Sequence[Parts]) -> Parts:
        names = {name for sample in samples for name in sample}
        return {name: torch.cat([s[name].flatten() for s in samples if name in s]).sort().values for name in names}

    own, target = gather(list(known.values())), gather(targets)
    rest = compare_patches(scans, [name for name in wanted if name not in known], settings, device)
    for name in wanted:
        found = known[name] if name in known else next(rest)
        if lacking := sorted(found.keys() - own.keys()):
            raise InputError(
                f"scan {name!r} has a {lacking[0]}, and none of the {len(drawn)} scans that give its range"
            )
        ranged = {part: to_range(found[part], own[part], target[part]) for part in found.keys() & target.keys()}
        yield found | ranged


def compare_patches(
    scans: Mapping[str, Encoded], wanted: Sequence[str], settings: Settings, device: torch.device
) -> Iterator[Parts]:
    """Mutual scores of some scans' patches: "views" float [K, P], and "photograph" [P] of a scan that has one.

    The mean over the sizes of neighbourhoods; a view is compared with the same view of other scans, or with all.
    """
    shapes: dict[str, torch.Size] = {}

    def load(name: str) -> Parts:
        scan = scans[name]
        views = neighbourhoods(scan.patches.to(device), settings.neighbourhoods)
        shapes[name] = views.shape[:3]
        same = settings.compared_views == "same"
        parts = {"views": views.flatten(0, 1) if same else views.flatten(1, 2)}
        if scan.photograph is not None:
            parts["photograph"] = neighbourhoods(scan.photograph[1].to(device)[None], settings.neighbourhoods)[:, 0]
        return parts

    scored = mutual_scores(load, list(scans), wanted, settings.lowest_share, settings.references)
    for name, parts in zip(wanted, scored, strict=True):
        yield {part: (found.view(shapes[name]) if part == "views" else found).mean(0) for part, found in parts.items()}


def point_scores(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """Mean over the views that see a point, weighed as the method says, as S_a of Eq. 3."""
    return weighted_scores(state["views"], sample, settings)


def global_score(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """Mean over the views of the highest patch; no part of the object's score."""
    return state["views"].amax(1).mean()


def object_score(probability: float, smoothed: np.ndarray) -> float:
    """The highest score of a point, or of the fused map."""
    return float(smoothed.max())


def view_scores(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """What is said of the views' patches, float [K, P]."""
    return state["views"]


def photograph_scores(
    state: State, photograph: tuple[torch.Tensor, torch.Tensor], settings: Settings
) -> tuple[torch.Tensor, torch.Tensor]:
    """The highest patch of the photograph, float [], and what is said of its patches, [P]."""
    return state["photograph"].max(), state["photograph"]
