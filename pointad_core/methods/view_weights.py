"""Weights of the views that see a point, by what is known of them without labels; not the paper's.

The paper takes the plain mean over the views that see a point (Eq. 3, Sec. 3.4), and names as future work a filter for
views of high quality. Here a method's `view_weights` says what a view's word on a point counts by:

    incidence    the cosine of the angle between the point's normal and the way to the view's eye: a surface that is
                 seen at a slant covers few pixels, and its patches show its surroundings
    coverage     the share of the object's points that the view sees
    sharpness    how far from one half the view's own probability p of the point is, |2 p - 1|

Scores alone are weighed. Prompts learn with the plain mean, so that methods that differ in their weights have the same;
and the global probability is the mean over all views, as in the paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pointad_core.errors import InputError
from pointad_core.methods.interface import Settings

if TYPE_CHECKING:
    from pointad_core.methods.segmentation import Sample

LEAST = 1e-6
"""Weight of a view that counts for nothing: a point that no other view sees has its word."""


def view_shares(values: torch.Tensor, sample: Sample, settings: Settings) -> torch.Tensor:
    """Share of each view in what is said of a point: float [K, n], a point's sum 1, or with equal shares
    `sample.visible` as it is.

    values: float [K, n], the probability that each view gives each point, whether it sees it or not. Raises InputError
    for a sample without the angles that it takes.
    """
    how, visible = settings.view_weights, sample.visible
    if how == "mean":
        return visible
    if how == "sharpness":
        weights = (2 * values - 1).abs()
    elif how == "coverage":
        weights = visible.to(values.dtype).mean(1, keepdim=True)
    elif sample.incidence is None:
        raise InputError("view_weights is 'incidence', and the scan was read without its angles of incidence")
    else:
        weights = sample.incidence.to(values.dtype)
    weights = weights.clamp(min=LEAST) * visible
    return weights / weights.sum(0).clamp(min=LEAST)
