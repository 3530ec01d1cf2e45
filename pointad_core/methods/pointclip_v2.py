"""PointCLIP V2 (Sec. 4.1): CLIP as it is, on realistic projections, with the paper's two prompts.

Its segmentation branch, with two prompts for parts: the patches' logits are averaged over windows of 6 x 6, brought
to the image's size, and read at each point's pixel. As elsewhere a softmax over the two prompts comes before
that, and the mean over the views that see a point after it; all views weigh the same where `view_weights` does not say
otherwise. The backbone and the image size are those of its entry in `features`, so that its row differs from the others
in what the paper compares.
"""

import math

import torch
from torch.nn import functional as F

from pointad_core.methods.interface import Settings, State
from pointad_core.methods.prompts import handwritten
from pointad_core.methods.segmentation import Sample, anomaly_logits, global_score, object_score, weighted_scores

__all__ = ["global_score", "object_score", "patch_probabilities", "point_scores", "restore", "templates"]


def templates(name: str) -> dict[str, tuple[str, str]]:
    """The paper's prompts."""
    return {"rendering": (f"point cloud of a big {name}", f"point cloud of a big damaged {name}")}


restore = handwritten(templates)


def average(patch_maps: torch.Tensor) -> torch.Tensor:
    """Mean of maps float [K, P] on the patch grid over 6 x 6 patches, from two before a patch to three after it;
    beyond the border the maps go on with their outermost values."""
    side = math.isqrt(patch_maps.shape[1])
    padded = F.pad(patch_maps.unflatten(1, (side, side))[:, None], (2, 3, 2, 3), mode="replicate")
    return F.avg_pool2d(padded, 6, stride=1).flatten(1)


def patch_probabilities(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """Anomaly probabilities of the patches from their averaged logits, float [K, P]."""
    return torch.sigmoid(average(anomaly_logits(sample.patches, state["rendering"], settings.temperature)))


def point_scores(state: State, sample: Sample, settings: Settings) -> torch.Tensor:
    """Each point's mean, over the views that see it, of the upsampled probabilities at its pixel."""
    return weighted_scores(patch_probabilities(state, sample, settings), sample, settings)
