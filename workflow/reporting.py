"""What the report of a run shows beside the results themselves: pages of tables, curves of training, run times."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workflow import tables
from workflow.plan import learns_as, pairs_of, runs_of, system_of
from workflow.raw_scans import Config

TITLES = {
    "table1": "Table 1: one-vs-rest, 3-D",
    "table2": "Table 2: one-vs-rest, M3D",
    "table3": "Table 3: cross-dataset, 3-D",
    "table4": "Table 4: cross-dataset, M3D",
    "overhead": "Table 5: overhead",
}
STAGES = ("clouds", "renders", "features", "aggregation", "prompts", "scores", "metrics")
"""The order of stages in the page of run times; others follow."""


def title_of(config: Config, table: str) -> str:
    """What a table is called, by the name of its file."""
    if table in TITLES:
        return TITLES[table]
    ablation = config["ablations"][table]
    caption: str = ablation.get("caption", table)
    return f"Table {ablation['published']}: {caption}" if "published" in ablation else caption


def table_pages(config: Config) -> dict[str, dict[str, Any]]:
    """What stands on the page of each table, by the page's path: the CSV, the title, and in the report its labels and
    the file of its caption."""
    titles = {name: title_of(config, name) for name in tables.names(config)}
    return {
        f"results/report/tables/{name}.html": {
            "csv": f"results/tables/{name}.csv",
            "title": title,
            "labels": {"table": title},
            "caption": f"../report/{'overhead' if name == 'overhead' else 'tables'}.rst",
        }
        for name, title in titles.items()
    }


def summary_pages(config: Config) -> dict[str, dict[str, Any]]:
    """The same of each data set's summary and of those of its auxiliary splits."""
    pages = {}
    for csv in tables.summaries(config):
        dataset, _, auxiliary = csv.removeprefix("results/summary/").removesuffix(".csv").partition("/")
        pages[f"results/report/summary/{dataset}{auxiliary and '/'}{auxiliary}.html"] = {
            "csv": csv,
            "title": f"{dataset}, prompts learnt on {auxiliary}" if auxiliary else f"{dataset}, mean over its splits",
            "caption": "../report/summary.rst",
            "labels": {"data set": dataset, "prompts learnt on": auxiliary or "all of them"},
        }
    return pages


def trainings_of(config: Config, dataset: str) -> dict[str, dict[str, str]]:
    """Loss curves of what is learnt on a data set's auxiliary classes, by method's label and by class and seed."""
    labels, found = tables.labels_of(config), dict[str, dict[str, str]]()
    for method, source, auxiliary, seed, _ in runs_of(
        config, dataset, dataset, config["datasets"][dataset]["auxiliary"]
    ):
        if system_of(config, method).trained and learns_as(config, method) == method:
            name = auxiliary if len(config["seeds"]) == 1 else f"{auxiliary}, seed {seed}"
            path = f"results/prompts/{method}/{source}/{auxiliary}/{seed}.csv"
            found.setdefault(labels[method], {})[name] = path
    return found


def curves(config: Config) -> list[str]:
    """Pictures of the losses of each data set that an experiment trains on."""
    pairs = [pair for setting in ("one_vs_rest", "cross_dataset") for pair in pairs_of(config, setting)]
    sources = dict.fromkeys(source for source, _ in pairs)
    return [f"results/report/curves/{source}.png" for source in sources if trainings_of(config, source)]


def flat(trainings: dict[str, dict[str, str]]) -> Iterable[str]:
    return [path for paths in trainings.values() for path in paths.values()]


def targets(config: Config) -> list[str]:
    """Everything that is made for the report alone."""
    if tables.nothing_to_show(config) and not (config["ablations"] or config["overhead"]["methods"]):
        return []
    pages = [*table_pages(config), *summary_pages(config)]
    return [*pages, *curves(config), "results/report/runtimes.html"]
