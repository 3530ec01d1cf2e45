"""Put the scores of a data set's categories and shards together."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.storage import stores

    stores.join(snakemake.input.parts, snakemake.output.scores, "scores")
