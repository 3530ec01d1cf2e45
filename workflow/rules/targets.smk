"""Targets with names: what a user asks for as a whole."""


localrules:
    all_tables,
    all_figures,
    all_heatmaps,
    all_predictions,
    all_viewers,


rule all_tables:
    """Every table as LaTeX and CSV, one document with all of them, and the summaries by data set and split."""
    input:
        expand("results/tables/{name}.{format}", name=tables.names(config), format=["tex", "csv"]),
        "results/tables/tables.tex",
        tables.summaries(config),
        [] if config["ablations"] or overhead.is_asked(config) else tables.nothing_to_show(config),


rule all_figures:
    """The figures of score maps as PDF and PNG, with their captions, and one document with all of them."""
    input:
        figures.targets(config),


rule all_heatmaps:
    """Contact sheets of every category that a data set's experiment tested."""
    input:
        tables.heatmaps(config),
        tables.nothing_to_show(config),


rule all_viewers:
    """A page to turn the scans on for every category that a data set's experiment tested."""
    input:
        tables.viewers(config),
        tables.nothing_to_show(config),


rule all_predictions:
    """Heat maps of every folder of the user's own scans, and a table of each."""
    input:
        own.targets(config),
