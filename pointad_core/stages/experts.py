"""Stage experts: what an unsupervised system learns of a category from the good scans of its train split (Table 5)."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pointad_core.errors import InputError
from pointad_core.methods.registry import System, load
from pointad_core.stages.samples import CloudSamples
from pointad_core.storage import jobs, stores
from pointad_core.storage.prompt_files import write_prompts

logger = logging.getLogger(__name__)


def make_expert(
    system: Mapping[str, Any],
    clouds: stores.Paths,
    output: str | Path,
    options: Mapping[str, Any],
    model: Mapping[str, Any] | None,
    seed: int,
    provenance: Mapping[str, Any],
) -> None:
    """Learn one category and write the file of its expert, tensors by name with what made them.

    system: its registry entry (`registry.plain`). clouds: store of the category's good scans, or of its shards.
    options, model: as in `interface.Unsupervised`; seed: of all that is drawn. Scans that are defective, or of which
    nobody says that they are good, are left out and told of. Raises InputError where none is left.
    """
    entry = System(**system)
    device = jobs.pick_device()
    with stores.read(clouds, "clouds") as store:
        category = str(store.attributes["category"])
        good = [scan for scan in store.scans if store.scan_attributes(scan)["defective"] is False]
        if left_out := len(store.scans) - len(good):
            told = "category %s: %d of %d scans of the train split are not known to be good and are left out"
            logger.warning(told, category, left_out, len(store.scans))
        if not good:
            raise InputError(f"{store.path}: category {category!r} has no good scan to learn from")
        scans = CloudSamples(store, good)
        try:
            tensors = load(entry).learn(scans, options, model, seed, device)
        except InputError as error:
            raise InputError(f"{store.path}: {error}") from error
    about = {"category": category, "scans": len(good), "seed": seed, "device": device.type}
    write_prompts(output, tensors, {**provenance, **about, "packages": stores.package_versions()})
