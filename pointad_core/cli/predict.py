"""Show where scans are defective.

Reads scans, looks at them from several sides, and writes for each a page to turn it (HTML), a coloured point cloud
(PLY), a score for every point (npz), a picture (PNG) and what was found in words and numbers (JSON).

examples:
  pointad predict part.ply
  pointad predict scans/ --out results/mine
  pointad predict part.ply --prompts results/prompts/pointad_plus/mvtec3d/carrot/111.safetensors
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be said of the scans and of what shall come out."""
    parser.add_argument("scans", nargs="+", metavar="SCAN", help="files, or folders of files")


def run(arguments: argparse.Namespace) -> int:
    """Predict; 0 where every scan was read."""
    raise NotImplementedError
