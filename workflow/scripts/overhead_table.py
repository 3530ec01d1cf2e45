"""Write Table 5: what a scan costs each method, beside how well it scores."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.stages.tables import make_overhead_table

    make_overhead_table(
        measured=dict(zip(snakemake.params.options["methods"], snakemake.input.measured, strict=True)),
        metrics=snakemake.input.metrics,
        tex=snakemake.output.tex,
        csv_output=snakemake.output.csv,
        options=snakemake.params.options,
    )
