"""Write scores as files that other evaluations read, or as a table.

formats:
  mvtec    OUT/<object>/test/<defect>/<id>.tiff, float32 at the scan's own image size: what the evaluation of MVTec
           3D-AD takes
  real3d   OUT/<category>/<name>.txt, a row `x y z score` for each point, in the file's own order
  objects  OUT, a CSV: a row for each scan, its object scores and what they are made of; without --data

examples:
  pointad export results/scores/pointad_plus/mvtec3d/carrot/111/mvtec3d.zarr.zip --data /data/mvtec3d \\
      --format mvtec --out maps
  pointad export results/scores/pointad_plus/mvtec3d/carrot/111/real3d.zarr.zip --data /data/real3d \\
      --format real3d --out rows
  pointad export results/scores/pointad_plus/real3d/shell/111/real3d.zarr.zip --format objects --out objects.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pointad_core.datasets.registry import LAYOUTS
from pointad_core.errors import InputError

LAYOUT_OF = {"mvtec": "mvtec3d", "real3d": "real3d"}
"""Layout of the data that is most often exported so."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which scores, of which data, as what."""
    parser.add_argument("scores", type=Path, metavar="SCORES", help="a store of scores, results/scores/.../*.zarr.zip")
    parser.add_argument(
        "--format", required=True, choices=[*LAYOUT_OF, "objects"], dest="form", help="what to write, see above"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="OUT", help="new folder for the files, or the CSV")
    parser.add_argument(
        "--data", type=Path, metavar="ROOT", help="folder of the data set, as `root` in the config; only read"
    )
    parser.add_argument("--layout", choices=list(LAYOUTS), help="how ROOT is laid out (default: by the format)")
    parser.add_argument(
        "--modality", choices=["3d", "m3d"], default="3d", help="scores of points alone, or with RGB (default: 3d)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Export; 0 where every scan was written."""
    from pointad_core.stages.exports import export_objects, export_scores

    if arguments.form == "objects":
        print(f"{arguments.out}: {export_objects(arguments.scores, arguments.out)} scans")
        return 0
    if arguments.data is None:
        raise InputError(f"format {arguments.form!r} needs --data, the data set's folder")
    layout = arguments.layout or LAYOUT_OF[arguments.form]
    count = export_scores(arguments.scores, arguments.data, layout, arguments.form, arguments.out, arguments.modality)
    print(f"{arguments.out}: {count} scans")
    return 0
