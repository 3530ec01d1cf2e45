# It takes a second, less than a place in a cluster's queue.
localrules:
    figures_document,


rule figures:
    """One of the figures of score maps, its caption, and a table of what it shows."""
    input:
        stores=lambda wildcards: figures.figure_stores(config, wildcards.figure),
    output:
        pdf="results/figures/{figure}.pdf",
        png=report(
            "results/figures/{figure}.png",
            caption="../report/figures.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        tex="results/figures/{figure}.tex",
        txt="results/figures/{figure}.txt",
        csv="results/figures/{figure}.csv",
    log:
        "logs/figures/{figure}.log",
    benchmark:
        "benchmarks/figures/{figure}.tsv"
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000),
        runtime=grows(60),
    params:
        figure=lambda wildcards: figures.figure_options(config, wildcards.figure),
        stores=lambda wildcards: figures.figure_stores(config, wildcards.figure),
        code=lambda wildcards: figures.figure_code(config, wildcards.figure),
    message:
        "Figure {wildcards.figure}"
    script:
        "../scripts/figures.py"


rule figures_document:
    """One LaTeX document with all figures."""
    input:
        bodies=expand("results/figures/{figure}.tex", figure=config["figures"]),
        # What the document shows, found in its own folder when it is compiled.
        pictures=expand("results/figures/{figure}.pdf", figure=config["figures"]),
    output:
        tex="results/figures/figures.tex",
    log:
        "logs/figures/figures.log",
    conda:
        "../../envs/pointad.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        landscape=False,
        code=fingerprint("stages.tables"),
    script:
        "../scripts/document.py"
