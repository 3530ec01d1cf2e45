"""Train the small CLIP."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pretraining.training import Recipe, train

    jobs.use(snakemake.threads, snakemake.resources.gpu)
    train(
        snakemake.input.tokens,
        snakemake.input.wheel,
        weights=snakemake.output.weights,
        curve=snakemake.output.curve,
        recipe=Recipe(**snakemake.params.recipe),
    )
