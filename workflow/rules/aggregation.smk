rule aggregation:
    """Find each point's neighbours, and the norm of what G-aggregation makes of its features."""
    input:
        clouds=of_config(inputs.clouds),
        renders=of_config(inputs.renders),
        features="results/features/{features}/{dataset}/{category}{shard}.zarr.zip",
    output:
        aggregation="results/aggregation/{aggregation}/{features}/{dataset}/{category}{shard}.zarr.zip",
    log:
        "logs/aggregation/{aggregation}/{features}/{dataset}/{category}{shard}.log",
    benchmark:
        "benchmarks/aggregation/{aggregation}/{features}/{dataset}/{category}{shard}.tsv"
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000),
        runtime=grows(15, 0.1),
        gpu=GPUS,
    params:
        options=lambda wildcards: dict(config["aggregations"][wildcards.aggregation]),
        code=fingerprint("stages.aggregation"),
    message:
        "Aggregation of {wildcards.dataset}/{wildcards.category}{wildcards.shard} ({wildcards.aggregation})"
    script:
        "../scripts/aggregation.py"
