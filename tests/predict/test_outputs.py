"""What is written of a scan, opened again by other libraries than wrote it."""

import csv
import json
import os
from dataclasses import replace

import numpy as np
import open3d as o3d
import own_scans as shapes
import plyfile
import pytest
import raw_files
import torch
from PIL import Image

from pointad_core.errors import InputError
from pointad_core.predict import outputs
from pointad_core.predict.batch import predict_files
from pointad_core.predict.calibration import calibrate, write_calibration
from pointad_core.predict.inputs import find_inputs
from pointad_core.predict.predictor import Predictor
from pointad_core.predict.scan import Wanted, read_scan


@pytest.fixture(scope="module")
def organised(tmp_path_factory):
    """A scan with a photograph, missing points and a background, as a prediction."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("organised")
    points = shapes.camera_scan(120)
    points[:, :20] = np.nan
    raw_files.write(root / "scan.tiff", raw_files.tiff(points))
    raw_files.write(root / "scan.png", raw_files.png(np.full((120, 120, 3), 90, np.uint8)))
    predictor = Predictor.load(device="cpu")
    return predictor(read_scan(root / "scan.tiff", root / "scan.png", predictor.wanted))


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A closed part in no order, as a prediction."""
    torch.set_num_threads(1)
    path = shapes.write_ply(tmp_path_factory.mktemp("closed") / "tube.ply", shapes.tube(3000, np.random.default_rng(0)))
    return Predictor.load(device="cpu")(read_scan(path))


def test_every_point_of_the_file_has_its_score(organised, closed):
    assert organised.kind == "front"
    assert organised.modality == "m3d"
    assert organised.scores.shape == (120, 120)
    np.testing.assert_array_equal(np.isfinite(organised.scores), organised.scan.kept)
    assert set(organised.branches) == {"implicit", "explicit", "rgb"}
    assert closed.kind == "around"
    assert closed.scores.shape == (3000,)
    assert np.isfinite(closed.scores).all()
    assert set(closed.branches) == {"implicit", "explicit"}
    for found in (organised, closed):
        for part in found.branches.values():
            np.testing.assert_array_equal(np.isfinite(part), np.isfinite(found.scores))
        assert found.view_maps.shape == (9, 336, 336)
        assert found.rank is not None
    # 3-D alone is half of each branch; the filter is linear.
    mean = 0.5 * closed.branches["implicit"] + 0.5 * closed.branches["explicit"]
    np.testing.assert_allclose(closed.scores, mean, atol=1e-5)


def test_the_summary_tells_what_the_score_is_made_of(organised, closed):
    parts = outputs.summarise(closed, "tube")["score_parts"]
    assert list(parts) == ["global", "maximum", "implicit", "explicit"]
    assert (parts["global"] + parts["maximum"]) / 2 == pytest.approx(closed.object)
    assert parts["maximum"] == pytest.approx(np.nanmax(closed.scores))
    parts = outputs.summarise(organised, "part")["score_parts"]
    assert list(parts) == ["global", "maximum", "implicit", "explicit", "rgb"]
    assert (parts["global"] + parts["maximum"]) / 2 == pytest.approx(organised.object)


def test_the_ply_is_read_by_others(tmp_path, organised, closed):
    for found in (organised, closed):
        path = tmp_path / "part.ply"
        outputs.write_ply(path, found.scan.points, found.scan.valid, found.scores, found.colour_range)
        vertices = plyfile.PlyData.read(path)["vertex"]
        assert [prop.name for prop in vertices.properties] == ["x", "y", "z", "red", "green", "blue", "scalar_score"]
        places = np.stack([vertices[axis] for axis in "xyz"], axis=1)
        np.testing.assert_array_equal(places, found.scan.points[found.scan.valid].astype(np.float32))
        np.testing.assert_array_equal(vertices["scalar_score"], found.scores[found.scan.valid])
        cloud = o3d.t.io.read_point_cloud(str(path))
        np.testing.assert_array_equal(cloud.point.positions.numpy(), places)
        np.testing.assert_array_equal(cloud.point["scalar_score"].numpy()[:, 0], vertices["scalar_score"])
        colours = cloud.point.colors.numpy()
        scored = np.isfinite(vertices["scalar_score"])
        assert (colours[~scored] == outputs.GREY).all()
        # The lowest score is dark blue, the highest yellow.
        order = np.argsort(vertices["scalar_score"][scored])
        assert colours[scored][order[-1]].tolist() == [253, 231, 37]
        assert colours[scored][order[0]].tolist() == [68, 1, 84]
        legacy = o3d.io.read_point_cloud(str(path))
        np.testing.assert_allclose(np.asarray(legacy.points), places)


def test_the_page_calls_points_as_the_tables_do(organised):
    found, summary = organised, outputs.summarise(organised, "part")
    for most in (None, 500):
        shown = outputs.to_shown(found, summary, most)
        np.testing.assert_array_equal(found.scan.points.reshape(-1, 3)[shown.numbers], shown.points)
        highest = shown.numbers[np.nanargmax(shown.scores["score"])]
        assert highest == summary["maximum"]["index"]


def test_large_coordinates_keep_their_digits(tmp_path):
    points = np.random.default_rng(0).random((50, 3)) + np.array((5e5, 5.4e6, 100))
    outputs.write_ply(tmp_path / "part.ply", points, np.ones(50, bool), np.arange(50, dtype=np.float32), (0, 49))
    vertices = plyfile.PlyData.read(tmp_path / "part.ply")["vertex"]
    np.testing.assert_array_equal(np.stack([vertices[axis] for axis in "xyz"], axis=1), points)
    outputs.write_csv(tmp_path / "part.csv", points, np.arange(50, dtype=np.float32))
    rows = np.loadtxt(tmp_path / "part.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(rows[:, :3], points)


def test_the_tables_have_every_point_in_the_files_order(tmp_path, organised, closed):
    for found in (organised, closed):
        outputs.write_csv(tmp_path / "part.csv", found.scan.points, found.scores)
        with open(tmp_path / "part.csv", newline="") as file:
            header, *rows = csv.reader(file)
        assert header == ["x", "y", "z", "score"]
        numbers = np.array(rows, dtype=np.float64)
        np.testing.assert_array_equal(numbers[:, :3].astype("f4"), found.scan.points.reshape(-1, 3).astype("f4"))
        np.testing.assert_allclose(numbers[:, 3], found.scores.ravel(), rtol=1e-6)
        outputs.write_npz(tmp_path / "part.npz", found)
        with np.load(tmp_path / "part.npz") as arrays:
            np.testing.assert_array_equal(arrays["score"], found.scores)
            assert arrays["object"] == found.object
            assert set(arrays) == {"score", "object", *found.branches}


def test_a_folder_of_results_is_whole_and_says_what_was_found(tmp_path, organised):
    folder = tmp_path / "a" / "part"
    summary = outputs.write_all(organised, "part", folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        f"part.{end}" for end in ("csv", "html", "json", "npz", "ply", "png")
    ]
    assert os.listdir(tmp_path / "a") == ["part"]
    found = json.loads((folder / "part.json").read_text())
    assert found == json.loads(json.dumps(summary))
    assert found["decision"] == "uncalibrated"
    assert found["points"]["all"] == 120 * 120
    assert found["points"]["missing"] == 20 * 120
    row, column = found["maximum"]["row"], found["maximum"]["column"]
    assert organised.scores[row, column] == np.nanmax(organised.scores) == found["maximum"]["score"]
    np.testing.assert_array_equal(found["maximum"]["point"], organised.scan.points[row, column])
    assert found["made"]["prompts_sha256"] == organised.made["prompts_sha256"]
    with Image.open(folder / "part.png") as image:
        # The frontal view above its map, and the photograph.
        assert image.size == (2 * 336, 2 * 336 + 2 * 26)
        colours = np.asarray(image)
    assert (colours[30:360, 5:330] == colours[30:360, 5:330, :1]).all()
    assert (colours[366:698, 5:330] != colours[366:698, 5:330, :1]).any()
    text = (folder / "part.html").read_text()
    assert "implicit" in text
    # Again: over its own files, and leaving others.
    (folder / "mine.txt").write_text("x")
    outputs.write_all(organised, "part", folder)
    assert (folder / "mine.txt").read_text() == "x"


def test_a_full_disk_leaves_nothing_half_written(tmp_path, closed, monkeypatch):
    folder = tmp_path / "part"
    outputs.write_all(closed, "part", folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(path, *_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs, "write_npz", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        outputs.write_all(closed, "part", folder)
    assert caught.value.filename == str(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert os.listdir(tmp_path) == ["part"]


def test_a_threshold_decides_and_one_that_was_made_otherwise_is_refused(tmp_path, closed):
    path = tmp_path / "part.json"
    for offset, decision in ((-0.01, "defective"), (0.0, "good")):
        scores = {f"{number}.ply": closed.object + offset - 1e-3 * number for number in range(20)}
        write_calibration(
            path, replace(calibrate(scores, [0.9] * 20, 0.05), **closed.made, modality="3d", views="around")
        )
        predictor = Predictor.load(device="cpu", threshold=path)
        found = replace(closed, calibration=predictor.calibration)
        assert found.decision == decision
        assert decision in outputs.tell(found)
        summary = outputs.summarise(found, "part")
        assert (summary["threshold"]["false_alarm_rate"], summary["threshold"]["points"]) == (0.05, 0.9)
        # The colours reach as high as good scans' points do, so that a good part stays dark.
        assert found.colour_range == (closed.colour_range[0], 0.9)
        assert outputs.to_shown(found, summary).threshold == 0.9
        outputs.write_ply(path.with_suffix(".ply"), found.scan.points, found.scan.valid, found.scores, (0, 0.9))
        assert plyfile.PlyData.read(path.with_suffix(".ply"))["vertex"]["red"].max() < 253
    for other in ({"prompts_sha256": "0" * 64}, {"settings": {**closed.made["settings"], "rgb": False}}):
        write_calibration(
            path,
            replace(calibrate(scores, [0.9] * 20, 0.05), **{**closed.made, **other}, modality="3d", views="around"),
        )
        with pytest.raises(InputError, match=r"part\.json: was made with other (prompts|settings)"):
            Predictor.load(threshold=path)


def test_many_scans_go_on_where_one_cannot_be_read(tmp_path):
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    shapes.write_ply(tmp_path / "in/a.ply", shapes.dome(800, rng))
    raw_files.write(tmp_path / "in/b.ply", b"ply\nnothing")
    shapes.write_pcd(tmp_path / "in/c/d.pcd", shapes.dome(800, rng))
    out, said, failed = tmp_path / "out", [], []
    inputs = find_inputs([tmp_path / "in"], out)
    done = predict_files(Predictor.load(device="cpu"), inputs, out, say=said.append, complain=failed.append)
    assert list(done.summaries) == ["a", "c/d"]
    assert list(done.failures) == ["b"]
    assert failed[0].startswith(str(tmp_path / "in/b.ply"))
    assert [line.split(":")[0] for line in said if not line.startswith(" ")] == ["a", "c/d"]
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.html")) == [
        "a/a.html",
        "c/d/d.html",
        "index.html",
    ]
    with open(out / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["a", "b", "c/d"]
    assert float(rows[0]["object_score"]) == pytest.approx(done.summaries["a"]["object_score"], rel=1e-6)
    assert rows[1]["failure"] == failed[0]


def test_the_score_does_not_depend_on_unit_place_or_axes(tmp_path):
    torch.set_num_threads(1)
    rng = np.random.default_rng(2)
    # Longer than wide, and to one side: a ball has no up.
    points = shapes.dome(3000, rng) * (1.5, 1, 1)
    points[:, 2] += 3 * np.exp(-((points[:, :2] - (20, 5)) ** 2).sum(1) / 40)
    reference = None
    for number, change in enumerate((np.eye(3), np.eye(3) * 0.001, shapes.turn(rng), np.eye(3))):
        path = shapes.write_ply(tmp_path / f"{number}.ply", points @ change.T + (1e6 if number == 3 else 0))
        found = Predictor.load(Wanted(facing="auto"), device="cpu")(read_scan(path))
        reference = reference or found
        # Along the file's axes the front is exact, otherwise it is found to a few degrees.
        close, alike = (0.01, 0.95) if number == 2 else (1e-3, 0.999)
        assert found.object == pytest.approx(reference.object, abs=close), number
        assert np.corrcoef(found.scores, reference.scores)[0, 1] > alike, number
