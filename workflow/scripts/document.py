"""Write one document with all tables, or all figures."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.stages.tables import make_document

    make_document(snakemake.input.bodies, snakemake.output.tex, snakemake.params.landscape)
