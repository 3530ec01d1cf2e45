# They take a second, less than a place in a cluster's queue.
localrules:
    table,
    ablation,
    document,


rule table:
    """One of the paper's Tables 1-4."""
    input:
        metrics=lambda wildcards: tables.table_metrics(config, int(wildcards.number)),
        replicates=lambda wildcards: plan.replicates_of(tables.table_metrics(config, int(wildcards.number))),
    output:
        tex="results/tables/table{number}.tex",
        csv="results/tables/table{number}.csv",
        differences="results/tables/differences{number}.csv",
    log:
        "logs/tables/table{number}.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        options=lambda wildcards: tables.table_options(config, int(wildcards.number)),
        code=fingerprint("stages.tables", "evaluation/paper_numbers.csv"),
    script:
        "../scripts/table.py"


rule ablation:
    """The table of an ablation, whatever its rows change: Tables 6-10 of the paper are some."""
    input:
        metrics=lambda wildcards: ablations.metrics(config, wildcards.ablation),
        replicates=lambda wildcards: plan.replicates_of(ablations.metrics(config, wildcards.ablation)),
    output:
        tex="results/tables/{ablation}.tex",
        csv="results/tables/{ablation}.csv",
    log:
        "logs/tables/{ablation}.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        options=lambda wildcards: ablations.options(config, wildcards.ablation),
        code=fingerprint("stages.tables", "evaluation/paper_ablations.csv"),
    script:
        "../scripts/ablation.py"


rule document:
    """One LaTeX document with all tables."""
    input:
        bodies=[f"results/tables/{name}.tex" for name in tables.names(config)],
    output:
        tex=report(
            "results/tables/tables.tex",
            caption="../report/document.rst",
            category="Tables",
            labels={"table": "all, as LaTeX"},
        ),
    log:
        "logs/tables/tables.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        landscape=True,
        code=fingerprint("stages.tables"),
    script:
        "../scripts/document.py"
