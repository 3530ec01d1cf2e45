"""Draw the methods side by side."""

from typing import TYPE_CHECKING

from pointad_core import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.heatmaps import make_gallery

    methods = snakemake.params.methods
    # Scores come entry by entry, method by method.
    scores = iter(snakemake.input.scores)
    stores = zip(snakemake.params.entries, snakemake.input.clouds, snakemake.input.renders, strict=True)
    make_gallery(
        entries=[
            {**entry, "clouds": clouds, "renders": renders, "scores": {method: next(scores) for method in methods}}
            for entry, clouds, renders in stores
        ],
        output=snakemake.output.gallery,
    )
