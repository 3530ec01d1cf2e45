rule renders:
    """Render every cloud of a category; keep each point's pixel and visibility in each view."""
    input:
        clouds=of_config(inputs.clouds),
    output:
        renders="results/renders/{rendering}/{dataset}/{category}{shard}.zarr.zip",
    log:
        "logs/renders/{rendering}/{dataset}/{category}{shard}.log",
    benchmark:
        "benchmarks/renders/{rendering}/{dataset}/{category}{shard}.tsv"
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(2000),
        runtime=grows(15, 0.2),
        gpu=GPUS,
    params:
        options=of_config(inputs.render_options),
        code=of_config(inputs.code_of_renders),
    message:
        "Renders of {wildcards.dataset}/{wildcards.category}{wildcards.shard} ({wildcards.rendering})"
    script:
        "../scripts/renders.py"
