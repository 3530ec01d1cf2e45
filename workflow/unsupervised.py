"""Unsupervised systems: what they learn from, by which settings, and their runs; plain functions of the config.

An unsupervised system learns each category of a data set from the good scans of its train split. That split is a data
set of its own, `mvtec3d.train`, which is in no experiment; a config that names such a system has it of every data set.
In a run (see `plan`) it is the source, and in place of the auxiliary class stands "each", for each category's own.
"""

from __future__ import annotations

from typing import Any

from pointad_core.datasets.scans import TEST, TRAIN
from pointad_core.errors import InputError
from pointad_core.methods.registry import systems_of
from workflow.plan import FURTHER, Run, files_of, model_of, system_of
from workflow.raw_scans import Config
from workflow.variants import OWN, is_derived

EACH = "each"
NAMING = ("system", "features", "label", "published", "smoothing_sigma", *FURTHER)
"""Keys of a method that learning does not depend on, `features` but for the CLIP that they name."""


def train_of(dataset: str) -> str:
    """Name of the data set that is the train split of another."""
    return f"{dataset}.{TRAIN}"


def add_train_splits(config: dict[str, Any]) -> None:
    """Where a method is unsupervised, give every data set its train split, as a variant of it; in place, once only.

    After the schema has completed the config. Raises InputError for a data set that has the name of such a split.
    """
    systems = systems_of(config)
    known = [systems[method["system"]] for method in config["methods"].values() if method["system"] in systems]
    if not any(system.unsupervised for system in known):
        return
    datasets = config["datasets"]
    for name in [name for name, of in datasets.items() if of["split"] == TEST and not is_derived(name)]:
        given = {key: value for key, value in datasets[name].items() if key not in OWN}
        # Names of scans are those of the test split.
        own = {
            key: {word: of[word] for word in of or () if word not in ("scans", "pictures")}
            for key, of in given["categories"].items()
        }
        split = {**given, "categories": own, "auxiliary": [], "variant_of": name, "split": TRAIN}
        if split["layout"] == "real3d":
            # Prototypes show the object from all sides, scans one: as densely with twice the points.
            split["n_points"] *= 2
        if datasets.setdefault(train_of(name), split)["split"] != TRAIN:
            raise InputError(f"config: datasets.{train_of(name)} is the name of the train split of {name}; rename it")


def generated_sets(config: Config) -> list[str]:
    """Data sets whose scans are generated for themselves; their variants are the same scans."""
    own = {name for name, settings in config["datasets"].items() if "variant_of" not in settings}
    own |= {train_of(name) for name in own}
    return [name for name, settings in config["datasets"].items() if "generated" in settings and name in own]


def expert_options(config: Config, method: str) -> dict[str, Any]:
    """What an unsupervised system learns by."""
    files = system_of(config, method).files
    own = {key: value for key, value in config["methods"][method].items() if key not in NAMING}
    return dict(sorted((own | files_of(config, method, *files)).items()))


def expert_model(config: Config, method: str) -> dict[str, Any] | None:
    """The CLIP that an unsupervised system takes patch features of, unless it has networks of its own for all."""
    files = system_of(config, method).files
    if files and len(files_of(config, method, *files)) == len(files):
        return None
    return model_of(config, config["methods"][method]["features"])


def runs_of(config: Config, method: str, target: str) -> list[Run]:
    """Runs of an unsupervised method on a data set, one a seed."""
    return [(method, train_of(target), EACH, seed, target) for seed in config["seeds"]]


def check_each(config: Config, source: str, auxiliary: str, target: str) -> None:
    """Refuse to score with experts of other scans than a data set's own train split."""
    if (source, auxiliary) != (train_of(target), EACH):
        raise InputError(
            f"an unsupervised system learns on the train split of what it scores, {train_of(target)}/{EACH}, found "
            f"{source}/{auxiliary}"
        )
