"""Score scans of a folder of the user's own."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    jobs.use(snakemake.threads, snakemake.resources.gpu)

    from pointad_core.stages.predictions import make_predictions

    # Prompts of a run are its output, others a file of the user's own; without either those of the package are taken.
    (prompts,) = [*snakemake.input.prompts, *snakemake.params.prompts] or [None]
    (threshold,) = snakemake.params.threshold or [None]
    make_predictions(
        folder=snakemake.params.folder,
        names=snakemake.params.scans,
        output=snakemake.output.summary,
        options=snakemake.params.options,
        prompts=prompts,
        threshold=threshold,
    )
