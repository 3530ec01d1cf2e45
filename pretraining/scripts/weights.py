"""Train the small CLIP."""

from pathlib import Path
from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pretraining.training import Recipe, train

    jobs.use(snakemake.threads, snakemake.resources.gpu)
    train(
        snakemake.input.views,
        snakemake.input.wheel,
        weights=snakemake.output.weights,
        curve=snakemake.output.curve,
        recipe=Recipe(seed=snakemake.params.recipe["seed"], steps=tuple(snakemake.params.recipe["steps"])),
        # Not an output: what a run that was cut off has reached must outlive it.
        state=Path(snakemake.output.weights).with_name("training.pt"),
        code=snakemake.params.code,
    )
