rule experts:
    """Learn a category from the good scans of its train split, for a system that is tested on the same category."""
    input:
        clouds=of_config(inputs.good_stores),
        files=in_place(inputs.expert_files),
    output:
        expert="results/experts/{method}/{dataset}/{category}/{seed}.safetensors",
    log:
        "logs/experts/{method}/{dataset}/{category}/{seed}.log",
    benchmark:
        "benchmarks/experts/{method}/{dataset}/{category}/{seed}.tsv"
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000, 15, of=sizes.scans_of_category),
        runtime=grows(30, 0.5, of=sizes.scans_of_category),
        gpu=GPUS,
    params:
        system=of_config(inputs.system),
        options=lambda wildcards: unsupervised.expert_options(config, wildcards.method),
        model=of_config(inputs.model),
        code=of_config(inputs.code_of_experts),
    message:
        "What {wildcards.method} learns of {wildcards.dataset}/{wildcards.category} (seed {wildcards.seed})"
    script:
        "../scripts/experts.py"
