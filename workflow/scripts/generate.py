"""Write the raw scans of one category of a generated data set."""

from typing import TYPE_CHECKING

from pointad_core import jobs

if TYPE_CHECKING:
    from snakemake.script import snakemake

with jobs.logged(snakemake.log[0]):
    import shutil

    from pointad_core.datasets.generate import generate_category

    root = f"results/generated/{snakemake.params.dataset}"
    # A reader takes every scan that is there: those of an earlier run with more scans must go.
    shutil.rmtree(f"{root}/{snakemake.params.category}", ignore_errors=True)
    generate_category(
        root=root,
        layout=snakemake.params.layout,
        category=snakemake.params.category,
        **snakemake.params.options,
    )
