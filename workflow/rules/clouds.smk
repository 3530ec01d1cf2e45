from functools import cache
from pathlib import Path

from pointad_core.datasets.scans import hash_content
from snakemake.logging import logger


@cache
def tell_once(dataset, message):
    """Say of a data set, once a run, that its folder could not be looked at."""
    logger.warning(f"{message}\nWhat there is of {dataset}'s results is taken as it is.")


def get_raw(wildcards):
    """Raw files that the workflow makes. A user's are looked for, but no input: their paths change with the folder's.

    Where they cannot be looked at, the reason stands in place of a file: a run that has the clouds goes on, and one
    that needs them ends with "missing input files" and this reason.
    """
    try:
        files = plan.list_shard(config, wildcards.dataset, wildcards.category, wildcards.shard[1:])
    except InputError as error:
        tell_once(wildcards.dataset, str(error))
        return in_place([str(error)])
    return files if "generated" in DATASETS[wildcards.dataset] else []


def get_content(wildcards):
    """What lies in the user's folder, so that a scan that is changed, added or deleted is noticed."""
    if "generated" in DATASETS[wildcards.dataset]:
        return None
    files = plan.list_shard(config, wildcards.dataset, wildcards.category, wildcards.shard[1:])
    return hash_content(plan.root_of(config, wildcards.dataset), files)


rule clouds:
    """Read a category's raw scans, remove the background, and bring all to one resolution."""
    input:
        raw=get_raw,
    output:
        clouds="results/clouds/{dataset}/{category}{shard}.zarr.zip",
    log:
        "logs/clouds/{dataset}/{category}{shard}.log",
    benchmark:
        "benchmarks/clouds/{dataset}/{category}{shard}.tsv"
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(2000),
        runtime=grows(15, 0.3),
    params:
        # A Path, which change detection passes over: what counts is what lies there, and not where it lies.
        root=lambda wildcards: Path(plan.root_of(config, wildcards.dataset)),
        content=get_content,
        layout=lambda wildcards: plan.layout_of(config, wildcards.dataset),
        options=lambda wildcards: plan.cloud_options(config, wildcards.dataset),
        code=lambda wildcards: fingerprint("stages.clouds", plan.layout_of(config, wildcards.dataset)["module"]),
    message:
        "Clouds of {wildcards.dataset}/{wildcards.category}{wildcards.shard}"
    script:
        "../scripts/clouds.py"
