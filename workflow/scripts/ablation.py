"""Write the table of an ablation."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.stages.tables import make_ablation

    make_ablation(
        metrics=snakemake.input.metrics,
        replicates=snakemake.input.replicates,
        tex=snakemake.output.tex,
        csv_output=snakemake.output.csv,
        options=snakemake.params.options,
    )
