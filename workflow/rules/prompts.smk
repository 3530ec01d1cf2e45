rule prompts:
    """Train a method's prompts, or its network, on one auxiliary class, from cached features."""
    input:
        unpack(get_training_stores),
        files=get_training_files,
    output:
        prompts="results/prompts/{method}/{dataset}/{auxiliary}/{seed}.safetensors",
        curve="results/prompts/{method}/{dataset}/{auxiliary}/{seed}.csv",
    log:
        "logs/prompts/{method}/{dataset}/{auxiliary}/{seed}.log",
    benchmark:
        "benchmarks/prompts/{method}/{dataset}/{auxiliary}/{seed}.tsv"
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(6000, 30, of=scans_in_memory),
        runtime=grows(30, 0.1, of=training_steps),
        gpu=GPUS,
    params:
        system=get_system,
        options=get_training_options,
        model=get_method_model,
        display=get_auxiliary_display,
        code=lambda wildcards: fingerprint(
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
        "Prompts of {wildcards.method}, learned on {wildcards.dataset}/{wildcards.auxiliary} (seed {wildcards.seed})"
    script:
        "../scripts/prompts.py"
