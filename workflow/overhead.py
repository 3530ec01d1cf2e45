"""What Table 5 measures: plain functions of the config's section `overhead`, as those in `plan`."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from pointad_core.errors import InputError
from pointad_core.storage.fingerprints import fingerprint
from workflow import inputs, plan, tables
from workflow.plan import Config, Run

MEASURING = ("scans", "warm_up", "repeats", "modality")


def is_asked(config: Config) -> bool:
    """Whether the config measures anything."""
    return bool(config["overhead"]["methods"])


def check(config: Config) -> Iterator[str]:
    """What is wrong with the section beside what the schema says, a line each."""
    section, key = config["overhead"], "config: overhead"
    if not section["methods"]:
        return
    for word in ("dataset", "category"):
        if word not in section:
            yield f"{key} lacks the key {word!r}, on which its methods are measured"
            return
    dataset, category = section["dataset"], section["category"]
    if dataset not in config["datasets"]:
        yield f"{key}.dataset is {dataset!r}, expected one of datasets: {', '.join(config['datasets'])}"
        return
    categories = config["datasets"][dataset]["categories"]
    if category not in categories:
        yield f"{key}.category is {category!r}, expected one of datasets.{dataset}.categories: {', '.join(categories)}"
        return
    for position, method in enumerate(section["methods"]):
        where = f"{key}.methods[{position}]"
        if method not in config["methods"]:
            yield f"{where} is {method!r}, expected one of methods: {', '.join(config['methods'])}"
            continue
        system = plan.system_of(config, method)
        if section["modality"] == "m3d" and not system.rgb:
            yield f"{where} is {method!r}, which takes no RGB in; expected overhead.modality: 3d, or another method"
        try:
            if run_of(config, method, dataset, category) is None:
                yield f"{where} is {method!r}, none of whose prompts has not seen {category!r}; name another category"
        except InputError as error:
            yield f"{where} is {method!r}: {error}"


def run_of(config: Config, method: str, dataset: str, category: str) -> Run | None:
    """The run that is measured: the first whose prompts have not seen the category."""
    return tables.viewer_runs(config, dataset, category).get(method)


def measured(config: Config) -> dict[str, str]:
    """What is measured for the table, by method."""
    section = config["overhead"]
    where = "{dataset}/{category}.csv".format(**section)
    return {method: f"results/overhead/{method}/{where}" for method in section["methods"]}


# A job that measures --------------------------------------------------------------------------------------------------


def _whole(wildcards: Any) -> Any:
    """A category as a whole, whatever shards its clouds are made in."""
    return SimpleNamespace(dataset=wildcards.dataset, category=wildcards.category, shard="")


def raw_scans(config: Config, wildcards: Any) -> list[str]:
    return inputs.raw_scans(config, _whole(wildcards))


def content(config: Config, wildcards: Any) -> str | None:
    return inputs.content(config, _whole(wildcards))


def learnt(config: Config, wildcards: Any) -> list[str]:
    """What the system has learnt, none for one that learns nothing."""
    run = run_of(config, wildcards.method, wildcards.dataset, wildcards.category)
    if run is None:
        raise InputError(f"overhead: {wildcards.method} is not tested on {wildcards.dataset}/{wildcards.category}")
    method, source, auxiliary, seed, _ = run
    if not plan.system_of(config, method).trained:
        return []
    return [f"results/prompts/{method}/{source}/{auxiliary}/{seed}.safetensors"]


def options(config: Config, wildcards: Any) -> dict[str, Any]:
    """Options of the stages that a system goes through."""
    dataset, settings = wildcards.dataset, config["methods"][wildcards.method]
    system = plan.system_of(config, wildcards.method)
    found = {
        "clouds": plan.cloud_options(config, dataset),
        "settings": plan.scoring_options(config, wildcards.method),
        "model": plan.model_of(config, settings["features"]),
    }
    if system.stream is not None:
        rendering = plan.rendering_of(config, settings["features"])
        found["renders"] = plan.render_options(config, rendering, dataset, wildcards.category)
    if system.aggregates:
        found["aggregation"] = dict(config["aggregations"][settings["aggregation"]])
    return found


def category(config: Config, wildcards: Any) -> dict[str, str]:
    name = wildcards.category
    return {"name": name, "display": plan.display_of(config, wildcards.dataset, name)}


def measuring(config: Config, wildcards: Any) -> dict[str, Any]:
    return plan.pick(config["overhead"], *MEASURING)


def code(config: Config, wildcards: Any) -> str:
    """All that the measured way is made of: another layout, renderer or system is measured anew."""
    settings = config["methods"][wildcards.method]
    modules = [plan.layout_of(config, wildcards.dataset)["module"], plan.system_of(config, wildcards.method).module]
    found = options(config, wildcards)
    if "renders" in found:
        modules.append(found["renders"]["renderer"]["module"])
    return fingerprint("stages.overhead", *modules, *plan.bundled_files(config, settings["features"]))


# The table ------------------------------------------------------------------------------------------------------------


def _tested(config: Config, method: str) -> dict[str, dict[str, list[str]]]:
    """Tested categories by source and auxiliary class behind a method's metrics in the table: those of its run."""
    dataset, category = config["overhead"]["dataset"], config["overhead"]["category"]
    sources = plan.sources_of(config, dataset)
    run = run_of(config, method, dataset, category)
    source = next(iter(sources)) if run is None or run[1] == plan.NONE else run[1]
    return {source: sources[source]}


def table_metrics(config: Config) -> list[str]:
    """Metrics of the measured methods on the data set."""
    dataset = config["overhead"]["dataset"]
    runs = [
        run
        for method in config["overhead"]["methods"]
        for source, tested in _tested(config, method).items()
        for run in plan.runs_of(config, source, dataset, tested)
        if run[0] == method
    ]
    return plan.metrics_of(runs)


def table_options(config: Config) -> dict[str, Any]:
    """What the table and its caption say, as `evaluation.overhead.overhead_rows` takes it."""
    section, labels, trained = config["overhead"], tables.labels_of(config), tables.trained_of(config)
    dataset = section["dataset"]
    keys = ("published", "features", "word_vectors", "pointnet")
    methods = {
        name: {
            "label": labels[name],
            **trained[name],
            **plan.pick(config["methods"][name], *keys),
            "tested": _tested(config, name),
        }
        for name in section["methods"]
    }
    about = plan.pick(config["datasets"][dataset], "label", "published", "generated")
    used = {method["features"] for method in methods.values()}
    return {
        **plan.pick(section, "dataset", "category", *MEASURING),
        "methods": methods,
        "datasets": {dataset: {"label": dataset, **about}},
        "features": {
            name: plan.pick(features, "model", "pretrained", "checkpoint", "random_seed")
            for name, features in config["features"].items()
            if name in used
        },
    }
