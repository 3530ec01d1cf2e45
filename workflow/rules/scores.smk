rule scores:
    """Score every point and object of a data set's categories with one set of prompts, in 3-D and with RGB."""
    input:
        unpack(get_tested_stores),
        prompts=get_prompts,
        files=get_scoring_files,
    output:
        scores="results/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}.zarr.zip",
    log:
        "logs/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}.log",
    benchmark:
        "benchmarks/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}.tsv"
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(6000),
        runtime=grows(15, 0.1, of=scans_tested),
        gpu=GPUS,
    params:
        system=get_system,
        categories=get_tested_names,
        options=get_scoring_options,
        model=get_method_model,
        code=lambda wildcards: fingerprint(
            "scores",
            "smoothing",
            "prompts",
            "losses",
            "segmentation",
            "samples",
            "geometry",
            "files",
            "stores",
            *get_method_modules(wildcards),
        ),
    message:
        "Scores of {wildcards.method} on {wildcards.dataset}, prompts of {wildcards.source}/{wildcards.auxiliary}"
    script:
        "../scripts/scores.py"
