"""Raw scans of data sets that the config has generated, in the published layouts."""

# A rule for each category, not one with wildcards: so its output is every single file, and a raw scan that was
# deleted is noticed and made again.
for dataset, settings in DATASETS.items():
    for category in settings["categories"] if "generated" in settings else ():

        rule:
            name:
                f"generate_{dataset}_{category}"
            output:
                files=list_raw(dataset, category),
            log:
                f"logs/generate/{dataset}/{category}.log",
            conda:
                "../../envs/pointad.yaml"
            threads: 1
            resources:
                mem_mb=grows(2000),
                runtime=grows(10, 0.1, of=lambda _: settings["generated"]["scans"]),
            params:
                dataset=dataset,
                layout=settings["layout"],
                category=category,
                options=pick(settings["generated"], "scans", "seed"),
                code=fingerprint("datasets.generate", "datasets.camera", "datasets.shapes", "datasets", "files"),
            message:
                f"Raw scans of {dataset}/{category}, generated"
            script:
                "../scripts/generate.py"
