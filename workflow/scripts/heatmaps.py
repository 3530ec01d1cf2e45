"""Draw the heat maps of one category."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.stages.heatmaps import make_heatmaps

    make_heatmaps(
        scores=snakemake.input.scores,
        clouds=snakemake.input.clouds,
        renders=snakemake.input.renders,
        category=snakemake.wildcards.category,
        output=snakemake.output.heatmaps,
        scans=snakemake.params.scans,
    )
