"""What the rules' inputs, params and resources take from the plan, by a job's wildcards.

Functions of the config and of wildcards, which `of_config` in rules/common.smk binds to the config. (Snakemake's linter
wants functions and rules in different files.)
"""

from __future__ import annotations

import os
from functools import cache
from types import SimpleNamespace
from typing import Any

from snakemake.logging import logger

from pointad_core.datasets.registry import has_label_files
from pointad_core.datasets.scans import TRAIN, hash_content
from pointad_core.errors import InputError
from pointad_core.methods.registry import plain
from pointad_core.storage.fingerprints import fingerprint
from workflow import overhead, plan, raw_scans, tables, unsupervised
from workflow.predictions import READERS
from workflow.raw_scans import Config

# Clouds, renders, features --------------------------------------------------------------------------------------------


@cache
def _tell_once(dataset: str, message: str) -> None:
    told = "Changed options of its clouds count once it can be looked at."
    logger.warning(f"{message}\nWhat there is of {dataset}'s results is taken as it is. {told}")


def raw_files(config: Config, wildcards: Any) -> list[str]:
    """Raw files that the workflow makes. A user's are looked for, but no input: their paths change with the folder's.

    Where they cannot be looked at, the reason stands in place of a file: a run that has the clouds goes on, and one
    that needs them ends with "missing input files" and this reason.
    """
    dataset = wildcards.dataset
    try:
        files = raw_scans.list_shard(config, dataset, wildcards.category, wildcards.shard[1:])
    except InputError as error:
        _tell_once(dataset, str(error))
        return [str(error)]
    return files if "generated" in config["datasets"][dataset] else []


def content(config: Config, wildcards: Any) -> str | None:
    """What lies in the user's folder, so that a scan that is changed, added or deleted is noticed."""
    if "generated" in config["datasets"][wildcards.dataset]:
        return None
    files = raw_scans.list_shard(config, wildcards.dataset, wildcards.category, wildcards.shard[1:])
    return hash_content(raw_scans.root_of(config, wildcards.dataset), files)


def code_of_clouds(config: Config, wildcards: Any) -> str:
    module = plan.layout_of(config, wildcards.dataset)["module"]
    # A folder's files are of any kind: their readers are found by the files' endings, and by no import.
    return fingerprint("stages.clouds", module, *(READERS if module.startswith("datasets.folder") else ()))


def render_options(config: Config, wildcards: Any) -> dict[str, Any]:
    return plan.render_options(config, wildcards.rendering, wildcards.dataset, wildcards.category)


def code_of_renders(config: Config, wildcards: Any) -> str:
    return fingerprint("stages.renders", render_options(config, wildcards)["renderer"]["module"])


def clouds(config: Config, wildcards: Any) -> str:
    """The clouds that renders and what follows are made of."""
    return plan.store_of(config, "clouds", wildcards.dataset, wildcards.category + wildcards.shard)


def renders(config: Config, wildcards: Any) -> str:
    """The renders that features are made of."""
    rendering = plan.rendering_of(config, wildcards.features)
    return f"results/renders/{rendering}/{wildcards.dataset}/{wildcards.category}{wildcards.shard}.zarr.zip"


def checkpoint(config: Config, wildcards: Any) -> list[str]:
    return plan.checkpoint_of(config, wildcards.features)


# Prompts --------------------------------------------------------------------------------------------------------------


_has_label_files = cache(has_label_files)


def check_labelled(config: Config, dataset: str, auxiliary: str) -> None:
    """Refuse to train on a category whose scans nobody labelled, where its folder can be looked at."""
    settings, root = config["datasets"][dataset], raw_scans.root_of(config, dataset)
    try:
        labelled = "generated" in settings or _has_label_files(settings["layout"], root, auxiliary)
    except InputError:
        return  # What is not there is told where clouds are made of it.
    if not labelled:
        raise InputError(
            f"datasets.{dataset}.auxiliary: {os.path.join(root, auxiliary)} has no file of labels, so that nothing can "
            "be learnt from it; name a category in which defects are marked"
        )


def training_stores(config: Config, wildcards: Any) -> dict[str, list[str]]:
    plan.check_auxiliary(config, wildcards.dataset, wildcards.auxiliary)
    check_labelled(config, wildcards.dataset, wildcards.auxiliary)
    shards = raw_scans.shards_of(config, wildcards.dataset, wildcards.auxiliary)
    return plan.stores_of(config, wildcards.method, wildcards.dataset, shards)


def _features(config: Config, wildcards: Any) -> str:
    """The features' entry of a method, which names its CLIP."""
    features: str = config["methods"][wildcards.method]["features"]
    return features


def training_files(config: Config, wildcards: Any) -> list[str]:
    """Weights and words of the user's own that training reads: another file there is another method."""
    files = plan.files_of(config, wildcards.method, "word_vectors", "pointnet").values()
    return [*plan.checkpoint_of(config, _features(config, wildcards)), *files]


def scoring_files(config: Config, wildcards: Any) -> list[str]:
    """Weights and words that scoring reads besides what was trained."""
    if plan.system_of(config, wildcards.method).unsupervised:
        return expert_files(config, wildcards)
    files = plan.files_of(config, wildcards.method, "word_vectors").values()
    return [*plan.checkpoint_of(config, _features(config, wildcards)), *files]


def scoring_options(config: Config, wildcards: Any) -> dict[str, Any]:
    if plan.system_of(config, wildcards.method).unsupervised:
        own = plan.pick(config["methods"][wildcards.method], "smoothing_sigma")
        return unsupervised.expert_options(config, wildcards.method) | own
    return plan.scoring_options(config, wildcards.method)


def system(config: Config, wildcards: Any) -> dict[str, Any]:
    return plain(plan.system_of(config, wildcards.method))


def model(config: Config, wildcards: Any) -> dict[str, Any] | None:
    """The CLIP that scoring or training may load."""
    if plan.system_of(config, wildcards.method).unsupervised:
        return unsupervised.expert_model(config, wildcards.method)
    return plan.model_of(config, _features(config, wildcards))


def auxiliary_display(config: Config, wildcards: Any) -> str | None:
    """Name of the auxiliary class in prompts that name it."""
    if plan.system_of(config, wildcards.method).class_names:
        return raw_scans.display_of(config, wildcards.dataset, wildcards.auxiliary)
    return None


def _code(config: Config, wildcards: Any, stage: str, *modules: str) -> str:
    """A stage with a method's system and model: an edit in one system leaves the others' results alone."""
    entry = plan.system_of(config, wildcards.method)
    bundled = plan.bundled_files(config, _features(config, wildcards)) if model(config, wildcards) else []
    return fingerprint(stage, entry.module, *modules, *bundled)


def code_of_prompts(config: Config, wildcards: Any) -> str:
    return _code(config, wildcards, "stages.prompts")


def code_of_scores(config: Config, wildcards: Any) -> str:
    return _code(config, wildcards, "stages.scores", *plan.scoring_modules(config, wildcards.method))


# Experts --------------------------------------------------------------------------------------------------------------


def good_stores(config: Config, wildcards: Any) -> list[str]:
    """Clouds of a category's good scans, for an unsupervised system."""
    method, dataset = wildcards.method, wildcards.dataset
    if not plan.system_of(config, method).unsupervised:
        raise InputError(f"method {method!r} learns on auxiliary classes, and has prompts in place of experts")
    if raw_scans.split_of(config, dataset) != TRAIN:
        raise InputError(f"{dataset} is a test split; {method!r} learns on {unsupervised.train_of(dataset)}")
    raw_scans.category_of(config, dataset, wildcards.category)
    return plan.clouds_of(config, dataset, wildcards.category)


def expert_files(config: Config, wildcards: Any) -> list[str]:
    """Weights of the user's own that an unsupervised system reads."""
    files = plan.files_of(config, wildcards.method, *plan.system_of(config, wildcards.method).files).values()
    clip = unsupervised.expert_model(config, wildcards.method)
    return [*(plan.checkpoint_of(config, _features(config, wildcards)) if clip else ()), *files]


def code_of_experts(config: Config, wildcards: Any) -> str:
    return _code(config, wildcards, "stages.experts")


def experts(config: Config, wildcards: Any) -> list[str]:
    """What an unsupervised system has learnt of each category that a job scores; none for any other system."""
    if not plan.system_of(config, wildcards.method).unsupervised:
        return []
    unsupervised.check_each(config, wildcards.source, wildcards.auxiliary, wildcards.dataset)
    names = [names["name"] for names in scored_names(config, wildcards)]
    folder = f"results/experts/{wildcards.method}/{wildcards.source}"
    return [f"{folder}/{name}/{wildcards.seed}.safetensors" for name in names]


# Scores and metrics ---------------------------------------------------------------------------------------------------


def tested(config: Config, wildcards: Any) -> list[str]:
    """Categories that a run is tested on."""
    return plan.tested_by(config, wildcards.source, wildcards.auxiliary, wildcards.dataset)


def scored_names(config: Config, wildcards: Any) -> list[dict[str, str]]:
    """Categories in a store of scores: one, or all that the run tests."""
    dataset, category = wildcards.dataset, wildcards.part[1:].partition("/")[0]
    if category:
        plan.check_tested(config, wildcards.source, wildcards.auxiliary, dataset, category)
    names = [category] if category else tested(config, wildcards)
    return [{"name": name, "display": raw_scans.display_of(config, dataset, name)} for name in names]


def scored_stores(config: Config, wildcards: Any) -> dict[str, list[str]]:
    shards = [wildcards.part[1:]] if wildcards.part else tested(config, wildcards)
    return plan.stores_of(config, wildcards.method, wildcards.dataset, shards)


def references(config: Config, wildcards: Any) -> list[str]:
    """Features of the whole category of a shard, where its scans are scored by the category's others."""
    method, dataset = wildcards.method, wildcards.dataset
    if not plan.system_of(config, method).batch:
        return []
    for name in (names["name"] for names in scored_names(config, wildcards)):
        if raw_scans.count_scans(config, dataset, name) == 1:
            raise InputError(
                f"{dataset}/{name} has one scan, and method {method!r} scores a scan by the others of its category, "
                "expected 2 or more"
            )
    category, _, shard = wildcards.part[1:].partition("/")
    if not shard:
        return []
    return plan.stores_of(config, method, dataset, raw_scans.shards_of(config, dataset, category))["features"]


def score_parts(config: Config, wildcards: Any) -> list[str]:
    """Scores of a run's categories, shard by shard."""
    folder = "results/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}".format(**wildcards)
    categories = tested(config, wildcards)
    shards = [shard for name in categories for shard in raw_scans.shards_of(config, wildcards.dataset, name)]
    return [f"{folder}/{shard}.zarr.zip" for shard in shards]


def prompts(config: Config, wildcards: Any) -> list[str]:
    """Prompts that a system scores with; none for one that is not trained on an auxiliary class."""
    if not plan.system_of(config, wildcards.method).trained:
        return []
    plan.check_auxiliary(config, wildcards.source, wildcards.auxiliary)
    run = wildcards.method, wildcards.source, wildcards.auxiliary, wildcards.seed
    return [plan.learnt_prompts(config, *run)]


def _clouds_by_category(config: Config, wildcards: Any) -> list[tuple[str, str]]:
    dataset = wildcards.dataset
    return [(name, path) for name in tested(config, wildcards) for path in plan.clouds_of(config, dataset, name)]


def tested_clouds(config: Config, wildcards: Any) -> list[str]:
    return [path for _, path in _clouds_by_category(config, wildcards)]


def categories_of_clouds(config: Config, wildcards: Any) -> list[str]:
    """The category of each store in `tested_clouds`."""
    return [name for name, _ in _clouds_by_category(config, wildcards)]


def counted_scans(config: Config, wildcards: Any) -> dict[str, list[str]]:
    """Scans that metrics count, of those categories that name some."""
    return raw_scans.subset_of(config, wildcards.dataset, tested(config, wildcards))


def picture_renders(config: Config, wildcards: Any) -> list[str]:
    dataset, category = wildcards.dataset, wildcards.category
    plan.check_tested(config, wildcards.source, wildcards.auxiliary, dataset, category)
    return tables.picture_renders(config, dataset, category)


def picture_scores(config: Config, wildcards: Any) -> list[str]:
    run = wildcards.method, wildcards.source, wildcards.auxiliary, wildcards.seed, wildcards.dataset
    return tables.picture_scores(config, run, wildcards.category)


def drawn_scans(config: Config, wildcards: Any) -> list[str] | None:
    """Scans that a contact sheet or a page shows, where the category names some."""
    category = raw_scans.category_of(config, wildcards.dataset, wildcards.category)
    return category.get("pictures") or category.get("scans")


def split_metrics(config: Config, wildcards: Any) -> list[str]:
    """Metrics of one auxiliary split, one-vs-rest."""
    plan.check_auxiliary(config, wildcards.dataset, wildcards.auxiliary)
    return plan.metrics_of(plan.runs_of(config, wildcards.dataset, wildcards.dataset, [wildcards.auxiliary]))


# Overhead -------------------------------------------------------------------------------------------------------------


def _whole(wildcards: Any) -> Any:
    """A category as a whole, whatever shards its clouds are made in."""
    return SimpleNamespace(dataset=wildcards.dataset, category=wildcards.category, shard="")


def measured_scans(config: Config, wildcards: Any) -> list[str]:
    return raw_files(config, _whole(wildcards))


def measured_content(config: Config, wildcards: Any) -> str | None:
    return content(config, _whole(wildcards))


def measured_learning(config: Config, wildcards: Any) -> list[str]:
    """What the system has learnt, none for one that learns nothing."""
    run = overhead.run_of(config, wildcards.method, wildcards.dataset, wildcards.category)
    if run is None:
        raise InputError(f"overhead: {wildcards.method} is not tested on {wildcards.dataset}/{wildcards.category}")
    method, source, auxiliary, seed, _ = run
    if plan.system_of(config, method).unsupervised:
        return [f"results/experts/{method}/{source}/{wildcards.category}/{seed}.safetensors"]
    if not plan.system_of(config, method).trained:
        return []
    return [plan.learnt_prompts(config, method, source, auxiliary, seed)]


def overhead_options(config: Config, wildcards: Any) -> dict[str, Any]:
    """Options of the stages that a system goes through."""
    dataset, settings = wildcards.dataset, config["methods"][wildcards.method]
    system = plan.system_of(config, wildcards.method)
    found = {
        "clouds": plan.cloud_options(config, dataset),
        "settings": scoring_options(config, wildcards),
        "model": model(config, wildcards),
    }
    if system.stream is not None:
        rendering = plan.rendering_of(config, settings["features"])
        found["renders"] = plan.render_options(config, rendering, dataset, wildcards.category)
    if system.aggregates:
        found["aggregation"] = dict(config["aggregations"][settings["aggregation"]])
    return found


def measured_category(config: Config, wildcards: Any) -> dict[str, str]:
    name = wildcards.category
    return {"name": name, "display": raw_scans.display_of(config, wildcards.dataset, name)}


def measuring(config: Config, wildcards: Any) -> dict[str, Any]:
    return plan.pick(config["overhead"], *overhead.MEASURING)


def code_of_overhead(config: Config, wildcards: Any) -> str:
    """All that the measured way is made of: another layout, renderer or system is measured anew."""
    settings = config["methods"][wildcards.method]
    modules = [plan.layout_of(config, wildcards.dataset)["module"], plan.system_of(config, wildcards.method).module]
    found = overhead_options(config, wildcards)
    if "renders" in found:
        modules.append(found["renders"]["renderer"]["module"])
    bundled = plan.bundled_files(config, settings["features"]) if found["model"] else []
    return fingerprint("stages.overhead", *modules, *bundled)
