"""Measure the small CLIP on families that it was not trained on."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pretraining.quality import make_quality

    jobs.use(snakemake.threads, snakemake.resources.gpu)
    make_quality(snakemake.input.weights, snakemake.input.views, snakemake.output.quality)
