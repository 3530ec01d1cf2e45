def get_render_options(wildcards):
    return plan.render_options(config, wildcards.rendering, wildcards.dataset, wildcards.category)


rule renders:
    """Render every cloud of a category; keep each point's pixel and visibility in each view."""
    input:
        clouds="results/clouds/{dataset}/{category}{shard}.zarr.zip",
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
        options=get_render_options,
        code=lambda wildcards: fingerprint("stages.renders", get_render_options(wildcards)["renderer"]["module"]),
    message:
        "Renders of {wildcards.dataset}/{wildcards.category}{wildcards.shard} ({wildcards.rendering})"
    script:
        "../scripts/renders.py"
