"""Scans of one's own: from a file to heat maps, pages and scores."""
