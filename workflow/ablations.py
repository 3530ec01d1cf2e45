"""Ablations: what each row of the config's `ablations` changes, as entries of the other sections (Sec. 5).

A row starts from a method and changes keys of it, of what it reads (features, their rendering, an aggregation), or of
the data set that is tested. What it changes becomes an entry derived from the one it starts from; everything else
treats it as it treats any entry, and no other table or picture names it. A derived entry is called after what is
different, `pointad_plus--context_length-6`: so rows that are the same are computed once, in whatever ablation they
stand, and a row that changes nothing is what it starts from.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pointad_core.methods.registry import System, systems_of
from pointad_core.rendering.registry import RENDERERS
from workflow.plan import NONE, Run, compared_methods, method_runs, metrics_of, pick, system_of, tested_with
from workflow.raw_scans import Config
from workflow.tables import backbones_of, labels_of, setting_of
from workflow.variants import INHERITED, MARK, OWN, is_derived
from workflow.words import refer

SECTIONS = {
    "method": "methods",
    "features": "features",
    "rendering": "renderings",
    "aggregation": "aggregations",
    "dataset": "datasets",
}
"""Section of the config of each key of a row."""
FIXED = {"method": OWN, "dataset": (*INHERITED, *OWN, "variant_of", "split", "auxiliary", "shard_size")}
"""What a row cannot change: what names an entry in other tables, and what makes other scans of a data set."""
_LONGEST = 80
_PLAIN = ("loss_weights", "rendering", "normals")
"""Keys of mappings whose own keys say enough without them."""
_SIGNS = {"+": "plus", "-": "minus"}
_ABSENT = object()

Leaves = dict[tuple[str, ...], Any]
"""Values by the path of their key."""
Derived = dict[tuple[str, str], tuple[dict[str, Any], str]]
"""By section and name an entry, and the key of the config that it comes from."""


@dataclass(frozen=True)
class Row:
    """What is computed for a row."""

    method: str
    datasets: Mapping[str, str]  # what is tested in place of each data set of the ablation


# Names and entries ----------------------------------------------------------------------------------------------------


def _leaves(changes: Mapping[str, Any], entry: Any, path: tuple[str, ...] = ()) -> Leaves:
    """What of these changes is not so in an entry."""
    found: Leaves = {}
    for key, value in changes.items():
        there = entry.get(key, _ABSENT) if isinstance(entry, Mapping) else _ABSENT
        if isinstance(value, Mapping) and value:
            found |= _leaves(value, there, (*path, key))
        elif value != there and not (value == {} and isinstance(there, Mapping)):
            found[*path, key] = value
    return found


def _changed(entry: Mapping[str, Any], leaves: Leaves) -> dict[str, Any]:
    """A copy of an entry with other values."""
    copy = dict(entry)
    for (key, *rest), value in leaves.items():
        inner = copy.get(key)
        copy[key] = _changed(inner if isinstance(inner, Mapping) else {}, {tuple(rest): value}) if rest else value
    return copy


def _word(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value and set(value) <= _SIGNS.keys():
        return "_".join(map(_SIGNS.__getitem__, value))
    if isinstance(value, list):
        return ".".join(map(_word, value))
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _name(base: str, *changes: Leaves) -> str:
    """The name of what differs from `base` in this; `base` itself if nothing does."""
    leaves = {path: value for part in changes for path, value in sorted(part.items())}
    if not leaves:
        return base
    words = [f"{'.'.join(part for part in path if part not in _PLAIN)}-{_word(leaves[path])}" for path in leaves]
    told = base + MARK + MARK.join(words)
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", told)
    if name == told and len(name) <= _LONGEST:
        return name
    # What a path cannot hold, or not at such length, is told apart by a checksum of it.
    return f"{name[:_LONGEST]}.{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def _auxiliary_of(config: Config, settings: Mapping[str, Any], dataset: str) -> list[str]:
    chosen = settings["datasets"][dataset] or {}
    auxiliary: list[str] = chosen.get("auxiliary", config["datasets"][dataset]["auxiliary"])
    return auxiliary


def _places(config: Config) -> dict[str, Mapping[str, Any]]:
    """What has rows by its key: ablations, and figures with rows of their own, of the data sets that these show."""
    places: dict[str, Mapping[str, Any]] = {f"ablations.{name}": entry for name, entry in config["ablations"].items()}
    for name, figure in config["figures"].items():
        if "rows" in figure:
            datasets = dict.fromkeys(group["dataset"] for group in figure["scans"])
            places[f"figures.{name}"] = {**pick(figure, "base", "rows"), "datasets": datasets}
    return places


def _derive(config: Config, place: str, label: str) -> tuple[Row, Derived]:
    """A row, and the entries that it needs beside those that the config has; place: the key of what has the row."""
    settings = _places(config)[place]
    row = settings["rows"][label] or {}
    key = f"{place}.rows.{label}"
    derived: Derived = {}

    def derive(word: str, base: str, own: Leaves, *further: Leaves, **replaced: Any) -> str:
        name, section = _name(base, own, *further), SECTIONS[word]
        if name != base:
            entry = {key: value for key, value in config[section][base].items() if key not in OWN}
            derived[section, name] = ({**_changed(entry, own), **replaced}, f"{key}.{word}")
        return name

    base = row.get("base", settings["base"])
    method = _leaves(row.get("method", {}), config["methods"][base])
    reads = _changed(config["methods"][base], method)
    parts: list[Leaves] = []
    links: dict[str, str] = {}
    if "features" in row or "rendering" in row:
        features = _leaves(row.get("features", {}), config["features"][reads["features"]])
        rendering = _changed(config["features"][reads["features"]], features)["rendering"]
        looks = _leaves(row.get("rendering", {}), config["renderings"][rendering])
        parts += [features, looks]
        links["features"] = derive(
            "features", reads["features"], features, looks, rendering=derive("rendering", rendering, looks)
        )
    if "aggregation" in row:
        parts.append(_leaves(row["aggregation"], config["aggregations"][reads["aggregation"]]))
        links["aggregation"] = derive("aggregation", reads["aggregation"], parts[-1])
    datasets = {}
    for dataset, chosen in settings["datasets"].items():
        own = config["datasets"][dataset]
        leaves = _leaves(row.get("dataset", {}), own)
        kept, all_of_it = (chosen or {}).get("categories", []), set(own["categories"])
        # Where only the auxiliary class is left out, which is not tested anyway, all of the rest is tested.
        whole = all(all_of_it - {name} == {*kept} - {name} for name in _auxiliary_of(config, settings, dataset))
        some: Leaves = {} if whole or not kept else {("categories",): kept}
        replaced: dict[str, Any] = {"variant_of": dataset, "auxiliary": []}
        if some:
            categories = _changed(own, leaves)["categories"]
            replaced["categories"] = {name: categories[name] for name in own["categories"] if name in kept}
        datasets[dataset] = derive("dataset", dataset, leaves, some, **replaced)
    return Row(derive("method", base, method, *parts, **links), datasets), derived


def rows_of(config: Config, ablation: str) -> dict[str, Row]:
    """The rows of an ablation by their names."""
    return _rows_in(config, f"ablations.{ablation}")


def rows_of_figure(config: Config, figure: str) -> dict[str, Row]:
    """A figure's own rows by their names."""
    return _rows_in(config, f"figures.{figure}")


def _rows_in(config: Config, place: str) -> dict[str, Row]:
    return {label: _derive(config, place, label)[0] for label in _places(config)[place]["rows"]}


def derived_of(config: Config) -> Derived:
    """The entries that rows need beside the config's own, each with the key of the row that first needs it."""
    derived: Derived = {}
    for place, settings in _places(config).items():
        for label in settings["rows"]:
            for entry, value in _derive(config, place, label)[1].items():
                derived.setdefault(entry, value)
    return derived


def expand(config: dict[str, Any]) -> bool:
    """Put the derived entries into a config that the schema has completed, in place; whether there are any."""
    derived = derived_of(config)
    for (section, name), (entry, _) in derived.items():
        config[section][name] = entry
    return bool(derived)


def name_rows(config: Config, message: str) -> str:
    """A message about derived entries in the words of the config, which says them in rows of ablations."""
    keys = {f"{section}.{name}": key for (section, name), (_, key) in derived_of(config).items()}
    names = "|".join(re.escape(name) for name in sorted(keys, key=len, reverse=True))
    return re.sub(names, lambda match: keys[match[0]], message) if keys else message


# What is wrong with a row ---------------------------------------------------------------------------------------------


def _check_data(key: str, name: str, chosen: Mapping[str, Any], config: Config) -> Iterator[str]:
    yield from refer(key, name, config["datasets"], "one of datasets")
    if name not in config["datasets"]:
        return
    dataset = config["datasets"][name]
    if not dataset["auxiliary"]:
        yield f"config: {key} is {name!r}, but datasets.{name}.auxiliary names no category to train on"
        return
    for position, auxiliary in enumerate(chosen.get("auxiliary", [])):
        what = f"one of datasets.{name}.auxiliary"
        yield from refer(f"{key}.{name}.auxiliary[{position}]", auxiliary, dataset["auxiliary"], what)
    for position, category in enumerate(chosen.get("categories", [])):
        what = f"one of datasets.{name}.categories"
        yield from refer(f"{key}.{name}.categories[{position}]", category, dataset["categories"], what)
    for auxiliary in chosen.get("auxiliary", dataset["auxiliary"]):
        if not set(chosen.get("categories", dataset["categories"])) - {auxiliary}:
            told = f"leaves {auxiliary!r} alone, which prompts are trained on; nothing is left to test"
            yield f"config: {key}.{name} {told}"


def _check_row(key: str, row: Mapping[str, Any], base: str, datasets: Iterable[str], config: Config) -> Iterator[str]:
    """Whether what a row changes is there to be changed."""
    for word, names in FIXED.items():
        for name in names:
            if name in row.get(word, {}):
                yield f"config: {key}.{word} has the key {name!r}, which a row cannot change"
    method = {**config["methods"][base], **row.get("method", {})}
    system = systems_of(config).get(str(method["system"]))
    for word, link in (("features", "features"), ("rendering", "features"), ("aggregation", "aggregation")):
        if word not in row or system is None:
            continue
        if not (system.aggregates if link == "aggregation" else system.stream):
            yield f"config: {key} changes {word}, of which system {method['system']!r} reads nothing"
        else:
            section = SECTIONS[link]
            yield from refer(f"{key}.method.{link}", method[link], config[section], f"one of {section}")
    if "rendering" in row.get("features", {}):
        name = row["features"]["rendering"]
        yield from refer(f"{key}.features.rendering", name, config["renderings"], "one of renderings")
    looks = row.get("dataset", {}).get("rendering", {})
    if system is not None and isinstance(looks, Mapping):
        yield from _check_looks(f"{key}.dataset.rendering", looks, row, system, method, config)
    changed = row.get("dataset", {}).get("categories", {})
    if not isinstance(changed, Mapping):
        yield f"config: {key}.dataset.categories is no mapping of categories to what is changed of them"
        return
    for name in filter(config["datasets"].__contains__, datasets):
        for category in changed:
            what = f"one of datasets.{name}.categories"
            yield from refer(f"{key}.dataset.categories", category, config["datasets"][name]["categories"], what)


def _check_looks(
    key: str, looks: Iterable[str], row: Mapping[str, Any], system: System, method: Mapping[str, Any], config: Config
) -> Iterator[str]:
    """Whether renders that a row's method reads have what the row changes of the data set's: it would be its base."""
    features = {**config["features"].get(str(method["features"]), {}), **row.get("features", {})}
    rendering = {**config["renderings"].get(str(features.get("rendering")), {}), **row.get("rendering", {})}
    renderer = RENDERERS.get(rendering.get("renderer", ""))
    if system.stream is None:
        told = f"system {method['system']!r} reads no renders"
    elif renderer is not None and not renderer.shaded:
        told = f"the renderer {rendering['renderer']!r} takes no heed of it"
    else:
        return
    for name in looks:
        if system.stream is None or renderer is None or name not in renderer.options:
            yield f"config: {key} changes {name}, but {told}: nothing would change"


def check(config: Config) -> Iterator[str]:
    """What is wrong with ablations, and with figures' rows, in a config that the schema has completed and that has no
    derived entry yet."""
    for section in SECTIONS.values():
        for name in filter(is_derived, config[section]):
            yield f"config: {section}.{name} has {MARK!r} in its name, which only what ablations make has"
    tables: dict[int, str] = {}
    for name, ablation in config["ablations"].items():
        if "published" in ablation and (other := tables.setdefault(ablation["published"], name)) != name:
            told = f"as ablations.{other}.published is, expected a table of the paper for one of them"
            yield f"config: ablations.{name}.published is {ablation['published']}, {told}"
    for place, settings in _places(config).items():
        problems = list(_check_place(config, place, settings))
        yield from problems
        if problems:
            continue
        first: dict[str, str] = {}
        for label in settings["rows"]:
            found = repr(_derive(config, place, label)[0])
            if found in first:
                yield f"config: {place}.rows.{label} is the same as {place}.rows.{first[found]}, expected another one"
            first.setdefault(found, label)


def _check_place(config: Config, place: str, settings: Mapping[str, Any]) -> Iterator[str]:
    methods, is_table = compared_methods(config), place.startswith("ablations.")
    if re.fullmatch(r"ablations\.((table|differences)\d+|tables|overhead)", place):
        yield f"config: {place} is the name of another table, expected another name"
    yield from refer(f"{place}.base", settings["base"], methods, "one of methods")
    for seed in settings.get("seeds", []):
        yield from refer(f"{place}.seeds", seed, config["seeds"], "one of seeds")
    for name, chosen in settings["datasets"].items():
        if is_table:
            yield from _check_data(f"{place}.datasets", name, chosen or {}, config)
    for label, row in settings["rows"].items():
        key = f"{place}.rows.{label}"
        if not label.strip():
            yield f"config: {place}.rows has a row without a name, expected what stands in the table for it"
        base = (row or {}).get("base", settings["base"])
        wrong = list(refer(f"{key}.base", base, methods, "one of methods")) if "base" in (row or {}) else []
        yield from wrong or (_check_row(key, row or {}, base, settings["datasets"], config) if base in methods else [])


# Tables ---------------------------------------------------------------------------------------------------------------


def runs(config: Config, ablation: str) -> list[Run]:
    """Every run behind an ablation's table."""
    settings = config["ablations"][ablation]
    seeds = settings.get("seeds", config["seeds"])
    found = [
        run
        for row in rows_of(config, ablation).values()
        for dataset, tested in row.datasets.items()
        for run in method_runs(config, row.method, dataset, tested, _auxiliary_of(config, settings, dataset))
        if run[1] == NONE or run[3] in seeds
    ]
    return list(dict.fromkeys(found))


def metrics(config: Config, ablation: str) -> list[str]:
    """Metrics behind an ablation's table."""
    return metrics_of(runs(config, ablation))


def options(config: Config, ablation: str) -> dict[str, Any]:
    """What an ablation's table and its caption say."""
    settings, rows, labels = config["ablations"][ablation], rows_of(config, ablation), labels_of(config)
    groups, datasets = [], {}
    for dataset, chosen in settings["datasets"].items():
        auxiliary = _auxiliary_of(config, settings, dataset)
        shown = {
            label: {
                "method": row.method,
                "dataset": row.datasets[dataset],
                "tested": tested_with(config, dataset, auxiliary, row.datasets[dataset]),
            }
            for label, row in rows.items()
        }
        groups.append({"dataset": dataset, "rows": shown})
        datasets[dataset] = {
            "label": dataset,
            **pick(config["datasets"][dataset], "label", "published", "generated"),
            "auxiliary": auxiliary,
            **pick(chosen or {}, "categories"),
        }
    methods = {name: config["methods"][name] for name in dict.fromkeys(row.method for row in rows.values())}
    return {
        "name": ablation,
        **pick(settings, "caption", "published", "modalities", "metrics"),
        "bases": {label: labels[(row or {}).get("base", settings["base"])] for label, row in settings["rows"].items()},
        "groups": groups,
        "methods": {
            name: {
                "trained": system_of(config, name).trained,
                **pick(method, "features", "word_vectors", "pointnet"),
                **setting_of(config, name),
            }
            for name, method in methods.items()
        },
        "datasets": datasets,
        "features": backbones_of(config, dict.fromkeys(method["features"] for method in methods.values())),
        "seeds": settings.get("seeds", config["seeds"]),
        **pick(config, "intervals"),
    }
