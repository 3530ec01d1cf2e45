# They take a second, less than a place in a cluster's queue.
localrules:
    summary_auxiliary,
    summary_dataset,


rule summary_auxiliary:
    """One auxiliary split, one-vs-rest: every unseen category and their mean."""
    input:
        metrics=of_config(inputs.split_metrics),
        replicates=lambda wildcards: plan.replicates_of(inputs.split_metrics(config, wildcards)),
    output:
        summary="results/summary/{dataset}/{auxiliary}.csv",
    log:
        "logs/summary/{dataset}/{auxiliary}.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        tested=lambda wildcards: plan.tested_by(config, wildcards.dataset, wildcards.auxiliary, wildcards.dataset),
        methods=tables.trained_of(config),
        code=fingerprint("stages.summary"),
    script:
        "../scripts/summary_auxiliary.py"


rule summary_dataset:
    """One data set: the mean over its auxiliary splits; for one without, what other data sets' prompts reach on it."""
    input:
        metrics=lambda wildcards: plan.dataset_metrics(config, wildcards.dataset),
        replicates=lambda wildcards: plan.replicates_of(plan.dataset_metrics(config, wildcards.dataset)),
    output:
        summary="results/summary/{dataset}.csv",
    log:
        "logs/summary/{dataset}.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        sources=lambda wildcards: plan.sources_of(config, wildcards.dataset),
        methods=tables.trained_of(config),
        code=fingerprint("stages.summary"),
    script:
        "../scripts/summary_dataset.py"
