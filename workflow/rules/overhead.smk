# It takes a second, less than a place in a cluster's queue.
localrules:
    overhead_table,


rule overhead:
    """Measure what a method's scores of a scan cost, from its points to the scores, one scan at a time."""
    input:
        raw=of_config(inputs.measured_scans),
        learnt=of_config(inputs.measured_learning),
        files=in_place(inputs.scoring_files),
    output:
        overhead="results/overhead/{method}/{dataset}/{category}.csv",
    log:
        "logs/overhead/{method}/{dataset}/{category}.log",
    conda:
        "../../envs/pointad.yaml"
    # All cores of the run, so that no other job takes time or memory bandwidth from the one that is measured; on a
    # cluster, which gives every job cores of its own, four.
    threads: lambda wildcards: workflow.resource_settings.cores or 4
    resources:
        mem_mb=grows(8000),
        runtime=grows(30),
        gpu=GPUS,
    params:
        # A Path, which change detection passes over: what counts is what lies there, and not where it lies.
        root=lambda wildcards: Path(raw_scans.root_of(config, wildcards.dataset)),
        content=of_config(inputs.measured_content),
        layout=lambda wildcards: plan.layout_of(config, wildcards.dataset),
        system=of_config(inputs.system),
        category=of_config(inputs.measured_category),
        options=of_config(inputs.overhead_options),
        measuring=of_config(inputs.measuring),
        code=of_config(inputs.code_of_overhead),
    message:
        "Overhead of {wildcards.method} on {wildcards.dataset}/{wildcards.category}"
    script:
        "../scripts/overhead.py"


rule overhead_table:
    """Table 5 of the paper: what a scan costs each method, beside how well it scores."""
    input:
        measured=overhead.measured(config).values() if overhead.is_asked(config) else [],
        metrics=overhead.table_metrics(config) if overhead.is_asked(config) else [],
    output:
        tex="results/tables/overhead.tex",
        csv="results/tables/overhead.csv",
    log:
        "logs/tables/overhead.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        options=overhead.table_options(config) if overhead.is_asked(config) else {},
        code=fingerprint("stages.tables", "evaluation/paper_numbers.csv", "evaluation/paper_overhead.csv"),
    script:
        "../scripts/overhead_table.py"
