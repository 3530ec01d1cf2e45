"""Overhead: what a system's scores of a scan cost, from its points in memory to the scores (Table 5), as CSV.

What is measured is what `Detector` does, that is, what the stages from clouds to scores do to a scan; of an
unsupervised system, what these do with what it has learnt of the category. The files in between, which the workflow
keeps for several methods, are neither written nor read.
"""

import csv
import importlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pointad_core.clip.precision import precision_of
from pointad_core.clouds.cloud import make_cloud
from pointad_core.clouds.frame import to_unit
from pointad_core.datasets.scans import Organised, Unorganised
from pointad_core.detector import STEPS, Detector
from pointad_core.errors import InputError
from pointad_core.evaluation.stopwatch import WHOLE, Stopwatch, measure, name_device, peak_memory, settle
from pointad_core.methods.interface import Settings
from pointad_core.methods.registry import System, load
from pointad_core.methods.scoring import restore
from pointad_core.stages.samples import cloud_sample
from pointad_core.stages.scores import restore_expert
from pointad_core.storage import files, jobs

logger = logging.getLogger(__name__)

COLUMNS = ("scan", "repeat", WHOLE, *STEPS, "memory_mb", "memory_of", "device", "threads", "precision")
"""A row a measured score; a step that the system does not need has no seconds. memory_mb: as `peak_memory` tells it, of
the "gpu" or of the "process"; precision: what CLIP's vision tower multiplied, "" where the system did not ask it."""


def measure_overhead(
    system: Mapping[str, Any],
    learnt: str | Path | None,
    root: str | os.PathLike[str],
    layout: Mapping[str, Any],
    category: Mapping[str, str],
    output: str | Path,
    options: Mapping[str, Any],
    measuring: Mapping[str, Any],
) -> None:
    """Score some scans of a category one at a time; write what each took (`output`, CSV with COLUMNS).

    system: its registry entry (`registry.plain`); learnt: file of its prompts, or of its expert of the category, None
    for a system that learns nothing; root, layout: as for `make_clouds`; category: its name and display. options: those
    of the stages that the system has, by name, "clouds", "renders", "aggregation", "settings" (the method's entry) and
    "model" (the features' entry). measuring: scans (how many, evenly among those of the category), warm_up, repeats (as
    for `stopwatch.measure`) and modality ("3d": photographs are left aside; "m3d"). Raises InputError for a scan that
    cannot be used, and for m3d of a scan or a system without RGB.
    """
    entry, device, watch = System(**system), jobs.pick_device(), Stopwatch()
    watch.settle = settle(device)
    if measuring["modality"] == "m3d" and not entry.rgb:
        raise InputError(f"{entry.module} takes no RGB in; its overhead is measured with modality: 3d")
    clouds = {**options["clouds"], "scene": layout["scene"]}
    if entry.unsupervised:
        score = _score_by_expert(load(entry), learnt, clouds, options, device, watch)
    else:
        settings = Settings.of(options["settings"], entry.losses)
        detector = Detector(
            system=entry,
            restored=restore(entry, learnt, settings, options["model"], device),
            settings=settings,
            model=options["model"],
            clouds=clouds,
            renders=options.get("renders", {}),
            aggregation=options.get("aggregation", {}),
            extent=float("nan"),  # of the scans that were learnt on; nothing here asks for it
            device=device,
            watch=watch,
        )
        score = partial(detector.score, name=category["display"])
    raws = _read(root, layout, category["name"], options["clouds"], measuring["scans"])
    photographs = measuring["modality"] == "m3d"
    if photographs and (lacking := [name for name, raw in raws.items() if getattr(raw, "rgb", None) is None]):
        raise InputError(f"{root}: scan {lacking[0]!r} of {category['name']} has no photograph, as modality m3d needs")
    raws = {name: _given(raw, photographs) for name, raw in raws.items()}
    scans = {name: partial(score, raw) for name, raw in raws.items()}
    rows = measure(scans, watch, peak_memory(device), measuring["warm_up"], measuring["repeats"])
    about = {"device": name_device(device), "threads": torch.get_num_threads()}
    about["memory_of"] = "gpu" if device.type == "cuda" else "process"
    about["precision"] = ""
    # Of an unsupervised system CLIP's tower reads photographs, unless a network of its own does.
    own = options["settings"].get("network")
    if entry.stream or (entry.unsupervised and photographs and options["model"] and not own):
        about["precision"] = precision_of(options["model"], device)
    for row in rows:
        logger.info("%s: %.3f s, %.0f MB", row["scan"], row[WHOLE], row["memory_mb"])
    with files.replacing(output) as partial_file, open(partial_file, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        table.writeheader()
        for row in rows:
            shown = {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()}
            table.writerow(shown | about)


def _score_by_expert(
    module: Any,
    expert: str | Path | None,
    clouds: Mapping[str, Any],
    options: Mapping[str, Any],
    device: torch.device,
    watch: Stopwatch,
) -> Callable[[Organised | Unorganised], Any]:
    """A function that scores a raw scan by what an unsupervised system has learnt, as the scores stage does."""
    if expert is None:
        raise InputError(f"{module.__name__} is unsupervised; what it has learnt of the category is missing")
    state = restore_expert(module, expert, options["settings"], options["model"], device)

    def score(raw: Organised | Unorganised) -> Any:
        with watch("clouds"):
            cloud = make_cloud(raw, clouds, Path("the scan"))
        with watch("scores"):
            found = module.score(state, cloud_sample(cloud, clouds["resolution"]), options["settings"])
            nearest = cloud.get("nearest")
            return {
                modality: (scored.points if nearest is None else scored.points[nearest], scored.object)
                for modality, scored in found.items()
            }

    return score


def _given(raw: Organised | Unorganised, photographs: bool) -> Organised | Unorganised:
    """A raw scan as it is scored: without ground truth, whose renders would be drawn as well."""
    if isinstance(raw, Unorganised):
        return replace(raw, labels=None)
    return replace(raw, mask=None, rgb=raw.rgb if photographs else None)


def _read(
    root: str | os.PathLike[str], layout: Mapping[str, Any], category: str, options: Mapping[str, Any], count: int
) -> dict[str, Organised | Unorganised]:
    """So many raw scans of a category by name, evenly among all of them, as the clouds stage reads them."""
    reader = importlib.import_module(f"pointad_core.{layout['module']}")
    scans = reader.find_scans(root, category)
    if count > len(scans):
        raise InputError(f"{root}: {category} has {len(scans)} scans, {count} are asked for")
    chosen = [scans[(2 * position + 1) * len(scans) // (2 * count)] for position in range(count)]
    mark, unit = options.get("missing", "auto"), options.get("unit")
    read = {scan.name: (scan, reader.read(scan, None if mark == "auto" else mark, unit)) for scan in chosen}
    return {
        name: to_unit(raw, unit, layout["unit"], layout["extents"], scan.path) for name, (scan, raw) in read.items()
    }
