rule heatmaps:
    """Pictures of a category's scans: RGB, ground truth and scores."""
    input:
        scores="results/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}.zarr.zip",
        clouds="results/clouds/{dataset}/{category}.zarr.zip",
        renders=get_method_renders,
    output:
        heatmaps="results/heatmaps/{method}/{source}/{auxiliary}/{seed}/{dataset}/{category}.png",
    log:
        "logs/heatmaps/{method}/{source}/{auxiliary}/{seed}/{dataset}/{category}.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=fingerprint("heatmaps", "stores"),
    script:
        "../scripts/heatmaps.py"
