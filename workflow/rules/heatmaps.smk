rule heatmaps:
    """Contact sheet of one category: renders, photographs, ground truth and the maps of one run."""
    input:
        scores=of_config(inputs.picture_scores),
        clouds=lambda wildcards: plan.clouds_of(config, wildcards.dataset, wildcards.category),
        renders=of_config(inputs.picture_renders),
    output:
        heatmaps=report(
            "results/heatmaps/{method}/{source}/{auxiliary}/{seed}/{dataset}/{category}.png",
            caption="../report/heatmaps.rst",
            category="Heat maps",
            labels={
                "method": "{method}",
                "data set": "{dataset}",
                "category": "{category}",
                "prompts learnt on": "{source}/{auxiliary}, seed {seed}",
            },
        ),
    log:
        "logs/heatmaps/{method}/{source}/{auxiliary}/{seed}/{dataset}/{category}.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    params:
        scans=of_config(inputs.drawn_scans),
        code=fingerprint("stages.heatmaps"),
    message:
        "Heat maps of {wildcards.method} on {wildcards.dataset}/{wildcards.category}"
    script:
        "../scripts/heatmaps.py"
