"""Draw the losses of everything that is learnt on a data set."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.stages.report import make_curves

    dataset = snakemake.wildcards.dataset
    paths = iter(snakemake.input.curves)
    make_curves(
        curves={
            method: {name: next(paths) for name in trainings}
            for method, trainings in snakemake.params.trainings.items()
        },
        output=snakemake.output.curves,
        title=f"Losses on auxiliary classes of {dataset}",
    )
