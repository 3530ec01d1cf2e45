"""Measure the scores of one data set."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.stages.metrics import make_metrics

    clouds: dict[str, list[str]] = {}
    for category, path in zip(snakemake.params.categories, snakemake.input.clouds, strict=True):
        clouds.setdefault(category, []).append(path)
    make_metrics(
        scores=snakemake.input.scores,
        clouds=clouds,
        output=snakemake.output.metrics,
        replicates=snakemake.output.replicates,
        scans=snakemake.params.scans,
    )
