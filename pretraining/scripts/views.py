"""Render a lot of generated things."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pretraining.views import HELD_OUT, TRAINED, make_lot

    jobs.use(snakemake.threads, gpus=0)
    first, count = snakemake.params.things
    make_lot(
        snakemake.output.views,
        seed=snakemake.params.seed,
        families=HELD_OUT if snakemake.wildcards.lot == "held_out" else TRAINED,
        first=first,
        count=count,
        provenance=dict(snakemake.params.items()),
    )
