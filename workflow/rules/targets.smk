"""Targets with names: what a user asks for as a whole."""


localrules:
    all_tables,
    all_heatmaps,
    pocket_clip,


rule all_tables:
    """Tables 1-4 as LaTeX and CSV, one document with all of them, and the summaries by data set and split."""
    input:
        expand("results/tables/table{number}.{format}", number=[1, 2, 3, 4], format=["tex", "csv"]),
        "results/tables/tables.tex",
        get_summaries(),


rule all_heatmaps:
    """Contact sheets of every category that a data set's experiment tested, and the methods side by side."""
    input:
        get_heatmaps(),


rule pocket_clip:
    """The small CLIP of the embedded default, trained from the beginning, and its quality."""
    input:
        weights="results/pretraining/pointad-pocket.safetensors",
        quality="results/pretraining/quality.csv",
