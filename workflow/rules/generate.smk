"""Raw scans of data sets that the config has generated, in the published layouts."""

# A rule for each category or shard, not one with wildcards: so its output is every single file, and a raw scan that
# was deleted is noticed and made again.
for dataset in unsupervised.generated_sets(config):
    for category in DATASETS[dataset]["categories"]:
        for shard in raw_scans.list_raw(config, dataset, category):

            rule:
                name:
                    f"generate_{dataset}_{category}" + (f"_{shard}" if shard else "")
                output:
                    files=raw_scans.generated_by(config, dataset, category, shard)["files"],
                log:
                    f"logs/generate/{dataset}/{raw_scans.place(category, shard)}.log",
                conda:
                    "../../envs/pointad.yaml"
                threads: 1
                resources:
                    mem_mb=grows(2000),
                    runtime=grows(10 + raw_scans.count_scans(config, dataset, category, shard) / 10),
                params:
                    **raw_scans.generated_by(config, dataset, category, shard)["tables"],
                    dataset=variants.original_of(config, dataset),
                    layout=DATASETS[dataset]["layout"],
                    category=category,
                    shard=shard,
                    scans=raw_scans.generated_by(config, dataset, category, shard)["numbers"],
                    seed=DATASETS[dataset]["generated"]["seed"],
                    split=DATASETS[dataset]["split"],
                    code=fingerprint("datasets.generator.scans"),
                message:
                    f"Raw scans of {dataset}/{raw_scans.place(category, shard)}, generated"
                script:
                    "../scripts/generate.py"
