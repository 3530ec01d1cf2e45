"""Files by their endings: which module reads which, what all take, and what nobody should send."""

import gzip
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from raw_files import pcd, png, tiff, write

from pointad_core.errors import InputError
from pointad_core.formats import registry
from pointad_core.formats.registry import ENDINGS, MODULES, ending_of, read

POINTS = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


def test_listing_endings_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from pointad_core.formats.registry import ENDINGS\n"
        "print(sorted({'numpy', 'PIL', 'tifffile', 'imagecodecs', 'laspy', 'e57', 'scipy'} & set(sys.modules)))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_endings():
    assert set(ENDINGS) == {*MODULES, *(f"{ending}.gz" for ending in MODULES)}
    assert ending_of("A/b.PCD") == ".pcd"
    assert ending_of("b.Ply.GZ") == ".ply.gz"
    assert ending_of("b.tar.gz") is None
    assert ending_of(".pcd") is None
    assert ending_of("pcd") is None


@pytest.mark.parametrize("name", ["a.pcd", "A.PCD", "a b.pcd.gz", "a.Pcd.Gz", "größe.pcd"])
def test_any_case_gzipped_or_behind_a_link(tmp_path, name):
    content = pcd(POINTS, "binary")
    path = write(tmp_path / "folder" / name, gzip.compress(content) if name.lower().endswith("gz") else content)
    np.testing.assert_array_equal(read(path).points, POINTS)
    np.testing.assert_array_equal(read(str(path)).points, POINTS)
    link = tmp_path / name
    link.symlink_to(path)
    np.testing.assert_array_equal(read(link).points, POINTS)


def test_options_go_to_those_that_take_them(tmp_path):
    path = write(tmp_path / "a.pcd", pcd(POINTS))
    assert read(path, unit="mm", n_samples=5, seed=1, intrinsics=None, key=None).unit == "mm"


ARCHIVE = io.BytesIO()
with zipfile.ZipFile(ARCHIVE, "w") as archive:
    archive.writestr("part.ply", "ply\n")

STRANGERS = {
    "empty": b"",
    "zero": bytes(1000),
    "noise": np.random.default_rng(0).bytes(3000),
    "text": b"hello world, this is text\n" * 30,
    "zip": ARCHIVE.getvalue(),
    "png": png(np.zeros((4, 4, 3), np.uint8)),
    "tiff": tiff(np.zeros((4, 4, 2), np.float32)),
    "pcd": pcd(POINTS),
    "pickle": b"\x80\x04\x95" + bytes(100),
    "page": b"<!DOCTYPE html><html></html>",
    "cut": gzip.compress(bytes(1000))[:-9],
    "line": b"1" * 1_000_000,
}


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("ending", MODULES)
def test_a_stranger_is_refused_in_one_line(tmp_path, ending, stranger):
    if (ending, stranger) == (".pcd", "pcd"):
        return
    path = write(tmp_path / f"a{ending}", STRANGERS[stranger])
    with pytest.raises(InputError) as error:
        read(path, unit="mm", intrinsics=(1, 1, 0, 0))
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 400
    if (
        stranger in ("zip", "png", "pickle", "page")
        and f".{stranger}" != ending
        and (ending, stranger) != (".npz", "zip")
    ):
        assert "it seems to be" in str(error.value) or (ending, stranger) == (".npy", "zip")


def test_what_has_no_reader(tmp_path):
    with pytest.raises(InputError, match=r"a.docx: ending '.docx' is unknown; known are .pcd, .ply, .*each also .gz"):
        read(tmp_path / "a.docx")
    with pytest.raises(InputError, match=r"ending '\(none\)' is unknown"):
        read(tmp_path / "a")
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "a.pcd")
    (tmp_path / "b.pcd").mkdir()
    with pytest.raises(InputError, match="but a folder"):
        read(tmp_path / "b.pcd")
    os.mkfifo(tmp_path / "c.pcd")
    with pytest.raises(InputError, match="is no file that could be read"):
        read(tmp_path / "c.pcd")
    (tmp_path / "d.pcd").symlink_to(tmp_path / "gone.pcd")
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "d.pcd")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_no_permission(tmp_path):
    path = write(tmp_path / "a.pcd", pcd(POINTS))
    path.chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        read(path)


def test_a_bomb_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("pointad_core.formats.reading.LARGEST_UNZIPPED", 20 << 20)
    path = write(tmp_path / "a.xyz.gz", gzip.compress(bytes(100 << 20), 1))
    with pytest.raises(InputError, match="unzips to more than 20 MiB; unpack it first"):
        read(path)


def test_every_module_is_named():
    modules = {path.stem for path in Path(registry.__file__).parent.glob("*.py")}
    assert set(MODULES.values()) <= modules
