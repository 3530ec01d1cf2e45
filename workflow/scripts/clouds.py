"""Make the clouds of one category, or of a shard of it, from its raw scans."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.stages.clouds import make_clouds

    # The same scans give the same bytes, wherever they lie and whenever they were copied there.
    provenance = {key: value for key, value in snakemake.params.items() if key not in ("root", "content")}
    make_clouds(
        root=snakemake.params.root,
        output=snakemake.output.clouds,
        dataset=snakemake.wildcards.dataset,
        layout=snakemake.params.layout,
        category=snakemake.wildcards.category,
        options=snakemake.params.options,
        provenance=provenance,
        shard=snakemake.wildcards.shard[1:],
    )
