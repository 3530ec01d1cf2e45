# They take a second, less than a place in a cluster's queue.
localrules:
    table,
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


rule document:
    """One LaTeX document with all tables."""
    input:
        tables=expand("results/tables/{name}.tex", name=tables.names(config)),
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
        code=fingerprint("stages.tables"),
    script:
        "../scripts/document.py"
