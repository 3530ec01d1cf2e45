"""What the figures of score maps show of a config (Figures 5-9): plain functions of it, as those in `plan`.

A figure looks at scans of categories: with some methods' runs, or with rows of an ablation. Which run a method has on a
category follows from the figure's prompts; of a group of scans without any, from the first auxiliary class of their own
data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pointad_core.methods.registry import STORED, SYSTEMS, plain, systems_of
from pointad_core.rendering.registry import RENDERERS
from pointad_core.storage.fingerprints import fingerprint
from workflow import plan, raw_scans
from workflow.ablations import rows_of, rows_of_figure, runs
from workflow.plan import NONE, Run
from workflow.raw_scans import Config
from workflow.tables import backbones_of, labels_of, picture_renders, picture_scores, setting_of
from workflow.unsupervised import EACH, train_of
from workflow.variants import is_derived
from workflow.words import refer

OF_PHOTOGRAPHS = ("m3d", "rgb")
"""Maps that there are of a scan with a photograph alone."""
NETWORKS = ("features", "word_vectors", "pointnet", "network", "point_mae", "fusion")
"""Keys of a method that say what network is behind it, for the caption."""
MOST = 16
"""Columns that fit side by side on a page."""


def targets(config: Config) -> list[str]:
    """Every figure as PDF for LaTeX and as PNG, and a document with all of them."""
    ends = ("pdf", "png", "tex", "txt", "csv")
    files = [f"results/figures/{name}.{end}" for name in config["figures"] for end in ends]
    if not files:
        return ["config: figures names none, so that there is nothing to draw"]
    return [*files, "results/figures/figures.tex"]


def prompts_of(config: Config, figure: Mapping[str, Any], group: Mapping[str, Any]) -> tuple[str, str, int]:
    """Data set, auxiliary class and seed of the prompts that score a group's scans."""
    dataset = group["dataset"]
    auxiliaries = config["datasets"][dataset]["auxiliary"]
    own = {"source": dataset, "auxiliary": next(iter(auxiliaries), NONE)}
    chosen = group.get("prompts") or figure.get("prompts") or own
    return chosen["source"], chosen["auxiliary"], chosen.get("seed", config["seeds"][0])


def categories_of(config: Config, name: str, group: Mapping[str, Any]) -> list[str]:
    """Categories whose scans a group shows: those that it names, else all that its prompts have not seen."""
    if "scans" in group:
        return list(group["scans"])
    source, auxiliary, _ = prompts_of(config, config["figures"][name], group)
    tested = [set(config["datasets"][dataset]["categories"]) for _, _, dataset in looks_of(config, name, group)]
    unseen = plan.tested_by(config, source, auxiliary, group["dataset"])
    return group.get("categories") or [category for category in unseen if all(category in some for some in tested)]


def looks_of(config: Config, name: str, group: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Title, method and data set of each look at a group's scans: of methods, or of rows."""
    figure, dataset, labels = config["figures"][name], group["dataset"], labels_of(config)
    if "ablation" in figure or "rows" in figure:
        rows = rows_of(config, figure["ablation"]) if "ablation" in figure else rows_of_figure(config, name)
        return [(label, row.method, row.datasets[dataset]) for label, row in rows.items()]
    return [(labels[method], method, dataset) for method in figure.get("methods", plan.compared_methods(config))]


def _run(config: Config, method: str, prompts: tuple[str, str, int], dataset: str) -> Run:
    system = plan.system_of(config, method)
    if system.unsupervised:
        return (method, train_of(dataset), EACH, prompts[2], dataset)
    return (method, *prompts, dataset) if system.trained else (method, NONE, NONE, 0, dataset)


def _scores(config: Config, run: Run, category: str) -> list[str]:
    """Scores of a look: of what a row has changed those that its ablation's table needs, where one does."""
    if not any(map(is_derived, run[::4])):
        return picture_scores(config, run, category)
    folder, dataset = f"results/scores/{'/'.join(map(str, run))}", run[-1]
    if any(run in runs(config, name) for name in config["ablations"]) and not config["datasets"][dataset]["shard_size"]:
        return [f"{folder}.zarr.zip"]
    return [f"{folder}/{shard}.zarr.zip" for shard in raw_scans.shards_of(config, dataset, category)]


def _renders(config: Config, method: str, dataset: str, category: str) -> list[str]:
    """Renders that a look shows: those that the method reads, or of one that reads no shaded ones those of pictures."""
    rendering = plan.rendering_of(config, config["methods"][method]["features"])
    if plan.system_of(config, method).stream and RENDERERS[config["renderings"][rendering]["renderer"]].shaded:
        return plan.stores_of(config, method, dataset, raw_scans.shards_of(config, dataset, category))["renders"]
    return picture_renders(config, dataset, category)


def _computes(config: Config, figure: Mapping[str, Any], method: str) -> bool:
    """Whether a figure shows maps of a method that no store has; an unsupervised one has all that it has in stores."""
    further = figure["columns"] == "views" or bool(set(figure["maps"]) - set(STORED))
    return further and not plan.system_of(config, method).unsupervised


def _describe_look(
    config: Config, figure: Mapping[str, Any], look: tuple[str, str, str], prompts: tuple[str, str, int], category: str
) -> dict[str, Any]:
    title, method, dataset = look
    run = _run(config, method, prompts, dataset)
    shards = raw_scans.shards_of(config, dataset, category)
    stores = {"clouds": plan.clouds_of(config, dataset, category)}
    learnt = None
    if _computes(config, figure, method):
        stores |= plan.stores_of(config, method, dataset, shards)
        if run[1] != NONE:
            learnt = plan.learnt_prompts(config, *run[:4])
    return {
        "title": title,
        "method": method,
        "category": category,
        "display": raw_scans.display_of(config, dataset, category),
        "scores": _scores(config, run, category),
        "prompts": learnt,
        "stores": {**stores, "renders": _renders(config, method, dataset, category)},
    }


def _describe_group(config: Config, name: str, group: Mapping[str, Any]) -> dict[str, Any]:
    figure = config["figures"][name]
    dataset, prompts = group["dataset"], prompts_of(config, figure, group)
    source, auxiliary, seed = prompts
    label = config["datasets"][dataset].get("label", dataset)
    names, looks = categories_of(config, name, group), looks_of(config, name, group)
    categories = []
    for category in names:
        display = raw_scans.display_of(config, dataset, category)
        about: dict[str, Any] = {"name": category, "dataset": label, "display": display}
        if "scans" in group:
            about["named"] = group["scans"][category]
        elif among := raw_scans.subset_of(config, dataset, [category]).get(category):
            about["among"] = among
        about["looks"] = [_describe_look(config, figure, look, prompts, category) for look in looks]
        categories.append(about)
    rule = plan.pick(group, "better", "than") or {"pick": "named" if "scans" in group else group["pick"]}
    learnt = None
    if auxiliary != NONE:
        learnt_on = config["datasets"].get(source, {}).get("label", source)
        learnt = f"{raw_scans.display_of(config, source, auxiliary)} of {learnt_on} (seed {seed})"
    return {
        "label": group.get("label", label),
        "categories": categories,
        "count": None if "scans" in group else group.get("count", len(names)),
        "rule": rule,
        "learnt": learnt,
    }


def _describe_system(config: Config, method: str) -> dict[str, Any]:
    return {
        "system": plain(plan.system_of(config, method)),
        "options": plan.scoring_options(config, method),
        "model": plan.model_of(config, config["methods"][method]["features"]),
    }


def figure_options(config: Config, name: str) -> dict[str, Any]:
    """A figure with all that it shows, and the stores that hold it by their paths."""
    figure = config["figures"][name]
    methods = sorted({method for group in figure["scans"] for _, method, _ in looks_of(config, name, group)})
    datasets = [config["datasets"][group["dataset"]] | {"name": group["dataset"]} for group in figure["scans"]]
    generated = [dataset.get("label", dataset["name"]) for dataset in datasets if "generated" in dataset]
    return {
        "name": name,
        **plan.pick(figure, "caption", "columns", "maps", "colours"),
        "groups": [_describe_group(config, name, group) for group in figure["scans"]],
        # How a method scores matters where the figure scores itself.
        "systems": {
            method: _describe_system(config, method) if _computes(config, figure, method) else None
            for method in methods
        },
        "methods": {
            method: plan.pick(config["methods"][method], *NETWORKS) | setting_of(config, method) for method in methods
        },
        "features": backbones_of(config, sorted({config["methods"][method]["features"] for method in methods})),
        "generated": list(dict.fromkeys(generated)),
    }


def figure_stores(config: Config, name: str) -> list[str]:
    """The stores and prompts files that a figure names."""
    paths = [
        path
        for group in figure_options(config, name)["groups"]
        for category in group["categories"]
        for look in category["looks"]
        for path in (
            *look["scores"],
            *filter(None, [look["prompts"]]),
            *(path for found in look["stores"].values() for path in found),
        )
    ]
    return list(dict.fromkeys(paths))


def figure_code(config: Config, name: str) -> str:
    """What draws a figure, and the systems that compute what it shows."""
    figure = config["figures"][name]
    modules: set[str] = set()
    for method in {method for group in figure["scans"] for _, method, _ in looks_of(config, name, group)}:
        if _computes(config, figure, method):
            features = config["methods"][method]["features"]
            modules |= {*plan.scoring_modules(config, method), *plan.bundled_files(config, features)}
    return fingerprint("stages.figures", *sorted(modules))


# What a figure may be -------------------------------------------------------------------------------------------------


def check(config: Config) -> Iterator[str]:
    """Names in figures that refer to nothing, before rows have become entries: a line for each."""
    for name, figure in config["figures"].items():
        if name == "figures":
            yield "config: 'figures' is the name of the document of all figures, rename it in figures"
        yield from _check_names(config, f"figures.{name}", figure)


def check_shown(config: Config) -> Iterator[str]:
    """What figures cannot show of a config that is complete: a line for each thing."""
    for name in config["figures"]:
        yield from _check_shown(config, f"config: figures.{name}", name)


def _check_prompts(config: Config, key: str, prompts: Mapping[str, Any]) -> Iterator[str]:
    datasets, source = config["datasets"], prompts["source"]
    yield from refer(f"{key}.source", source, datasets, "one of datasets")
    if source in datasets:
        what = f"an auxiliary class of {source}"
        yield from refer(f"{key}.auxiliary", prompts["auxiliary"], datasets[source]["auxiliary"], what)
    yield from refer(f"{key}.seed", prompts.get("seed", config["seeds"][0]), config["seeds"], "one of seeds")


def _check_names(config: Config, key: str, figure: Mapping[str, Any]) -> Iterator[str]:
    given = [word for word in ("methods", "ablation", "rows") if word in figure]
    if len(given) > 1:
        yield f"config: {key} has the keys {' and '.join(given)}, expected at most one of methods, ablation and rows"
    if ("base" in figure) != ("rows" in figure):
        yield f"config: {key} has one of the keys base and rows, expected both or neither"
    if "ablation" in figure:
        yield from refer(f"{key}.ablation", figure["ablation"], config["ablations"], "one of ablations")
    for number, method in enumerate(figure.get("methods", ())):
        yield from refer(f"{key}.methods[{number}]", method, config["methods"], "one of methods")
    if "prompts" in figure:
        yield from _check_prompts(config, f"{key}.prompts", figure["prompts"])
    for number, group in enumerate(figure["scans"]):
        where, dataset = f"{key}.scans[{number}]", group["dataset"]
        yield from refer(f"{where}.dataset", dataset, config["datasets"], "one of datasets")
        if figure.get("ablation") in config["ablations"]:
            shown = config["ablations"][figure["ablation"]]["datasets"]
            yield from refer(f"{where}.dataset", dataset, shown, f"a data set of ablations.{figure['ablation']}")
        if "prompts" in group:
            yield from _check_prompts(config, f"{where}.prompts", group["prompts"])
        if dataset in config["datasets"]:
            settings = config["datasets"][dataset]
            for word in ("categories", "scans"):
                for category in group.get(word, ()):
                    what = f"a category of {dataset}"
                    yield from refer(f"{where}.{word}", category, settings["categories"], what)
            given = {"prompts"} & (figure.keys() | group.keys())
            if not settings["auxiliary"] and not given and _learns(config, figure):
                yield f"config: {where} has no prompts, and datasets.{dataset} no auxiliary class to learn them on"


def _learns(config: Config, figure: Mapping[str, Any]) -> bool:
    """Whether a figure shows a method that prompts are learnt for; names that refer to nothing are no such methods."""
    table = config["ablations"].get(figure.get("ablation"), figure)
    bases = [table.get("base"), *(row.get("base") for row in table.get("rows", {}).values() if row)]
    shown = bases if "rows" in table else figure.get("methods", config["methods"])
    known = [name for name in shown if name in config["methods"]]
    known = [name for name in known if config["methods"][name]["system"] in systems_of(config)]
    return any(plan.system_of(config, name).trained for name in known)


def _check_shown(config: Config, key: str, name: str) -> Iterator[str]:
    """Maps that its methods or its data have not, categories that cannot be shown, too many columns."""
    figure, count = config["figures"][name], 0
    for number, group in enumerate(figure["scans"]):
        where, dataset = f"{key}.scans[{number}]", group["dataset"]
        names, looks = categories_of(config, name, group), looks_of(config, name, group)
        yield from _check_categories(config, where, name, group)
        if ("better" in group) != ("than" in group):
            yield f"{where} has one of the keys 'better' and 'than', expected both or neither"
        elif "better" in group and group["better"] == group["than"]:
            yield f"{where}.than is {group['than']!r}, as 'better' is, expected another map"
        if "scans" in group and {"better", "count", "categories"} & group.keys():
            yield f"{where} names its scans, and leaves nothing to choose to 'categories', 'count' and 'better'"
        count += sum(map(len, group["scans"].values())) if "scans" in group else group.get("count", len(names))
        sides = [group[side] for side in ("better", "than") if side in group]
        for method in dict.fromkeys(method for _, method, _ in looks):
            allowed = _maps_of(config, method)
            for word in dict.fromkeys([*figure["maps"], *sides]):
                if word not in allowed and config["methods"][method]["system"] in SYSTEMS:
                    yield f"{key} shows the map {word!r}, method {method!r} has: {', '.join(allowed)}"
        lacking = [] if "photographs" in config["datasets"][dataset] else OF_PHOTOGRAPHS
        if set(figure["maps"]) <= set(lacking) or set(sides) & set(lacking):
            told = f"{' and '.join(lacking)} are maps with them"
            yield f"{where} is of {dataset}, whose layout has no photographs; {told}"
        if figure["columns"] == "views":
            method = looks[0][1]
            system, reads = (
                plan.system_of(config, method),
                plan.rendering_of(config, config["methods"][method]["features"]),
            )
            if len(looks) > 1 or len(figure["maps"]) > 1:
                yield f"{key} has a column for each view: expected one method and one map beside them"
            elif not (system.stream and RENDERERS[config["renderings"][reads]["renderer"]].shaded):
                yield f"{key} shows the views of {method!r}, which reads no shaded views"
            elif names:
                views = plan.render_options(config, reads, dataset, names[0])["views"]
                yield from _check_columns(key, len(views["x"]) + len(views["y"]) + 1)
    yield from _check_columns(key, {"scans": count, "methods": len(looks) + 2}.get(figure["columns"], 0))


def _check_columns(key: str, columns: int) -> Iterator[str]:
    if columns > MOST:
        yield f"{key} has {columns} columns, expected at most {MOST}, side by side on a page; make two figures of it"


def _check_categories(config: Config, where: str, name: str, group: Mapping[str, Any]) -> Iterator[str]:
    """Whether a group's categories can be shown: unseen by its prompts, and tested by its ablation."""
    figure, dataset, names = config["figures"][name], group["dataset"], categories_of(config, name, group)
    source, auxiliary, _ = prompts_of(config, figure, group)
    tests = f", and that ablations.{figure['ablation']} tests" if "ablation" in figure else ""
    if not names:
        seen = f"the prompts of {source}/{auxiliary} have not seen"
        yield f"{where} shows nothing: {dataset} has no category that {seen}{tests}"
    if (seen_one := plan.seen_by(config, source, auxiliary, dataset)) in names:
        yield f"{where} shows {seen_one} of {dataset}, which the prompts of {source}/{auxiliary} have seen"
    for category in names:
        if any(category not in config["datasets"][look]["categories"] for _, _, look in looks_of(config, name, group)):
            yield f"{where} shows {category} of {dataset}, which ablations.{figure['ablation']} does not test"


def _maps_of(config: Config, method: str) -> list[str]:
    """Maps that there are of a method; a system of the user's own can have others."""
    system = plan.system_of(config, method)
    photographs = system.rgb and (system.stream or system.unsupervised)
    return [
        "3d",
        *(OF_PHOTOGRAPHS if photographs else []),
        *(["implicit", "explicit"] if system.aggregates else []),
        *(["mutual"] if system.aggregates and system.batch else []),
    ]
