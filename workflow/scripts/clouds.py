"""Make the clouds of one category from its raw scans."""

from typing import TYPE_CHECKING

from pointad_core import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.clouds import make_clouds

    make_clouds(
        root=snakemake.params.root,
        output=snakemake.output.clouds,
        dataset=snakemake.wildcards.dataset,
        layout=snakemake.params.layout,
        category=snakemake.wildcards.category,
        options=snakemake.params.options,
        provenance=dict(snakemake.params.items()),
    )
