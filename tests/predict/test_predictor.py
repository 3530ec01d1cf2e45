"""The prompts and views that suit a scan, and that nothing is changed of what the workflow would compute."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import own_scans as shapes
import raw_files
import torch

from pointad_core.detector import Detector
from pointad_core.methods.shipped import ORGANISED, POINTS
from pointad_core.predict.predictor import AROUND, CLOUDS, Predictor, with_point_size
from pointad_core.predict.scan import Scan, Wanted, read_scan


def test_a_scan_as_the_prompts_have_it_is_scored_as_the_detector_does_bit_for_bit(tmp_path):
    torch.set_num_threads(1)
    points = shapes.camera_scan(140)
    points[:, :20] = 0
    rgb = np.random.default_rng(0).integers(0, 255, points.shape, dtype=np.uint8)
    path = raw_files.write(tmp_path / "000.tiff", raw_files.tiff(points))
    picture = raw_files.write(tmp_path / "000.png", raw_files.png(rgb))
    wanted = Wanted(background="remove", point_size=7)
    found = Predictor.load(wanted, ORGANISED, "cpu")(read_scan(path, picture, wanted))
    expected = Detector.load(ORGANISED, "cpu")(points, rgb)
    np.testing.assert_array_equal(found.scores, expected.points)
    assert found.objects == expected.objects
    assert found.rank is None  # Of prompts of one's own nothing is known.


def test_the_views_go_round_where_the_scan_is_closed():
    scan = read_scan_of(shapes.tube(500, np.random.default_rng(0)))
    shipped, own = Predictor.load(device="cpu"), Predictor.load(prompts=ORGANISED, device="cpu")
    front, around = (shipped.detector(side) for side in (False, True))
    assert (front.renders["views"]["x"], front.renders["point_size"]) == ([-45, -15, 0, 15, 45], 7)
    assert around.renders["views"]["x"] == AROUND["x"]
    assert around.extent > 20 > 1 > front.extent
    assert own.detector(False).renders["views"] == front.renders["views"]
    assert own.detector(True).renders["views"] == AROUND
    # Prompts that were learnt from all round look so at a sheet as well.
    assert Predictor.load(prompts=POINTS, device="cpu").detector(False).renders["views"] == AROUND
    # Fewer points are drawn larger.
    sizes = [with_point_size(around, scan_of).renders["point_size"] for scan_of in (scan, denser(scan))]
    assert sizes[0] > sizes[1] >= 5
    assert with_point_size(around, scan, 3).renders["point_size"] == 3


def read_scan_of(points):
    all_of = np.ones(len(points), bool)
    return Scan(Path("part.ply"), points, all_of, all_of, None, None, None, None, ())


def denser(scan):
    points = shapes.tube(20000, np.random.default_rng(0))
    return replace(scan, points=points, valid=np.ones(20000, bool), kept=np.ones(20000, bool))


def test_what_scores_depend_on_is_told_by_plain_values():
    made = Predictor.load(Wanted(facing=np.array([0.0, 0, 1]))).made
    assert made["settings"]["facing"] == [0, 0, 1]
    assert made["model"]["model"] == "pointad-pocket"
    other = Predictor.load(Wanted(), ORGANISED).made
    assert other["prompts_sha256"] != made["prompts_sha256"]
    assert len(made["prompts_sha256"]) == 64
    # The same file, said to be in inches, is another size to the prompts; in millimetres it is not.
    settings = [Predictor.load(Wanted(unit=unit)).made["settings"] for unit in (None, "mm", "inch")]
    assert settings[0] == settings[1] != settings[2]
    # Depths that another camera has taken are other points.
    cameras = [Predictor.load(Wanted(intrinsics=c)).made["settings"] for c in (None, (500, 500, 320, 240))]
    assert cameras[1] == {**cameras[0], "intrinsics": [500, 500, 320, 240]}


def test_scores_are_put_together_as_one_says():
    torch.set_num_threads(1)
    scan = read_scan_of(shapes.tube(3000, np.random.default_rng(1)))
    settings = {"object_share": 0.05, "view_weights": "incidence"}
    usual, other = Predictor.load(device="cpu"), Predictor.load(device="cpu", settings=settings)
    one, two = usual(scan), other(scan)
    assert one.score_parts.keys() - two.score_parts.keys() == {"maximum"}
    assert two.score_parts.keys() - one.score_parts.keys() == {"highest"}
    assert two.object == 0.5 * two.score_parts["global"] + 0.5 * two.score_parts["highest"]
    count = round(0.05 * len(two.arrays["points_3d"]))
    of_points = np.sort(two.arrays["points_3d"].astype(float))[-count:]
    np.testing.assert_allclose(two.score_parts["highest"], of_points.mean(), atol=1e-6)
    assert not np.allclose(one.scores, two.scores, rtol=0.01, atol=0)
    # A threshold tells the two apart, and the package's scores of reference scans are made as usual.
    assert other.made["settings"] == {**usual.made["settings"], "scores": settings}
    assert one.rank is not None
    assert two.rank is None


def test_many_points_are_thinned_by_voxels_and_all_have_scores(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setitem(CLOUDS, "n_points", 1000)
    scan = read_scan_of(shapes.tube(5000, np.random.default_rng(0)))
    found = Predictor.load(device="cpu")(scan)
    assert len(found.arrays["points_3d"]) <= 1000
    assert found.scores.shape == (5000,)
    assert np.isfinite(found.scores).all()
