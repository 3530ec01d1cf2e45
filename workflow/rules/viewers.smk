rule viewers:
    """A page to turn the scans of one category on, with the scores of every method."""
    input:
        unpack(lambda wildcards: tables.viewer_stores(config, wildcards.dataset, wildcards.category)),
    output:
        viewer=report(
            "results/viewers/{dataset}/{category}.html",
            caption="../report/viewers.rst",
            category="Viewers",
            labels={"data set": "{dataset}", "category": "{category}"},
        ),
    log:
        "logs/viewers/{dataset}/{category}.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    params:
        methods=lambda wildcards: tables.viewer_methods(config, wildcards.dataset, wildcards.category),
        facts=lambda wildcards: tables.viewer_facts(config, wildcards.dataset, wildcards.category),
        scans=of_config(inputs.drawn_scans),
        code=fingerprint("stages.viewers", *tables.VIEWER_PAGE),
    message:
        "Viewer of {wildcards.dataset}/{wildcards.category}"
    script:
        "../scripts/viewers.py"
