rule clouds:
    """Read a category's raw scans, remove the background, and bring all to one resolution."""
    input:
        raw=get_raw,
    output:
        clouds="results/clouds/{dataset}/{category}.zarr.zip",
    log:
        "logs/clouds/{dataset}/{category}.log",
    benchmark:
        "benchmarks/clouds/{dataset}/{category}.tsv"
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
        code=lambda wildcards: fingerprint("clouds", "clusters", "files", "stores", *get_reader_modules(wildcards)),
    message:
        "Clouds of {wildcards.dataset}/{wildcards.category}"
    script:
        "../scripts/clouds.py"
