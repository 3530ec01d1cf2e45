"""Render the clouds of one category."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.storage import stores

    # What cannot be used is refused before torch is imported, which takes most of a second.
    stores.check(snakemake.input.clouds, "clouds")

    jobs.use(snakemake.threads, snakemake.resources.gpu)

    from pointad_core.stages.renders import make_renders

    make_renders(
        clouds=snakemake.input.clouds,
        output=snakemake.output.renders,
        options=snakemake.params.options,
        provenance=dict(snakemake.params.items()),
    )
