rule prompts:
    """Train a method's prompts, or its network, on one auxiliary class, from cached features."""
    input:
        unpack(of_config(inputs.training_stores)),
        files=in_place(inputs.training_files),
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
        mem_mb=grows(6000, 30, of=sizes.scans_in_memory),
        runtime=grows(30, 0.1, of=sizes.training_steps),
        gpu=GPUS,
    params:
        system=of_config(inputs.system),
        options=lambda wildcards: plan.training_options(config, wildcards.method),
        model=of_config(inputs.model),
        display=of_config(inputs.auxiliary_display),
        code=of_config(inputs.code_of_prompts),
    message:
        "Prompts of {wildcards.method}, learned on {wildcards.dataset}/{wildcards.auxiliary} (seed {wildcards.seed})"
    script:
        "../scripts/prompts.py"
