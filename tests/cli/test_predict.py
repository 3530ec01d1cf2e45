"""`pointad predict` in a shell: a heat map of a file, and one line for whatever cannot be one."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import own_scans as shapes
import pytest
import raw_files

from pointad_core.cli.main import main
from pointad_core.methods.shipped import ORGANISED
from pointad_core.storage.prompt_files import read_prompts, read_provenance, write_prompts


def shell(*words: str, cwd: Path, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pointad_core.cli.main", "predict", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, **options)


def test_a_newcomer_types_one_line(tmp_path):
    shapes.write_ply(tmp_path / "part.ply", shapes.tube(2000, np.random.default_rng(0)))
    done = shell("part.ply", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, *notes, last = done.stdout.splitlines()
    assert first.startswith("part: score 0.")
    assert "uncalibrated (higher than" in first
    assert any("unit taken as mm" in note for note in notes)
    assert last == "1 of 1 scans; open results/predictions/part/part.html"
    assert (tmp_path / "results/predictions/part/part.html").exists()


def bad_inputs(folder: Path) -> dict[str, tuple[list[str], str]]:
    """By name what is typed, and what the line says."""
    rng = np.random.default_rng(0)
    raw_files.write(folder / "empty.ply", b"")
    shapes.write_ply(folder / "one.ply", np.ones((1, 3)))
    shapes.write_ply(folder / "line.ply", np.linspace(0, 1, 900)[:, None] * [[1.0, 2.0, 3.0]])
    shapes.write_ply(folder / "nan.ply", np.full((900, 3), np.nan))
    shapes.write_pcd(folder / "nan.pcd", np.full((900, 3), np.nan))
    raw_files.write(folder / "nan.tiff", raw_files.tiff(np.full((30, 30, 3), np.nan)))
    raw_files.write(folder / "mesh.stl", b"\0" * 80 + b"\0\0\0\0")
    raw_files.write(folder / "mesh.obj", "v 0 0 0\n")
    raw_files.write(folder / "part.docx", "x")
    raw_files.write(folder / "noise.ply", rng.bytes(3000))
    with zipfile.ZipFile(folder / "part.zip", "w") as archive:
        archive.writestr("part.ply", "x")
    (folder / "part.zip").with_name("zipped.ply").write_bytes((folder / "part.zip").read_bytes())
    (folder / "nothing").mkdir()
    good = str(shapes.write_ply(folder / "good.ply", shapes.dome(900, rng)))
    raw_files.write(folder / "no.json", "[]")
    files = ("empty.ply", "one.ply", "line.ply", "nan.ply", "nan.pcd", "nan.tiff", "mesh.stl", "mesh.obj", "part.docx")
    files += ("noise.ply", "part.zip", "zipped.ply", "nothing", "is_not_there.ply")
    return {name: ([str(folder / name)], str(folder / name)) for name in files} | {
        "facing": ([good, "--facing", "up"], "--facing is 'up'"),
        "unit": ([good, "--unit", "miles"], "'miles'"),
        "device": ([good, "--device", "tpu9"], "--device is 'tpu9'"),
        "prompts": (
            [good, good, str(folder / "one.ply"), "--prompts", str(folder / "none.safetensors")],
            "pointad: " + str(folder / "none.safetensors: no such prompts"),
        ),
        "other prompts": ([good, "--prompts", good], "good.ply: the prompts are damaged, or are none"),
        "threshold": ([good, "--threshold", str(folder / "no.json")], "no.json: not a threshold"),
        "intrinsics": ([good, "--intrinsics", "1,2"], "--intrinsics is '1,2'"),
        "point size": ([good, "--point-size", "0"], "point_size is 0, expected 1 to 200"),
        "huge points": ([good, "--point-size", "100000"], "point_size is 100000, expected 1 to 200"),
        "share": ([good, good, "--object-share", "2"], "object_share is 2.0, allowed are numbers from 0 to 1"),
        "out is a file": ([good, "--out", good], "good.ply"),
    }


NAMES = [
    *("empty.ply", "one.ply", "line.ply", "nan.ply", "nan.pcd", "nan.tiff", "mesh.stl", "mesh.obj", "part.docx"),
    *("noise.ply", "part.zip", "zipped.ply", "nothing", "is_not_there.ply", "facing", "unit", "device", "prompts"),
    *("other prompts", "threshold", "intrinsics", "point size", "huge points", "share", "out is a file"),
]


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    return bad_inputs(tmp_path_factory.mktemp("bad"))


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_a_heat_map_is_one_line(bad, name, tmp_path, capsys):
    words, told = bad[name]
    out = tmp_path / "out"
    assert main(["predict", *words, *([] if "--out" in words else ["--out", str(out)])]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("pointad: ")
    assert printed.err.count("\n") == 1
    assert told in printed.err
    assert printed.out == ""
    assert not out.exists()


def test_ten_million_points_are_one_line(tmp_path, capsys):
    """Without writing them all: a sparse file is as long as one."""
    path = tmp_path / "part.ply"
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 10000000\n"
    header += "property float x\nproperty float y\nproperty float z\nend_header\n"
    path.write_bytes(header.encode())
    os.truncate(path, len(header) + 10_000_000 * 12)
    assert main(["predict", str(path), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "part.ply: 10000000 points, at most 8000000 are looked at; thin the scan first" in error


@pytest.mark.skipif(os.getuid() == 0, reason="root may read and write everything")
def test_what_may_not_be_read_or_written_is_one_line(tmp_path, capsys):
    path = shapes.write_ply(tmp_path / "part.ply", shapes.dome(900, np.random.default_rng(0)))
    path.chmod(0)
    assert main(["predict", str(path), "--out", str(tmp_path / "out")]) == 1
    assert "part.ply" in capsys.readouterr().err
    path.chmod(0o600)
    tmp_path.chmod(0o500)
    assert main(["predict", str(path), "--out", str(tmp_path / "out")]) == 1
    assert "no permission" in capsys.readouterr().err


def test_a_disk_that_is_full_is_one_line(tmp_path):
    shapes.write_ply(tmp_path / "part.ply", shapes.dome(900, np.random.default_rng(0)))

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = shell("part.ply", "--out", "out", cwd=tmp_path, preexec_fn=limit)
    assert done.returncode == 1
    assert done.stderr == "pointad: out/part: File too large\n"
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.5])
def test_ctrl_c_is_one_line_at_any_time(tmp_path, seconds):
    shapes.write_ply(tmp_path / "part.ply", shapes.tube(20000, np.random.default_rng(0)))
    command = [sys.executable, "-m", "pointad_core.cli.main", "predict", *["part.ply"], "--out", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    # Where it hits an import, Python ends itself by the signal: for a shell, that is 130 as well.
    assert process.returncode in (130, -signal.SIGINT)
    assert error == "pointad: stopped by Ctrl-C\n"
    assert not list(tmp_path.rglob("*.partial"))


def test_one_that_fails_among_many_is_told_by_the_exit_code(tmp_path, capsys):
    shapes.write_ply(tmp_path / "in/a.ply", shapes.dome(900, np.random.default_rng(0)))
    raw_files.write(tmp_path / "in/b.ply", b"")
    assert main(["predict", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert printed.err == f"pointad: {tmp_path}/in/b.ply: the file is empty\n"
    assert printed.out.splitlines()[-1] == f"1 of 2 scans, 1 failed; open {tmp_path}/out/index.html"


def test_scores_are_put_together_as_is_asked_for(tmp_path, capsys):
    part = str(shapes.write_ply(tmp_path / "a.ply", shapes.dome(900, np.random.default_rng(0))))
    asked = ["--object-share", "0.1", "--view-weights", "coverage"]
    assert main(["predict", part, "--out", str(tmp_path / "out"), *asked]) == 0
    found = json.loads((tmp_path / "out/a/a.json").read_text())
    assert {"global", "highest"} <= found["score_parts"].keys()
    assert found["made"]["settings"]["scores"] == {"object_share": 0.1, "view_weights": "coverage"}
    assert "higher than" not in capsys.readouterr().out


def test_a_setting_that_is_as_the_prompts_have_it_is_none_of_its_own(tmp_path, capsys):
    part = str(shapes.write_ply(tmp_path / "a.ply", shapes.dome(900, np.random.default_rng(0))))
    usual = ["--smoothing-sigma", "4", "--smoothing-over", "pixels", "--rgb-map", "points", "--object-share", "0"]
    for name, asked in (("one", []), ("two", usual), ("three", ["--smoothing-sigma", "9"])):
        assert main(["predict", part, "--out", str(tmp_path / name), *asked]) == 0
    one, two, three = (json.loads((tmp_path / name / "a/a.json").read_text()) for name in ("one", "two", "three"))
    assert one["made"]["settings"] == two["made"]["settings"]
    assert one["reference_scans"] == two["reference_scans"] is not None
    assert three["made"]["settings"]["scores"] == {"smoothing_sigma": 9.0}
    assert one["object_score"] == two["object_score"] != three["object_score"]
    capsys.readouterr()
    assert main(["predict", part, "--smoothing-sigma", "-1", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "pointad: --smoothing-sigma is -1, expected 0 to 336 pixels\n"


def test_a_model_that_cannot_be_loaded_is_told_once(tmp_path, capsys):
    parts = [str(shapes.write_ply(tmp_path / f"{n}.ply", shapes.dome(900, np.random.default_rng(n)))) for n in (1, 2)]
    made = read_provenance(ORGANISED)
    made["model"] = {**made["model"], "model": "no-model"}
    write_prompts(tmp_path / "p.safetensors", read_prompts(ORGANISED), made)
    assert main(["predict", *parts, "--prompts", str(tmp_path / "p.safetensors"), "--out", str(tmp_path / "o")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pointad: {tmp_path / 'p.safetensors'}: unknown model 'no-model'")


def test_a_terminal_of_another_encoding_shows_names_as_it_can(tmp_path):
    shapes.write_ply(tmp_path / "Größe 日本.ply", shapes.dome(900, np.random.default_rng(0)))
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "pointad_core.cli.main", "predict", "Größe 日本.ply", "--out", "out"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith("Größe ".encode("latin-1") + rb"\u65e5\u672c: score 0.")


def test_a_scan_is_never_written_over(tmp_path, capsys):
    part = shapes.write_ply(tmp_path / "part/part.ply", shapes.dome(900, np.random.default_rng(0)))
    before = part.read_bytes()
    assert main(["predict", str(part), "--out", str(tmp_path)]) == 1
    assert f"pointad: {part}: results of {part} would go to {part.parent}, where it lies" in capsys.readouterr().err
    assert part.read_bytes() == before
    assert [path.name for path in part.parent.iterdir()] == ["part.ply"]
