"""Measure the scores of one data set."""

from typing import TYPE_CHECKING

from pointad_core import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.metrics import make_metrics

    make_metrics(
        scores=snakemake.input.scores,
        clouds=dict(zip(snakemake.params.categories, snakemake.input.clouds, strict=True)),
        output=snakemake.output.metrics,
    )
