"""Draw the methods side by side."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from itertools import islice

    from pointad_core.stages.heatmaps import make_gallery

    methods = snakemake.params.methods
    # Stores come entry by entry: clouds and renders shard by shard, scores method by method.
    clouds, renders, scores = map(iter, (snakemake.input.clouds, snakemake.input.renders, snakemake.input.scores))
    make_gallery(
        entries=[
            {
                **entry,
                "clouds": list(islice(clouds, entry["shards"])),
                "renders": list(islice(renders, entry["shards"])),
                "scores": {method: next(scores) for method in methods},
            }
            for entry in snakemake.params.entries
        ],
        output=snakemake.output.gallery,
    )
