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
        root=get_root,
        content=get_content,
        layout=lambda wildcards: DATASETS[wildcards.dataset]["layout"],
        options=get_cloud_options,
        code=lambda wildcards: fingerprint(
            "clouds", "clusters", "files", "stores", "shards", *get_reader_modules(wildcards)
        ),
    message:
        "Clouds of {wildcards.dataset}/{wildcards.category}{wildcards.shard}"
    script:
        "../scripts/clouds.py"
