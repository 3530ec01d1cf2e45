"""See a lot of views through the lower blocks of the image tower."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pretraining.tokens import make_tokens

    jobs.use(snakemake.threads, snakemake.resources.gpu)
    make_tokens(
        snakemake.input.views,
        snakemake.input.wheel,
        snakemake.output.tokens,
        seed=snakemake.params.seed,
        provenance=dict(snakemake.params.items()),
    )
