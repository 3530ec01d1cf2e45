"""Score the categories of one data set with one set of prompts."""

from typing import TYPE_CHECKING

from pointad_core import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.scores import make_scores

    jobs.use_threads(snakemake.threads)
    stores = zip(snakemake.input.clouds, snakemake.input.renders, snakemake.input.features, strict=True)
    make_scores(
        system=snakemake.params.system,
        prompts=snakemake.input.prompts or None,  # an untrained system has none
        categories=[
            {**names, "clouds": clouds, "renders": renders, "features": features}
            for names, (clouds, renders, features) in zip(snakemake.params.categories, stores, strict=True)
        ],
        output=snakemake.output.scores,
        options=snakemake.params.options,
        model=snakemake.params.model,
        provenance=dict(snakemake.params.items()),
    )
