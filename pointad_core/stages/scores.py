"""Stage scores: the scans of some categories scored with one set of prompts (Sec. 3.6)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pointad_core.errors import InputError
from pointad_core.methods.interface import Settings
from pointad_core.methods.parts import object_parts
from pointad_core.methods.registry import System, load
from pointad_core.methods.scoring import restore, score_scan
from pointad_core.stages.samples import open_samples
from pointad_core.storage import jobs, stores


def make_scores(
    system: Mapping[str, Any],
    prompts: str | Path | None,
    categories: Sequence[Mapping[str, Any]],
    output: str | Path,
    options: Mapping[str, Any],
    model: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> None:
    """Score every scan of the given categories with one system; write the scores store.

    system: its registry entry (`registry.plain`). prompts: the trained prompts' file, None for a system that learns
    none. categories: for each its name, display (the name in prompts) and the paths of its stores by stage, as far as
    the system reads them. options: the method's entry in the config; model: the features' entry, which names the CLIP;
    it is loaded only where text is still to be encoded. Raises InputError for prompts that do not fit the features.
    """
    entry = System(**system)
    module = load(entry)
    settings = Settings.of(options, entry.losses)
    device = jobs.pick_device()
    state_of = restore(entry, prompts, settings, model, device)
    with stores.write(output, "scores", {**provenance, "device": device.type}, {"system": entry.module}) as writer:
        # Sorted by what their scans' names begin with, so that a store that is put together has the same order.
        for category in sorted(categories, key=lambda category: category["name"] + "/"):
            name = category["name"]
            state = state_of(category["display"])
            with open_samples(category, entry) as reader:
                reader.check_dimensions(state, prompts or model["model"])
                organised = bool(reader.clouds.attributes["organised"])
                resolution = int(reader.clouds.attributes["resolution"])
                for scan in jobs.progress(reader.scans, f"scoring {name}"):
                    cloud = reader.clouds.load(scan, ["grid"] if organised else ["points", "nearest"])
                    sample = reader.sample(scan).on(device)
                    photograph = reader.rgb(scan) if organised and entry.rgb else None
                    try:
                        given = module, state, sample, cloud, resolution, settings, photograph
                        arrays, objects = score_scan(*given)
                        objects |= object_parts(arrays, *given)
                    except InputError as error:
                        read = reader.stores.get("features", reader.clouds)
                        raise InputError(f"{read.path}: scan {scan!r}: {error}") from error
                    defective = reader.clouds.scan_attributes(scan)["defective"]
                    about = {"category": name, "display": category["display"], "scan": scan, "defective": defective}
                    writer.add(f"{name}/{scan}", arrays, {**about, **objects})
