rule renders:
    """Render every cloud of a category; keep each point's pixel and visibility in each view."""
    input:
        clouds="results/clouds/{dataset}/{category}.zarr.zip",
    output:
        renders="results/renders/{rendering}/{dataset}/{category}.zarr.zip",
    log:
        "logs/renders/{rendering}/{dataset}/{category}.log",
    benchmark:
        "benchmarks/renders/{rendering}/{dataset}/{category}.tsv"
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(2000),
        runtime=grows(15, 0.2),
        gpu=GPUS,
    params:
        options=get_render_options,
        code=lambda wildcards: fingerprint(*get_renderer_modules(wildcards)),
    message:
        "Renders of {wildcards.dataset}/{wildcards.category} ({wildcards.rendering})"
    script:
        "../scripts/renders.py"
