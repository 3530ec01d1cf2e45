"""Write tables and summaries as pages."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.stages.report import make_pages

    make_pages(
        tables=dict(zip(snakemake.input.tables, snakemake.params.titles, strict=True)),
        outputs=snakemake.output,
        batch=snakemake.params.batch,
    )
