"""Pages and pictures for the report of a run, `snakemake --report`; what else it shows is marked in its own rule."""


localrules:
    all_report,
    report_tables,
    report_curves,
    report_runtimes,


TABLE_PAGES, SUMMARY_PAGES = reporting.table_pages(config), reporting.summary_pages(config)


rule all_report:
    """The tables, and what the report of the run shows of them."""
    input:
        rules.all_tables.input,
        reporting.targets(config),


rule report_tables:
    """Each table and each summary as a page."""
    input:
        tables=[page["csv"] for page in (TABLE_PAGES | SUMMARY_PAGES).values()],
    output:
        tables=[
            report(path, caption=page["caption"], category="Tables", labels=page["labels"])
            for path, page in TABLE_PAGES.items()
        ],
        summaries=[
            report(path, caption=page["caption"], category="Summaries", labels=page["labels"])
            for path, page in SUMMARY_PAGES.items()
        ],
    log:
        "logs/report/tables.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        titles=[page["title"] for page in (TABLE_PAGES | SUMMARY_PAGES).values()],
        batch=tables.batch_methods(config),
        code=fingerprint("stages.report"),
    script:
        "../scripts/report_tables.py"


rule report_curves:
    """Losses of everything that is learnt on a data set's auxiliary classes."""
    input:
        curves=lambda wildcards: reporting.flat(reporting.trainings_of(config, wildcards.dataset)),
    output:
        curves=report(
            "results/report/curves/{dataset}.png",
            caption="../report/curves.rst",
            category="Training",
            labels={"losses on": "{dataset}"},
        ),
    log:
        "logs/report/curves/{dataset}.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        trainings=lambda wildcards: reporting.trainings_of(config, wildcards.dataset),
        code=fingerprint("stages.report"),
    script:
        "../scripts/report_curves.py"


rule report_runtimes:
    """What the jobs of each stage took, by the benchmarks in this folder."""
    input:
        # Benchmarks are no results: where one is missing nothing is made again for its sake. They are read when the
        # tables are there.
        rules.all_tables.input,
    output:
        runtimes=report(
            "results/report/runtimes.html",
            caption="../report/runtimes.rst",
            category="Run times",
            labels={"run times": "of all stages"},
        ),
    log:
        "logs/report/runtimes.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        stages=list(reporting.STAGES),
        code=fingerprint("stages.report"),
    script:
        "../scripts/report_runtimes.py"
