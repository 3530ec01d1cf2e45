"""Score the categories of one data set."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.storage import stores

    # What cannot be used is refused before torch is imported, which takes most of a second.
    stages = [
        stage for stage in dict(snakemake.input.items()) if stage in ("clouds", "renders", "features", "aggregation")
    ]
    for stage in stages:
        for path in snakemake.input[stage]:
            stores.check(path, stage)

    jobs.use(snakemake.threads, snakemake.resources.gpu)

    from pointad_core.stages.scores import make_scores

    (prompts,) = snakemake.input.prompts or (None,)  # a system that is not trained has none
    inputs = zip(*(snakemake.input[stage] for stage in stages), strict=True)
    experts = snakemake.input.experts or [None] * len(snakemake.params.categories)
    make_scores(
        system=snakemake.params.system,
        prompts=prompts,
        categories=[
            {
                **names,
                **dict(zip(stages, paths, strict=True)),
                "expert": expert,
                "references": snakemake.input.references,
            }
            for names, expert, paths in zip(snakemake.params.categories, experts, inputs, strict=True)
        ],
        output=snakemake.output.scores,
        options=snakemake.params.options,
        model=snakemake.params.model,
        # Which categories there are is said by the scans, so that shards have the provenance of the whole.
        provenance={key: value for key, value in snakemake.params.items() if key != "categories"},
    )
