"""`pointad calibrate`: good scans in, a threshold out that a prediction takes, or one line that says why not."""

import json
from pathlib import Path

import pytest
import raw_files

from pointad_core.cli.main import main
from pointad_core.datasets.generator.scans import generate_category
from pointad_core.datasets.registry import reader
from pointad_core.methods.shipped import POINTS
from pointad_core.predict.batch import predict_file
from pointad_core.predict.calibration import read_calibration
from pointad_core.predict.predictor import Predictor

DEFECTIVE = "005_sink"


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """Five good scans and a defective one, of a few thousand points each."""
    folder = tmp_path_factory.mktemp("scans")
    generate_category(folder / "raw", "real3d", "diamond", range(10), seed=4)
    module = reader("real3d")
    for scan in module.find_scans(folder / "raw", "diamond"):
        good = scan.defect == "good"
        path = folder / ("good" if good else "bad") / f"{scan.path.stem}.pcd"
        if good or scan.path.stem == DEFECTIVE:
            raw_files.write(path, raw_files.pcd(module.read(scan).points[::8], "binary"))
    return folder


@pytest.fixture(scope="module")
def threshold(scans) -> Path:
    path = scans / "part.json"
    assert main(["calibrate", str(scans / "good"), "--out", str(path), "--false-alarm-rate", "0.2"]) == 0
    return path


def test_the_threshold_is_the_highest_of_as_few_scans_as_are_enough(scans, threshold):
    found = read_calibration(threshold)
    predictor = Predictor.load()
    expected = {path.stem: predict_file(predictor, path).object for path in sorted((scans / "good").iterdir())}
    assert found.scores == expected
    assert found.threshold == max(expected.values())
    assert (found.n, found.false_alarm_rate, found.modality, found.views) == (5, 0.2, "3d", "front")
    # At least one of five scores in six is above: from 0.5 % to 52 %.
    assert found.interval == pytest.approx((0.00505, 0.5218), abs=1e-4)
    again = threshold.with_name("again.json")
    assert main(["calibrate", str(scans / "good"), "--out", str(again), "--false-alarm-rate", "0.2"]) == 0
    assert again.read_bytes() == threshold.read_bytes()


def test_a_prediction_says_yes_or_no_by_it(scans, threshold, tmp_path, capsys):
    (path,) = (scans / "bad").iterdir()
    score = predict_file(Predictor.load(), path).object
    for number, (limit, decision) in enumerate([(score, "good"), (score - 1e-9, "defective")]):
        content = json.loads(threshold.read_text()) | {"threshold": limit}
        other = raw_files.write(tmp_path / f"{number}.json", json.dumps(content))
        out = tmp_path / str(number)
        assert main(["predict", str(path), "--out", str(out), "--threshold", str(other)]) == 0
        summary = json.loads((out / path.stem / f"{path.stem}.json").read_text())
        assert summary["decision"] == decision
        assert summary["threshold"]["false_alarm_rate"] == 0.2
        assert f"{decision} (defective above" in capsys.readouterr().out


def test_it_is_refused_for_scores_that_are_made_otherwise(scans, threshold, tmp_path, capsys):
    scan = str(next((scans / "bad").iterdir()))
    for words, told in (
        (["--prompts", str(POINTS)], "was made with other prompts than these scores; calibrate again"),
        (["--stray", "keep"], "was made with other settings than these scores: stray was 'remove' and is 'keep'"),
    ):
        assert main(["predict", scan, "--out", str(tmp_path), "--threshold", str(threshold), *words]) == 1
        assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_scans_of_another_kind_are_uncalibrated_and_told_why(scans, threshold, tmp_path):
    """The same scans, as if they had been calibrated on closed ones, or on ones with points on a grid."""
    found = json.loads(threshold.read_text())
    assert found["organised"] is False
    (path,) = (scans / "bad").iterdir()
    for key, value, told in (
        ("views", "around", "the threshold is for scans that are looked at from all round"),
        ("organised", True, "the threshold is for scans that are organised (points on a grid); this one is in no"),
    ):
        other = raw_files.write(tmp_path / "other.json", json.dumps({**found, key: value}))
        assert main(["predict", str(path), "--out", str(tmp_path / "out"), "--threshold", str(other)]) == 0
        summary = json.loads((tmp_path / "out" / path.stem / f"{path.stem}.json").read_text())
        assert summary["decision"] == "uncalibrated"
        assert any(told in note for note in summary["notes"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "false-alarm rate 0.05: at least 19 good scans are needed, and 5 allow a rate of 0.167 or more"),
        (["--false-alarm-rate", "2"], "false-alarm rate 2: expected a number between 0 and 1"),
        (["--false-alarm-rate", "0.2", "--prompts", "none.safetensors"], "none.safetensors: no such prompts"),
        (["--false-alarm-rate", "0.2", "--unit", "ell"], "unit 'ell' is unknown"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(scans, tmp_path, capsys, words, told):
    assert main(["calibrate", str(scans / "good"), "--out", str(tmp_path / "part.json"), *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pointad: ")
    assert told in line
    assert list(tmp_path.iterdir()) == []


def test_another_ending_is_refused(scans, capsys):
    assert main(["calibrate", str(scans / "good"), "--out", "part.ply"]) == 1
    assert "expected a file whose name ends in .json" in capsys.readouterr().err


def test_a_scan_that_cannot_be_read_is_named_and_nothing_is_written(scans, tmp_path, capsys):
    folder = tmp_path / "good"
    for number, path in enumerate(sorted((scans / "good").iterdir())[:2]):
        raw_files.write(folder / f"{number}.pcd", path.read_bytes())
    raw_files.write(folder / "broken.pcd", b"nothing")
    assert main(["calibrate", str(folder), "--out", str(tmp_path / "part.json"), "--false-alarm-rate", "0.5"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "broken.pcd" in lines[0]
    assert lines[1] == f"pointad: {tmp_path / 'part.json'}: is not written; mend these files, or take them away"
    assert [path.name for path in tmp_path.iterdir()] == ["good"]


def test_scans_that_are_scored_in_two_ways_make_no_threshold(scans, tmp_path, capsys, monkeypatch):
    from dataclasses import replace

    from pointad_core.predict import good_scans

    def predict(predictor, path, photograph):
        found = predict_file(predictor, path, photograph)
        return replace(found, kind="around") if path.name.startswith("1") else found

    monkeypatch.setattr(good_scans, "predict_file", predict)
    for number, path in enumerate(sorted((scans / "good").iterdir())[:2]):
        raw_files.write(tmp_path / f"good/{number}.pcd", path.read_bytes())
    words = ["--out", str(tmp_path / "part.json"), "--false-alarm-rate", "0.5"]
    assert main(["calibrate", str(tmp_path / "good"), *words]) == 1
    assert "1.pcd: is looked at from all round (--facing says one for all), but" in capsys.readouterr().err
