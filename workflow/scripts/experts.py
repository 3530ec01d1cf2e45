"""Learn one category from its good scans."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    jobs.use(snakemake.threads, snakemake.resources.gpu)

    from pointad_core.stages.experts import make_expert

    make_expert(
        system=snakemake.params.system,
        clouds=snakemake.input.clouds,
        output=snakemake.output.expert,
        options=snakemake.params.options,
        model=snakemake.params.model,
        seed=int(snakemake.wildcards.seed),
        provenance=dict(snakemake.params.items()),
    )
