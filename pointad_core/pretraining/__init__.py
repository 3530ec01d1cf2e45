"""How the small CLIP of this package was made: shapes, views, captions, first weights and training.

Nothing here is read by a run that uses the model; `snakemake pocket_clip` runs it from the beginning.
"""
