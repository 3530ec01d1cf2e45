"""Prompts learnt on a few scans of one's own, in memory: what the stages up to prompts do, scan by scan (Sec. 3.5).

The scans are prepared, rendered and encoded as for a prompts file that is there, so that the new one is used like it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pointad_core.datasets import folder as layout
from pointad_core.datasets.scans import GOOD, Organised, Unorganised
from pointad_core.datasets.scans import Scan as Files
from pointad_core.detector import Detector
from pointad_core.errors import InputError
from pointad_core.methods.interface import Learner, Settings
from pointad_core.methods.registry import SYSTEMS, System, load, plain
from pointad_core.methods.segmentation import PointSample, move
from pointad_core.methods.shipped import ORGANISED, POINTS
from pointad_core.methods.targets import PointTargets, cloud_label, make_targets
from pointad_core.methods.training import Example, train
from pointad_core.predict.orientation import Facing, face
from pointad_core.predict.predictor import CLOUDS, with_point_size
from pointad_core.predict.scan import Scan, Wanted, prepare, read_scan
from pointad_core.storage import jobs, stores
from pointad_core.storage.prompt_files import read_provenance, write_curve, write_prompts

logger = logging.getLogger(__name__)

Raw = Organised | Unorganised


@dataclass(frozen=True)
class Labelled:
    """A scan with the labels of its points, bool [N] as in `scan.Scan`, and how it is turned."""

    scan: Scan
    labels: np.ndarray
    facing: Facing


def read_labelled(files: Files, wanted: Wanted) -> Labelled | None:
    """A scan of the layout `folder` with its labels; None for one that nobody labelled.

    Raises InputError for a scan called defective whose labels, or what is left of them, mark no point.
    """
    scan = read_scan(files.path, None, wanted)
    labels = layout.read_labels(files, scan.points, scan.valid, scan.labels)
    if labels is None:
        return None
    if files.defect != GOOD and not (labels & scan.kept).any():
        why = "of the points that its labels mark none is left" if labels.any() else "its labels mark no point"
        raise InputError(f"{files.path}: is called {files.defect!r}, but {why}")
    return Labelled(scan, labels & scan.kept, face(scan.points[scan.kept], scan.grid, wanted.facing))


def are_closed(scans: Sequence[Labelled]) -> bool:
    """Whether scans are to be looked at from all round: most of them are closed."""
    return 2 * sum(found.facing.around for found in scans) > len(scans)


def to_raw(found: Labelled, detector: Detector, around: bool) -> Raw:
    """A scan as `predictor.Predictor` hands it to a detector, with its labels."""
    facing = found.facing
    if around and not facing.around:
        facing = face(found.scan.points[found.scan.kept], None, "around")
    raw = prepare(found.scan, facing, detector.renders["views"]["tilt"], detector.extent)
    if isinstance(raw, Organised):
        return replace(raw, mask=found.labels)
    return replace(raw, labels=found.labels[found.scan.kept])


def train_folder(
    folder: str | Path,
    output: str | Path,
    system: str,
    options: Mapping[str, Any],
    model: Mapping[str, Any] | None = None,
    wanted: Wanted | None = None,
    seed: int = 111,
    name: str = "",
) -> dict[str, Any]:
    """Learn prompts on the scans of one folder in the layout `folder`, and write them and the losses.

    Arguments as of `learning_detector`, `read_scan` and `learn`. Returns what is to be told: curve, the path of the
    losses; around; and by "good", "defective" and "left out" the names of the scans. Raises InputError, before
    anything is written, for a folder without a labelled defect and for a scan that cannot be read.
    """
    if find_system(system).class_names and not name:
        raise InputError(f"system {system!r} names in its prompts what the scans are of; give a name")
    folder, wanted = Path(folder).resolve(), wanted or Wanted(rgb=False)
    told: dict[str, Any] = {"good": [], "defective": [], "left out": []}
    found: dict[str, Labelled] = {}
    for files in jobs.progress(layout.find(folder.parent, folder.name), "reading"):
        labelled = read_labelled(files, wanted)
        if labelled is None:
            told["left out"].append(files.name)
            logger.warning("%s: is left out, for nobody has labelled it (%s.label.txt)", files.path, files.path.stem)
            continue
        found[files.name] = labelled
        told["defective" if labelled.labels.any() else "good"].append(files.name)
    if not told["defective"]:
        what = "a defective scan is a file in a folder such as bad/, with NAME.label.txt beside it (rows x y z label)"
        raise InputError(f"{folder}: no scan with a labelled defect, from which prompts could learn; {what}")
    told["around"] = around = are_closed(list(found.values()))
    base = POINTS if around else ORGANISED
    detector = learning_detector(base, system, options, model)
    # Here, where no scan is blamed for it.
    detector.check_model()
    examples = []
    for label, scan in zip(found, jobs.progress(list(found.values()), "looking at"), strict=True):
        try:
            raw, suited = to_raw(scan, detector, around), with_point_size(detector, scan.scan, wanted.point_size)
            examples.append(make_example(suited, raw, label in told["defective"], label))
        except InputError as error:
            raise InputError(f"{scan.scan.path}: {error}") from error
    learner, rows = learn(detector, examples, seed, name)
    about = {"seed": seed, "category": folder.name, "display": name or None, "scans": sorted(found)}
    told["curve"] = save(output, base, detector, learner, rows, about)
    return told


def trainable() -> dict[str, System]:
    """Systems that learn from what a detector sees of a scan: shaded views."""
    return {
        name: system
        for name, system in SYSTEMS.items()
        if system.trained and "splat" in system.renderers and not system.batch
    }


def find_system(name: str) -> System:
    """A system that learns from shaded views, by its name; InputError for any other."""
    known = trainable()
    if name not in known:
        raise InputError(f"system {name!r} does not learn from shaded views; those that do are {', '.join(known)}")
    return known[name]


def learning_detector(
    base: str | Path, system: str, options: Mapping[str, Any], model: Mapping[str, Any] | None = None
) -> Detector:
    """A detector that looks at scans as that of a prompts file does, for a system that is still to learn.

    base: the prompts file; options: hyper-parameters of the method as in the config, those that are missing as in the
    file; model: the features' entry of the config, None for the file's. Raises InputError for a system that does not
    learn from shaded views.
    """
    entry = find_system(system)
    # As the predictor has it, so that a scan is looked at in training as it will be afterwards.
    there = Detector.load(base, jobs.pick_device(), clouds=CLOUDS)
    # Weights of losses are a system's own.
    kept = {key: value for key, value in asdict(there.settings).items() if key != "loss_weights"}
    settings = Settings.of({**kept, **options}, entry.losses)
    if model is not None:
        model = {"resolution": there.model["resolution"], **model}
    return replace(there, system=System(**plain(entry)), settings=settings, model=dict(model or there.model))


def make_example(detector: Detector, raw: Raw, defective: bool, name: str) -> Example:
    """A scan with labels as it is trained on; defective: what it is known to be; name: for messages."""
    # Prompts learn from renders; a photograph would be encoded in vain.
    seen = detector.look(replace(raw, rgb=None) if isinstance(raw, Organised) else raw)
    labels = torch.from_numpy(seen.cloud["labels"])
    defective = cloud_label(labels, defective, name)
    if isinstance(seen.sample, PointSample) or seen.renders is None:
        return PointSample(torch.from_numpy(seen.cloud["points"])), PointTargets(
            torch.tensor(defective), labels.float()
        )
    sample = move(seen.sample, torch.device("cpu"))
    mask = None
    if detector.settings.dice == "pixels" and "mask" in seen.cloud:
        mask = torch.from_numpy(seen.cloud["mask"])
    return sample, make_targets(sample, labels, torch.from_numpy(seen.renders.masks > 0), defective, mask)


def learn(
    detector: Detector, examples: Sequence[Example], seed: int, name: str = ""
) -> tuple[Learner, list[dict[str, float]]]:
    """Train on examples, at least one of them defective; what was learnt, and the losses as `training.train` has them.

    seed: of the first weights and of the scans' order; name: of what the scans are of, for systems that name it.
    """
    flags = [bool(targets.defective) for _, targets in examples]
    if not any(flags):
        raise InputError("no scan with a labelled defect, from which prompts could learn")
    if all(flags):
        logger.warning("no good scan; training on defective ones alone")
    module, generator = load(detector.system), torch.Generator().manual_seed(seed)
    given = detector.settings, detector.model, generator, detector.device
    learner = module.first_weights(name, *given)
    watch = partial(jobs.progress, label="training", unit="step")
    rows = train(
        module, learner, examples.__getitem__, len(examples), detector.settings, generator, detector.device, watch
    )
    return learner, rows


def save(
    output: str | Path,
    base: str | Path,
    detector: Detector,
    learner: Learner,
    rows: Sequence[Mapping[str, float]],
    about: Mapping[str, Any],
) -> Path:
    """Write a prompts file that says how its scans were prepared, as `base` says it, and beside it the losses as CSV,
    whose path is returned. about: what else the file shall say, such as the seed and the scans."""
    inputs = dict(read_provenance(base)["inputs"])
    inputs |= {"clouds": dict(detector.clouds), "renders": dict(detector.renders)}
    inputs |= {"extent": detector.extent, "aggregation": dict(detector.aggregation), "features": dict(detector.model)}
    made: dict[str, Any] = {"system": plain(detector.system), "settings": asdict(detector.settings)}
    made["model"] = dict(detector.model)
    made |= {"inputs": inputs, "device": detector.device.type, "packages": stores.package_versions()}
    curve = Path(output).with_suffix(".csv")
    write_prompts(output, learner.tensors(), {**learner.description(), **made, **about})
    write_curve(curve, rows)
    return curve
