"""`pointad train`: from a folder of labelled scans to prompts that a prediction takes."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import raw_files

from pointad_core.cli.main import main
from pointad_core.datasets.generator.scans import generate_category
from pointad_core.datasets.registry import reader
from pointad_core.predict.predictor import Predictor
from pointad_core.predict.scan import read_scan
from pointad_core.storage.prompt_files import read_provenance


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Path:
    """Two good and two defective scans of one's own, with labels in files of their own and in the scan itself."""
    folder = tmp_path_factory.mktemp("train")
    generate_category(folder / "raw", "real3d", "diamond", range(4), seed=4)
    module = reader("real3d")
    for number, scan in enumerate(module.find_scans(folder / "raw", "diamond")):
        raw = module.read(scan)
        chosen = slice(None, None, 8)
        points, labels = raw.points[chosen], raw.labels[chosen]
        at = folder / "mine" / ("good" if scan.defect == "good" else "bad")
        if number == 0:
            rows = "\n".join(
                f"{x} {y} {z} {int(label)}" for (x, y, z), label in zip(points.tolist(), labels, strict=True)
            )
            raw_files.write(at / f"{number}.xyz", f"x y z label\n{rows}\n")
            continue
        raw_files.write(at / f"{number}.pcd", raw_files.pcd(points, "binary"))
        if labels.any():
            raw_files.write(at / f"{number}.label.txt", raw_files.rows(points, labels))
    return folder / "mine"


def test_prompts_are_learnt_and_a_prediction_takes_them(mine, tmp_path, capsys):
    outputs = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for output in outputs:
        assert main(["train", str(mine), "--out", str(output), "--epochs", "2"]) == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{outputs[0]}: learnt on 2 defective and 2 good scans, looked at from their front"
    assert said[1].startswith(f"{tmp_path / 'a.csv'}: the losses. ")
    with open(tmp_path / "a.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    made = read_provenance(outputs[0])
    assert made["scans"] == ["bad/0", "bad/3", "good/1", "good/2"]
    assert (made["category"], made["seed"], made["settings"]["epochs"]) == ("mine", 111, 2)
    assert str(mine) not in str(made)
    scan = read_scan(next(mine.glob("good/*.pcd")))
    found = Predictor.load(prompts=outputs[0], device="cpu")(scan)
    assert np.isfinite(found.scores).all()
    assert found.object != Predictor.load(device="cpu")(scan).object


def test_options_count(mine, tmp_path):
    main(["train", str(mine), "--out", str(tmp_path / "a.safetensors"), "--epochs", "1"])
    words = ["--epochs", "1", "--system", "pointad_coop", "--name", "gem", "--seed", "5", "--facing", "around"]
    words += ["--model", "pointad-pocket", "--random-seed", "1", "--vv-blocks", "2", "--deep-blocks", "2"]
    assert main(["train", str(mine), "--out", str(tmp_path / "b.safetensors"), *words]) == 0
    made = read_provenance(tmp_path / "b.safetensors")
    assert made["system"]["module"] == "methods.pointad_coop"
    assert made["model"] == {"model": "pointad-pocket", "random_seed": 1, "vv_blocks": 2, "resolution": 336}
    assert any("gem" in text for text in made["texts"]["rendering"])
    assert max(made["inputs"]["renders"]["views"]["x"]) == 144
    assert (made["seed"], made["settings"]["deep_blocks"]) == (5, 2)


def test_unlabelled_scans_are_left_out_and_named(mine, tmp_path, caplog):
    folder = tmp_path / "mine"
    shutil.copytree(mine, folder)
    (folder / "bad/3.label.txt").unlink()
    assert main(["train", str(folder), "--out", str(tmp_path / "a.safetensors"), "--epochs", "1"]) == 0
    assert any("3.pcd: is left out, for nobody has labelled it (3.label.txt)" in message for message in caplog.messages)
    assert read_provenance(tmp_path / "a.safetensors")["scans"] == ["bad/0", "good/1", "good/2"]


def empty_labels(folder: Path) -> None:
    text = (folder / "bad/3.label.txt").read_text().replace(" 1\n", " 0\n")
    (folder / "bad/3.label.txt").write_text(text)


@pytest.mark.parametrize(
    ("change", "words", "told"),
    [
        (lambda folder: shutil.rmtree(folder / "bad"), [], "no scan with a labelled defect, from which prompts could"),
        (shutil.rmtree, [], "no such folder"),
        (lambda folder: [path.unlink() for path in folder.glob("*/*")], [], "no scans, expected good/* or <defect>/*"),
        (empty_labels, [], "3.pcd: is called 'bad', but its labels mark no point"),
        (lambda folder: (folder / "good/2.pcd").write_bytes(b"x"), [], "good/2.pcd"),
        (lambda folder: None, ["--system", "cheraghian"], "does not learn from shaded views"),
        (lambda folder: None, ["--system", "pointad_coop"], "names in its prompts what the scans are of"),
        (lambda folder: None, ["--epochs", "0"], "--epochs is 0, expected 1 or more"),
        (lambda folder: None, ["--learning-rate", "nan"], "--learning-rate is nan, expected a number above 0"),
        (lambda folder: None, ["--facing", "up"], "--facing is 'up', expected"),
        (lambda folder: None, ["--vv-blocks", "3"], "--vv-blocks goes with --model"),
        (lambda folder: None, ["--model", "ViT-B-32"], "--model wants its weights"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_in_one_line(mine, tmp_path, capsys, change, words, told):
    folder = tmp_path / "mine"
    shutil.copytree(mine, folder)
    change(folder)
    assert main(["train", str(folder), "--out", str(tmp_path / "a.safetensors"), "--epochs", "1", *words]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("pointad: ")
    assert told in lines[-1]
    assert [path.name for path in tmp_path.iterdir()] in ([], ["mine"])


def test_another_ending_is_refused(mine, tmp_path, capsys):
    assert main(["train", str(mine), "--out", str(tmp_path / "a.pt")]) == 1
    assert "expected a file whose name ends in .safetensors" in capsys.readouterr().err


def test_threads_are_set_before_anything_else_imports_torch(mine, tmp_path):
    code = "import sys\nfrom pointad_core.cli.main import main\nfrom pointad_core.storage import jobs\n"
    code += "jobs.use = lambda **_: sys.exit('torch' in sys.modules and 'too late' or 'in time')\n"
    code += f"main(['train', {str(mine)!r}, '--out', {str(tmp_path / 'a.safetensors')!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "in time\n"


def test_a_place_where_prompts_cannot_go_is_known_before_they_are_learnt(mine, tmp_path, capsys):
    (tmp_path / "a").write_text("")
    assert main(["train", str(mine), "--out", str(tmp_path / "a/b.safetensors")]) == 1
    assert "b.safetensors: cannot be written, for" in capsys.readouterr().err
    (tmp_path / "c.csv").write_text("x,y,z\n1,2,3\n")
    assert main(["train", str(mine), "--out", str(tmp_path / "c.safetensors")]) == 1
    assert "c.csv: is there already, and holds no losses" in capsys.readouterr().err
    assert (tmp_path / "c.csv").read_text() == "x,y,z\n1,2,3\n"


def test_a_model_that_cannot_be_loaded_is_no_scans_fault(mine, tmp_path, capsys):
    words = ["--model", "pointad-pocket", "--checkpoint", "none.pt", "--vv-blocks", "1"]
    assert main(["train", str(mine), "--out", str(tmp_path / "a.safetensors"), *words]) == 1
    assert capsys.readouterr().err == "pointad: none.pt: no such checkpoint\n"
