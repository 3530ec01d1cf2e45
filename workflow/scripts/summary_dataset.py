"""Average the metrics of one data set."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.stages.summary import make_summary_dataset

    make_summary_dataset(
        metrics=snakemake.input.metrics,
        replicates=snakemake.input.replicates,
        output=snakemake.output.summary,
        dataset=snakemake.wildcards.dataset,
        sources=snakemake.params.sources,
        methods=snakemake.params.methods,
    )
