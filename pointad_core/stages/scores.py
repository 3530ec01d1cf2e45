"""Stage scores: the scans of some categories scored (Sec. 3.6), all with one set of prompts, or each category by what
an unsupervised system has learnt of it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pointad_core.errors import InputError
from pointad_core.methods.interface import Found, OfScan, Scoring, Settings, State
from pointad_core.methods.parts import object_parts
from pointad_core.methods.registry import System, load
from pointad_core.methods.scoring import Answers, ask, restore, score_scan
from pointad_core.stages.samples import SampleReader, open_samples
from pointad_core.storage import jobs, stores
from pointad_core.storage.prompt_files import read_prompts


def make_scores(
    system: Mapping[str, Any],
    prompts: str | Path | None,
    categories: Sequence[Mapping[str, Any]],
    output: str | Path,
    options: Mapping[str, Any],
    model: Mapping[str, Any] | None,
    provenance: Mapping[str, Any],
) -> None:
    """Score every scan of the given categories with one system; write the scores store.

    system: its registry entry (`registry.plain`). prompts: the trained prompts' file, None for a system that learns
    none. categories: for each its name, display (the name in prompts), the paths of its stores by stage, as far as the
    system reads them, and the file of its expert where the system is unsupervised; of a part of a category also
    "references" where the system compares scans (`open_samples`). options: the method's entry in the
    config; model: the features' entry, which names the CLIP; it is loaded only where text is still to be encoded, or
    photographs. Raises InputError for prompts that do not fit the features, and for scores that are not finite.
    """
    entry = System(**system)
    module = load(entry)
    settings = Settings.of(options, entry.losses)
    device = jobs.pick_device()
    state_of = None if entry.unsupervised else restore(entry, prompts, settings, model or {}, device)
    made = {**provenance, "device": device.type}
    with (
        stores.write(output, "scores", made, {"system": entry.module}) as writer,
        jobs.behind(writer.add) as hand_over,
    ):
        # Sorted by what their scans' names begin with, so that a store that is put together has the same order.
        for category in sorted(categories, key=lambda category: category["name"] + "/"):
            name = category["name"]
            with open_samples(category, entry, settings) as reader:
                if state_of is None:
                    state = restore_expert(module, category["expert"], options, model, device)
                else:
                    state = state_of(category["display"])
                    reader.check_dimensions(state, prompts or (model or {})["model"])
                states = scan_states(reader, reader.scans, entry, module, state, settings, device)
                for scan in jobs.progress(reader.scans, f"scoring {name}"):
                    try:
                        state = next(states)
                        if state_of is None:
                            arrays, objects = _score_by_expert(module, state, reader, scan, options)
                        else:
                            answers, cloud, resolution = ask_scan(
                                reader, scan, module, state, settings, entry.rgb, device
                            )
                            arrays, objects = score_scan(answers, module, cloud, resolution, settings)
                            objects |= object_parts(answers, arrays, cloud, resolution, settings)
                    except InputError as error:
                        read = reader.stores.get("features", reader.clouds)
                        raise InputError(f"{read.path}: scan {scan!r}: {error}") from error
                    defective = reader.clouds.scan_attributes(scan)["defective"]
                    about = {"category": name, "display": category["display"], "scan": scan, "defective": defective}
                    hand_over(f"{name}/{scan}", arrays, {**about, **objects})


def scan_states(
    reader: SampleReader,
    scans: Sequence[str],
    entry: System,
    module: Any,
    state: Any,
    settings: Settings,
    device: torch.device,
) -> Iterator[Any]:
    """What each of some scans is scored with, in their order: the category's state, or a state of its own where the
    system compares the scans of a category. Raises InputError for a category with too few of them."""
    if not entry.batch:
        return repeat(state)
    found: Iterator[State] = module.compare(state, reader.encoded(), scans, settings, device)
    return found


def ask_scan(
    reader: SampleReader,
    scan: str,
    system: Scoring,
    state: State | OfScan,
    settings: Settings,
    rgb: bool,
    device: torch.device,
) -> tuple[Answers, dict[str, np.ndarray], int]:
    """What a system says of a scan, and the cloud and its resolution as `scoring` puts scores together of them.

    rgb: the system takes a photograph in, where there is one.
    """
    about = reader.clouds.attributes
    organised, resolution = bool(about["organised"]), int(about["resolution"])
    cloud = reader.clouds.load(scan, ["grid"] if organised else ["points", "nearest"])
    photograph = reader.rgb(scan) if organised and rgb else None
    return ask(system, state, reader.sample(scan).on(device), resolution, settings, photograph), cloud, resolution


def restore_expert(
    module: Any, path: str | Path, options: Mapping[str, Any], model: Mapping[str, Any] | None, device: torch.device
) -> Any:
    """What an unsupervised system scores a category with, from the file of its expert."""
    try:
        return module.restore(read_prompts(path), options, model, device)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _score_by_expert(
    module: Any, state: Any, reader: SampleReader, scan: str, options: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Arrays and object scores of a scan as `score_scan` gives them, with those of the photograph alone."""
    found: Found = module.score(state, reader.cloud(scan), options)
    arrays: dict[str, np.ndarray] = {}
    for modality, scored in found.items():
        if not (np.isfinite(scored.points).all() and np.isfinite(scored.object)):
            raise InputError("its scores are not finite")
        if reader.clouds.attributes["organised"]:
            arrays[f"map_{modality}"] = scored.points
        else:
            nearest = reader.clouds.load(scan, ["nearest"])["nearest"]
            arrays |= {f"points_{modality}": scored.points, f"original_{modality}": scored.points[nearest]}
    return arrays, {f"object_{modality}": float(scored.object) for modality, scored in found.items()}
