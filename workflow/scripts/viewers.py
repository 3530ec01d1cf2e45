"""Write the page on which the scans of one category can be turned."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.stages.viewers import make_viewers

    make_viewers(
        scores=dict(zip(snakemake.params.methods, snakemake.input.scores, strict=True)),
        clouds=snakemake.input.clouds,
        renders=snakemake.input.renders,
        category=snakemake.wildcards.category,
        output=snakemake.output.viewer,
        facts=snakemake.params.facts,
        scans=snakemake.params.scans,
    )
