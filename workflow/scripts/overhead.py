"""Measure what a method's scores of a scan cost."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    jobs.use(snakemake.threads, snakemake.resources.gpu)

    from pointad_core.stages.overhead import measure_overhead

    (learnt,) = snakemake.input.learnt or (None,)  # a system that learns nothing has none
    measure_overhead(
        system=snakemake.params.system,
        learnt=learnt,
        root=snakemake.params.root,
        layout=snakemake.params.layout,
        category=snakemake.params.category,
        output=snakemake.output.overhead,
        options=snakemake.params.options,
        measuring=snakemake.params.measuring,
    )
