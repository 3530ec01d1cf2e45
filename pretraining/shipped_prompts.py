"""The prompts that come with the package, and what generated scans score by them: `make shipped_prompts`.

Prompts are those of the embedded default, PointAD+ learnt on generated carrots (organised) and shells (points). The
reference scores are of generated scans of the categories that these have not seen, scored as `pointad predict` does.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from pointad_core.datasets.generator.catalogue import generated_scans
from pointad_core.datasets.generator.scans import generate_category
from pointad_core.methods import shipped
from pointad_core.predict.predictor import Predictor
from pointad_core.predict.scan import Wanted, read_scan
from pointad_core.storage import files, jobs

SOURCES = {shipped.ORGANISED: "mvtec3d/carrot", shipped.POINTS: "real3d/shell"}
"""Where the run has each file's prompts."""
REFERENCES = {
    "front": ("mvtec3d", ("bagel", "cable_gland", "cookie"), Wanted()),
    "around": ("real3d", ("diamond", "starfish", "toffees"), Wanted(facing="around")),
}
"""By the views, the layout and the categories of the scans, and how they are looked at."""
SCANS = 10
SEED = 2


def score_references(root: Path) -> dict[str, Any]:
    """Object scores of good and of defective scans, by their views and modality; scans are generated below `root`."""
    references: dict[str, Any] = {}
    for views, (layout, categories, wanted) in REFERENCES.items():
        predictor = Predictor.load(wanted)
        found: dict[str, dict[str, list[float]]] = {}
        for category in categories:
            generate_category(root / layout, layout, category, range(SCANS), SEED)
            scans = generated_scans(layout, category, SCANS)
            for name, paths in jobs.progress(scans.items(), f"{views} {category}"):
                path, *_ = (root / layout / file for file in paths.values())
                photograph = root / layout / paths["rgb"] if "rgb" in paths else None
                kind = "good" if name.startswith("good") else "defective"
                for key, score in predictor(read_scan(path, photograph, wanted)).objects.items():
                    kinds = found.setdefault(key.removeprefix("object_"), {"good": [], "defective": []})
                    kinds[kind].append(round(score, 6))
        references[views] = {
            modality: {kind: sorted(scores) for kind, scores in kinds.items()} for modality, kinds in found.items()
        }
    return references


def main(prompts: Path) -> None:
    """Copy the prompts of a run (`results/prompts/pointad_plus`) into the package, and score the references."""
    for target, source in SOURCES.items():
        with files.replacing(target) as place:
            shutil.copyfile(prompts / source / "111.safetensors", place)
    with tempfile.TemporaryDirectory() as root, files.replacing(shipped.REFERENCES) as place:
        place.write_text(json.dumps(score_references(Path(root)), indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
