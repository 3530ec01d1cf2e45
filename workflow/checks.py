"""What the schema cannot say about a config, and what it says in words a user understands.

The schema (`workflow/schemas/config.schema.yaml`) knows types, ranges and keys; references between sections and
choices between keys are checked here. Every message names the key, what was found there and what is allowed.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pointad_core.clip.models_index import (
    MODELS,
    bundled_weights,
    check_deep_blocks,
    check_model,
    choose_quick_gelu,
    describe,
    model_files,
    open_clip_tags,
    quick_gelu_of,
)
from pointad_core.datasets.generator.catalogue import CATEGORIES as GENERATED
from pointad_core.datasets.scans import TRAIN
from pointad_core.errors import InputError
from pointad_core.methods.registry import SYSTEMS, System, systems_of
from pointad_core.rendering.registry import RENDERERS
from workflow import ablations, figures
from workflow.overhead import check as check_overhead
from workflow.plan import pairs_of, render_options, tested_by
from workflow.predictions import check as check_predictions
from workflow.schema import fill_in, refuse_repeats
from workflow.tables import labels_of
from workflow.unsupervised import add_train_splits
from workflow.variants import complete_variants
from workflow.words import name_key, similar
from workflow.words import refer as _refer

_PAPER_NUMBERS = Path(__file__).parents[1] / "pointad_core/evaluation/paper_numbers.csv"
_SCHEMA = Path(__file__).with_name("schemas") / "config.schema.yaml"
_WEIGHTS = ("pretrained", "checkpoint", "random_seed")
_ADVICE = {"the geometry prompts": ", or take the system that has none, pointad or pointad_coop"}


def check_values(config: Any, path: tuple[str | int, ...] = ()) -> None:
    """Refuse what YAML made of a config and no schema expects: names that are no text, and numbers that are none."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            if not isinstance(key, str):
                told = f"which YAML reads as {type(key).__name__} and not as text; put it in quotes"
                raise InputError(f"config: {name_key(path)} has the name {key!r}, {told}")
            check_values(value, (*path, key))
    elif isinstance(config, list):
        for position, value in enumerate(config):
            check_values(value, (*path, position))
    elif isinstance(config, int) and abs(config) > LARGEST:
        raise InputError(f"config: {name_key(path)} is {config}, expected at most {LARGEST}")
    elif isinstance(config, float) and not math.isfinite(config):
        raise InputError(f"config: {name_key(path)} is {config}, expected a finite number")
    elif isinstance(config, float) and config and not SMALLEST <= abs(config) <= LARGEST:
        raise InputError(f"config: {name_key(path)} is {config}, expected 0 or a size of {SMALLEST} to {LARGEST}")
    elif isinstance(config, float) and config.is_integer() and path and _name(path) in INTEGERS:
        raise InputError(f"config: {name_key(path)} is {config}, expected integer: {int(config)}")


SMALLEST, LARGEST = 1e-9, 2**32 - 1
"""Sizes of numbers. Seeds of a generator go as far as the largest; beyond both, squares and quotients can leave what a
number can hold."""

INTEGERS = {
    *("resolution", "seeds", "seed", "random_seed", "scans", "shard_size", "point_size", "n_points", "window"),
    *("train_scans", "n_views", "neighbours", "vv_blocks", "epochs", "batch_size", "context_length"),
    *("defect_features", "prototypes", "neighbourhoods", "references"),
    *("deep_length", "deep_blocks", "published", "side", "patch_points", "width", "training_patches"),
    *("groups", "group_points", "count", "repeats", "warm_up"),
}
"""Keys whose values are whole numbers: to JSON schema 1.0 is one as well, to a path or a generator it is not."""


def _name(path: tuple[str | int, ...]) -> str:
    """The key of a value, or of the list that it stands in."""
    return next(part for part in reversed(path) if isinstance(part, str))


def _check_dataset(name: str, dataset: Mapping[str, Any], view_sets: Collection[str]) -> Iterator[str]:
    key = f"datasets.{name}"
    if ("root" in dataset) == ("generated" in dataset):
        found = "both" if "root" in dataset else "neither"
        yield f"config: {key} has {found} of the keys 'root' and 'generated', expected exactly one"
    if "published" in dataset and "generated" in dataset:
        yield f"config: {key}.published is set for a generated data set; the paper's numbers are of the real ones"
    if "generated" in dataset:
        yield from _refer(f"{key}.layout", dataset["layout"], GENERATED, "one that can be generated")
    if dataset["layout"] == "eyecandies" and not isinstance(dataset["missing"], str):
        yield f"config: {key}.missing is {dataset['missing']}; missing points of this layout have no depth"
    for position, category in enumerate(dataset["auxiliary"]):
        yield from _refer(f"{key}.auxiliary[{position}]", category, dataset["categories"], "one of its categories")
    if dataset["split"] == TRAIN and dataset["auxiliary"]:
        yield f"config: {key}.auxiliary names {dataset['auxiliary'][0]!r}, but a train split has no defects to learn on"
    yield from _refer(f"{key}.view_set", dataset["view_set"], view_sets, "one of view_sets")


def _check_windows(key: str, rendering: Mapping[str, Any], resolution: int) -> Iterator[str]:
    """What is drawn is reduced to the resolution, never enlarged."""
    masks = rendering.get("masks", {})
    for name, section in ((key, rendering), (f"{key}.masks", masks)):
        if "window" in section and section["window"] < resolution:
            yield f"config: {name}.window is {section['window']}, expected at least the resolution, {resolution}"


def _check_views(name: str, rendering: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    """Whether a rendering, and each data set in it, can have as many views of its view set as it says."""
    if not RENDERERS[rendering["renderer"]].shaded:
        for key, usual in (("n_views", None), ("light", "original"), ("masks", None), ("visibility", "soft")):
            if rendering.get(key, usual) != usual:
                told = f"the renderer {rendering['renderer']!r} has views of its own, which this changes nothing of"
                yield f"config: renderings.{name}.{key} is {rendering[key]!r}, but {told}"
        return
    for dataset, settings in config["datasets"].items():
        view_set = config["view_sets"].get(rendering["view_set"] or settings["view_set"])
        if view_set and (view_set["x"] or view_set["y"]):
            try:
                render_options(config, name, dataset, next(iter(settings["categories"])))
            except InputError as error:
                yield f"config: renderings.{name} with datasets.{dataset}: {error}"


def _check_model(name: str, features: Mapping[str, Any], resolution: int) -> Iterator[str]:
    """What a model's description says, which is at hand without the model."""
    model, known = features["model"], model_files()
    key = f"features.{name}"
    if model not in known:
        hint = similar(model, known)
        yield f"config: {key}.model is {model!r}{hint}, expected one of open_clip's or of the package's"
        return
    description, given = describe(model) or {}, features.get("quick_gelu")
    try:
        check_model(model, description, features["vv_blocks"], resolution)
        if "checkpoint" in features and os.path.exists(file := os.path.expanduser(features["checkpoint"])):
            choose_quick_gelu(model, description, given, quick_gelu_of(file), f"the file {file}", known)
    except InputError as error:
        yield f"config: {key}: {error}"
    if "pretrained" in features:
        # To open_clip a tag's case and dashes are the same.
        tags = [*map(str, bundled_weights(model)), *(open_clip_tags(model) if known[model].parent != MODELS else ())]
        tag = features["pretrained"]
        if tag.lower().replace("-", "_") not in tags:
            yield from _refer(f"{key}.pretrained", tag, tags, "one of its weights")


def _check_prompts(name: str, method: Mapping[str, Any], features: Mapping[str, Any]) -> Iterator[str]:
    """Whether a text tower has room for a method's learnable tokens."""
    if "context_length" not in method or (description := describe(features["model"])) is None:
        return
    text = description["text_cfg"]
    key, length, most = f"config: methods.{name}", method["context_length"], text.get("context_length", 77)
    if length > most - 3 - bool(method["defect_features"]):
        yield f"{key}.context_length is {length}, but the text tower of {features['model']!r} takes {most} tokens"
    if method["deep_length"] > length:
        yield f"{key}.deep_length is {method['deep_length']}, it can be at most context_length ({length})"
    try:
        check_deep_blocks(features["model"], method["deep_blocks"], text.get("layers", 12))
    except InputError as error:
        yield f"{key}: {error}"


def _check_method(name: str, method: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    """A system reads the images of some renderers, one stream of features, and learns by losses of its own."""
    key, systems = f"config: methods.{name}", systems_of(config)
    yield from _refer(f"methods.{name}.system", method["system"], systems, "one of the systems")
    yield from _refer(f"methods.{name}.features", method["features"], config["features"], "one of features")
    if method["system"] not in systems:
        return
    system: System = systems[method["system"]]
    features = config["features"].get(method["features"], {})
    rendering = config["renderings"].get(features.get("rendering"))
    if rendering is not None and system.renderers and rendering["renderer"] not in system.renderers:
        yield (
            f"{key}.features is {method['features']!r}, features of the renderer {rendering['renderer']!r}; system "
            f"{method['system']!r} reads those of {' or '.join(system.renderers)}"
        )
    streams = features.get("streams", [])
    if features and system.stream not in (None, *streams):
        yield (
            f"{key}.features is {method['features']!r}, which keeps the streams {', '.join(streams)}; system "
            f"{method['system']!r} reads {system.stream!r}"
        )
    # A system of the user's own may have no use for prompts.
    if features and system.trained and method["system"] in SYSTEMS:
        yield from _check_prompts(name, method, features)
    if system.aggregates:
        aggregation = method.get("aggregation", "standard")
        yield from _refer(f"methods.{name}.aggregation", aggregation, config["aggregations"], "one of aggregations")
        neighbours = config["aggregations"].get(aggregation, {}).get("neighbours", 0)
        for dataset, settings in config["datasets"].items():
            left = settings.get("n_points", math.inf) * settings["density"]
            if neighbours >= left:
                yield (
                    f"config: aggregations.{aggregation}.neighbours is {neighbours}, but clouds of "
                    f"datasets.{dataset} have {left:g} points (n_points and density)"
                )
    yield from _check_scoring(key, method, system, rendering)
    given = method.get("loss_weights", {})
    for loss in given:
        what = f"a loss of system {method['system']!r}"
        yield from _refer(f"methods.{name}.loss_weights", loss, system.losses, what)
    weights = {**system.losses, **given}
    for what, losses in system.teaching.items():
        if not any(weights.get(loss) for loss in losses):
            yield (
                f"{key}.loss_weights leaves {what} at their start, though they score: give a weight to "
                f"{' or '.join(losses)}{_ADVICE.get(what, '')}"
            )


def _check_scoring(
    key: str, method: Mapping[str, Any], system: System, rendering: Mapping[str, Any] | None
) -> Iterator[str]:
    """Whether what a method says of its scores means anything for its system; rendering: that of its features."""
    share, weights = method.get("object_share", 0), method.get("view_weights", "mean")
    if share and (system.unsupervised or method["system"] == "anomalyclip"):
        told = "of its own" if system.unsupervised else "that is its global probability alone"
        yield f"{key}.object_share is {share}, but system {method['system']!r} has an object score {told}; leave it out"
    if weights == "mean":
        return
    renderer = RENDERERS[rendering["renderer"]] if rendering and system.stream else None
    if system.stream is None:
        why = "reads clouds alone, and no views"
    elif renderer is not None and rendering is not None and rendering["renderer"] == "depth":
        why = "reads a single view of each scan"
    elif renderer is not None and weights == "incidence" and not renderer.shaded:
        why = "does not read shaded views, whose angles these are; take coverage or sharpness"
    else:
        return
    yield f"{key}.view_weights is {weights!r}, but system {method['system']!r} {why}"


def _check(config: Mapping[str, Any]) -> Iterator[str]:
    datasets, view_sets, renderings = config["datasets"], config["view_sets"], config["renderings"]
    for name, dataset in datasets.items():
        yield from _check_dataset(name, dataset, view_sets)
        # "none" stands in paths where a system needs no prompts.
        for word in (name, *dataset["categories"]):
            if word == "none":
                yield f"config: 'none' is taken, rename it in datasets.{name}"
    for name, view_set in view_sets.items():
        if not view_set["x"] and not view_set["y"]:
            yield f"config: view_sets.{name} has no view, expected an angle in x or y"
    for name, rendering in renderings.items():
        if rendering["view_set"] is not None:
            yield from _refer(f"renderings.{name}.view_set", rendering["view_set"], view_sets, "one of view_sets")
        yield from _check_windows(f"renderings.{name}", rendering, config["resolution"])
        yield from _check_views(name, rendering, config)
    for name, dataset in datasets.items():
        yield from _check_windows(f"datasets.{name}.rendering", dataset.get("rendering", {}), config["resolution"])
    for name, features in config["features"].items():
        yield from _refer(f"features.{name}.rendering", features["rendering"], renderings, "one of renderings")
        given = [key for key in _WEIGHTS if key in features]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            yield f"config: features.{name} has {found} of the keys {', '.join(_WEIGHTS)}, expected exactly one"
        yield from _check_model(name, features, config["resolution"])
    for name, system in systems_of(config).items():
        if name in config["systems"] and name in SYSTEMS:
            yield f"config: systems.{name} is the name of a system of the package, expected another name"
        elif name in config["systems"] and not os.path.isfile(system.module):
            yield f"config: systems.{name}.module is {system.module!r}, expected a Python file; there is no such file"
        if system.unsupervised and (system.trained or system.stream is not None):
            yield (
                f"config: systems.{name}.unsupervised is true: it learns on no auxiliary class and reads clouds alone, "
                "expected `trained: false` and `stream: null`"
            )
        if system.batch and system.stream is None:
            yield f"config: systems.{name}.batch is true: it compares features, expected `stream: vv` or `plain`"
    names = {"datasets": [dataset.get("label", name) for name, dataset in datasets.items()]}
    if all(method["system"] in systems_of(config) for method in config["methods"].values()):
        names["methods"] = list(labels_of(config).values())
    for section, labels in names.items():
        for label in sorted({label for label in labels if labels.count(label) > 1}):
            yield f"config: several {section} have the label {label!r}, expected one for each"
    with open(_PAPER_NUMBERS, newline="", encoding="utf-8") as file:
        published = {line["method"] for line in csv.DictReader(file)}
    for name, method in config["methods"].items():
        if method["published"] is not None:
            yield from _refer(f"methods.{name}.published", method["published"], published, "one of the paper's rows")
        yield from _check_method(name, method, config)
    yield from check_predictions(config)
    if all(method["system"] in systems_of(config) for method in config["methods"].values()):
        yield from check_overhead(config)
    experiments = config["experiments"]
    for position, name in enumerate(experiments["one_vs_rest"]):
        key = f"experiments.one_vs_rest[{position}]"
        yield from _refer(key, name, datasets, "one of datasets")
        if name in datasets:
            yield from _needs_auxiliary(key, name, datasets[name])
            if len(datasets[name]["categories"]) < 2:
                yield f"config: {key} is {name!r}, which has one category, expected at least 2 (one is trained on)"
    pairs = pairs_of(config, "cross_dataset")
    for source, target in sorted({pair for pair in pairs if pairs.count(pair) > 1}):
        yield f"config: experiments.cross_dataset has the pair of {source!r} and {target!r} more than once"
    for position, pair in enumerate(experiments["cross_dataset"]):
        key = f"experiments.cross_dataset[{position}]"
        yield from _refer(f"{key}.source", pair["source"], datasets, "one of datasets")
        if pair["source"] in datasets:
            yield from _needs_auxiliary(f"{key}.source", pair["source"], datasets[pair["source"]])
        for number, target in enumerate(pair["targets"]):
            yield from _refer(f"{key}.targets[{number}]", target, datasets, "one of datasets")
            if target == pair["source"]:
                yield f"config: {key}.targets[{number}] is {target!r}, its own source, expected another data set"
            elif target in datasets and pair["source"] in datasets:
                for auxiliary in datasets[pair["source"]]["auxiliary"]:
                    if not tested_by(config, pair["source"], auxiliary, target):
                        yield (
                            f"config: {key}.targets[{number}] is {target!r}, whose only category {auxiliary!r} is what "
                            f"prompts of {pair['source']!r} have seen; nothing is left to test"
                        )


def _needs_auxiliary(key: str, name: str, dataset: Mapping[str, Any]) -> Iterator[str]:
    if not dataset["auxiliary"]:
        yield f"config: {key} is {name!r}, but datasets.{name}.auxiliary names no category to train on"


def check(config: Mapping[str, Any]) -> None:
    """Check what refers to what in a config that the schema has accepted and completed.

    Raises InputError with one line for each thing that is wrong.
    """
    problems = list(_check(config))
    if problems:
        raise InputError("\n".join(problems))


def complete(config: dict[str, Any], files: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Check a config that was read from these files, and put in what it does not say; InputError for what is wrong."""
    for file in files:
        refuse_repeats(file)
    check_values(config)
    complete_variants(config)
    fill_in(config, _SCHEMA)
    check(config)
    if problems := list(figures.check(config)) or list(ablations.check(config)):
        raise InputError("\n".join(problems))
    if ablations.expand(config):
        try:
            fill_in(config, _SCHEMA)
            check(config)
        except InputError as error:
            raise InputError(ablations.name_rows(config, str(error))) from None
    add_train_splits(config)
    if problems := list(figures.check_shown(config)):
        raise InputError("\n".join(problems))
