"""The data sets of a config, which scans they are of and where their raw files lie.

Plain functions of a config that the schema has completed, without Snakemake. Paths are relative to the folder of the
run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pointad_core.datasets.generator.catalogue import generated_files, generated_scans
from pointad_core.datasets.registry import list_scans
from pointad_core.datasets.scans import TEST, refuse_links
from pointad_core.errors import InputError
from pointad_core.storage.shards import holds, split
from workflow.variants import original_of

Config = Mapping[str, Any]


def split_of(config: Config, dataset: str) -> str:
    """Which scans of its folder a data set is."""
    split: str = config["datasets"][dataset]["split"]
    return split


def root_of(config: Config, dataset: str) -> str:
    """Folder of a data set's raw scans: the user's, or the one it is generated in."""
    generated = f"results/generated/{original_of(config, dataset)}"
    return os.path.expanduser(config["datasets"][dataset].get("root", generated))


def refuse_generated(config: Config) -> None:
    """InputError where a folder is not there and scans were generated under its data set's name in this folder.

    What there is of a folder's results is taken as it is where the folder cannot be looked at; these may be of others.
    """
    for dataset, settings in config["datasets"].items():
        for category in settings["categories"] if "root" in settings else ():
            made = f"results/generated/{original_of(config, dataset)}/{category}"
            lacking = os.path.join(root_of(config, dataset), category)
            if os.path.isdir(made) and not os.path.isdir(lacking):
                told = f"no folder {lacking}, and scans of that name were generated here, which its results may be of"
                way = f"correct the root, or delete {made} if they are not"
                raise InputError(f"config: datasets.{dataset}.root is {settings['root']!r}, but there is {told}: {way}")


def scans_of(config: Config, dataset: str) -> tuple[Any, ...]:
    """What says which scans a data set is of: two entries of which this is equal show the same objects."""
    settings, split = config["datasets"][dataset], split_of(config, dataset)
    if "generated" in settings:
        return ("generated", settings["layout"], settings["generated"]["seed"], split)
    return ("root", os.path.realpath(root_of(config, dataset)), split)


def category_of(config: Config, dataset: str, category: str) -> Mapping[str, Any]:
    """Settings of a category; InputError for one that the data set does not have."""
    categories = config["datasets"][dataset]["categories"]
    if category not in categories:
        raise InputError(f"data set {dataset} has no category {category!r}, it has: {', '.join(categories)}")
    return categories[category] or {}


def display_of(config: Config, dataset: str, category: str) -> str:
    """Name of a category in pictures and object-aware prompts."""
    display: str = category_of(config, dataset, category).get("display", category.replace("_", " "))
    return display


@cache
def _list_root(layout: str, root: str, category: str, split: str, follow_links: bool) -> dict[str, list[str]]:
    scans = list_scans(layout, root, category, split)
    if not follow_links:
        refuse_links(root, [file for files in scans.values() for file in files])
    return scans


@cache
def split_scans(scans: tuple[str, ...], size: int | None) -> dict[str, list[str]]:
    """`shards.split`, once for each list of scans."""
    return split(scans, size)


def list_raw(config: Config, dataset: str, category: str) -> dict[str, dict[str, list[str]]]:
    """Raw files by shard and scan; a folder is looked into when a job needs it, not before."""
    settings, split = config["datasets"][dataset], split_of(config, dataset)
    category_of(config, dataset, category)
    root = root_of(config, dataset)
    try:
        if "generated" in settings:
            generated = generated_scans(settings["layout"], category, _count_generated(config, dataset), split)
            scans = {name: [f"{root}/{file}" for file in files.values()] for name, files in generated.items()}
        else:
            scans = _list_root(settings["layout"], root, category, split, settings["follow_links"])
    except InputError as error:
        raise InputError(f"datasets.{dataset}: {error}") from None
    shards = split_scans(tuple(scans), settings["shard_size"])
    return {shard: {name: scans[name] for name in names} for shard, names in shards.items()}


def list_shard(config: Config, dataset: str, category: str, shard: str) -> list[str]:
    """Raw files of a shard, or of a category as a whole where the shard is ""."""
    shards = list_raw(config, dataset, category)
    if shard and shard not in shards:
        found = ", ".join(filter(None, shards)) or "none"
        raise InputError(f"{dataset}/{category} has no shard {shard!r}, it has: {found}")
    chosen = [shards[shard]] if shard else shards.values()
    return sorted({file for scans in chosen for files in scans.values() for file in files})


def count_scans(config: Config, dataset: str, category: str, shard: str = "") -> int:
    """Scans of a category or a shard; none where its folder cannot be looked at."""
    try:
        shards = list_raw(config, dataset, category)
    except InputError:
        return 0
    return len(shards.get(shard, ())) if shard else sum(map(len, shards.values()))


def place(category: str, shard: str) -> str:
    """A category or a shard of it, as in paths."""
    return f"{category}/{shard}" if shard else category


def shards_of(config: Config, dataset: str, category: str) -> list[str]:
    """The shards of a category as in paths; the category itself where it is not split or cannot be looked at."""
    if config["datasets"][dataset]["shard_size"] is None:
        return [category]
    try:
        return [place(category, shard) for shard in list_raw(config, dataset, category)]
    except InputError:
        return [category]


def _count_generated(config: Config, dataset: str) -> int:
    """Scans that are generated of each category."""
    key = "scans" if split_of(config, dataset) == TEST else "train_scans"
    count: int = config["datasets"][dataset]["generated"][key]
    return count


def generated_by(config: Config, dataset: str, category: str, shard: str) -> dict[str, Any]:
    """What a generator's job writes, `files`: those of the shard's scans, and with the first scan those of none.

    And the `numbers` of these scans: a job that is told them alone is none the wiser for another shard's new scan. In
    `tables` the job that writes tables of all scans finds how many there are, and any other nothing.
    """
    settings = config["datasets"][dataset]
    layout, scans, split = settings["layout"], _count_generated(config, dataset), split_of(config, dataset)
    files = generated_files(layout, category, scans, shard, split)
    names = generated_scans(layout, category, scans, split)
    numbers = [number for number, name in enumerate(names) if holds(shard, name)]
    return {
        "files": [f"{root_of(config, dataset)}/{file}" for file in files],
        "numbers": numbers,
        "tables": {"n_scans": scans} if (layout, split) == ("mulsen_ad", TEST) and 0 in numbers else {},
    }


def subset_of(config: Config, dataset: str, categories: Iterable[str]) -> dict[str, list[str]]:
    """Scans that metrics count, of those categories that name some."""
    named = {category: category_of(config, dataset, category).get("scans") for category in categories}
    return {category: list(scans) for category, scans in named.items() if scans}
