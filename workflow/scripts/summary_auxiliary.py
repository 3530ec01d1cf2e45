"""Average the metrics of one auxiliary split."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.stages.summary import make_summary_auxiliary

    make_summary_auxiliary(
        metrics=snakemake.input.metrics,
        replicates=snakemake.input.replicates,
        output=snakemake.output.summary,
        dataset=snakemake.wildcards.dataset,
        auxiliary=snakemake.wildcards.auxiliary,
        methods=snakemake.params.methods,
        tested=snakemake.params.tested,
    )
