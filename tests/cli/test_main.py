"""The command `pointad`: light, and every failure in one line."""

import errno
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from pointad_core.cli import main as cli
from pointad_core.errors import InputError

REPOSITORY = Path(__file__).parents[2]
HEAVY = ("numpy", "torch", "open3d", "scipy", "PIL", "pandas", "matplotlib", "safetensors", "importlib.metadata")


def shell(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "pointad_core.cli.main", *words], capture_output=True, text=True)


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in cli.COMMANDS)])
def test_help_is_light_and_shows_an_example(words: list[str]) -> None:
    code = f"import sys\nfrom pointad_core.cli.main import main\ntry: main({words!r})\n"
    code += f"except SystemExit: print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    assert "example" in done.stdout
    assert "pointad predict" in done.stdout or words[0] != "--help"


def test_every_subcommand_has_its_module() -> None:
    files = {path.stem for path in (REPOSITORY / "pointad_core/cli").glob("*.py")} - {"__init__", "main"}
    assert files == set(cli.COMMANDS)


@pytest.mark.parametrize(
    "words", [[], ["nothing"], ["predict"], ["predict", "x", "--nothing"], ["predict", "x", "--ou", "y"]]
)
def test_wrong_usage_is_two(words: list[str]) -> None:
    done = shell(*words)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("pointad")


def test_version() -> None:
    assert shell("--version").stdout.startswith("pointad 0.")


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (InputError("x.ply: empty\x1b[2J"), "pointad: x.ply: empty\\x1b[2J", 1),
        (KeyboardInterrupt(), "pointad: stopped by Ctrl-C", 130),
        (
            OSError(errno.ENOSPC, "No space left on device", "out/x.ply"),
            "pointad: out/x.ply: No space left on device",
            1,
        ),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "pointad: x: no permission", 1),
        (FileExistsError(errno.EEXIST, "File exists", "x"), "pointad: x: is there already, and no folder", 1),
        (MemoryError(), "pointad: not enough memory", 1),
    ],
)
def test_a_failure_is_one_line(
    error: BaseException, line: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def run(_: object) -> int:
        raise error

    module = types.SimpleNamespace(__doc__="Half of 50%.", add_arguments=lambda parser: None, run=run)
    monkeypatch.setattr(cli, "import_module", lambda name: module)
    assert cli.main(["predict"]) == code
    assert capsys.readouterr().err == f"{line}\n"


def test_a_closed_pipe_is_one_line() -> None:
    code = "import sys, types\nfrom pointad_core.cli import main as cli\n"
    code += "def run(_):\n    for _ in range(100000): print('x')\n    return 0\n"
    code += (
        "cli.import_module = lambda name: types.SimpleNamespace(__doc__='', add_arguments=lambda _: None, run=run)\n"
    )
    code += "sys.exit(cli.main(['predict']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == "pointad: whoever read the output has closed it\n"
    assert process.returncode == 1


def test_a_stream_that_is_closed_from_the_start_is_no_file_of_results(tmp_path: Path) -> None:
    """The next file that is opened would have its number, and what is said would be written there."""
    code = "import os, sys, types\nfrom pointad_core.cli import main as cli\n"
    code += "def run(_):\n    file = open('result', 'w')\n    print('said')\n    print('failed', file=sys.stderr)\n"
    code += "    os.write(1, b'by a library')\n    return 0\n"
    code += (
        "cli.import_module = lambda name: types.SimpleNamespace(__doc__='', add_arguments=lambda _: None, run=run)\n"
    )
    code += "sys.exit(cli.main(['predict']))"
    shell = ["sh", "-c", 'exec "$0" -c "$1" >&- 2>&-', sys.executable, code]
    assert subprocess.run(shell, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}).returncode == 0
    assert (tmp_path / "result").read_bytes() == b""


def test_a_library_has_no_last_word_after_ctrl_c() -> None:
    code = "import atexit, os, types\nfrom pointad_core.cli import main as cli\n"
    code += "def run(_):\n    atexit.register(os._exit, 1)\n    print('half')\n    raise KeyboardInterrupt\n"
    code += (
        "cli.import_module = lambda name: types.SimpleNamespace(__doc__='', add_arguments=lambda _: None, run=run)\n"
    )
    code += "cli.command()"
    done = subprocess.run([sys.executable, "-c", code, "predict"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "half\n", "pointad: stopped by Ctrl-C\n")
