def get_training_stores(wildcards):
    plan.check_auxiliary(config, wildcards.dataset, wildcards.auxiliary)
    shards = plan.shards_of(config, wildcards.dataset, wildcards.auxiliary)
    return plan.stores_of(config, wildcards.method, wildcards.dataset, shards)


def get_features(wildcards):
    """The features' entry of a method, which names its CLIP."""
    return config["methods"][wildcards.method]["features"]


def get_method_files(*keys):
    """Weights and words of the user's own that a method reads: another file there is another method."""

    def get_files(wildcards):
        files = plan.files_of(config, wildcards.method, *keys).values()
        return in_place([*plan.checkpoint_of(config, get_features(wildcards)), *files])

    return get_files


def get_auxiliary_display(wildcards):
    """Name of the auxiliary class in prompts that name it."""
    if plan.system_of(config, wildcards.method).class_names:
        return plan.display_of(config, wildcards.dataset, wildcards.auxiliary)
    return None


def get_code(stage):
    """Fingerprint of a stage with a method's system and model: an edit in one system leaves the others' results alone."""

    def get_fingerprint(wildcards):
        system = plan.system_of(config, wildcards.method)
        return fingerprint(stage, system.module, *plan.model_files(config, get_features(wildcards)))

    return get_fingerprint


def scans_of_auxiliary(wildcards):
    return plan.count_scans(config, wildcards.dataset, wildcards.auxiliary)


def scans_in_memory(wildcards):
    """Scans that training keeps between epochs: 4 GB, some 30 MB each with the paper's backbone."""
    return min(scans_of_auxiliary(wildcards), 140)


def training_steps(wildcards):
    """How often a scan is trained on."""
    return scans_of_auxiliary(wildcards) * config["methods"][wildcards.method]["epochs"]


rule prompts:
    """Train a method's prompts, or its network, on one auxiliary class, from cached features."""
    input:
        unpack(get_training_stores),
        files=get_method_files("word_vectors", "pointnet"),
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
        system=lambda wildcards: plain(plan.system_of(config, wildcards.method)),
        options=lambda wildcards: plan.training_options(config, wildcards.method),
        model=lambda wildcards: plan.model_of(config, get_features(wildcards)),
        display=get_auxiliary_display,
        code=get_code("stages.prompts"),
    message:
        "Prompts of {wildcards.method}, learned on {wildcards.dataset}/{wildcards.auxiliary} (seed {wildcards.seed})"
    script:
        "../scripts/prompts.py"
