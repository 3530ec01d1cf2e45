"""Data sets that are the same scans as another one, made differently (`variant_of`): plain functions of a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pointad_core.errors import InputError

MARK = "--"
"""In the name of an entry that is made of another one, here or by an ablation; none of the config's own has it."""
INHERITED = ("layout", "root", "generated", "follow_links")
"""What a variant has from its original and cannot have otherwise: it is the same scans."""
OWN = ("label", "published")
"""What a variant does not have from its original."""


def complete_variants(config: dict[str, Any]) -> None:
    """Give every data set that is a variant the keys of its original that it does not have itself, in place.

    Before the schema looks at the config. Raises InputError for an original that is none, and for another folder.
    """
    datasets = config.get("datasets")
    if not isinstance(datasets, dict):
        return

    def complete(name: str, on_the_way: tuple[str, ...]) -> Any:
        entry = datasets[name]
        if not isinstance(entry, dict) or "variant_of" not in entry:
            return entry
        key, original = f"config: datasets.{name}", entry["variant_of"]
        if not isinstance(original, str) or original not in datasets or original in on_the_way:
            others = ", ".join(sorted(set(datasets) - set(on_the_way))) or "none"
            raise InputError(f"{key}.variant_of is {original!r}, expected another of datasets: {others}")
        base = complete(original, (*on_the_way, original))
        if not isinstance(base, dict):
            return entry
        if changed := [word for word in INHERITED if word in entry and entry[word] != base.get(word)]:
            raise InputError(f"{key} has {', '.join(changed)} of its own; a variant is the same scans as {original}")
        datasets[name] = {**{word: base[word] for word in base if word not in (*OWN, "variant_of")}, **entry}
        return datasets[name]

    for name in list(datasets):
        complete(name, (name,))


def original_of(config: Mapping[str, Any], dataset: str) -> str:
    """The data set that a variant is one of in the end, or the data set itself."""
    while "variant_of" in config["datasets"][dataset]:
        dataset = config["datasets"][dataset]["variant_of"]
    return dataset


def home_of(config: Mapping[str, Any], dataset: str, made: Callable[[str], Any]) -> str:
    """The first in a variant's line of originals from which on `made` tells the same of all, or the data set itself."""
    while (original := config["datasets"][dataset].get("variant_of")) and made(original) == made(dataset):
        dataset = original
    return dataset


def is_derived(name: str) -> bool:
    """Whether an entry was made of another one, and is not written in the config."""
    return MARK in name
