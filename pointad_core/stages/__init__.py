"""The stages of the workflow: files in, files out. What they compute stands in the other rooms."""
