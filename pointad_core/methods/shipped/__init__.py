"""Prompts of PointAD+ for the bundled CLIP, so that a scan can be scored with nothing else (README.md)."""

from pathlib import Path

ORGANISED = Path(__file__).parent / "organised.safetensors"
"""For scans on a pixel grid, and others that a camera has seen from one side."""
POINTS = Path(__file__).parent / "points.safetensors"
"""For point clouds that are seen from all round."""
REFERENCES = Path(__file__).parent / "references.json"
"""Object scores of generated scans by these prompts, for comparison."""
