"""Data sets on disk, a module for each layout, and the generator of the embedded ones."""
