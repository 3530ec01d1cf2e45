"""What is predicted of folders of the user's own scans: plain functions of the config, as those in `plan`."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pointad_core.cli.predict import SETTINGS
from pointad_core.datasets.scans import hash_content, refuse_links
from pointad_core.errors import InputError
from pointad_core.formats.registry import MODULES
from pointad_core.methods.interface import Settings
from pointad_core.methods.registry import SYSTEMS, systems_of
from pointad_core.predict.inputs import find_inputs
from pointad_core.rendering.registry import RENDERERS
from pointad_core.storage.fingerprints import PACKAGE, fingerprint
from workflow import plan, raw_scans
from workflow.raw_scans import Config

KEYS = ("unit", "facing", "background", "stray", "point_size", "rgb", "intrinsics", "name")
"""Keys of an entry that say how its scans are scored."""
SCORING = {key: getattr(Settings, key) for key in SETTINGS}
"""What prompts do not know of their method, as it is without being said."""
SHIPPED = tuple(
    path.relative_to(PACKAGE).as_posix()
    for pattern in ("methods/shipped/*.safetensors", "methods/shipped/*.json", "evaluation/page/*")
    for path in sorted(PACKAGE.glob(pattern))
)
"""What predictions are made of besides code: prompts that come with the package, and its page."""
READERS = tuple(sorted({f"formats.{name}" for name in MODULES.values()}))
"""Modules that read files, of which a file's ending chooses one."""


def check(config: Config) -> Iterator[str]:
    """What is wrong with the entries beside what the schema says, a line each."""
    for name, entry in config["predictions"].items():
        key, run = f"config: predictions.{name}", entry.get("run")
        if entry["facing"] not in ("auto", "camera", "around"):
            from pointad_core.predict.orientation import parse

            try:
                parse(entry["facing"])
            except InputError as error:
                yield f"{key}: {str(error).removeprefix('--')}"
        if run is None:
            continue
        if entry["prompts"] is not None:
            yield f"{key} has both of the keys 'prompts' and 'run', expected one of them at most"
        datasets, methods = config["datasets"], config["methods"]
        allowed: dict[str, Collection[Any]] = {"method": methods, "source": datasets, "seed": config["seeds"]}
        allowed["auxiliary"] = datasets.get(run["source"], {}).get("auxiliary", [])
        for word, names in allowed.items():
            if run[word] not in names:
                there = ", ".join(map(str, names)) or "none"
                yield f"{key}.run.{word} is {run[word]!r}, expected one of: {there}"
        if run["method"] in methods:
            system = systems_of(config).get(methods[run["method"]]["system"])
            if system is not None and not (system.trained and "splat" in system.renderers):
                yield f"{key}.run.method is {run['method']!r}, expected one that is trained on shaded views"
            elif system is not None and system.batch:
                told = "which scores a scan by others of its category"
                yield f"{key}.run.method is {run['method']!r}, {told}; expected one that does not"


def folder_of(config: Config, prediction: str) -> str:
    return os.path.expanduser(config["predictions"][prediction]["folder"])


@cache
def _list_folder(folder: str, depth_images: bool, follow_links: bool) -> dict[str, list[str]]:
    scans = {
        scan.name: [str(path) for path in (scan.path, scan.photograph) if path is not None]
        for scan in find_inputs([folder], Path("results"), depth_images)
    }
    if not follow_links:
        root = folder if os.path.isdir(folder) else os.path.dirname(folder) or "."
        refuse_links(root, [file for files in scans.values() for file in files])
    return scans


def list_scans(config: Config, prediction: str) -> dict[str, list[str]]:
    """Files of each scan of a folder, the points first; it is looked into when a job needs it, not before."""
    entry = config["predictions"][prediction]
    try:
        return _list_folder(folder_of(config, prediction), entry["intrinsics"] is not None, entry["follow_links"])
    except OSError as error:
        raise InputError(f"predictions.{prediction}: {error.filename}: {error.strerror}") from None
    except InputError as error:
        raise InputError(f"predictions.{prediction}: {error}") from None


def shards_of(config: Config, prediction: str) -> dict[str, list[str]]:
    """Scans by shard; all in "" where the folder is not split."""
    return raw_scans.split_scans(tuple(list_scans(config, prediction)), config["predictions"][prediction]["shard_size"])


def tables_of(config: Config, prediction: str) -> list[str]:
    """Summaries of an entry's shards; where its folder cannot be looked at, the one that it would have unsplit."""
    try:
        shards = list(shards_of(config, prediction))
    except InputError:
        shards = [""]
    return [f"results/predictions/{raw_scans.place(prediction, shard)}/summary.csv" for shard in shards]


def targets(config: Config) -> list[str]:
    """The table of every entry; in place of a file, why there is none."""
    if not config["predictions"]:
        return ["config: predictions names no folder, so that there is nothing to predict"]
    return [f"results/predictions/{prediction}.csv" for prediction in config["predictions"]]


# What a job's rule takes, by its wildcards ----------------------------------------------------------------------------


def scans_of_shard(config: Config, wildcards: Any) -> list[str]:
    """Names of the scans that a job scores."""
    shards = shards_of(config, wildcards.prediction)
    if (shard := wildcards.shard[1:]) not in shards:
        found = ", ".join(filter(None, shards)) or "none"
        raise InputError(f"predictions.{wildcards.prediction} has no shard {shard!r}, it has: {found}")
    return shards[shard]


def count_scans(config: Config, wildcards: Any) -> int:
    """Scans of a shard; none where the folder cannot be looked at."""
    try:
        return len(scans_of_shard(config, wildcards))
    except InputError:
        return 0


def missing_folder(config: Config, wildcards: Any) -> list[str]:
    """Why the folder cannot be looked at, in place of a file; nothing where it can. The scans themselves are no inputs,
    since their paths change with the folder's."""
    try:
        scans_of_shard(config, wildcards)
    except InputError as error:
        return [str(error)]
    return []


def content(config: Config, wildcards: Any) -> str:
    """What lies in the folder, so that a scan that is changed, added or deleted is noticed."""
    scans = list_scans(config, wildcards.prediction)
    files = [file for name in scans_of_shard(config, wildcards) for file in scans[name]]
    folder = folder_of(config, wildcards.prediction)
    return hash_content(folder if os.path.isdir(folder) else os.path.dirname(folder) or ".", files)


def options(config: Config, wildcards: Any) -> dict[str, Any]:
    entry = config["predictions"][wildcards.prediction]
    options = {key: value for key, value in entry.items() if key in KEYS}
    settings = plan.unusual(config["methods"][entry["run"]["method"]], **SCORING) if "run" in entry else {}
    return options | ({"settings": settings} if settings else {})


def prompts_of_run(config: Config, wildcards: Any) -> list[str]:
    """Prompts of a method of this config, where an entry takes those."""
    run = config["predictions"][wildcards.prediction].get("run")
    if run is None:
        return []
    plan.check_auxiliary(config, run["source"], run["auxiliary"])
    return [plan.learnt_prompts(config, **run)]


def own_files(config: Config, wildcards: Any, *keys: str) -> list[str]:
    """Files of the user's own that an entry names: prompts, a threshold, and the weights of its run's model."""
    entry = config["predictions"][wildcards.prediction]
    files = [os.path.expanduser(entry[key]) for key in keys or ("prompts", "threshold") if entry[key] is not None]
    if "run" in entry and not keys:
        files += plan.checkpoint_of(config, config["methods"][entry["run"]["method"]]["features"])
    return files


def code(config: Config, wildcards: Any) -> str:
    """The stage with all that it may read: which system, model and renderer a file of prompts is for, it alone says."""
    entry: Mapping[str, Any] = config["predictions"][wildcards.prediction]
    systems = [system.module for system in SYSTEMS.values() if system.trained]
    renderers = [renderer.module for renderer in RENDERERS.values() if renderer.shaded]
    models = [
        path.relative_to(PACKAGE).as_posix() for path in sorted((PACKAGE / "clip/models").glob("pointad-pocket*"))
    ]
    if "run" in entry:
        method = entry["run"]["method"]
        systems = [plan.system_of(config, method).module]
        models = plan.bundled_files(config, config["methods"][method]["features"])
    return fingerprint("stages.predictions", *renderers, *READERS, *SHIPPED, *systems, *models)
