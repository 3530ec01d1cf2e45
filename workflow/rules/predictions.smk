from pathlib import Path


# Which entry a path is of is said by its first folder; a shard's folder lies in it.
rule predictions:
    """Score the scans of a folder of the user's own, or of a shard of it, and show where they are defective."""
    input:
        missing=of_config(own.missing_folder),
        prompts=of_config(own.prompts_of_run),
        files=in_place(own.own_files),
    output:
        summary="results/predictions/{prediction}{shard}/summary.csv",
    log:
        "logs/predictions/{prediction}{shard}.log",
    benchmark:
        "benchmarks/predictions/{prediction}{shard}.tsv"
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000),
        runtime=grows(15, 0.2, of=own.count_scans),
        gpu=GPUS,
    params:
        # Paths, which change detection passes over: what counts is what lies there, and not where it lies.
        folder=lambda wildcards: Path(own.folder_of(config, wildcards.prediction)),
        prompts=lambda wildcards: list(map(Path, own.own_files(config, wildcards, "prompts"))),
        threshold=lambda wildcards: list(map(Path, own.own_files(config, wildcards, "threshold"))),
        content=of_config(own.content),
        scans=of_config(own.scans_of_shard),
        options=of_config(own.options),
        code=of_config(own.code),
    message:
        "Predictions of {wildcards.prediction}{wildcards.shard}"
    script:
        "../scripts/predictions.py"


rule predictions_joined:
    """The table of all scans of a folder, whatever shards they were scored in."""
    input:
        tables=lambda wildcards: own.tables_of(config, wildcards.prediction),
    output:
        table="results/predictions/{prediction}.csv",
    log:
        "logs/predictions_joined/{prediction}.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(10),
    params:
        code=fingerprint("stages.predictions"),
    message:
        "Table of the predictions of {wildcards.prediction}"
    script:
        "../scripts/predictions_joined.py"
