# A data set's categories are scored by one job, but category by category and shard by shard where it has shards.
ruleorder: scores_joined > scores


def get_tested(wildcards):
    return plan.tested_by(config, wildcards.source, wildcards.auxiliary, wildcards.dataset)


def get_scored(wildcards):
    """Categories in a store of scores: one, or all that the run tests."""
    category = wildcards.part[1:].partition("/")[0]
    if not category:
        return get_tested(wildcards)
    plan.check_tested(config, wildcards.source, wildcards.auxiliary, wildcards.dataset, category)
    return [category]


def get_scored_names(wildcards):
    dataset = wildcards.dataset
    return [{"name": name, "display": plan.display_of(config, dataset, name)} for name in get_scored(wildcards)]


def get_scored_stores(wildcards):
    shards = [wildcards.part[1:]] if wildcards.part else get_tested(wildcards)
    return plan.stores_of(config, wildcards.method, wildcards.dataset, shards)


def get_score_parts(wildcards):
    """Scores of a run's categories, shard by shard."""
    folder = "results/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}".format(**wildcards)
    categories = get_tested(wildcards)
    shards = [shard for name in categories for shard in plan.shards_of(config, wildcards.dataset, name)]
    return [f"{folder}/{shard}.zarr.zip" for shard in shards]


def get_prompts(wildcards):
    """Prompts that a system scores with; none for an untrained one."""
    if not plan.system_of(config, wildcards.method).trained:
        return []
    plan.check_auxiliary(config, wildcards.source, wildcards.auxiliary)
    return "results/prompts/{method}/{source}/{auxiliary}/{seed}.safetensors".format(**wildcards)


def scans_tested(wildcards):
    return sum(plan.count_scans(config, wildcards.dataset, category) for category in get_tested(wildcards))


def scans_scored(wildcards):
    category, _, shard = wildcards.part[1:].partition("/")
    return plan.count_scans(config, wildcards.dataset, category, shard) if category else scans_tested(wildcards)


rule scores:
    """Score every point and object of a data set's categories with one set of prompts, in 3-D and with RGB."""
    input:
        unpack(get_scored_stores),
        prompts=get_prompts,
        files=get_method_files("word_vectors"),
    output:
        scores="results/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}{part}.zarr.zip",
    log:
        "logs/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}{part}.log",
    benchmark:
        "benchmarks/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}{part}.tsv"
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(6000),
        runtime=grows(15, 0.1, of=scans_scored),
        gpu=GPUS,
    params:
        system=lambda wildcards: plain(plan.system_of(config, wildcards.method)),
        categories=get_scored_names,
        options=lambda wildcards: plan.scoring_options(config, wildcards.method),
        model=lambda wildcards: plan.model_of(config, get_features(wildcards)),
        code=get_code("stages.scores"),
    message:
        "Scores of {wildcards.method} on {wildcards.dataset}{wildcards.part}, "
        "prompts of {wildcards.source}/{wildcards.auxiliary}"
    script:
        "../scripts/scores.py"


rule scores_joined:
    """Put a run's scores together where its data set has shards: the same file as from one job."""
    input:
        parts=get_score_parts,
    output:
        scores="results/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}.zarr.zip",
    log:
        "logs/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}.log",
    benchmark:
        "benchmarks/scores/{method}/{source}/{auxiliary}/{seed}/{dataset}.tsv"
    wildcard_constraints:
        dataset=any_of(name for name, dataset in DATASETS.items() if dataset["shard_size"] is not None),
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000, 0.01, of=scans_tested),
        runtime=grows(10, 0.02, of=scans_tested),
    params:
        code=fingerprint("storage.stores"),
    message:
        "Scores of {wildcards.method} on {wildcards.dataset}, put together"
    script:
        "../scripts/scores_joined.py"
