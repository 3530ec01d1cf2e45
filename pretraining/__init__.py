"""How the small CLIP of pointad_core was made: shapes, views, captions, first weights and training.

Nothing here is read by a run that uses the model; `snakemake --snakefile pretraining/Snakefile` runs it from the
beginning.
"""
