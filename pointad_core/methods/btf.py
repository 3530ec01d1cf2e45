"""BTF (Table 5): a memory bank of FPFH features, of a photograph's features, or of both, for each category.

An organised scan is taken at 224 x 224 pixels, by nearest neighbour from the clouds' own grid (so from 336 x 336 and
not from the camera's pixels), with FPFH where a point is and 0 elsewhere. Every map is averaged over 3 x 3 pixels and
then to 28 x 28 cells. A tenth of the cells of all good scans is the bank; a cell's score is its distance to the nearest
entry, an object's the largest of these, reweighted as in PatchCore. The map is brought to the cloud's pixels bilinearly
and smoothed, by 4 pixels of 224, which are 6 of 336.

Readings taken: a normal's sign is arbitrary, as in the published code. Radii are in metres, where the numbers of
neighbours decide (30 and 100); clouds in millimetres take a thousand times as much. Beside CLIP's patch features, which
have length 1 where a WideResNet's have some tens, FPFH would decide alone: they are brought to the mean length that
FPFH has over the good scans. A cloud without pixels, which BTF does not know, has 784 farthest points for cells, each
the mean of FPFH over the 64 points nearest to it; a point takes the scores of the three cells nearest to it, weighted
by the inverse of their distances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from pointad_core.clouds.fpfh import LENGTH, compute_fpfh
from pointad_core.clouds.sampling import sample_farthest
from pointad_core.clouds.subsets import random_subset
from pointad_core.errors import InputError
from pointad_core.methods.banks import coreset, nearest, reweighted
from pointad_core.methods.cells import check_photographs, colour_cells, thin_grid, to_cells
from pointad_core.methods.interface import CloudSample, Found, Scored
from pointad_core.methods.smoothing import smooth_map, smooth_points
from pointad_core.methods.towers import Tower, load_tower

__all__ = ["learn", "restore", "score"]

SIDE, CELLS = 224, 28
"""Pixels and cells a side."""
NORMALS, HISTOGRAMS = (0.1, 30), (0.25, 100)
"""Radius in metres and most neighbours of a normal and of FPFH."""
AROUND = 64
"""Points that a cell of a cloud without pixels is the mean of: as many as a cell has pixels."""


@dataclass(frozen=True)
class State:
    """What scans of a category are scored with."""

    banks: Mapping[str, torch.Tensor]  # by modality, float32 [m, d]
    scale: torch.Tensor  # what CLIP's features are multiplied by, float32 []
    tower: Tower | None  # None where no good scan had a photograph
    device: torch.device


def learn(
    scans: Sequence[CloudSample],
    options: Mapping[str, Any],
    model: Mapping[str, Any] | None,
    seed: int,
    device: torch.device,
) -> dict[str, torch.Tensor]:
    """A bank for each modality of the good scans, and the scale of their photographs' features; see `interface`."""
    shapes: list[torch.Tensor] = []
    colours: list[torch.Tensor] = []
    tower = None
    for scan in scans:
        shapes.append(_shape_cells(scan)[0])
        if scan.photograph is not None:
            tower = tower or load_tower(options["network"], model, device)
            colours.append(colour_cells(tower(scan.photograph), CELLS).cpu())
    check_photographs(len(shapes) - len(colours), len(shapes))
    shape = torch.cat(shapes)
    kept = {"3d": [shape]}
    scale = torch.tensor(1.0)
    if colours:
        colour = torch.cat(colours)
        if options["network"] is None:
            scale = shape.norm(dim=1).mean() / colour.norm(dim=1).mean().clamp(min=torch.finfo(torch.float32).tiny)
        colour *= scale
        kept |= {"rgb": [colour], "m3d": [colour, shape]}
    tensors = {"scale": scale}
    for modality, parts in kept.items():
        chosen = coreset(parts, options["coreset"], seed, device)
        tensors[f"bank_{modality}"] = torch.cat([part[chosen] for part in parts], dim=1)
    return tensors


def restore(
    tensors: Mapping[str, torch.Tensor],
    options: Mapping[str, Any],
    model: Mapping[str, Any] | None,
    device: torch.device,
) -> State:
    """The banks on the device, with the network that photographs are read with; see `interface`."""
    banks = {name.removeprefix("bank_"): bank.to(device) for name, bank in tensors.items() if name.startswith("bank_")}
    if "3d" not in banks or banks["3d"].shape[1] != LENGTH or "scale" not in tensors:
        raise InputError("is no bank of BTF; learn it again")
    tower = load_tower(options["network"], model, device) if "rgb" in banks else None
    return State(banks, tensors["scale"].to(device), tower, device)


def score(state: State, sample: CloudSample, options: Mapping[str, Any]) -> Found:
    """Scores of the cloud, of the photograph and of both; see `interface`."""
    shape, centres = _shape_cells(sample)
    cells = {"3d": shape.to(state.device)}
    if state.tower is not None and sample.photograph is not None:
        cells["rgb"] = colour_cells(state.tower(sample.photograph), CELLS) * state.scale
        if cells["rgb"].shape[1] != state.banks["rgb"].shape[1]:
            raise InputError("its photograph's features are of another length than the bank's; learn it again")
        cells["m3d"] = torch.cat([cells["rgb"], cells["3d"]], dim=1)
    found: Found = {}
    for modality, queries in cells.items():
        bank = state.banks[modality]
        distances = nearest(queries, bank)[0][:, 0]
        points = _to_points(distances.cpu(), centres, sample, options["smoothing_sigma"])
        found[modality] = Scored(points, reweighted(distances, queries, bank))  # type: ignore[index]
    return found


def _shape_cells(sample: CloudSample) -> tuple[torch.Tensor, np.ndarray | None]:
    """FPFH float32 [p, 33] of a scan's cells, and the cells' centres f4[p,3] where it has no pixels."""
    radii = [(radius * sample.metre, count) for radius, count in (NORMALS, HISTOGRAMS)]
    (normal_radius, normal_count), (radius, count) = radii
    if sample.grid is None:
        points = sample.points[random_subset(len(sample.points), SIDE * SIDE).numpy()]
        features = torch.from_numpy(compute_fpfh(points, normal_radius, normal_count, radius, count))
        centres = points[sample_farthest(points, CELLS * CELLS, seed=0)]
        return features[_nearest_points(centres, points, AROUND)[1]].mean(1), centres
    side = min(SIDE, sample.resolution)
    chosen, pixels = thin_grid(sample.grid, sample.resolution, side)
    image = np.zeros((side * side, LENGTH), np.float32)
    image[pixels] = compute_fpfh(sample.points[chosen], normal_radius, normal_count, radius, count)
    return to_cells(torch.from_numpy(image).T.unflatten(1, (side, side)), CELLS).T, None


def _to_points(distances: torch.Tensor, centres: np.ndarray | None, sample: CloudSample, sigma: float) -> np.ndarray:
    """Smoothed scores, float32 [S, S] or [n], from those of the cells, float32 [p]."""
    if centres is None:
        cells = distances.reshape(1, 1, CELLS, CELLS)
        image = F.interpolate(cells, size=sample.resolution, mode="bilinear", align_corners=False)[0, 0]
        return smooth_map(image.numpy(), sigma)
    apart, index = _nearest_points(sample.points, centres, 3)
    weights = 1 / np.maximum(apart, np.finfo(np.float32).tiny)
    weights /= weights.sum(1, keepdims=True)
    return smooth_points((distances.numpy()[index] * weights).sum(1), sample.points, sigma)


def _nearest_points(queries: np.ndarray, points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances f8[m,k] and indices i8[m,k] of the points [n,3] nearest to queries [m,3]; k is cut to n."""
    from scipy.spatial import KDTree

    return KDTree(points).query(queries, k=range(1, min(k, len(points)) + 1))
