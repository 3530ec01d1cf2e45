"""What is computed for a config: runs, shards, who is tested by which prompts, paths.

Plain functions of a config that the schema has completed, without Snakemake. Paths are relative to the folder of the
run. A *run* is (method, source, auxiliary class, seed, target): a method's prompts, learnt on the auxiliary class of
the data set `source`, on the data set `target`; of an untrained system, which has one run on each target, the three in
the middle are "none", "none" and 0. Runs of unsupervised systems are planned in `unsupervised`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pointad_core.clip.models_index import MODELS
from pointad_core.datasets.registry import LAYOUTS
from pointad_core.datasets.scans import TEST
from pointad_core.errors import InputError
from pointad_core.methods.registry import System, systems_of
from pointad_core.rendering.registry import RENDERERS
from pointad_core.rendering.view_sets import take_views
from workflow.raw_scans import Config, category_of, scans_of, shards_of, split_of
from workflow.variants import home_of, is_derived

Run = tuple[str, str, str, int, str]
NONE = "none"


def pick(settings: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """These keys of a section, in this order whatever the order in the config; absent ones are left out."""
    return {key: settings[key] for key in keys if key in settings}


def unusual(settings: Mapping[str, Any], **usual: Any) -> dict[str, Any]:
    """Those of these keys that stand otherwise than usual; a key that came later then changes no params elsewhere."""
    return {key: settings[key] for key, value in usual.items() if settings.get(key, value) != value}


# Options of the stages ------------------------------------------------------------------------------------------------
# Each has the keys that its stage depends on and no other, so that a change of a key reruns what depends on it alone.


def layout_of(config: Config, dataset: str) -> dict[str, Any]:
    """The layout's entry, as the clouds stage takes it."""
    name = config["datasets"][dataset]["layout"]
    layout, split = LAYOUTS[name], split_of(config, dataset)
    of_split = {"split": split} if split != TEST else {}
    return {"name": name, **vars(layout), "extents": list(layout.extents), **of_split}


def cloud_options(config: Config, dataset: str) -> dict[str, Any]:
    settings = config["datasets"][dataset]
    return {
        "resolution": config["resolution"],
        "normals": pick(settings["normals"], "radius", "neighbours"),
        **pick(settings, "seed", "background", "n_points", "sampling", "unit", "missing", "outliers"),
        **unusual(settings, density=1, photographs="nearest", masks="nearest", surroundings="keep"),
    }


def render_options(config: Config, rendering: str, dataset: str, category: str) -> dict[str, Any]:
    """Options of the renders stage; a data set may change a rendering's keys for itself."""
    settings = config["datasets"][dataset]
    entry = {**config["renderings"][rendering], **settings.get("rendering", {})}
    view_set = config["view_sets"][entry["view_set"] or settings["view_set"]]
    renderer = RENDERERS[entry["renderer"]]
    if renderer.shaded and entry["n_views"] is not None:
        view_set = take_views(view_set, entry["n_views"])
    point_size = category_of(config, dataset, category).get("point_size", settings["point_size"])
    return {
        "resolution": config["resolution"],
        "views": pick(view_set, "tilt", *(("x", "y") if renderer.shaded else ())),
        "renderer": {"name": entry["renderer"], **vars(renderer), "options": list(renderer.options)},
        **pick({**entry, "point_size": point_size}, *renderer.options),
        **(unusual(entry, light="original", masks=None) if renderer.shaded else {}),
    }


def rendering_of(config: Config, features: str) -> str:
    """The rendering whose images an entry of `features` encodes."""
    rendering: str = config["features"][features]["rendering"]
    return rendering


def model_of(config: Config, features: str) -> dict[str, Any]:
    """The CLIP behind features, as every stage that needs it gets it."""
    entry = config["features"][features]
    model = pick(entry, "model", "pretrained", "checkpoint", "random_seed", "quick_gelu", "vv_blocks")
    model |= unusual(entry, precision="float32")
    if "checkpoint" in model:
        model["checkpoint"] = os.path.expanduser(model["checkpoint"])
    return {"resolution": config["resolution"], **model}


def feature_options(config: Config, features: str) -> dict[str, Any]:
    return {**model_of(config, features), "streams": sorted(config["features"][features]["streams"])}


def checkpoint_of(config: Config, features: str) -> list[str]:
    """File with the model's weights, where it is the user's own: another file there is another model."""
    model = model_of(config, features)
    return [model["checkpoint"]] if "checkpoint" in model else []


def bundled_files(config: Config, features: str) -> list[str]:
    """Description, vocabulary and weights of a model of this package; models that open_clip brings have none here."""
    settings = config["features"][features]
    names = [settings["model"] + end for end in (".json", ".bpe.gz", f"-{settings.get('pretrained')}.safetensors")]
    return [f"clip/models/{name}" for name in names if (MODELS / name).exists()]


def system_of(config: Config, method: str) -> System:
    """The registry's entry of a method's system."""
    return systems_of(config)[config["methods"][method]["system"]]


def files_of(config: Config, method: str, *keys: str) -> dict[str, str]:
    """Files of the user's own that a method reads, by key."""
    return {key: os.path.expanduser(path) for key, path in pick(config["methods"][method], *keys).items() if path}


LEARNING = (
    *("context_length", "deep_length", "deep_blocks", "temperature", "epochs", "batch_size", "learning_rate", "betas"),
    *("global_3d", "cross_loss", "cross_temperature", "loss_weights"),
)


FURTHER = {"object_share": 0, "view_weights": "mean"}
"""Keys of scoring that are not the paper's, with the paper's values; prompts of any are scored by any other."""


def training_options(config: Config, method: str) -> dict[str, Any]:
    entry = config["methods"][method]
    own = unusual(entry, dice="points", deep_precision="single", defect_features=0, prototypes=32)
    return pick(entry, *LEARNING) | own | files_of(config, method, "word_vectors", "pointnet")


def learns_as(config: Config, method: str) -> str:
    """The first method that learns as this one does, itself as a rule: where two differ in scoring alone, prompts of
    the first are those of both."""

    def learning(name: str) -> list[Any]:
        entry = config["methods"][name]
        return [*(entry.get(key) for key in ("system", "features", "aggregation")), training_options(config, name)]

    return next(name for name in config["methods"] if learning(name) == learning(method))


def scoring_modules(config: Config, method: str) -> list[str]:
    """Modules that scoring loads by their names: the method's system, and what weighs its views."""
    weights = config["methods"][method].get("view_weights")
    return [system_of(config, method).module, *(["rendering.incidence"] if weights == "incidence" else [])]


def scoring_options(config: Config, method: str) -> dict[str, Any]:
    entry = config["methods"][method]
    usual = {"smoothing_over": "pixels", "rgb_map": "points", "deep_precision": "single", "defect_features": 0}
    own = unusual(entry, **usual, **FURTHER)
    own |= pick(entry, "neighbourhoods", "lowest_share", "compared_views", "references")
    return pick(entry, "temperature", "smoothing_sigma") | own | files_of(config, method, "word_vectors")


# Runs, and who is tested ----------------------------------------------------------------------------------------------


def check_auxiliary(config: Config, dataset: str, auxiliary: str) -> None:
    known = config["datasets"][dataset]["auxiliary"] if dataset in config["datasets"] else []
    if auxiliary not in known:
        there = ", ".join(known) or "none"
        raise InputError(f"{auxiliary!r} is no auxiliary class of data set {dataset!r}, it has: {there}")


def seen_by(config: Config, source: str, auxiliary: str, target: str) -> str | None:
    """The category of `target` whose scans prompts have seen that were learnt on a category of `source`.

    Of the same scans under another name, a variant or a second entry for one folder, it is the same category. This is
    the one place where that is decided.
    """
    if source == NONE or scans_of(config, source) != scans_of(config, target):
        return None
    return auxiliary


def tested_by(config: Config, source: str, auxiliary: str, target: str) -> list[str]:
    """Categories of `target` that prompts of `source` and its auxiliary class are tested on: never what they saw."""
    seen = seen_by(config, source, auxiliary, target)
    return [category for category in config["datasets"][target]["categories"] if category != seen]


def check_tested(config: Config, source: str, auxiliary: str, target: str, category: str) -> None:
    """Refuse a category whose scans the prompts have seen, without a look at all the others."""
    category_of(config, target, category)
    if category == seen_by(config, source, auxiliary, target):
        raise InputError(f"{category} is not tested with prompts that were trained on it")


def tested_with(config: Config, source: str, auxiliaries: Iterable[str], target: str) -> dict[str, list[str]]:
    """Tested categories by auxiliary class: what means are taken over."""
    return {auxiliary: tested_by(config, source, auxiliary, target) for auxiliary in auxiliaries}


def compared_methods(config: Config) -> list[str]:
    """Methods of Tables 1-4, their summaries and pictures, which know nothing of the category they are tested on."""
    methods = (name for name in config["methods"] if not is_derived(name))
    return [name for name in methods if not system_of(config, name).unsupervised]


def method_runs(config: Config, method: str, source: str, target: str, auxiliaries: Iterable[str]) -> list[Run]:
    """Every run of a method in a setting; an untrained system has one, whatever the source."""
    if not system_of(config, method).trained:
        return [(method, NONE, NONE, 0, target)]
    return [(method, source, auxiliary, seed, target) for auxiliary in auxiliaries for seed in config["seeds"]]


def runs_of(config: Config, source: str, target: str, auxiliaries: Iterable[str]) -> list[Run]:
    """Every run of a setting."""
    setting = source, target, list(auxiliaries)
    return [run for method in compared_methods(config) for run in method_runs(config, method, *setting)]


def pairs_of(config: Config, setting: str) -> list[tuple[str, str]]:
    """(source, target) data sets of a setting, "one_vs_rest" or "cross_dataset", in the config's order."""
    experiments = config["experiments"]
    if setting == "one_vs_rest":
        return [(dataset, dataset) for dataset in experiments["one_vs_rest"]]
    return [(pair["source"], target) for pair in experiments["cross_dataset"] for target in pair["targets"]]


def sources_of(config: Config, dataset: str) -> dict[str, dict[str, list[str]]]:
    """Tested categories by source and auxiliary class behind a data set's summary.

    Its own auxiliary classes, its original's if an ablation made it, or those of the data sets that it is a target of.
    """
    sources = [config["datasets"][dataset]["variant_of"] if is_derived(dataset) else dataset]
    if not config["datasets"][sources[0]]["auxiliary"]:
        sources = [source for source, target in pairs_of(config, "cross_dataset") if target == dataset]
    if not sources:
        raise InputError(f"datasets.{dataset} has no auxiliary class, and no experiment has it as a target")
    auxiliaries = {source: config["datasets"][source]["auxiliary"] for source in sources}
    return {source: tested_with(config, source, auxiliaries[source], dataset) for source in sources}


# Paths ----------------------------------------------------------------------------------------------------------------


def store_of(config: Config, folder: str, dataset: str, shard: str, rendering: str | None = None) -> str:
    """The store of a category or a shard in a stage's folder: clouds, or what is made of renders.

    A variant's lies under its original's name, as long as the two are made alike.
    """
    category = shard.partition("/")[0]

    def made(name: str) -> Any:
        settings = config["datasets"][name]
        if category not in settings["categories"]:
            return None
        how = [split_of(config, name), settings["shard_size"], cloud_options(config, name)]
        return how if rendering is None else [*how, render_options(config, rendering, name, category)]

    return f"results/{folder}/{home_of(config, dataset, made)}/{shard}.zarr.zip"


def stores_of(config: Config, method: str, dataset: str, shards: Sequence[str]) -> dict[str, list[str]]:
    """Stores of some categories or shards by stage, as far as a method reads them."""
    settings, system = config["methods"][method], system_of(config, method)
    stores = {"clouds": [store_of(config, "clouds", dataset, shard) for shard in shards]}
    if system.stream:
        features = settings["features"]
        rendering = rendering_of(config, features)
        folders = {"renders": f"renders/{rendering}", "features": f"features/{features}"}
        if system.aggregates:
            folders["aggregation"] = f"aggregation/{settings['aggregation']}/{features}"
        for stage, folder in folders.items():
            stores[stage] = [store_of(config, folder, dataset, shard, rendering) for shard in shards]
    return stores


def learnt_prompts(config: Config, method: str, source: str, auxiliary: str, seed: int | str) -> str:
    """File of a method's prompts."""
    return f"results/prompts/{learns_as(config, method)}/{source}/{auxiliary}/{seed}.safetensors"


def clouds_of(config: Config, dataset: str, category: str) -> list[str]:
    return [store_of(config, "clouds", dataset, shard) for shard in shards_of(config, dataset, category)]


def metrics_of(runs: Iterable[Run]) -> list[str]:
    # Every source has the same run of an untrained system: once is enough.
    return list(dict.fromkeys(f"results/metrics/{'/'.join(map(str, run))}.csv" for run in runs))


def replicates_of(metrics: Iterable[str]) -> list[str]:
    """What the metrics are with scans drawn anew, for intervals: beside each file of metrics."""
    return [path.removesuffix(".csv") + ".npz" for path in metrics]


def dataset_metrics(config: Config, dataset: str) -> list[str]:
    """Metrics behind a data set's summary."""
    sources = sources_of(config, dataset)
    return metrics_of(run for source in sources for run in runs_of(config, source, dataset, sources[source]))
