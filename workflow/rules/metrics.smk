def get_tested_clouds(wildcards):
    dataset = wildcards.dataset
    return [path for category in get_tested(wildcards) for path in plan.clouds_of(config, dataset, category)]


def get_tested_shards(wildcards):
    """The category of each store in `get_tested_clouds`."""
    dataset = wildcards.dataset
    return [category for category in get_tested(wildcards) for _ in plan.clouds_of(config, dataset, category)]


def scans_of_largest_tested(wildcards):
    categories = get_tested(wildcards)
    return max((plan.count_scans(config, wildcards.dataset, category) for category in categories), default=0)


rule metrics:
    """I-AUROC, AP, P-AUROC and AUPRO of each scored category."""
    input:
        scores="results/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}.zarr.zip",
        clouds=get_tested_clouds,
    output:
        metrics="results/metrics/{method}/{source}/{auxiliary}/{seed}/{dataset}.csv",
    log:
        "logs/metrics/{method}/{source}/{auxiliary}/{seed}/{dataset}.log",
    benchmark:
        "benchmarks/metrics/{method}/{source}/{auxiliary}/{seed}/{dataset}.tsv"
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000, 20, of=scans_of_largest_tested),
        runtime=grows(10, 0.05, of=scans_tested),
    params:
        categories=get_tested_shards,
        scans=lambda wildcards: plan.subset_of(config, wildcards.dataset, get_tested(wildcards)),
        code=fingerprint("stages.metrics"),
    message:
        "Metrics of {wildcards.method} on {wildcards.dataset}, prompts of {wildcards.source}/{wildcards.auxiliary}"
    script:
        "../scripts/metrics.py"
