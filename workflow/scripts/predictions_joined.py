"""Put the tables of a folder's shards together."""

import sys
from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.stages.predictions import join_predictions

    failed = join_predictions(snakemake.input.tables, snakemake.output.table)
    if failed:
        print(f"{snakemake.output.table}: {failed} scans could not be scored; it says why", file=sys.stderr)
