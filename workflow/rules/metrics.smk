rule metrics:
    """I-AUROC, AP, P-AUROC and AUPRO of each scored category."""
    input:
        scores="results/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}.zarr.zip",
        clouds=of_config(inputs.tested_clouds),
    output:
        metrics="results/metrics/{method}/{source}/{auxiliary}/{seed}/{dataset}.csv",
        replicates="results/metrics/{method}/{source}/{auxiliary}/{seed}/{dataset}.npz",
    log:
        "logs/metrics/{method}/{source}/{auxiliary}/{seed}/{dataset}.log",
    benchmark:
        "benchmarks/metrics/{method}/{source}/{auxiliary}/{seed}/{dataset}.tsv"
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000, 20, of=sizes.scans_of_largest_tested),
        runtime=grows(10, 0.05, of=sizes.scans_tested),
    params:
        categories=of_config(inputs.categories_of_clouds),
        scans=of_config(inputs.counted_scans),
        code=fingerprint("stages.metrics"),
    message:
        "Metrics of {wildcards.method} on {wildcards.dataset}, learnt on {wildcards.source}/{wildcards.auxiliary}"
    script:
        "../scripts/metrics.py"
