# They take a second, less than a place in a cluster's queue.
localrules:
    table,
    document,


rule table:
    """One of the paper's Tables 1-4."""
    input:
        metrics=get_table_metrics,
    output:
        tex="results/tables/table{number}.tex",
        csv="results/tables/table{number}.csv",
    log:
        "logs/tables/table{number}.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        options=get_table_options(),
        code=fingerprint("tables", "paper_numbers.csv", "latex", "summary", "metrics", "methods", "files", "stores"),
    script:
        "../scripts/table.py"


rule document:
    """One LaTeX document with all tables."""
    input:
        tables=expand("results/tables/table{number}.tex", number=[1, 2, 3, 4]),
    output:
        tex="results/tables/tables.tex",
    log:
        "logs/tables/tables.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=fingerprint("tables", "paper_numbers.csv", "latex", "summary", "metrics", "methods", "files", "stores"),
    script:
        "../scripts/document.py"
