"""What the wheel brings: the library, and nothing of how its small CLIP was made."""

import shutil
import subprocess
import sys
import zipfile

from miniature import REPOSITORY

LEFT_OUT = (".*", "__pycache__", "build", "*.egg-info", "results", "logs", "benchmarks")


def test_the_wheel_holds_the_library_alone(tmp_path):
    # A copy: setuptools builds in the folder itself, and takes up what an earlier build has left there.
    source = shutil.copytree(REPOSITORY, tmp_path / "source", ignore=shutil.ignore_patterns(*LEFT_OUT))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path]
    done = subprocess.run([*map(str, command), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = REPOSITORY / "pointad_core"
    files = {path.relative_to(REPOSITORY).as_posix() for path in package.rglob("*") if path.is_file()}
    assert found == {file for file in files if "__pycache__" not in file}
