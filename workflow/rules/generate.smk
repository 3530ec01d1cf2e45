"""Raw scans of data sets that the config has generated, in the published layouts."""

# A rule for each category or shard, not one with wildcards: so its output is every single file, and a raw scan that
# was deleted is noticed and made again.
for dataset, settings in DATASETS.items():
    for category in settings["categories"] if "generated" in settings else ():
        for shard in list_raw(dataset, category):

            rule:
                name:
                    f"generate_{dataset}_{category}" + (f"_{shard}" if shard else "")
                output:
                    files=get_generated_files(dataset, category, shard),
                log:
                    f"logs/generate/{dataset}/{get_place(category, shard)}.log",
                conda:
                    "../../envs/pointad.yaml"
                threads: 1
                resources:
                    mem_mb=grows(2000),
                    runtime=grows(10 + count_scans(dataset, category, shard) / 10),
                params:
                    dataset=dataset,
                    layout=settings["layout"],
                    category=category,
                    shard=shard,
                    scans=get_generated_numbers(dataset, category, shard),
                    seed=settings["generated"]["seed"],
                    code=fingerprint(
                        "datasets.generate", "datasets.camera", "datasets.shapes", "datasets", "files", "shards"
                    ),
                message:
                    f"Raw scans of {dataset}/{get_place(category, shard)}, generated"
                script:
                    "../scripts/generate.py"
