"""What a job works on, for its memory and time: functions of the config and of a job's wildcards, as those in `inputs`.

Known before any store is written, so that a dry run shows what jobs ask for.
"""

from __future__ import annotations

import math
from typing import Any

from workflow import inputs, plan, raw_scans
from workflow.raw_scans import Config


def scans_of_store(config: Config, wildcards: Any) -> int:
    """Scans of a category or a shard."""
    return raw_scans.count_scans(config, wildcards.dataset, wildcards.category, wildcards.shard[1:])


def scans_of_category(config: Config, wildcards: Any) -> int:
    return raw_scans.count_scans(config, wildcards.dataset, wildcards.category)


def scans_in_memory(config: Config, wildcards: Any) -> int:
    """Scans that training keeps between epochs: 4 GB, some 30 MB each with the paper's backbone."""
    return min(raw_scans.count_scans(config, wildcards.dataset, wildcards.auxiliary), 140)


def training_steps(config: Config, wildcards: Any) -> int:
    """How often a scan is trained on."""
    epochs: int = config["methods"][wildcards.method]["epochs"]
    return raw_scans.count_scans(config, wildcards.dataset, wildcards.auxiliary) * epochs


def scans_tested(config: Config, wildcards: Any) -> int:
    return sum(raw_scans.count_scans(config, wildcards.dataset, name) for name in inputs.tested(config, wildcards))


def scans_scored(config: Config, wildcards: Any) -> int:
    """Scans that a job scores; one that is compared with others counts as often as ten of them."""
    dataset, (category, _, shard) = wildcards.dataset, wildcards.part[1:].partition("/")
    own = {category: shard} if category else dict.fromkeys(inputs.tested(config, wildcards), "")
    counts = {name: raw_scans.count_scans(config, dataset, name, part) for name, part in own.items()}
    if plan.system_of(config, wildcards.method).batch:
        most = config["methods"][wildcards.method].get("references") or math.inf
        for name, count in counts.items():
            counts[name] = math.ceil(count * max(1, min(most, raw_scans.count_scans(config, dataset, name)) / 10))
    return sum(counts.values())


def scans_of_largest_tested(config: Config, wildcards: Any) -> int:
    names = inputs.tested(config, wildcards)
    return max((raw_scans.count_scans(config, wildcards.dataset, name) for name in names), default=0)
