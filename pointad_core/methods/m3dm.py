"""M3DM, multi-3D-memory (Table 5): banks of a cloud's features, of a photograph's, and of both fused.

Points get the features of Point-MAE's encoder (`point_mae`), and 56 x 56 cells of the scan the means of their points'.
A photograph's features are DINO's, of 28 x 28 cells. Two networks that agree on which belong together (`fusion`) make a
third kind of them, at 56 x 56. A tenth of each kind, of all good scans, is a bank. A cell's score in a bank is its
distance to the nearest entry, an object's the largest of these, reweighted as in PatchCore; maps are brought to the
cloud's pixels bilinearly. What the three banks say becomes one score by two one-class SVMs, of points and of objects,
which the good scans themselves teach, with weights 1, 0.1 and 1 for the cloud, the photograph and both.

Where no weights are given the row is not M3DM's published network: Point-MAE's are drawn, and the CLIP of the config
reads the photographs. The fusion is learnt from the category alone unless its weights are given.

Readings taken, where the published code slips or depends on the background: features are standardised by the mean and
deviation of their own bank (there the cloud's mean and the photograph's deviation stand for all three), each coreset is
a tenth of its own features (there the photograph's is a tenth of the already reduced cloud's), and cells without a
point are in no bank and have no distance (there they are, and a row of zeros stands for them in the cloud's bank). The
SVMs learn before the maps are smoothed, which changes no sum; their offset, the same for all, is left out, so that no
score is negative. A scan without pixels has the centres of its groups for cells; a point takes the three nearest's.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from pointad_core.clouds.subsets import random_subset
from pointad_core.errors import InputError
from pointad_core.methods.banks import coreset, nearest, reweighted
from pointad_core.methods.cells import check_photographs, pooling, smooth_scores, thin_grid, to_pixels
from pointad_core.methods.dino import load_dino
from pointad_core.methods.fusion import Fusion, first_fusion, load_fusion, train_fusion
from pointad_core.methods.interface import CloudSample, Found, Scored
from pointad_core.methods.local_patches import cut_patches
from pointad_core.methods.point_mae import DIM, PointMae, load_point_mae, nearest_centres
from pointad_core.methods.pointnet import normalise
from pointad_core.methods.towers import load_tower

__all__ = ["learn", "restore", "score"]

logger = logging.getLogger(__name__)

SIDE, CELLS = 224, 56  # pixels a side at which a scan is taken, and cells
WEIGHTS = {"xyz": 1.0, "rgb": 0.1, "fused": 1.0}  # of the banks, by kind
NU = 0.5  # of the SVMs: the share of what they learn from that may lie outside
TAUGHT = 1 << 21  # most points that the SVM of points learns from

Photographs = Callable[[np.ndarray], torch.Tensor]
"""Patch features float32 [d, h, h] of a photograph u1[S,S,3]."""


@dataclass(frozen=True)
class Features:
    """A scan's features before they are fused, of those cells that hold a point, row by row."""

    xyz: torch.Tensor  # [p, DIM]
    held: np.ndarray | None  # bool [CELLS ** 2], which cells these are; None of a scan without pixels
    centres: np.ndarray | None  # f4[p,3] in place of them
    rgb: torch.Tensor | None  # [q, d]; None without a photograph
    rgb_held: np.ndarray | None  # bool [h * h], cells of the photograph's own grid
    rgb_at_xyz: torch.Tensor | None  # [p, d], the photograph's features at the cloud's cells

    def kept(self) -> Features:
        """The same on the CPU in half precision, which rounds less than neighbouring cells differ: all those of a
        category at full size are 0.9 GB of its clouds and as much of its photographs so."""
        names = ("xyz", "rgb", "rgb_at_xyz")
        parts = {name: getattr(self, name) for name in names}
        return replace(self, **{name: part.cpu().half() for name, part in parts.items() if part is not None})


@dataclass(frozen=True)
class Bank:
    """Features of good scans of one kind."""

    entries: torch.Tensor  # float32 [m, d], standardised
    mean: float
    deviation: float


@dataclass(frozen=True)
class State:
    """What scans of a category are scored with; the parts for photographs are None where the good scans have none."""

    points: PointMae
    photographs: Photographs | None
    fusion: Fusion | None
    banks: Mapping[str, Bank]  # by kind
    of_points: np.ndarray | None  # float64 [3], what a distance of each kind counts
    of_objects: np.ndarray | None  # the same of an object's scores
    device: torch.device


def learn(
    scans: Sequence[CloudSample],
    options: Mapping[str, Any],
    model: Mapping[str, Any] | None,
    seed: int,
    device: torch.device,
) -> dict[str, torch.Tensor]:
    """The fusion that was learnt, the banks and what the SVMs found; see `interface`."""
    points = load_point_mae(options["point_mae"], seed, device)
    photographs, found = None, []
    for scan in scans:
        if photographs is None and scan.photograph is not None and scan.grid is not None:
            photographs = _load_photographs(options, model, device)
        found.append(_features(points, photographs, scan, options, device).kept())
    without = sum(features.rgb is None for features in found)
    check_photographs(without, len(scans))
    fusion = None if without else _learn_fusion(found, options, seed, device)
    tensors = {"seed": torch.tensor(seed)}
    banks = {}
    for kind in WEIGHTS if fusion else ("xyz",):
        parts = [_of_kind(features, kind, fusion, device).cpu().half() for features in found]
        banks[kind] = _make_bank(parts, options["coreset"], seed, device)
        tensors[f"bank.{kind}"] = banks[kind].entries.cpu()
        tensors[f"scaling.{kind}"] = torch.tensor([banks[kind].mean, banks[kind].deviation], dtype=torch.float64)
        del parts
    if fusion is not None:
        state = State(points, photographs, fusion, banks, None, None, device)
        tensors |= {
            f"plane.{name}": torch.from_numpy(plane) for name, plane in _teach(state, scans, found, seed).items()
        }
        if options["fusion"] is None:
            tensors |= {f"fusion.{name}": part.cpu() for name, part in fusion.state_dict().items()}
    return tensors


def restore(
    tensors: Mapping[str, torch.Tensor],
    options: Mapping[str, Any],
    model: Mapping[str, Any] | None,
    device: torch.device,
) -> State:
    """The networks and the banks on the device; see `interface`."""
    banks = {}
    for kind in WEIGHTS:
        if f"bank.{kind}" in tensors and f"scaling.{kind}" in tensors:
            banks[kind] = Bank(tensors[f"bank.{kind}"].to(device), *tensors[f"scaling.{kind}"].tolist())
    if "xyz" not in banks or "seed" not in tensors or banks["xyz"].entries.shape[1] != DIM:
        raise InputError("is no bank of M3DM; learn it again")
    points = load_point_mae(options["point_mae"], int(tensors["seed"]), device)
    if "fused" not in banks:
        return State(points, None, None, banks, None, None, device)
    dim = banks["rgb"].entries.shape[1]
    if options["fusion"] is not None:
        fusion = load_fusion(options["fusion"], DIM, dim, device)
    else:
        weights = {name.removeprefix("fusion."): part for name, part in tensors.items() if name.startswith("fusion.")}
        fusion = Fusion(DIM, dim, options["mlp_ratio"])
        try:
            fusion.load_state_dict(weights)
        except RuntimeError as error:
            raise InputError(f"is no fusion with mlp_ratio {options['mlp_ratio']}; learn it again") from error
        fusion.eval().requires_grad_(False).to(device)
    planes = (tensors["plane.points"].numpy(), tensors["plane.objects"].numpy())
    return State(points, _load_photographs(options, model, device), fusion, banks, *planes, device)


def score(state: State, sample: CloudSample, options: Mapping[str, Any]) -> Found:
    """Scores of the cloud, and with its photograph of this and of both; see `interface`."""
    features = _features(state.points, state.photographs, sample, options, state.device)
    of_points, of_objects = _distances(state, sample, features)

    def scored(points: np.ndarray, whole: float) -> Scored:
        return Scored(smooth_scores(points, sample, options["smoothing_sigma"]), whole)

    found: Found = {"3d": scored(of_points["xyz"], of_objects["xyz"])}
    if state.of_points is not None and state.of_objects is not None and "fused" in of_points:
        both = np.stack([of_points[kind] for kind in WEIGHTS], axis=1) @ state.of_points
        whole = float(np.array([of_objects[kind] for kind in WEIGHTS]) @ state.of_objects)
        found |= {"rgb": scored(of_points["rgb"], of_objects["rgb"]), "m3d": scored(both.astype(np.float32), whole)}
    return found


# Features -------------------------------------------------------------------------------------------------------------


def _load_photographs(options: Mapping[str, Any], model: Mapping[str, Any] | None, device: torch.device) -> Photographs:
    if options["network"] is None:
        tower = load_tower(None, model, device)
        return lambda photograph: tower(photograph)[0]
    dino = load_dino(options["network"], device)

    def read(photograph: np.ndarray) -> torch.Tensor:
        return dino(torch.from_numpy(photograph).to(device).permute(2, 0, 1)[None].float() / 255)[0]

    return read


@torch.no_grad()
def _features(
    network: PointMae,
    photographs: Photographs | None,
    sample: CloudSample,
    options: Mapping[str, Any],
    device: torch.device,
) -> Features:
    side = min(SIDE, sample.resolution)
    if sample.grid is None:
        chosen, pixels = random_subset(len(sample.points), SIDE * SIDE).numpy(), None
    else:
        chosen, pixels = thin_grid(sample.grid, sample.resolution, side)
    if options["point_mae"] is None:
        points = normalise(torch.from_numpy(sample.points[chosen])).numpy()
    else:
        points = (sample.points[chosen] / sample.metre).astype(np.float32)
    index, members = cut_patches(points, options["groups"], options["group_points"])
    centres = points[index]
    groups = torch.from_numpy(points[members] - centres[:, None])
    tokens = network(groups.to(device), torch.from_numpy(centres).to(device))
    if pixels is None or sample.grid is None:
        return Features(tokens, None, sample.points[chosen][index], None, None, None)
    means = pooling(pixels, side, CELLS)
    held = np.asarray(means.sum(axis=1)).ravel() > 0
    # From tokens to points and from points to cells: both are linear, one small matrix.
    to_cells = means[held] @ _interpolation(points, centres)
    xyz = torch.from_numpy(to_cells.toarray().astype(np.float32)).to(device) @ tokens
    if photographs is None or sample.photograph is None:
        return Features(xyz, held, None, None, None, None)
    patches = photographs(sample.photograph)
    own = patches.shape[1]
    rows, columns = np.divmod(sample.grid, sample.resolution)
    rgb_held = np.zeros(own * own, bool)
    rgb_held[rows * own // sample.resolution * own + columns * own // sample.resolution] = True
    at_xyz = F.adaptive_avg_pool2d(patches[None], CELLS)[0].flatten(1).T[torch.from_numpy(held).to(device)]
    rgb = patches.flatten(1).T[torch.from_numpy(rgb_held).to(device)]
    return Features(xyz, held, None, rgb, rgb_held, at_xyz)


def _interpolation(points: np.ndarray, centres: np.ndarray) -> Any:
    """The sparse matrix [n, m] that gives points float [n, 3] the features of centres float [m, 3]."""
    from scipy.sparse import csr_array

    index, weights = nearest_centres(points, centres)
    rows = np.arange(len(points)).repeat(index.shape[1])
    return csr_array((weights.ravel(), (rows, index.ravel())), shape=(len(points), len(centres)))


@torch.no_grad()
def _of_kind(features: Features, kind: str, fusion: Fusion | None, device: torch.device) -> torch.Tensor:
    """A scan's features of a kind, float32 on the device."""
    if kind != "fused":
        return getattr(features, kind).to(device).float()
    assert fusion is not None
    assert features.rgb_at_xyz is not None
    return fusion(features.xyz.to(device).float(), features.rgb_at_xyz.to(device).float())


def _learn_fusion(found: Sequence[Features], options: Mapping[str, Any], seed: int, device: torch.device) -> Fusion:
    """The networks of the file, or those that the category's features teach."""
    colours = [features.rgb_at_xyz for features in found if features.rgb_at_xyz is not None]
    dim = colours[0].shape[1]
    if options["fusion"] is not None:
        return load_fusion(options["fusion"], DIM, dim, device)
    generator = torch.Generator().manual_seed(seed)
    fusion = first_fusion(DIM, dim, options["mlp_ratio"], generator).to(device)
    xyz = torch.cat([features.xyz for features in found])
    settings = options["epochs"], options["batch_size"], options["learning_rate"]
    for epoch, loss in train_fusion(fusion, xyz, torch.cat(colours), *settings, generator):
        logger.debug("epoch %d: loss %.5f", epoch, loss)
    logger.info("the fusion has learnt from %d cells, its loss is %.5f", len(xyz), loss)
    return fusion


# Banks and what they say ----------------------------------------------------------------------------------------------


def _make_bank(parts: Sequence[torch.Tensor], share: float, seed: int, device: torch.device) -> Bank:
    """A bank of all good scans' features [p, d] of a kind; those of its coreset, standardised by all."""
    count = sum(part.numel() for part in parts)
    mean = sum(part.double().sum().item() for part in parts) / count
    variance = sum((part.double() - mean).square().sum().item() for part in parts) / count
    if not variance:
        raise InputError("the features of all good scans are the same; nothing can be compared with them")
    features = torch.cat(list(parts))
    # One number is subtracted from all and one divides all: the coreset is the same before and after.
    entries = features[coreset(features, share, seed, device)].to(device).float()
    return Bank((entries - mean) / variance**0.5, mean, variance**0.5)


def _distances(state: State, sample: CloudSample, features: Features) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Distances float32 [n] of a scan's points to each bank, and its score as an object."""
    of_points, of_objects = {}, {}
    for kind, bank in state.banks.items():
        if kind != "xyz" and features.rgb is None:
            continue
        queries = (_of_kind(features, kind, state.fusion, state.device) - bank.mean) / bank.deviation
        if queries.shape[1] != bank.entries.shape[1]:
            raise InputError("its photograph's features are of another length than the bank's; learn it again")
        distances = nearest(queries, bank.entries)[0][:, 0]
        of_objects[kind] = reweighted(distances, queries, bank.entries)
        of_cells = distances.cpu()
        held = features.rgb_held if kind == "rgb" else features.held
        if held is None or sample.grid is None:
            assert features.centres is not None
            index, weights = nearest_centres(sample.points / sample.metre, features.centres / sample.metre)
            of_points[kind] = (of_cells.numpy()[index] * weights).sum(1).astype(np.float32)
            continue
        of_points[kind] = to_pixels(of_cells, held, sample)
    return of_points, of_objects


def _teach(state: State, scans: Sequence[CloudSample], found: Sequence[Features], seed: int) -> dict[str, np.ndarray]:
    """What a score of each kind counts, float64 [3], for points and for objects: the normals of the planes by which two
    one-class SVMs part the good scans' scores from the origin, times the weights."""
    weights = np.array(list(WEIGHTS.values()))
    points, objects = [], []
    most = max(1, TAUGHT // len(scans))
    for scan, features in zip(scans, found, strict=True):
        of_points, of_objects = _distances(state, scan, features)
        drawn = random_subset(len(scan.points), most).numpy()
        points.append(np.stack([of_points[kind][drawn] for kind in WEIGHTS], axis=1))
        objects.append([of_objects[kind] for kind in WEIGHTS])
    lots = {"points": np.concatenate(points), "objects": np.array(objects)}
    return {name: weights * plane(weights * lot, seed) for name, lot in lots.items()}


def plane(scores: np.ndarray, seed: int) -> np.ndarray:
    """Normal float64 [3] of the plane by which a linear one-class SVM parts scores float [n, 3] from the origin.

    No part of it is negative, for no score is. Raises InputError where it has no part at all.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import SGDOneClassSVM

    svm = SGDOneClassSVM(nu=NU, max_iter=1000, random_state=seed)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ConvergenceWarning)
        svm.fit(np.asarray(scores, dtype=np.float64))
    for warning in told:
        logger.warning("a one-class SVM of %d scores: %s", len(scores), warning.message)
    normal = np.maximum(svm.coef_.ravel(), 0.0)
    if not normal.any():
        raise InputError("the one-class SVM finds no plane between the good scans' scores and none")
    return normal
