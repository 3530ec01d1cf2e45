# A data set's categories are scored by one job, but category by category and shard by shard where it has shards.
ruleorder: scores_joined > scores


rule scores:
    """Score every point and object of a data set's categories, in 3-D and with RGB: with one set of prompts, or each
    with what was learnt of it."""
    input:
        unpack(of_config(inputs.scored_stores)),
        prompts=of_config(inputs.prompts),
        experts=of_config(inputs.experts),
        references=of_config(inputs.references),
        files=in_place(inputs.scoring_files),
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
        runtime=grows(15, 0.1, of=sizes.scans_scored),
        gpu=GPUS,
    params:
        system=of_config(inputs.system),
        categories=of_config(inputs.scored_names),
        options=of_config(inputs.scoring_options),
        model=of_config(inputs.model),
        code=of_config(inputs.code_of_scores),
    message:
        "Scores of {wildcards.method} on {wildcards.dataset}{wildcards.part}, "
        "learnt on {wildcards.source}/{wildcards.auxiliary}"
    script:
        "../scripts/scores.py"


rule scores_joined:
    """Put a run's scores together where its data set has shards: the same file as from one job."""
    input:
        parts=of_config(inputs.score_parts),
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
        mem_mb=grows(1000, 0.01, of=sizes.scans_tested),
        runtime=grows(10, 0.02, of=sizes.scans_tested),
    params:
        code=fingerprint("storage.stores"),
    message:
        "Scores of {wildcards.method} on {wildcards.dataset}, put together"
    script:
        "../scripts/scores_joined.py"
