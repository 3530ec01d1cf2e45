rule features:
    """Encode a category's renders and photographs with CLIP; compute what the explicit branch never changes."""
    input:
        clouds="results/clouds/{dataset}/{category}{shard}.zarr.zip",
        renders=get_renders,
        checkpoint=lambda wildcards: in_place(get_checkpoint(wildcards.features)),
    output:
        features="results/features/{features}/{dataset}/{category}{shard}.zarr.zip",
    log:
        "logs/features/{features}/{dataset}/{category}{shard}.log",
    benchmark:
        "benchmarks/features/{features}/{dataset}/{category}{shard}.tsv"
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(8000),
        runtime=grows(30, 1.5),
        gpu=GPUS,
    params:
        options=get_feature_options,
        streams=get_streams,
        explicit=get_explicit,
        code=lambda wildcards: fingerprint(
            "features", "geometry", "files", "stores", *CLIP_MODULES, *get_architecture(wildcards.features)
        ),
    message:
        "Features of {wildcards.dataset}/{wildcards.category}{wildcards.shard} ({wildcards.features})"
    script:
        "../scripts/features.py"
