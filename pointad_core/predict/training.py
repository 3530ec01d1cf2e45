"""Prompts learnt on a few scans of one's own, in memory: what the stages up to prompts do, scan by scan (Sec. 3.5).

The scans are prepared, rendered and encoded as for a prompts file that is there, so that the new one is used like it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pointad_core.datasets.scans import Organised, Unorganised
from pointad_core.detector import Detector
from pointad_core.errors import InputError
from pointad_core.methods.interface import Learner, Settings
from pointad_core.methods.registry import SYSTEMS, System, load, plain
from pointad_core.methods.segmentation import PointSample, move
from pointad_core.methods.targets import PointTargets, cloud_label, make_targets
from pointad_core.methods.training import Example, train
from pointad_core.storage import jobs, stores
from pointad_core.storage.prompt_files import read_provenance, write_curve, write_prompts

logger = logging.getLogger(__name__)

Raw = Organised | Unorganised


def trainable() -> dict[str, System]:
    """Systems that learn from what a detector sees of a scan: shaded views."""
    return {name: system for name, system in SYSTEMS.items() if system.trained and "splat" in system.renderers}


def learning_detector(
    base: str | Path, system: str, options: Mapping[str, Any], model: Mapping[str, Any] | None = None
) -> Detector:
    """A detector that looks at scans as that of a prompts file does, for a system that is still to learn.

    base: the prompts file; options: hyper-parameters of the method as in the config, those that are missing as in the
    file; model: the features' entry of the config, None for the file's. Raises InputError for a system that does not
    learn from shaded views.
    """
    known = trainable()
    if system not in known:
        raise InputError(f"system {system!r} does not learn from shaded views; those that do are {', '.join(known)}")
    there, entry = Detector.load(base, jobs.pick_device()), known[system]
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
    return sample, make_targets(sample, labels, torch.from_numpy(seen.renders.masks > 0), defective)


def learn(
    detector: Detector, examples: Sequence[Example], seed: int, name: str = ""
) -> tuple[Learner, list[dict[str, float]]]:
    """Train on examples, at least one of them defective; what was learnt, and the losses as `training.train` has them.

    seed: of the first weights and of the scans' order; name: of what the scans are of, for systems that name it.
    """
    if detector.system.class_names and not name:
        raise InputError(f"{detector.system.module} names in its prompts what the scans are of; give a name")
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
    inputs |= {"aggregation": dict(detector.aggregation), "features": dict(detector.model)}
    made: dict[str, Any] = {"system": plain(detector.system), "settings": asdict(detector.settings)}
    made["model"] = dict(detector.model)
    made |= {"inputs": inputs, "device": detector.device.type, "packages": stores.package_versions()}
    curve = Path(output).with_suffix(".csv")
    write_prompts(output, learner.tensors(), {**learner.description(), **made, **about})
    write_curve(curve, rows)
    return curve
