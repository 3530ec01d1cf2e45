"""Helpers only: the config checked, and what the rules' inputs and params take from it.

A function here returns plain values (text, numbers, lists, dicts): change detection ignores anything else. Params
hold the keys that a stage depends on and no other, so that a change of a key reruns what depends on it alone.
"""

import os
import re
from functools import cache

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from pointad_core.config import check, explain
from pointad_core.datasets import generated_files, list_files
from pointad_core.errors import InputError
from pointad_core.fingerprint import fingerprint
from pointad_core.methods import SYSTEMS

try:
    validate(config, f"{workflow.basedir}/workflow/schemas/config.schema.yaml")
    check(config)
except InputError as error:
    raise WorkflowError(str(error)) from None
except WorkflowError as error:
    # The validator's own error stands behind Snakemake's, and knows the key.
    raise WorkflowError(explain(error.__context__)) from None

DATASETS = config["datasets"]
METHODS = config["methods"]
EXPERIMENTS = config["experiments"]

# A job that computes on the CPU must not wait for a GPU's turn. On a cluster whose login node has no GPU, the
# profile says which rules get one (`set-resources`).
GPUS = int(os.path.exists("/dev/nvidia0"))


def any_of(names):
    """A regular expression for one of these names, or for nothing where there are none."""
    return "|".join(re.escape(str(name)) for name in sorted(set(names))) or "(?!)"


wildcard_constraints:
    dataset=any_of(DATASETS),
    source=any_of([*DATASETS, "none"]),
    category=any_of(name for dataset in DATASETS.values() for name in dataset["categories"]),
    auxiliary=any_of([*(name for dataset in DATASETS.values() for name in dataset["auxiliary"]), "none"]),
    rendering=any_of(config["renderings"]),
    features=any_of(config["features"]),
    method=any_of(METHODS),
    seed=any_of([0, *config["seeds"]]),
    number="[1-4]",


# Data sets and categories ----------------------------------------------------------------------------------------


def get_category(dataset, category):
    """Settings of a category; the settings of another data set's category are an error."""
    categories = DATASETS[dataset]["categories"]
    if category not in categories:
        raise WorkflowError(f"data set {dataset} has no category {category!r}, it has: {', '.join(categories)}")
    return categories[category] or {}


def get_display(dataset, category):
    """Name of a category in tables, pictures and object-aware prompts."""
    return get_category(dataset, category).get("display", category.replace("_", " "))


def get_root(wildcards):
    """Folder of a data set: the user's, or the one it is generated in."""
    dataset = DATASETS[wildcards.dataset]
    return os.path.expanduser(dataset.get("root", f"results/generated/{wildcards.dataset}"))


@cache
def list_raw(dataset, category):
    settings = DATASETS[dataset]
    get_category(dataset, category)
    if "generated" in settings:
        files = generated_files(settings["layout"], category, settings["generated"]["scans"])
        return [f"results/generated/{dataset}/{file}" for file in files]
    try:
        return list_files(settings["layout"], os.path.expanduser(settings["root"]), category)
    except InputError as error:
        raise WorkflowError(f"datasets.{dataset}: {error}") from None


def get_raw(wildcards):
    """Every raw file of a category, so that a scan that is changed, added or deleted is noticed."""
    return list_raw(wildcards.dataset, wildcards.category)


# Options of the stages -------------------------------------------------------------------------------------------


def pick(settings, *keys):
    """These keys of a section, in this order whatever the order in the config; absent ones are left out."""
    return {key: settings[key] for key in keys if key in settings}


def get_cloud_options(wildcards):
    settings = DATASETS[wildcards.dataset]
    return {
        "resolution": config["resolution"],
        "normals": pick(settings["normals"], "radius", "neighbours"),
        **pick(settings, "seed", "n_points", "sampling"),
    }


def get_render_options(wildcards):
    settings, rendering = DATASETS[wildcards.dataset], config["renderings"][wildcards.rendering]
    category = get_category(wildcards.dataset, wildcards.category)
    view_set = config["view_sets"][rendering["view_set"] or settings["view_set"]]
    return {
        "resolution": config["resolution"],
        "views": pick(view_set, "tilt", "x", "y"),
        "point_size": category.get("point_size", settings["point_size"]),
        **pick(rendering, "renderer", "visibility", "window"),
    }


def get_model(features):
    """Backbone and explicit branch behind features, as every stage that needs the model gets them."""
    keys = ("model", "model_config", "pretrained", "checkpoint", "random_seed", "vv_blocks")
    keys += ("neighbours", "kernel_sigma", "kernel_units", "alpha")
    return {"resolution": config["resolution"], **pick(config["features"][features], *keys)}


def get_feature_options(wildcards):
    return get_model(wildcards.features)


def get_method_model(wildcards):
    return get_model(METHODS[wildcards.method]["features"])


def get_model_files(features):
    """Files that the model is built from: a touched checkpoint is another checkpoint."""
    settings = config["features"][features]
    return [settings[key] for key in ("checkpoint", "model_config") if settings.get(key)]


def get_streams(wildcards):
    """Streams of patch features that the methods on these features read."""
    systems = [method["system"] for method in METHODS.values() if method["features"] == wildcards.features]
    return sorted({SYSTEMS[system].stream for system in systems})


def get_system(wildcards):
    return METHODS[wildcards.method]["system"]


def get_method_modules(wildcards):
    """Modules of a method's system: an edit in one system's code leaves the others' results alone."""
    shared = {"clip_rendering": ["methods.pointad"], "pointad_plus": ["methods.pointad"]}
    system = get_system(wildcards)
    return ["methods", f"methods.{system}", *shared.get(system, [])]


def get_training_options(wildcards):
    keys = ("context_length", "deep_length", "deep_blocks", "temperature", "epochs", "batch_size", "learning_rate")
    keys += ("betas", "global_3d", "cross_loss", "cross_temperature", "loss_weights")
    return pick(METHODS[wildcards.method], *keys)


def get_scoring_options(wildcards):
    return pick(METHODS[wildcards.method], "temperature", "smoothing_sigma")


# Stores by category ----------------------------------------------------------------------------------------------


def get_renders(wildcards):
    rendering = config["features"][wildcards.features]["rendering"]
    return f"results/renders/{rendering}/{wildcards.dataset}/{wildcards.category}.zarr.zip"


def get_stores(method, dataset, categories):
    """Clouds, renders and features of some categories, as a method reads them."""
    features = METHODS[method]["features"]
    rendering = config["features"][features]["rendering"]
    folders = {"clouds": "clouds", "renders": f"renders/{rendering}", "features": f"features/{features}"}
    return {
        stage: [f"results/{folder}/{dataset}/{category}.zarr.zip" for category in categories]
        for stage, folder in folders.items()
    }


def get_training_stores(wildcards):
    stores = get_stores(wildcards.method, wildcards.dataset, [wildcards.auxiliary])
    return {stage: files[0] for stage, files in stores.items()}


def get_tested(wildcards):
    """Categories that are scored: all, but not the one whose scans the prompts have seen."""
    categories = DATASETS[wildcards.dataset]["categories"]
    seen = wildcards.auxiliary if wildcards.source == wildcards.dataset else None
    return [category for category in categories if category != seen]


def get_tested_stores(wildcards):
    return get_stores(wildcards.method, wildcards.dataset, get_tested(wildcards))


def get_tested_clouds(wildcards):
    return get_tested_stores(wildcards)["clouds"]


def get_tested_names(wildcards):
    return [{"name": name, "display": get_display(wildcards.dataset, name)} for name in get_tested(wildcards)]


def get_prompts(wildcards):
    """Prompts that a system scores with; none for an untrained one."""
    method, source, auxiliary, seed = wildcards.method, wildcards.source, wildcards.auxiliary, wildcards.seed
    if not SYSTEMS[METHODS[method]["system"]].trained:
        return []
    if source == "none" or auxiliary not in DATASETS[source]["auxiliary"]:
        raise WorkflowError(f"{auxiliary!r} is no auxiliary class of data set {source!r}")
    return f"results/prompts/{method}/{source}/{auxiliary}/{seed}.safetensors"


# Runs: what the tables average -----------------------------------------------------------------------------------


def get_runs(source, target, auxiliaries=None):
    """Every (method, auxiliary class, seed) of a source data set tested on a target, with its place in paths.

    An untrained system has one run, whatever the source.
    """
    runs = []
    for method, settings in METHODS.items():
        if SYSTEMS[settings["system"]].trained:
            auxiliaries_of_source = auxiliaries or DATASETS[source]["auxiliary"]
            places = [(source, auxiliary, seed) for auxiliary in auxiliaries_of_source for seed in config["seeds"]]
        else:
            places = [("none", "none", 0)]
        runs += [(method, *place, target) for place in places]
    return runs


def get_metrics(runs):
    return [f"results/metrics/{'/'.join(map(str, run))}.csv" for run in runs]
