rule features:
    """Encode a category's renders and photographs with CLIP."""
    input:
        clouds=of_config(inputs.clouds),
        renders=of_config(inputs.renders),
        checkpoint=in_place(inputs.checkpoint),
    output:
        features="results/features/{features}/{dataset}/{category}{shard}.zarr.zip",
    log:
        "logs/features/{features}/{dataset}/{category}{shard}.log",
    benchmark:
        "benchmarks/features/{features}/{dataset}/{category}{shard}.tsv"
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(8000),
        runtime=grows(30, 1.5),
        gpu=GPUS,
    params:
        options=lambda wildcards: plan.feature_options(config, wildcards.features),
        code=lambda wildcards: fingerprint("stages.features", *plan.bundled_files(config, wildcards.features)),
    message:
        "Features of {wildcards.dataset}/{wildcards.category}{wildcards.shard} ({wildcards.features})"
    script:
        "../scripts/features.py"
