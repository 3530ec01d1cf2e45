"""What the tables and the pictures show of a config: plain functions of it, as those in `plan`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pointad_core.errors import InputError
from pointad_core.rendering.registry import RENDERERS
from pointad_core.storage.fingerprints import PACKAGE
from workflow.plan import (
    NONE,
    Run,
    clouds_of,
    compared_methods,
    metrics_of,
    pairs_of,
    pick,
    rendering_of,
    runs_of,
    sources_of,
    store_of,
    system_of,
    tested_by,
    tested_with,
)
from workflow.raw_scans import Config, category_of, display_of, shards_of
from workflow.variants import is_derived

BATCH = "batch zero-shot"
"""What a category's page calls the setting of methods that see the category's other test scans."""
SETTINGS = {1: "one_vs_rest", 2: "one_vs_rest", 3: "cross_dataset", 4: "cross_dataset"}
"""Setting of each of the paper's tables."""


def names(config: Config) -> list[str]:
    """Tables of a config in the order of the document, by the names of their files: Tables 1-4 if it has experiments,
    Table 5 if it measures anything, and its ablations."""
    others = [*(["overhead"] if config["overhead"]["methods"] else []), *config["ablations"]]
    return [*([] if nothing_to_show(config) and others else [f"table{number}" for number in SETTINGS]), *others]


def labels_of(config: Config) -> dict[str, str]:
    """Names of the methods in tables and pictures: the system's, or the key where several share a system."""
    methods = {name: method for name, method in config["methods"].items() if not is_derived(name)}
    systems = [method["system"] for method in methods.values()]
    labels = {}
    for name, method in methods.items():
        own = system_of(config, name).label or name
        labels[name] = method.get("label", name if systems.count(method["system"]) > 1 else own)
    return labels


def backbones_of(config: Config, features: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What captions say of the backbones behind these entries of `features`."""
    return {
        name: pick(config["features"][name], "model", "pretrained", "checkpoint", "random_seed") for name in features
    }


def batch_methods(config: Config) -> list[str]:
    """Methods that score a scan by the others of its category, those of ablations' rows among them."""
    return [name for name in config["methods"] if system_of(config, name).batch]


def setting_of(config: Config, method: str) -> dict[str, bool]:
    """What tables and figures are told of a method that stands in a setting of its own; nothing of others."""
    return {"batch": True} if system_of(config, method).batch else {}


def trained_of(config: Config) -> dict[str, dict[str, bool]]:
    """The methods that are compared in their order, and whether each is trained."""
    return {name: {"trained": system_of(config, name).trained} for name in compared_methods(config)}


def compared_in(config: Config, setting: str) -> list[str]:
    """Methods of a setting's tables; cross-dataset compares those that the paper compares there."""
    methods = compared_methods(config)
    return [name for name in methods if setting == "one_vs_rest" or system_of(config, name).compared_across]


def table_metrics(config: Config, number: int) -> list[str]:
    """Metrics of one table."""
    setting = SETTINGS[number]
    runs = [
        run
        for source, target in pairs_of(config, setting)
        for run in runs_of(config, source, target, config["datasets"][source]["auxiliary"])
    ]
    compared = compared_in(config, setting)
    return metrics_of(run for run in runs if run[0] in compared)


def table_options(config: Config, number: int) -> dict[str, Any]:
    """What a table and its caption say of data, methods, backbones and seeds."""
    setting, labels = SETTINGS[number], labels_of(config)
    pairs = [
        {
            "source": source,
            "dataset": target,
            "tested": tested_with(config, source, config["datasets"][source]["auxiliary"], target),
        }
        for source, target in pairs_of(config, setting)
    ]
    targets = {pair["dataset"] for pair in pairs}
    involved = dict.fromkeys(name for pair in pairs for name in (pair["source"], pair["dataset"]))
    keys = ("published", "features", "word_vectors", "pointnet")
    return {
        "pairs": pairs,
        "methods": {
            name: {
                "label": labels[name],
                **trained_of(config)[name],
                **pick(config["methods"][name], *keys),
                **setting_of(config, name),
            }
            for name in compared_in(config, setting)
        },
        "datasets": {
            name: {
                "label": name,
                **pick(config["datasets"][name], "label", "published", "generated", "auxiliary"),
                **({"n_categories": len(config["datasets"][name]["categories"])} if name in targets else {}),
            }
            for name in involved
        },
        "features": backbones_of(config, [name for name in config["features"] if not is_derived(name)]),
        **pick(config, "seeds", "intervals", "further_metrics"),
    }


def foreign_pairs(config: Config) -> list[tuple[str, str]]:
    """Cross-dataset pairs whose target has no auxiliary class, so that no one-vs-rest experiment shows it."""
    pairs = pairs_of(config, "cross_dataset")
    return [(source, target) for source, target in pairs if not config["datasets"][target]["auxiliary"]]


def nothing_to_show(config: Config) -> list[str]:
    """In place of a file that a target lacks, why it would make nothing: its config asks for no experiment."""
    if pairs_of(config, "one_vs_rest") or pairs_of(config, "cross_dataset"):
        return []
    return ["config: experiments names no data set, so that there is nothing to show"]


def summaries(config: Config) -> list[str]:
    """Summaries of every data set in an experiment, and of its auxiliary splits."""
    names = []
    for dataset, _ in pairs_of(config, "one_vs_rest"):
        names += [dataset, *(f"{dataset}/{auxiliary}" for auxiliary in config["datasets"][dataset]["auxiliary"])]
    names += [target for _, target in foreign_pairs(config)]
    return [f"results/summary/{name}.csv" for name in dict.fromkeys(names)]


def picture_renders(config: Config, dataset: str, category: str) -> list[str]:
    """Renders that pictures show: shaded ones, whatever a method itself reads."""
    used = [rendering_of(config, config["methods"][name]["features"]) for name in compared_methods(config)]
    shaded = [name for name in used if RENDERERS[config["renderings"][name]["renderer"]].shaded]
    rendering = (shaded or ["standard"])[0]
    shards = shards_of(config, dataset, category)
    return [store_of(config, f"renders/{rendering}", dataset, shard, rendering) for shard in shards]


def picture_scores(config: Config, run: Run, category: str) -> list[str]:
    """Scores that a category's heat maps show: the data set's, where its metrics need them all, else the category's.

    So the heat maps of one category of a data set that no experiment names take the jobs of this category alone, as
    they do where a category is scored by itself anyway, in shards.
    """
    method, source, auxiliary, seed, dataset = run
    folder = f"results/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}"
    pairs = [pair for setting in config["experiments"] for pair in pairs_of(config, setting)]
    whole = any(target == dataset and source in (NONE, trained_on) for trained_on, target in pairs)
    if whole and config["datasets"][dataset]["shard_size"] is None:
        return [f"{folder}.zarr.zip"]
    return [f"{folder}/{shard}.zarr.zip" for shard in shards_of(config, dataset, category)]


def heatmaps(config: Config) -> list[str]:
    """Contact sheets of every category that a data set's experiment tested."""
    sheets = []
    for source, target in [*pairs_of(config, "one_vs_rest"), *foreign_pairs(config)]:
        for run in runs_of(config, source, target, config["datasets"][source]["auxiliary"]):
            folder = f"results/heatmaps/{'/'.join(map(str, run))}"
            sheets += [f"{folder}/{category}.png" for category in tested_by(config, run[1], run[2], target)]
    return list(dict.fromkeys(sheets))


VIEWER_PAGE = [path.relative_to(PACKAGE).as_posix() for path in sorted((PACKAGE / "evaluation/page").iterdir())]
"""What the viewer's pages are made of beside their code."""


def viewers(config: Config) -> list[str]:
    """A page to turn its scans on for every category of a data set in an experiment that something is tested on."""
    targets = [target for _, target in [*pairs_of(config, "one_vs_rest"), *foreign_pairs(config)]]
    return [
        f"results/viewers/{target}/{category}.html"
        for target in dict.fromkeys(targets)
        for category in config["datasets"][target]["categories"]
        if viewer_runs(config, target, category)
    ]


def viewer_runs(config: Config, dataset: str, category: str) -> dict[str, Run]:
    """The run of each method that a category's page shows: the first whose prompts have not seen the category.

    The paper's own system stands last in tables, and is shown first here.
    """
    found: dict[str, Run] = {}
    for source, tested in sources_of(config, dataset).items():
        unseen = [auxiliary for auxiliary, categories in tested.items() if category in categories]
        for run in runs_of(config, source, dataset, unseen):
            found.setdefault(run[0], run)
    return {method: found[method] for method in reversed(compared_methods(config)) if method in found}


def viewer_stores(config: Config, dataset: str, category: str) -> dict[str, list[str]]:
    """Stores behind a category's page; its scores method by method."""
    runs = viewer_runs(config, dataset, category).values()
    if not runs:
        category_of(config, dataset, category)
        raise InputError(f"{dataset}/{category}: no method is tested on it, so that there is nothing to show")
    return {
        "scores": [f"results/scores/{'/'.join(map(str, run))}.zarr.zip" for run in runs],
        "clouds": clouds_of(config, dataset, category),
        "renders": picture_renders(config, dataset, category),
    }


def viewer_methods(config: Config, dataset: str, category: str) -> list[str]:
    """Names of the methods of a category's page, in the order of its scores."""
    labels = labels_of(config)
    return [labels[method] for method in viewer_runs(config, dataset, category)]


def viewer_facts(config: Config, dataset: str, category: str) -> dict[str, str]:
    """What a page says of all its scans."""
    runs = viewer_runs(config, dataset, category).values()
    labels = labels_of(config)
    batch = [labels[run[0]] for run in runs if system_of(config, run[0]).batch]
    learnt = dict.fromkeys(f"{run[2]} of {run[1]}, seed {run[3]}" for run in runs if run[1] != NONE)
    return {
        "category": display_of(config, dataset, category),
        "data set": config["datasets"][dataset].get("label", dataset),
        **({"prompts learnt on": "; ".join(learnt)} if learnt else {}),
        **({BATCH: ", ".join(batch)} if batch else {}),
    }
