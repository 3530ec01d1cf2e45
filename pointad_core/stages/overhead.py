"""Overhead: what a system's scores of a scan cost, from its points in memory to the scores (Table 5), as CSV.

What is measured is what `Detector` does, that is, what the stages from clouds to scores do to a scan. The files in
between, which the workflow keeps for several methods, are neither written nor read.
"""

import csv
import importlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pointad_core.clouds.frame import to_unit
from pointad_core.datasets.scans import Organised, Unorganised
from pointad_core.detector import STEPS, Detector
from pointad_core.errors import InputError
from pointad_core.evaluation.stopwatch import WHOLE, Stopwatch, measure, name_device, peak_memory, settle
from pointad_core.methods.interface import Settings
from pointad_core.methods.registry import System
from pointad_core.methods.scoring import restore
from pointad_core.storage import files, jobs

logger = logging.getLogger(__name__)

COLUMNS = ("scan", "repeat", WHOLE, *STEPS, "memory_mb", "memory_of", "device", "threads")
"""A row a measured score; a step that the system does not need has no seconds. memory_mb: as `peak_memory` tells it, of
the "gpu" or of the "process"."""


def measure_overhead(
    system: Mapping[str, Any],
    prompts: str | Path | None,
    root: str | os.PathLike[str],
    layout: Mapping[str, Any],
    category: Mapping[str, str],
    output: str | Path,
    options: Mapping[str, Mapping[str, Any]],
    measuring: Mapping[str, Any],
) -> None:
    """Score some scans of a category one at a time; write what each took (`output`, CSV with COLUMNS).

    system: its registry entry (`registry.plain`); prompts: its prompts' file, None for one that learns none; root,
    layout: as for `make_clouds`; category: its name and display. options: those of the stages that the system has, by
    name, "clouds", "renders", "aggregation", "settings" (the method's entry) and "model" (the features' entry).
    measuring: scans (how many, evenly among those of the category), warm_up, repeats (as for `stopwatch.measure`) and
    modality ("3d": photographs are left aside; "m3d"). Raises InputError for a scan that cannot be used, and for m3d
    of a scan or a system without RGB.
    """
    entry, device, watch = System(**system), jobs.pick_device(), Stopwatch()
    watch.settle = settle(device)
    if measuring["modality"] == "m3d" and not entry.rgb:
        raise InputError(f"{entry.module} takes no RGB in; its overhead is measured with modality: 3d")
    settings = Settings.of(options["settings"], entry.losses)
    detector = Detector(
        system=entry,
        restored=restore(entry, prompts, settings, options["model"], device),
        settings=settings,
        model=options["model"],
        clouds={**options["clouds"], "scene": layout["scene"]},
        renders=options.get("renders", {}),
        aggregation=options.get("aggregation", {}),
        extent=float("nan"),  # of the scans that were learnt on; nothing here asks for it
        device=device,
        watch=watch,
    )
    raws = _read(root, layout, category["name"], options["clouds"], measuring["scans"])
    if measuring["modality"] == "m3d":
        if lacking := [name for name, raw in raws.items() if getattr(raw, "rgb", None) is None]:
            raise InputError(
                f"{root}: scan {lacking[0]!r} of {category['name']} has no photograph, as modality m3d needs"
            )
    else:
        raws = {name: replace(raw, rgb=None) if isinstance(raw, Organised) else raw for name, raw in raws.items()}

    def scorer(raw: Organised | Unorganised) -> Callable[[], Any]:
        return lambda: detector.score(raw, category["display"])

    scans = {name: scorer(raw) for name, raw in raws.items()}
    rows = measure(scans, watch, peak_memory(device), measuring["warm_up"], measuring["repeats"])
    about = {"device": name_device(device), "threads": torch.get_num_threads()}
    about["memory_of"] = "gpu" if device.type == "cuda" else "process"
    for row in rows:
        logger.info("%s: %.3f s, %.0f MB", row["scan"], row[WHOLE], row["memory_mb"])
    with files.replacing(output) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow(
                {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()} | about
            )


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
