"""Train the prompts of one method on one auxiliary class."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    jobs.use(snakemake.threads, snakemake.resources.gpu)

    from pointad_core.stages.prompts import make_prompts

    make_prompts(
        system=snakemake.params.system,
        inputs={stage: paths for stage, paths in snakemake.input.items() if stage != "files"},
        output=snakemake.output.prompts,
        curve=snakemake.output.curve,
        options=snakemake.params.options,
        model=snakemake.params.model,
        display=snakemake.params.display,
        seed=int(snakemake.wildcards.seed),
        provenance=dict(snakemake.params.items()),
    )
