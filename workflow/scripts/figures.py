"""Draw one figure of score maps."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.stages.figures import make_figure

    figure = snakemake.params.figure
    if any(figure["systems"].values()):
        jobs.use(snakemake.threads, 0)
    make_figure(
        figure=figure,
        places=dict(zip(snakemake.params.stores, snakemake.input.stores, strict=True)),
        pdf=snakemake.output.pdf,
        png=snakemake.output.png,
        tex=snakemake.output.tex,
        text=snakemake.output.txt,
        csv_output=snakemake.output.csv,
    )
