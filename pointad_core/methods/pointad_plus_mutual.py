"""PointAD+ with mutual scoring as a third branch (`mutual`; not the paper's).

Prompts, and how they are learnt, are PointAD+'s. Mutual scores are brought by ranks to the range of what the rendering
prompts say of the same patches, so that they count as much and the maximum keeps its meaning.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch

from pointad_core.methods import mutual, pointad_plus
from pointad_core.methods.comparison import Parts
from pointad_core.methods.interface import Encoded, Settings, State
from pointad_core.methods.pointad_plus import first_weights, global_score, loss_terms, object_score, restore, templates
from pointad_core.methods.segmentation import Sample, anomaly_logits

__all__ = [
    "branches",
    "compare",
    "first_weights",
    "global_score",
    "loss_terms",
    "object_score",
    "photograph_scores",
    "point_scores",
    "restore",
    "templates",
    "view_scores",
]


def compare(
    state: State, scans: Mapping[str, Encoded], wanted: Sequence[str], settings: Settings, device: torch.device
) -> Iterator[State]:
    """Of each wanted scan the prompts' embeddings, and mutual scores "views" [K, P] and "photograph" [P]."""

    def target_of(scan: Encoded, found: Parts) -> Parts:
        photograph = {} if scan.photograph is None else {"photograph": scan.photograph[1]}
        parts = {"views": scan.patches, **photograph}
        return {part: _probabilities(state, features, settings) for part, features in parts.items()}

    for found in mutual.compare_ranged(scans, wanted, settings, device, target_of):
        yield state | found


def _probabilities(state: State, features: torch.Tensor, settings: Settings) -> torch.Tensor:
    """What the rendering prompts say of features [..., d] as they are cached: float32 [...], where the prompts are."""
    embeddings = state["rendering"]
    return torch.sigmoid(anomaly_logits(features.to(embeddings.device).float(), embeddings, settings.temperature))


def branches(state: State, sample: Sample, settings: Settings) -> dict[str, torch.Tensor]:
    """S_a and T_a of PointAD+, and the mutual scores, float [n] each; the points' scores are their mean."""
    return {
        **pointad_plus.branches(state, sample, settings),
        "mutual": mutual.point_scores(state, sample, settings),
    }


def point_scores(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """Mean of the branches."""
    return torch.stack([*branches(state, sample, settings).values()]).mean(0)


def view_scores(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """Of the views' patches, float [K, P], the mean of what the rendering prompts say and of the mutual scores."""
    return 0.5 * _probabilities(state, sample.patches, settings) + 0.5 * state["views"]


def photograph_scores(
    state: State, photograph: tuple[torch.Tensor, torch.Tensor], settings: Settings
) -> tuple[torch.Tensor, torch.Tensor]:
    """P(g_a, f^rgb), and of its patches [P] the mean of what the rendering prompts say and of the mutual scores."""
    view, patches = photograph
    return _probabilities(state, view, settings), 0.5 * _probabilities(state, patches, settings) + 0.5 * state[
        "photograph"
    ]
