"""Small data sets, generated in exactly the published layouts."""
