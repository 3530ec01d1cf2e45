"""Write the raw scans of one category of a generated data set, or of a shard of it."""

from typing import TYPE_CHECKING

from pointad_core.storage import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    from pointad_core.datasets.generator.scans import generate_category

    generate_category(
        root=f"results/generated/{snakemake.params.dataset}",
        layout=snakemake.params.layout,
        category=snakemake.params.category,
        scans=snakemake.params.scans,
        seed=snakemake.params.seed,
        shard=snakemake.params.shard,
        split=snakemake.params.split,
        count=snakemake.params.get("n_scans"),
    )
