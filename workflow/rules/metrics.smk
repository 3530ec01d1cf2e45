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
        code=fingerprint("metrics", "files", "stores"),
    message:
        "Metrics of {wildcards.method} on {wildcards.dataset}, prompts of {wildcards.source}/{wildcards.auxiliary}"
    script:
        "../scripts/metrics.py"
