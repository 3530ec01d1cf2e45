"""Stage prompts: what a system learns on one auxiliary category, from cached features (Sec. 3.5)."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pointad_core.errors import InputError
from pointad_core.methods.interface import Settings
from pointad_core.methods.registry import System, load
from pointad_core.methods.segmentation import PointSample
from pointad_core.methods.targets import PointTargets, cloud_label, make_targets
from pointad_core.methods.training import Example, cached, train
from pointad_core.stages.samples import open_samples
from pointad_core.storage import jobs, stores
from pointad_core.storage.prompt_files import write_curve, write_prompts

logger = logging.getLogger(__name__)


def make_prompts(
    system: Mapping[str, Any],
    inputs: Mapping[str, stores.Paths],
    output: str | Path,
    curve: str | Path,
    options: Mapping[str, Any],
    model: Mapping[str, Any],
    display: str | None,
    seed: int,
    provenance: Mapping[str, Any],
) -> None:
    """Train what a system learns on one category; write it (`output`) and the loss curve (`curve`, CSV).

    system: its registry entry (`registry.plain`). inputs: stores of the category or of its shards by stage, those that
    the system reads. options: the method's entry in the config (`Settings`); model: the features' entry, which names
    the CLIP. display: the category's name in prompts, None for a system whose prompts do not name it; seed: of the
    first weights and the clouds' order. Scans that nobody labelled are left out. Raises InputError for a category
    without a defective scan, from whose labels nothing can be learnt.
    """
    entry = System(**system)
    settings = Settings.of(options, entry.losses)
    if entry.class_names and not display:
        raise InputError(f"{entry.module} names the category in its prompts; its display name is missing")
    if not settings.loss_weights:
        raise InputError(f"{entry.module} has no losses in its entry; there is nothing to learn by")
    module = load(entry)
    device = jobs.pick_device()
    with open_samples(inputs, entry) as reader:
        clouds = reader.clouds
        category = str(clouds.attributes["category"])
        stated = {scan: clouds.scan_attributes(scan)["defective"] for scan in reader.scans}
        scans = [scan for scan in stated if "labels" in clouds.arrays(scan)]
        if left_out := len(stated) - len(scans):
            logger.warning(
                "category %s: %d of %d scans have no labels and are left out", category, left_out, len(stated)
            )

        def labels(index: int) -> torch.Tensor:
            return torch.from_numpy(clouds.load(scans[index], ["labels"])["labels"])

        defective = [cloud_label(labels(index), bool(stated[scan]), scan) for index, scan in enumerate(scans)]
        if not any(defective):
            found = f"; {left_out} of its {len(stated)} scans have no labels" if left_out else ""
            raise InputError(f"{clouds.path}: category {category!r} has no defective scan to train prompts on{found}")
        if all(defective):
            logger.warning("category %s has no good scan; training on defective ones alone", category)

        def example(index: int) -> Example:
            sample = reader.sample(scans[index])
            if isinstance(sample, PointSample):
                return sample, PointTargets(torch.tensor(defective[index]), labels(index).float())
            masks = torch.from_numpy(reader.masks(scans[index]))
            mask = None
            if settings.dice == "pixels" and clouds.attributes["organised"]:
                mask = torch.from_numpy(clouds.load(scans[index], ["mask"])["mask"])
            return sample, make_targets(sample, labels(index), masks, defective[index], mask)

        generator = torch.Generator().manual_seed(seed)
        learner = module.first_weights(display or "", settings, model, generator, device)
        if entry.stream is not None:  # a network's state counts its batches
            reader.check_dimensions(learner.state(), f"model {model['model']!r}")
        watch = partial(jobs.progress, label=f"training on {category}", unit="step")
        rows = train(module, learner, cached(example, device), len(scans), settings, generator, device, watch)
        # How the scans were prepared that were learnt on: what it takes to prepare one more like them.
        made = {stage: store.attributes["provenance"].get("options") for stage, store in reader.stores.items()}
        made["layout"] = clouds.attributes["provenance"].get("layout")
        extents = [np.ptp(clouds.load(scan, ["points"])["points"], axis=0).max() for scan in scans]
        made["extent"] = float(f"{np.median(extents):.3g}")

    about: dict[str, Any] = {"system": dict(system), "settings": asdict(settings), "model": dict(model), "inputs": made}
    about |= {"category": category, "seed": seed, "device": device.type, "packages": stores.package_versions()}
    write_prompts(output, learner.tensors(), {**provenance, **learner.description(), **about})
    write_curve(curve, rows)
