"""Prepare the clouds of one category for G-aggregation."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    jobs.use(snakemake.threads, snakemake.resources.gpu)

    from pointad_core.stages.aggregation import make_aggregation

    make_aggregation(
        clouds=snakemake.input.clouds,
        renders=snakemake.input.renders,
        features=snakemake.input.features,
        output=snakemake.output.aggregation,
        options=snakemake.params.options,
        provenance=dict(snakemake.params.items()),
    )
