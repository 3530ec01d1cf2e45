"""Encode the renders of one category."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    jobs.use(snakemake.threads, snakemake.resources.gpu)

    from pointad_core.stages.features import make_features

    make_features(
        clouds=snakemake.input.clouds,
        renders=snakemake.input.renders,
        output=snakemake.output.features,
        options=snakemake.params.options,
        provenance=dict(snakemake.params.items()),
    )
