"""PointCLIP V2_a (Sec. 4.1): PointCLIP V2, "fine-tuned using the same data".

The paper leaves open what is tuned, and by what losses. Here it is a learnable context of 12 tokens before each of the
two prompts, without deep tokens, learnt on the auxiliary class by PointAD's rendering losses: the least that adapts
PointCLIP V2 to the task, and by the same means as the systems beside it.
"""

from pointad_core.methods.interface import Settings, State, Terms
from pointad_core.methods.pointad import rendering_terms
from pointad_core.methods.pointclip_v2 import patch_probabilities, point_scores, templates
from pointad_core.methods.prompts import learnt
from pointad_core.methods.segmentation import Sample, global_score, object_score
from pointad_core.methods.targets import Targets

__all__ = ["first_weights", "global_score", "loss_terms", "object_score", "point_scores", "restore", "templates"]

first_weights, restore = learnt(templates, class_names=True)


def loss_terms(state: State, sample: Sample, targets: Targets, settings: Settings) -> Terms:
    """The four terms of L^r_hybrid for one cloud, of the averaged patches."""
    return rendering_terms(state, patch_probabilities(state, sample, settings), sample, targets, settings)
