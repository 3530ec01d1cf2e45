from pathlib import Path


rule clouds:
    """Read a category's raw scans, remove the background, and bring all to one resolution."""
    input:
        raw=of_config(inputs.raw_files),
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
        root=lambda wildcards: Path(raw_scans.root_of(config, wildcards.dataset)),
        content=of_config(inputs.content),
        layout=lambda wildcards: plan.layout_of(config, wildcards.dataset),
        options=lambda wildcards: plan.cloud_options(config, wildcards.dataset),
        code=of_config(inputs.code_of_clouds),
    message:
        "Clouds of {wildcards.dataset}/{wildcards.category}{wildcards.shard}"
    script:
        "../scripts/clouds.py"
