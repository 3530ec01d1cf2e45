"""Helpers only: the config checked, and what the rules' inputs and params take from it.

A function here returns plain values (text, numbers, lists, dicts): change detection ignores anything else. Params
hold the keys that a stage depends on and no other, so that a change of a key reruns what depends on it alone.
"""

import math
import os
import re
import shutil
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from pointad_core.config import check, explain
from pointad_core.datasets import generated_files, generated_scans, hash_content, list_scans, refuse_links
from pointad_core.errors import InputError
from pointad_core.fingerprint import fingerprint
from pointad_core.methods import SYSTEMS
from pointad_core.renderers import RENDERERS
from pointad_core.runs import forget_killed, hold
from pointad_core.shards import holds, split

try:
    validate(config, f"{workflow.basedir}/workflow/schemas/config.schema.yaml")
    check(config)
except InputError as error:
    raise WorkflowError(str(error)) from None
except WorkflowError as error:
    # The validator's own error stands behind Snakemake's, and knows the key.
    raise WorkflowError(explain(error.__context__)) from None

# Jobs on a cluster read this file as well, while the run goes on.
if workflow.is_main_process:
    forget_killed()


def hold_folder():
    """Refuse to run where another run is going on."""
    try:
        hold()
    except InputError as error:
        raise WorkflowError(str(error)) from None


DATASETS = config["datasets"]
METHODS = config["methods"]
EXPERIMENTS = config["experiments"]

# A job that computes on the CPU must not wait for a GPU's turn. On a cluster, whose login node may lack the GPUs that
# its other nodes have, the profile says which rules get one (`set-resources`).
GPUS = int(shutil.which("nvidia-smi") is not None)


def any_of(names):
    """A regular expression for one of these names, or for nothing where there are none."""
    return "|".join(re.escape(str(name)) for name in sorted(set(names))) or "(?!)"


# Categories, and auxiliary classes among them, can be thousands: a list of them would stand in the pattern of every
# file of every job. The functions below refuse a name that is in no data set.
NAME = "[A-Za-z0-9][A-Za-z0-9_.-]*"

# What stands behind a category in a path: nothing, or a shard of it.
SHARD = "(?:/[01]+)?"


wildcard_constraints:
    dataset=any_of(DATASETS),
    source=any_of([*DATASETS, "none"]),
    category=NAME,
    shard=SHARD,
    part=f"(?:/{NAME}{SHARD})?",
    auxiliary=NAME,
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
    """Name of a category in pictures and object-aware prompts."""
    return get_category(dataset, category).get("display", category.replace("_", " "))


def get_root(wildcards):
    """Folder of a data set: the user's, or the one it is generated in.

    A Path, which change detection passes over: what counts is what lies there, and not where it lies.
    """
    dataset = DATASETS[wildcards.dataset]
    return Path(os.path.expanduser(dataset.get("root", f"results/generated/{wildcards.dataset}")))


@cache
def list_raw(dataset, category):
    """Raw files by shard and scan; a folder is looked into when a job needs it, not before."""
    settings = DATASETS[dataset]
    get_category(dataset, category)
    try:
        if "generated" in settings:
            generated = generated_scans(settings["layout"], category, settings["generated"]["scans"])
            scans = {
                name: [f"results/generated/{dataset}/{file}" for file in files.values()]
                for name, files in generated.items()
            }
        else:
            root = os.path.expanduser(settings["root"])
            scans = list_scans(settings["layout"], root, category)
            if not settings["follow_links"]:
                refuse_links(root, [file for files in scans.values() for file in files])
    except InputError as error:
        raise WorkflowError(f"datasets.{dataset}: {error}") from None
    shards = split(scans, settings["shard_size"])
    return {shard: {name: scans[name] for name in names} for shard, names in shards.items()}


def get_generated_files(dataset, category, shard):
    """What a generator's job writes: the files of the shard's scans, and with the first scan those of none."""
    settings = DATASETS[dataset]
    files = generated_files(settings["layout"], category, settings["generated"]["scans"], shard)
    return [f"results/generated/{dataset}/{file}" for file in files]


def get_generated_numbers(dataset, category, shard):
    """Numbers of a shard's scans: a job that is told these alone is none the wiser for another shard's new scan."""
    settings = DATASETS[dataset]
    names = generated_scans(settings["layout"], category, settings["generated"]["scans"])
    return [number for number, name in enumerate(names) if holds(shard, name)]


def in_place(files):
    """Files of the user's own as inputs: read where they are, whatever storage a profile has for results."""
    return [local(file) for file in files]


def list_shard(wildcards):
    """Raw files of a shard, or of a category as a whole."""
    shards, shard = list_raw(wildcards.dataset, wildcards.category), wildcards.shard[1:]
    if shard and shard not in shards:
        category, found = f"{wildcards.dataset}/{wildcards.category}", ", ".join(filter(None, shards)) or "none"
        raise WorkflowError(f"{category} has no shard {shard!r}, it has: {found}")
    chosen = [shards[shard]] if shard else shards.values()
    return sorted({file for scans in chosen for files in scans.values() for file in files})


def get_raw(wildcards):
    """Raw files that the workflow makes. A user's are looked for, but no input: their paths change with the folder's."""
    files = list_shard(wildcards)
    return files if "generated" in DATASETS[wildcards.dataset] else []


def get_content(wildcards):
    """What lies in the user's folder, so that a scan that is changed, added or deleted is noticed."""
    if "generated" in DATASETS[wildcards.dataset]:
        return None
    try:
        return hash_content(get_root(wildcards), list_shard(wildcards))
    except InputError as error:
        raise WorkflowError(f"datasets.{wildcards.dataset}: {error}") from None


def get_place(category, shard):
    """A category or a shard of it, as in paths."""
    return f"{category}/{shard}" if shard else category


def get_shards(dataset, category):
    """The shards of a category as in paths; the category itself where it is not split."""
    if DATASETS[dataset]["shard_size"] is None:
        return [category]
    return [get_place(category, shard) for shard in list_raw(dataset, category)]


def get_reader_modules(wildcards):
    """Modules that read a data set's layout."""
    layout = DATASETS[wildcards.dataset]["layout"]
    pictures = [] if layout == "real3d" else ["datasets.images"]
    return ["datasets", f"datasets.{layout}", *pictures]


# Options of the stages -------------------------------------------------------------------------------------------


def pick(settings, *keys):
    """These keys of a section, in this order whatever the order in the config; absent ones are left out."""
    return {key: settings[key] for key in keys if key in settings}


def get_renderer_modules(wildcards):
    """Modules behind a rendering."""
    shared = ["renders", "renderers", "splatter", "subsets", "views", "visibility", "files", "stores"]
    return [*shared, RENDERERS[config["renderings"][wildcards.rendering]["renderer"]].module]


def get_cloud_options(wildcards):
    settings = DATASETS[wildcards.dataset]
    return {
        "resolution": config["resolution"],
        "normals": pick(settings["normals"], "radius", "neighbours"),
        **pick(settings, "seed", "background", "n_points", "sampling"),
    }


def get_render_options(wildcards):
    settings, rendering = DATASETS[wildcards.dataset], config["renderings"][wildcards.rendering]
    category = get_category(wildcards.dataset, wildcards.category)
    view_set = config["view_sets"][rendering["view_set"] or settings["view_set"]]
    renderer = RENDERERS[rendering["renderer"]]
    point_size = category.get("point_size", settings["point_size"])
    return {
        "resolution": config["resolution"],
        "views": pick(view_set, "tilt", *(("x", "y") if renderer.shaded else ())),
        **pick(rendering, "renderer"),
        **pick({**rendering, "point_size": point_size}, *renderer.options),
    }


def get_model(features):
    """Backbone and explicit branch behind features, as every stage that needs the model gets them."""
    keys = ("model", "pretrained", "checkpoint", "random_seed", "vv_blocks")
    keys += ("neighbours", "kernel_sigma", "kernel_units", "alpha")
    model = {"resolution": config["resolution"], **pick(config["features"][features], *keys)}
    return model | {"checkpoint": path for path in get_checkpoint(features)}


def get_feature_options(wildcards):
    return get_model(wildcards.features)


def get_method_model(wildcards):
    return get_model(METHODS[wildcards.method]["features"])


def get_checkpoint(features):
    """File with the model's weights, where it is the user's own: another file there is another model."""
    settings = config["features"][features]
    return [os.path.expanduser(settings["checkpoint"])] if "checkpoint" in settings else []


def get_architecture(features):
    """Description, vocabulary and weights of a model of this package; models that open_clip brings have none here."""
    model = config["features"][features]["model"]
    weights = f"models/{model}-{config['features'][features].get('pretrained')}.safetensors"
    return [
        name
        for name in (f"models/{model}.json", f"models/{model}.bpe.gz", weights)
        if os.path.exists(f"{workflow.basedir}/pointad_core/{name}")
    ]


def get_readers(features):
    """Systems that read these features."""
    systems = [SYSTEMS[method["system"]] for method in METHODS.values() if method["features"] == features]
    return [system for system in systems if system.stream]


def get_streams(wildcards):
    """Streams of patch features that the methods on these features read."""
    return sorted({system.stream for system in get_readers(wildcards.features)})


def get_explicit(wildcards):
    """Whether a method on these features has an explicit branch."""
    return any(system.explicit for system in get_readers(wildcards.features))


def get_system(wildcards):
    return METHODS[wildcards.method]["system"]


# Modules behind the CLIP model, for the stages that load it.
CLIP_MODULES = ("clip", "checkpoints", "open_clip_import")


# What a system's own module uses, beside what all of them do.
SHARED_MODULES = {
    "anomalyclip": ["methods.pointad"],
    "cheraghian": ["pointnet", "subsets", "words"],
    "clip_rendering": ["methods.pointad"],
    "pointad_coop": ["methods.pointad"],
    "pointad_plus": ["methods.pointad"],
    "pointad_plus_coop": ["methods.pointad", "methods.pointad_coop", "methods.pointad_plus"],
    "pointclip_v2": ["methods.pointad"],
    "pointclip_v2_a": ["methods.pointad", "methods.pointclip_v2"],
}


def get_method_modules(wildcards):
    """Modules of a method's system: an edit in one system's code leaves the others' results alone."""
    system = get_system(wildcards)
    architecture = get_architecture(METHODS[wildcards.method]["features"])
    return ["methods", f"methods.{system}", *SHARED_MODULES.get(system, ()), *CLIP_MODULES, *architecture]


def get_training_options(wildcards):
    keys = ("context_length", "deep_length", "deep_blocks", "temperature", "epochs", "batch_size", "learning_rate")
    keys += ("betas", "global_3d", "cross_loss", "cross_temperature", "loss_weights")
    return pick(METHODS[wildcards.method], *keys) | get_method_files(wildcards, "word_vectors", "pointnet")


def get_scoring_options(wildcards):
    options = pick(METHODS[wildcards.method], "temperature", "smoothing_sigma")
    return options | get_method_files(wildcards, "word_vectors")


def get_method_files(wildcards, *keys):
    """Files of the user's own that a method reads, by key."""
    return {key: os.path.expanduser(path) for key, path in pick(METHODS[wildcards.method], *keys).items() if path}


def get_training_files(wildcards):
    """Weights and words that training reads: another file there is another method."""
    files = get_method_files(wildcards, "word_vectors", "pointnet")
    return in_place([*get_checkpoint(METHODS[wildcards.method]["features"]), *files.values()])


def get_scoring_files(wildcards):
    """Weights and words that scoring reads besides what was trained."""
    files = get_method_files(wildcards, "word_vectors")
    return in_place([*get_checkpoint(METHODS[wildcards.method]["features"]), *files.values()])


# Stores by category and shard --------------------------------------------------------------------------------------


def get_renders(wildcards):
    rendering = config["features"][wildcards.features]["rendering"]
    return f"results/renders/{rendering}/{wildcards.dataset}/{wildcards.category}{wildcards.shard}.zarr.zip"


def get_stores(method, dataset, shards):
    """Clouds, renders and features of some categories or shards, as far as a method reads them."""
    features = METHODS[method]["features"]
    folders = {"clouds": "clouds"}
    if SYSTEMS[METHODS[method]["system"]].stream:
        rendering = config["features"][features]["rendering"]
        folders |= {"renders": f"renders/{rendering}", "features": f"features/{features}"}
    return {
        stage: [f"results/{folder}/{dataset}/{shard}.zarr.zip" for shard in shards] for stage, folder in folders.items()
    }


def check_auxiliary(dataset, auxiliary):
    if dataset not in DATASETS or auxiliary not in DATASETS[dataset]["auxiliary"]:
        raise WorkflowError(f"{auxiliary!r} is no auxiliary class of data set {dataset!r}")


def get_training_stores(wildcards):
    check_auxiliary(wildcards.dataset, wildcards.auxiliary)
    return get_stores(wildcards.method, wildcards.dataset, get_shards(wildcards.dataset, wildcards.auxiliary))


def get_tested_by(run):
    """Categories that a run scores: all, but not the one whose scans its prompts have seen."""
    _, source, auxiliary, _, dataset = run
    seen = auxiliary if source == dataset else None
    return [category for category in DATASETS[dataset]["categories"] if category != seen]


def get_tested(wildcards):
    return get_tested_by([wildcards[name] for name in ("method", "source", "auxiliary", "seed", "dataset")])


def check_tested(wildcards, category):
    """Refuse a category whose scans the run's prompts have seen, without a look at all the others."""
    get_category(wildcards.dataset, category)
    if (wildcards.source, wildcards.auxiliary) == (wildcards.dataset, category):
        raise WorkflowError(f"{category} is not tested with prompts that were trained on it")


def get_scored(wildcards):
    """Categories in a store of scores: one, or all that the run tests."""
    category = wildcards.part[1:].partition("/")[0]
    if not category:
        return get_tested(wildcards)
    check_tested(wildcards, category)
    return [category]


def get_scored_stores(wildcards):
    shards = [wildcards.part[1:]] if wildcards.part else get_tested(wildcards)
    return get_stores(wildcards.method, wildcards.dataset, shards)


def get_score_parts(wildcards):
    """Scores of a run's categories, shard by shard."""
    folder = "results/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}".format(**wildcards)
    shards = [shard for category in get_tested(wildcards) for shard in get_shards(wildcards.dataset, category)]
    return [f"{folder}/{shard}.zarr.zip" for shard in shards]


def get_picture_renders(dataset, category):
    """Renders that pictures show: shaded ones, whatever a method itself reads."""
    used = [config["features"][method["features"]]["rendering"] for method in METHODS.values()]
    shaded = [name for name in used if RENDERERS[config["renderings"][name]["renderer"]].shaded]
    folder = f"results/renders/{(shaded or ['standard'])[0]}/{dataset}"
    return [f"{folder}/{shard}.zarr.zip" for shard in get_shards(dataset, category)]


def get_tested_renders(wildcards):
    check_tested(wildcards, wildcards.category)
    return get_picture_renders(wildcards.dataset, wildcards.category)


def get_clouds(dataset, category):
    return [f"results/clouds/{dataset}/{shard}.zarr.zip" for shard in get_shards(dataset, category)]


def get_tested_clouds(wildcards):
    return [path for category in get_tested(wildcards) for path in get_clouds(wildcards.dataset, category)]


def get_tested_shards(wildcards):
    """The category of each store in `get_tested_clouds`."""
    return [category for category in get_tested(wildcards) for _ in get_clouds(wildcards.dataset, category)]


def get_auxiliary_display(wildcards):
    """Name of the auxiliary class in prompts that name it."""
    if SYSTEMS[get_system(wildcards)].class_names:
        return get_display(wildcards.dataset, wildcards.auxiliary)
    return None


def get_scored_names(wildcards):
    return [{"name": name, "display": get_display(wildcards.dataset, name)} for name in get_scored(wildcards)]


def get_prompts(wildcards):
    """Prompts that a system scores with; none for an untrained one."""
    method, source, auxiliary, seed = wildcards.method, wildcards.source, wildcards.auxiliary, wildcards.seed
    if not SYSTEMS[METHODS[method]["system"]].trained:
        return []
    check_auxiliary(source, auxiliary)
    return f"results/prompts/{method}/{source}/{auxiliary}/{seed}.safetensors"


# What a job asks for -----------------------------------------------------------------------------------------------


def count_scans(dataset, category, shard=""):
    """Scans of a category or a shard. Known before any store is written, so that a dry run shows what jobs ask for."""
    shards = list_raw(dataset, category)
    return len(shards[shard]) if shard else sum(map(len, shards.values()))


def scans_of_store(wildcards):
    return count_scans(wildcards.dataset, wildcards.category, wildcards.shard[1:])


def scans_of_auxiliary(wildcards):
    return count_scans(wildcards.dataset, wildcards.auxiliary)


def scans_in_memory(wildcards):
    """Scans that training keeps between epochs: 4 GB, some 30 MB each with the paper's backbone."""
    return min(scans_of_auxiliary(wildcards), 140)


def training_steps(wildcards):
    """How often a scan is trained on."""
    return scans_of_auxiliary(wildcards) * METHODS[wildcards.method]["epochs"]


def scans_tested(wildcards):
    return sum(count_scans(wildcards.dataset, category) for category in get_tested(wildcards))


def scans_scored(wildcards):
    category, _, shard = wildcards.part[1:].partition("/")
    return count_scans(wildcards.dataset, category, shard) if category else scans_tested(wildcards)


def scans_of_largest_tested(wildcards):
    return max((count_scans(wildcards.dataset, category) for category in get_tested(wildcards)), default=0)


def grows(least, each=0, of=scans_of_store):
    """A resource of `least`, and `each` more for every one `of` what the job works on; doubled with every attempt.

    So a job that was killed for its memory or its time asks for twice as much when it is submitted again. How much a
    job really takes stands in docs/cluster.md.
    """

    def resource(wildcards, attempt):
        return math.ceil((least + (each * of(wildcards) if each else 0)) * 2 ** (attempt - 1))

    return resource


# Runs: what summaries and tables average ---------------------------------------------------------------------------


def get_runs(source, target, auxiliaries):
    """Every (method, source, auxiliary class, seed, target) of a setting: the places of its metrics in paths.

    An untrained system has one run, whatever the source.
    """
    runs = []
    for method, settings in METHODS.items():
        if SYSTEMS[settings["system"]].trained:
            runs += [(method, source, auxiliary, seed, target) for auxiliary in auxiliaries for seed in config["seeds"]]
        else:
            runs.append((method, "none", "none", 0, target))
    return runs


def get_metrics(runs):
    # Every source has the same run of an untrained system: once is enough.
    return list(dict.fromkeys(f"results/metrics/{'/'.join(map(str, run))}.csv" for run in runs))


def get_split_metrics(wildcards):
    """Metrics of one auxiliary split, one-vs-rest."""
    check_auxiliary(wildcards.dataset, wildcards.auxiliary)
    return get_metrics(get_runs(wildcards.dataset, wildcards.dataset, [wildcards.auxiliary]))


def get_sources(wildcards):
    """Auxiliary classes behind a data set's summary: its own, else those of the data sets it is a target of."""
    dataset = wildcards.dataset
    sources = [dataset]
    if not DATASETS[dataset]["auxiliary"]:
        sources = [pair["source"] for pair in EXPERIMENTS["cross_dataset"] if dataset in pair["targets"]]
    if not sources:
        raise WorkflowError(f"datasets.{dataset} has no auxiliary class, and no experiment has it as a target")
    return {source: DATASETS[source]["auxiliary"] for source in sources}


def get_dataset_metrics(wildcards):
    sources = get_sources(wildcards)
    return get_metrics(run for source in sources for run in get_runs(source, wildcards.dataset, sources[source]))


def get_table_metrics(wildcards):
    """Metrics of one table: 1 and 2 show one-vs-rest, 3 and 4 cross-dataset, where the systems compared there."""
    if wildcards.number in ("1", "2"):
        pairs = [(dataset, dataset) for dataset in EXPERIMENTS["one_vs_rest"]]
        runs = [run for source, target in pairs for run in get_runs(source, target, DATASETS[source]["auxiliary"])]
    else:
        pairs = [(pair["source"], target) for pair in EXPERIMENTS["cross_dataset"] for target in pair["targets"]]
        runs = [run for source, target in pairs for run in get_runs(source, target, DATASETS[source]["auxiliary"])]
        runs = [run for run in runs if SYSTEMS[METHODS[run[0]]["system"]].compared_across]
    return get_metrics(runs)


def get_systems():
    return {name: pick(method, "system") for name, method in METHODS.items()}


def get_labels():
    """Names of the methods in tables and pictures: the system's, or the key where several share a system."""
    systems = [method["system"] for method in METHODS.values()]
    return [
        method.get("label", name if systems.count(method["system"]) > 1 else SYSTEMS[method["system"]].label)
        for name, method in METHODS.items()
    ]


def get_table_options():
    """What tables and their captions say of data, methods, backbones and seeds."""
    return {
        "datasets": {
            name: {"label": name, **pick(dataset, "label", "published", "generated", "auxiliary")}
            for name, dataset in DATASETS.items()
        },
        "methods": {
            name: {"label": label, **pick(METHODS[name], "system", "published", "features", "word_vectors", "pointnet")}
            for name, label in zip(METHODS, get_labels())
        },
        "features": {
            name: pick(features, "model", "pretrained", "checkpoint", "random_seed")
            for name, features in config["features"].items()
        },
        "experiments": EXPERIMENTS,
        "seeds": config["seeds"],
    }


# What the named targets ask for ------------------------------------------------------------------------------------


def get_foreign_pairs():
    """Cross-dataset pairs whose target has no auxiliary class of its own, so that no one-vs-rest experiment shows it."""
    pairs = [(pair["source"], target) for pair in EXPERIMENTS["cross_dataset"] for target in pair["targets"]]
    return [(source, target) for source, target in pairs if not DATASETS[target]["auxiliary"]]


def get_summaries():
    """Summaries of every data set in an experiment, and of its auxiliary splits."""
    names = []
    for dataset in EXPERIMENTS["one_vs_rest"]:
        names += [dataset, *(f"{dataset}/{auxiliary}" for auxiliary in DATASETS[dataset]["auxiliary"])]
    names += [target for _, target in get_foreign_pairs()]
    return [f"results/summary/{name}.csv" for name in dict.fromkeys(names)]


def get_heatmaps():
    """Contact sheets of every category that a data set's experiment tested, and the methods side by side."""
    pairs = [*((dataset, dataset) for dataset in EXPERIMENTS["one_vs_rest"]), *get_foreign_pairs()]
    runs = [run for source, target in pairs for run in get_runs(source, target, DATASETS[source]["auxiliary"])]
    sheets = [
        f"results/heatmaps/{'/'.join(map(str, run))}/{category}.png" for run in runs for category in get_tested_by(run)
    ]
    return [*dict.fromkeys(sheets), *(["results/heatmaps/gallery.png"] if EXPERIMENTS["one_vs_rest"] else [])]


def get_gallery():
    """A category of every one-vs-rest data set that is unseen by the prompts of its first auxiliary class."""
    entries = []
    for dataset in EXPERIMENTS["one_vs_rest"]:
        seen = DATASETS[dataset]["auxiliary"][0]
        category = next(name for name in DATASETS[dataset]["categories"] if name != seen)
        entries.append({"label": get_display(dataset, category), "dataset": dataset, "category": category})
    return entries


def get_gallery_entries(wildcards):
    """Entries of the gallery, each with the number of stores that its clouds, and its renders, are in."""
    return [entry | {"shards": len(get_shards(entry["dataset"], entry["category"]))} for entry in get_gallery()]


def get_gallery_stores(wildcards):
    """Stores of the gallery entry by entry; its scores also method by method."""
    stores = {"clouds": [], "renders": [], "scores": []}
    for entry in get_gallery():
        dataset = entry["dataset"]
        stores["clouds"] += get_clouds(dataset, entry["category"])
        stores["renders"] += get_picture_renders(dataset, entry["category"])
        # One run a method: the first seed's, or the only one of an untrained system.
        runs = {run[0]: run for run in reversed(get_runs(dataset, dataset, DATASETS[dataset]["auxiliary"][:1]))}
        stores["scores"] += [f"results/scores/{'/'.join(map(str, runs[name]))}.zarr.zip" for name in METHODS]
    return stores
