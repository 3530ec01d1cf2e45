"""What Table 5 measures: plain functions of the config's section `overhead`, as those in `plan`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pointad_core.errors import InputError
from workflow import plan, raw_scans, tables, unsupervised
from workflow.plan import Run
from workflow.raw_scans import Config
from workflow.words import refer

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
    if wrong := list(refer("overhead.dataset", dataset, config["datasets"], "one of datasets")):
        yield from wrong
        return
    categories = config["datasets"][dataset]["categories"]
    if wrong := list(refer("overhead.category", category, categories, f"one of datasets.{dataset}.categories")):
        yield from wrong
        return
    there = raw_scans.count_scans(config, dataset, category)
    if 0 < there < section["scans"]:
        yield f"{key}.scans is {section['scans']}, but {dataset}/{category} has {there} scans"
    if section["modality"] == "m3d" and "photographs" not in config["datasets"][dataset]:
        layout = config["datasets"][dataset]["layout"]
        yield f"{key}.modality is 'm3d', but scans of the layout {layout!r} have no photographs; expected 3d"
    for position, method in enumerate(section["methods"]):
        where = f"{key}.methods[{position}]"
        if wrong := list(refer(where.removeprefix("config: "), method, config["methods"], "one of methods")):
            yield from wrong
            continue
        system = plan.system_of(config, method)
        if system.batch:
            yield f"{where} is {method!r}, which scores a scan by others of its category; expected one that does not"
        if section["modality"] == "m3d" and not system.rgb:
            yield f"{where} is {method!r}, which takes no RGB in; expected overhead.modality: 3d, or another method"
        try:
            if run_of(config, method, dataset, category) is None:
                yield f"{where} is {method!r}, none of whose prompts has not seen {category!r}; name another category"
        except InputError as error:
            yield f"{where} is {method!r}: {error}"


def run_of(config: Config, method: str, dataset: str, category: str) -> Run | None:
    """The run that is measured: the first whose prompts have not seen the category; of an unsupervised system, which
    learns on the category's own good scans, the first seed's."""
    if plan.system_of(config, method).unsupervised:
        return unsupervised.runs_of(config, method, dataset)[0]
    return tables.viewer_runs(config, dataset, category).get(method)


def measured(config: Config) -> dict[str, str]:
    """What is measured for the table, by method."""
    section = config["overhead"]
    where = "{dataset}/{category}.csv".format(**section)
    return {method: f"results/overhead/{method}/{where}" for method in section["methods"]}


def _tested(config: Config, method: str) -> dict[str, dict[str, list[str]]]:
    """Tested categories by source and auxiliary class behind a method's metrics in the table: those of its run."""
    dataset, category = config["overhead"]["dataset"], config["overhead"]["category"]
    if plan.system_of(config, method).unsupervised:
        categories = list(config["datasets"][dataset]["categories"])
        return {unsupervised.train_of(dataset): {unsupervised.EACH: categories}}
    sources = plan.sources_of(config, dataset)
    run = run_of(config, method, dataset, category)
    source = next(iter(sources)) if run is None or run[1] == plan.NONE else run[1]
    return {source: sources[source]}


def table_metrics(config: Config) -> list[str]:
    """Metrics of the measured methods on the data set."""
    dataset = config["overhead"]["dataset"]
    runs: list[Run] = []
    for method in config["overhead"]["methods"]:
        if plan.system_of(config, method).unsupervised:
            runs += unsupervised.runs_of(config, method, dataset)
            continue
        for source, tested in _tested(config, method).items():
            runs += plan.method_runs(config, method, source, dataset, tested)
    return plan.metrics_of(runs)


def table_options(config: Config) -> dict[str, Any]:
    """What the table and its caption say, as `evaluation.overhead.overhead_rows` takes it."""
    section, labels = config["overhead"], tables.labels_of(config)
    dataset = section["dataset"]
    methods = {}
    for name in section["methods"]:
        entry, system = config["methods"][name], plan.system_of(config, name)
        methods[name] = {
            "label": labels[name],
            "trained": system.trained or system.unsupervised,
            "unsupervised": system.unsupervised,
            **plan.pick(entry, "published", "features", "word_vectors", "pointnet", *system.files),
            "tested": _tested(config, name),
        }
    about = plan.pick(config["datasets"][dataset], "label", "published", "generated")
    used = {method["features"] for method in methods.values()}
    return {
        **plan.pick(section, "dataset", "category", *MEASURING),
        "methods": methods,
        "datasets": {dataset: {"label": dataset, **about}},
        "features": tables.backbones_of(config, [name for name in config["features"] if name in used]),
    }
