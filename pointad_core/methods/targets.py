"""Ground truth of a scan with all that follows from it and does not change during training (Eq. 4)."""

import logging
from dataclasses import dataclass

import torch

from pointad_core.methods import losses
from pointad_core.methods.segmentation import Sample, implicit_scores, upsample

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DiceSums:
    """The sums in a Dice loss as linear functions of the patches' probabilities.

    Interpolation, lookup at pixels and the mean over visible views are linear in p, so that sum p and sum p y over
    a map or a cloud are scalar products with factors that depend on the scan alone.
    """

    predicted: torch.Tensor  # float [..., P], d(sum p) / d(patch probability)
    overlap: torch.Tensor  # float [..., P], d(sum p y) / d(patch probability)
    labelled: torch.Tensor  # float [...], sum y
    count: int  # pixels of a map or points of a cloud
    empty: tuple[int, int] = (0, 0)  # normal and abnormal pixels without a point that count as well

    def dice(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Dice(p_n, 1 - y) + Dice(p_a, y), [...], from the patches' p_a [..., P]."""
        predicted, overlap = ((part * probabilities).sum(-1) for part in (self.predicted, self.overlap))
        return losses.dice_pair(predicted, overlap, self.labelled, self.count, self.empty)


@dataclass(frozen=True)
class Targets:
    """Of one scan, for a system that reads renders."""

    defective: torch.Tensor  # bool [], label of the cloud
    defective_views: torch.Tensor  # bool [K], whether a render shows any defect
    labels: torch.Tensor  # float32 [n], labels of the points
    masks: torch.Tensor  # bool [K, S, S], ground truth of the renders
    pixels: DiceSums  # over each render's map: factors [K, P]
    points: DiceSums  # over the cloud's implicit scores, those of existing points: factors [K * P]


@dataclass(frozen=True)
class PointTargets:
    """Of one scan, for a system that reads clouds alone."""

    defective: torch.Tensor  # bool [], label of the cloud
    labels: torch.Tensor  # float32 [n], labels of the points


def make_targets(
    sample: Sample, labels: torch.Tensor, masks: torch.Tensor, defective: bool, mask: torch.Tensor | None = None
) -> Targets:
    """Targets of a scan on the CPU: labels integer or bool [n], masks bool [K, S, S], defective: the cloud's label;
    mask: integer or bool [S, S], ground truth of an organised scan whose empty pixels count in Dice too."""
    points = labels.double()
    # Linear functions are their gradients. Double precision: the factors are sums over all pixels.
    patches = torch.zeros(sample.patches.shape[:2], dtype=torch.float64, requires_grad=True)
    maps = upsample(patches, sample.resolution)
    scores = implicit_scores(patches, sample.pixels, sample.visible, sample.resolution)

    def factors(total: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(total, patches, retain_graph=True)[0].float()

    flat = masks.flatten(1)
    pixels = DiceSums(factors(maps.sum()), factors(maps[masks].sum()), flat.sum(1).float(), flat.shape[1])
    of_points = factors(scores.sum()).flatten(), factors(scores @ points).flatten()
    empty = (0, 0) if mask is None else count_empty(labels, mask)
    cloud = DiceSums(*of_points, points.sum().float(), len(points), empty)
    return Targets(torch.tensor(defective), flat.any(1), points.float(), masks, pixels, cloud)


def count_empty(labels: torch.Tensor, mask: torch.Tensor) -> tuple[int, int]:
    """How many pixels of a scan's ground truth [S, S] have no point, normal and abnormal ones; labels [n]: of the
    points."""
    marked = int((mask > 0).sum()) - int((labels > 0).sum())
    return mask.numel() - len(labels) - marked, marked


def cloud_label(labels: torch.Tensor, defective: bool, scan: str) -> bool:
    """max(y^3d) of a cloud's labels [n], or where no remaining point is labelled the clouds store's label of the whole
    scan, `defective`; warns where they disagree."""
    labelled = bool((labels > 0).any())
    if labelled != defective:
        found = "good but has labelled points" if labelled else "defective but has no labelled point left"
        logger.warning("scan %s is called %s; taken as defective", scan, found)
    return labelled or defective
