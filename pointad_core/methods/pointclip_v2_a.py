"""PointCLIP V2_a (Sec. 4.1): PointCLIP V2, "fine-tuned using the same data".

The paper leaves open what is tuned, and by what losses. Here it is a learnable context of 12 tokens before each of the
two prompts, without deep tokens, learnt on the auxiliary class by PointAD's rendering losses: the least that adapts
PointCLIP V2 to the task, and by the same means as the systems beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pointad_core.methods import Settings, State
from pointad_core.methods.pointad import global_score, rendering_terms
from pointad_core.methods.pointclip_v2 import patch_probabilities, point_scores, templates
from pointad_core.segmentation import Sample, object_score

if TYPE_CHECKING:
    from pointad_core.prompts import Targets

__all__ = ["global_score", "loss_terms", "object_score", "point_scores", "templates"]


def loss_terms(state: State, sample: Sample, targets: Targets, settings: Settings) -> dict[str, torch.Tensor]:
    """The four terms of L^r_hybrid for one cloud, of the averaged patches."""
    return rendering_terms(state, patch_probabilities(state, sample, settings), sample, targets, settings)
