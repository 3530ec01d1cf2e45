"""What the documents show in Python runs."""

import re
from pathlib import Path

import numpy as np
import own_scans as shapes
import pytest
import torch

REPOSITORY = Path(__file__).parents[2]


def blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (REPOSITORY / name).read_text(), re.DOTALL)


@pytest.mark.parametrize("number", [0, 1])
def test_the_python_of_the_manual_runs(number, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    points = shapes.camera_scan(120)
    shapes.write_ply(tmp_path / "part.ply", points[30:90, 30:90].reshape(-1, 3))
    rgb = np.random.default_rng(0).integers(0, 255, points.shape, dtype=np.uint8)
    names = {"points": points, "rgb": rgb}
    exec(blocks("docs/predict.md")[number], names)  # noqa: S102
    found = names["found"]
    scores = found.scores if number == 0 else found.points
    assert scores.shape == ((3600,) if number == 0 else (120, 120))
    assert np.isfinite(scores).all()
    assert 0 < found.object < 1


def test_a_detector_without_a_path_has_the_prompts_of_the_package():
    from pointad_core.detector import Detector
    from pointad_core.methods.shipped import ORGANISED, POINTS

    points = shapes.camera_scan(120)
    (default, by_path, other) = (
        Detector.load(*words, device="cpu")(points).object for words in ((), (ORGANISED,), (POINTS,))
    )
    assert default == by_path != other


def test_the_shipped_prompts_are_of_the_shipped_model():
    from pointad_core.clip.models_index import bundled_weights
    from pointad_core.methods.shipped import ORGANISED, POINTS
    from pointad_core.storage.prompt_files import read_provenance

    for path, layout in ((ORGANISED, "mvtec3d"), (POINTS, "real3d")):
        made = read_provenance(path)
        assert made["model"]["pretrained"] in bundled_weights(made["model"]["model"])
        assert made["system"]["module"] == "methods.pointad_plus"
        assert made["inputs"]["layout"]["name"] == layout
        assert path.stat().st_size < 50_000
