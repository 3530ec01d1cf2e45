rule heatmaps:
    """Contact sheet of one category: renders, photographs, ground truth and the maps of one run."""
    input:
        scores="results/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}.zarr.zip",
        clouds=lambda wildcards: get_clouds(wildcards.dataset, wildcards.category),
        renders=get_tested_renders,
    output:
        heatmaps="results/heatmaps/{method}/{source}/{auxiliary}/{seed}/{dataset}/{category}.png",
    log:
        "logs/heatmaps/{method}/{source}/{auxiliary}/{seed}/{dataset}/{category}.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    params:
        code=fingerprint("heatmaps", "files", "stores"),
    message:
        "Heat maps of {wildcards.method} on {wildcards.dataset}/{wildcards.category}"
    script:
        "../scripts/heatmaps.py"


rule gallery:
    """The methods side by side, on a category of every one-vs-rest data set."""
    input:
        unpack(get_gallery_stores),
    output:
        gallery="results/heatmaps/gallery.png",
    log:
        "logs/heatmaps/gallery.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    params:
        entries=get_gallery_entries,
        methods=get_labels(),
        code=fingerprint("heatmaps", "files", "stores"),
    script:
        "../scripts/gallery.py"
