"""Write what the jobs of each stage took as a page."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.stages.report import make_runtimes

    make_runtimes("benchmarks", stages=snakemake.params.stages, output=snakemake.output.runtimes)
