"""SDM, shape-guided dual memory (Table 5): a memory of local shapes, and one of colours that shapes give the way to.

A scan is cut into patches of 500 points, each point lying in some ten of them. An expert that the category's good scans
have taught (`signed_distance`) makes a code of each patch; codes of good scans are the first memory. A tested patch's
code is replaced by a sum of three of the ten nearest codes; a point's score is its distance to the surface that this
sum describes, the smallest of the patches that hold it. Of a photograph 28 x 28 cells are compared with those cells of
good scans alone that belong to one of the matched shapes, each with a sum of three of the five nearest; its distances
are brought to the range of the cloud's by their means and deviations over good scans, and the larger of both counts.
An object's score is the largest error of a sum, of both modalities the product.

Readings taken: the expert learns from the category alone, and the alignment is taken before smoothing, as the maximum
is. To a good scan its own patches are known; the nearest, itself, is left out where scans are aligned, and no other. An
organised scan is taken at 224 x 224 pixels by nearest neighbour, one without pixels at as many of its points; points
that are left out, or in no patch, take the score of the nearest. Only a cell with a point has features.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pointad_core.clouds.subsets import nearest as nearest_points
from pointad_core.clouds.subsets import random_subset
from pointad_core.errors import InputError
from pointad_core.methods.banks import nearest
from pointad_core.methods.cells import check_photographs, colour_cells, smooth_scores, thin_grid, to_pixels
from pointad_core.methods.interface import CloudSample, Found, Scored
from pointad_core.methods.local_patches import cut_patches, normalise_patches, smallest
from pointad_core.methods.pursuit import approximate
from pointad_core.methods.signed_distance import Expert, first_expert, train_expert
from pointad_core.methods.towers import Tower, load_tower

__all__ = ["learn", "restore", "score"]

logger = logging.getLogger(__name__)

CELLS = 28  # a side, of a photograph
ATOMS = 3  # codes or cells in a sum
SHAPES, COLOURS = 10, 5  # nearest ones that they are chosen from
ALIGNED = 25  # most good scans whose scores align both modalities
BATCH = 32  # patches that go through the expert at once
ENCODER = (1 / 8, 1 / 4, 2, 1, 1 / 4)  # widths of the encoder's layers in widths of the distance's


@dataclass(frozen=True)
class Cut:
    """A scan in patches."""

    chosen: np.ndarray  # int [k], the points that are cut
    members: torch.Tensor  # int64 [m, s], into these
    patches: torch.Tensor  # float32 [m, s, 3], normalised
    covers: np.ndarray | None  # bool [m, CELLS ** 2], cells of the photograph with a point of the patch


@dataclass(frozen=True)
class State:
    """What scans of a category are scored with."""

    expert: Expert
    codes: torch.Tensor  # float32 [M, c]
    scans: np.ndarray  # int32 [M], the good scan of each code
    covers: np.ndarray  # uint8 [M, CELLS ** 2 / 8], bits of `Cut.covers`
    rows: np.ndarray  # int32 [scans, CELLS ** 2], the row of each cell in `colours`; -1 of one without a point
    colours: torch.Tensor | None  # float32 [R, d]; None where the good scans have no photographs
    scale: float
    shift: float  # a photograph's scores times `scale` plus `shift` are in the range of the cloud's
    tower: Tower | None
    device: torch.device


def learn(
    scans: Sequence[CloudSample],
    options: Mapping[str, Any],
    model: Mapping[str, Any] | None,
    seed: int,
    device: torch.device,
) -> dict[str, torch.Tensor]:
    """The expert's weights, both memories and their alignment; see `interface`."""
    generator = torch.Generator().manual_seed(seed)
    expert = first_expert(_widths(options["width"]), options["width"], generator).to(device)
    lot, n_photographs = _training_patches(scans, options, generator)
    check_photographs(len(scans) - n_photographs, len(scans))
    if len(lot) < 2:
        raise InputError(
            f"{len(lot)} patches of {options['patch_points']} points to learn from; more points are needed"
        )
    settings = options["epochs"], options["batch_size"], options["learning_rate"]
    for epoch, loss in train_expert(expert, lot.to(device), *settings, generator):
        logger.debug("epoch %d: loss %.5f", epoch, loss)
    logger.info("the expert has learnt from %d patches, its loss is %.5f", len(lot), loss)
    expert.requires_grad_(False)

    tower = load_tower(options["network"], model, device) if n_photographs else None
    tensors = {f"expert.{name}": part.cpu() for name, part in expert.state_dict().items()}
    tensors |= _memories(scans, options, expert, tower, device)
    scale, shift = 1.0, 0.0
    if tower is not None:
        state = _state(tensors | {"alignment": torch.tensor([scale, shift])}, expert, tower, device)
        scale, shift = _align(state, scans, options)
    return tensors | {"alignment": torch.tensor([scale, shift], dtype=torch.float64)}


def restore(
    tensors: Mapping[str, torch.Tensor],
    options: Mapping[str, Any],
    model: Mapping[str, Any] | None,
    device: torch.device,
) -> State:
    """The expert and the memories on the device; see `interface`."""
    expert = Expert(_widths(options["width"]), options["width"])
    weights = {name.removeprefix("expert."): part for name, part in tensors.items() if name.startswith("expert.")}
    try:
        expert.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"is no memory of SDM with width {options['width']}; learn it again") from error
    expert.eval().requires_grad_(False).to(device)
    tower = load_tower(options["network"], model, device) if "colours" in tensors else None
    return _state(tensors, expert, tower, device)


def score(state: State, sample: CloudSample, options: Mapping[str, Any]) -> Found:
    """Scores of the cloud, and with its photograph of this and of both; see `interface`."""

    def scored(points: np.ndarray, whole: float) -> Scored:
        return Scored(smooth_scores(points, sample, options["smoothing_sigma"]), whole)

    cut = _cut(sample, options)
    shape, largest, matched = _score_shape(state, cut, sample, skip=0)
    found: Found = {"3d": scored(shape, largest)}
    if state.colours is not None and cut.covers is not None and sample.photograph is not None:
        colour, largest_colour = _score_colour(state, cut, sample, matched, skip=0)
        aligned = np.maximum(colour * state.scale + state.shift, shape)
        found |= {"rgb": scored(colour, largest_colour), "m3d": scored(aligned, largest * largest_colour)}
    return found


def _widths(width: int) -> tuple[int, ...]:
    return tuple(max(1, int(share * width)) for share in ENCODER)


def _cut(sample: CloudSample, options: Mapping[str, Any], share: float = 1.0) -> Cut:
    """A scan's patches; share: of the patches that cover each point `overlap` times."""
    side, covers = min(options["side"], sample.resolution), None
    if sample.grid is None:
        chosen, pixels = random_subset(len(sample.points), options["side"] ** 2).numpy(), None
    else:
        chosen, pixels = thin_grid(sample.grid, sample.resolution, side)
    points = sample.points[chosen]
    n_patches = max(1, round(share * options["overlap"] * len(points) / options["patch_points"]))
    _, members = cut_patches(points, n_patches, options["patch_points"])
    if pixels is not None:
        rows, columns = np.divmod(pixels, side)
        cells = rows * CELLS // side * CELLS + columns * CELLS // side
        covers = np.zeros((len(members), CELLS * CELLS), bool)
        np.put_along_axis(covers, cells[members], True, axis=1)
    return Cut(chosen, torch.from_numpy(members), normalise_patches(torch.from_numpy(points[members])), covers)


def _training_patches(
    scans: Sequence[CloudSample], options: Mapping[str, Any], generator: torch.Generator
) -> tuple[torch.Tensor, int]:
    """Patches float32 [m, s, 3] that the expert learns from, half as many as a scan is scored by or some of them drawn;
    and how many scans have a photograph."""
    most, n_photographs = options["training_patches"], 0
    parts = []
    for index, scan in enumerate(scans):
        n_photographs += scan.photograph is not None
        patches = _cut(scan, options, share=0.5).patches
        if most is not None:
            # As many of each scan as of any other, to one.
            count = most * (index + 1) // len(scans) - most * index // len(scans)
            patches = patches[torch.randperm(len(patches), generator=generator)[:count]]
        parts.append(patches)
    return torch.cat(parts), n_photographs


def _memories(
    scans: Sequence[CloudSample], options: Mapping[str, Any], expert: Expert, tower: Tower | None, device: torch.device
) -> dict[str, torch.Tensor]:
    """Codes, the scan and the cells of each; and where there are photographs the features of all cells with a point."""
    codes, numbers, covers, colours, rows = [], [], [], [], []
    n_rows = 0
    for index, scan in enumerate(scans):
        cut = _cut(scan, options)
        codes.append(_encode(expert, cut.patches.to(device)).cpu())
        numbers.append(torch.full((len(cut.patches),), index, dtype=torch.int32))
        if tower is not None and cut.covers is not None and scan.photograph is not None:
            held: np.ndarray = cut.covers.max(axis=0)
            # Half precision: the memory of a category at full size is 0.3 GB so, and rounds less than cells differ.
            colours.append(colour_cells(tower(scan.photograph), CELLS)[held].cpu().half())
            covers.append(torch.from_numpy(np.packbits(cut.covers, axis=1)))
            rows.append(torch.from_numpy(np.where(held, n_rows + held.cumsum() - 1, -1).astype(np.int32)))
            n_rows += int(held.sum())
    tensors = {"codes": torch.cat(codes), "scans": torch.cat(numbers)}
    if colours:
        tensors |= {"colours": torch.cat(colours), "covers": torch.cat(covers), "rows": torch.stack(rows)}
    return tensors


def _state(tensors: Mapping[str, torch.Tensor], expert: Expert, tower: Tower | None, device: torch.device) -> State:
    absent = torch.zeros(0)
    scans, covers, rows = (tensors.get(name, absent).numpy() for name in ("scans", "covers", "rows"))
    colours = tensors["colours"].to(device).float() if "colours" in tensors else None
    scale, shift = tensors["alignment"].tolist()
    return State(expert, tensors["codes"].to(device), scans, covers, rows, colours, scale, shift, tower, device)


def _encode(expert: Expert, patches: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([expert.encode(part) for part in patches.split(BATCH)])


def _score_shape(state: State, cut: Cut, sample: CloudSample, skip: int) -> tuple[np.ndarray, float, torch.Tensor]:
    """Score float32 [n] of each point, of the object, and the codes [m, SHAPES] that are nearest to the patches'.

    skip: how many of the nearest are left out, 1 for a scan whose own codes are in the memory.
    """
    patches = cut.patches.to(state.device)
    codes = _encode(state.expert, patches)
    matched = nearest(codes, state.codes, SHAPES + skip)[1][:, skip:]
    sums = approximate(codes, state.codes[matched], ATOMS)
    with torch.no_grad():
        pairs = zip(sums.split(BATCH), patches.split(BATCH), strict=True)
        distances = torch.cat([state.expert.signed_distance(*pair) for pair in pairs]).abs()
    lowest = smallest(distances.cpu(), cut.members, len(cut.chosen))
    held = lowest.isfinite()
    points = torch.from_numpy(sample.points)
    of_points = lowest[held][nearest_points(points, points[cut.chosen][held])]
    return of_points.numpy(), float((codes - sums).norm(dim=1).max()), matched.cpu()


def _score_colour(
    state: State, cut: Cut, sample: CloudSample, matched: torch.Tensor, skip: int
) -> tuple[np.ndarray, float]:
    """Score float32 [n] of each point by the photograph, and of the object; arguments as in `_score_shape`."""
    assert state.tower is not None
    assert state.colours is not None
    assert cut.covers is not None
    assert sample.photograph is not None
    held: np.ndarray = cut.covers.max(axis=0)
    cells = colour_cells(state.tower(sample.photograph), CELLS)[held].half().float()
    if cells.shape[1] != state.colours.shape[1]:
        raise InputError("its photograph's features are of another length than the memory's; learn it again")
    codes = np.unique(matched.numpy())
    of_codes, places = np.nonzero(np.unpackbits(state.covers[codes], axis=1))
    allowed = state.colours[np.unique(state.rows[state.scans[codes[of_codes]], places])]
    close = nearest(cells, allowed, COLOURS + skip)[1][:, skip:]
    errors = (cells - approximate(cells, allowed[close], ATOMS)).norm(dim=1).cpu()
    return to_pixels(errors, held, sample), float(errors.max())


def _align(state: State, scans: Sequence[CloudSample], options: Mapping[str, Any]) -> tuple[float, float]:
    """Scale and shift that bring the photographs' scores to the clouds', so that mean - 3 and mean + 3 deviations meet;
    so do mean and deviation then."""
    shapes, colours = [], []
    for index in range(min(len(scans), ALIGNED)):
        cut = _cut(scans[index], options)
        shape, _, matched = _score_shape(state, cut, scans[index], skip=1)
        shapes.append(shape)
        colours.append(_score_colour(state, cut, scans[index], matched, skip=1)[0])
    shape, colour = (np.concatenate(parts).astype(np.float64) for parts in (shapes, colours))
    if not colour.std():
        raise InputError("the photographs of the good scans are all alike; nothing can be compared with them")
    scale = shape.std() / colour.std()
    return float(scale), float(shape.mean() - scale * colour.mean())
