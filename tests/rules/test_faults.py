"""What happens to a run: it is killed, its disk fills up, its files are damaged, it is started twice.

Each time the same command goes on, and ends with the bytes of a run that nothing happened to.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from miniature import CONFIG, Miniature, Result, snakemake

KILLS = 20
SEED = 20
CLOUDS = "results/clouds/real3d/diamond.zarr.zip"


def write_config(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


def run(snakefile: Path, directory: Path, *targets: str) -> Result:
    return snakemake(*targets, "--configfile", directory / "config.yaml", snakefile=snakefile, directory=directory)


Start = Callable[[Path, str], tuple[subprocess.Popen[bytes], Path]]


@pytest.fixture
def start(miniature: Miniature) -> Iterator[Start]:
    """Start the same command in a process group of its own; gives it and the file that it tells its progress to."""
    groups = []

    def start(directory: Path, target: str) -> tuple[subprocess.Popen[bytes], Path]:
        config, output = write_config(directory), directory / "output.txt"
        command = [sys.executable, "-m", "snakemake", "--snakefile", miniature.snakefile, "--directory", directory]
        command += ["--cores", "2", target, "--configfile", config]
        with open(output, "wb") as file:
            process = subprocess.Popen(
                list(map(str, command)), stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        groups.append(process.pid)
        return process, output

    yield start
    # Jobs that outlived their run among it.
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[bytes], seconds: float = 600) -> None:
    """Wait until something is true or the process has ended."""
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.02)


def results(directory: Path) -> dict[str, bytes]:
    files = (file for file in (directory / "results").rglob("*") if file.is_file())
    return {str(file.relative_to(directory)): file.read_bytes() for file in files}


def assert_same(directory: Path, miniature: Miniature) -> None:
    """Every file is what it is in a run that nothing happened to."""
    found, expected = results(directory), results(miniature.directory)
    expected = {name: content for name, content in expected.items() if "/heatmaps/" not in name}
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []


@pytest.fixture
def copied(miniature: Miniature, tmp_path: Path) -> Miniature:
    """A finished run to do damage to."""
    directory = tmp_path / "run"
    shutil.copytree(miniature.directory, directory)
    return Miniature(miniature.snakefile, directory, miniature.result)


# Killed ---------------------------------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_with_the_same_command(miniature: Miniature, start: Start, tmp_path: Path) -> None:
    process, output = start(tmp_path, CLOUDS)
    partial = tmp_path / "results/clouds/real3d"
    wait_for(lambda: list(partial.glob("*.partial")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(partial.glob("*.partial")), output.read_text()
    assert not (tmp_path / CLOUDS).exists()
    assert list((tmp_path / ".snakemake/locks").iterdir()), "nothing that could stand in the way"

    result = run(miniature.snakefile, tmp_path, CLOUDS)
    assert result.code == 0, result.text
    assert (tmp_path / CLOUDS).read_bytes() == (miniature.directory / CLOUDS).read_bytes()
    assert [path.name for path in partial.iterdir()] == [Path(CLOUDS).name]


@pytest.mark.cluster
def test_twenty_kills_leave_no_trace(miniature: Miniature, start: Start, tmp_path: Path) -> None:
    """SIGKILL for the whole process group; every fourth time once more for Snakemake alone, whose jobs live on."""
    rng = random.Random(SEED)
    kills = {"group": 0, "alone": 0}
    folder, jobs = 0, re.compile(rb"^ *\d+/\d+  ", re.MULTILINE)
    while kills["group"] < KILLS:
        directory = tmp_path / str(folder)
        how = "alone" if kills["alone"] < kills["group"] // 4 else "group"
        # A moment by the run's own progress, so that it is as random on a slow machine.
        wanted, delay = rng.randrange(5), rng.uniform(0, 5)
        process, output = start(directory, "all_tables")
        wait_for(lambda output=output, wanted=wanted: len(jobs.findall(output.read_bytes())) >= wanted, process)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            print(f"folder {folder}: kill {how} {delay:.2f} s after {wanted} jobs")
            (os.killpg if how == "group" else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            kills[how] += 1
        else:
            # It was quicker than the kill.
            assert process.returncode == 0, output.read_text()
            assert_same(directory, miniature)
            folder += 1
    directory = tmp_path / str(folder)
    write_config(directory)
    result = run(miniature.snakefile, directory, "all_tables")
    assert result.code == 0, result.text
    assert_same(directory, miniature)
    assert run(miniature.snakefile, directory, "all_tables", "-n").jobs == {}


# A full disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own; `resize` gives it another size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]).returncode:
        pytest.skip("a file system can only be mounted by root, and not in every container")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def resize(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


@pytest.mark.cluster
def test_a_full_disk_is_named_and_room_is_all_it_takes(miniature: Miniature, disk: Path) -> None:
    config = write_config(disk)
    expected = results(miniature.directory)
    raw = [name for name in expected if name.startswith("results/generated/")]

    def make(*targets: str) -> Result:
        return snakemake(*targets, "--configfile", config, snakefile=miniature.snakefile, directory=disk)

    def full_in() -> set[str]:
        """The stages that name the full disk."""
        result = make("all_tables")
        assert result.code != 0
        named = re.findall(r"No space left on device: '(?:\S*/)?results/(\w+)/", result.text)
        print(f"{shutil.disk_usage(disk).total} bytes: full in {named}")
        assert named, result.text
        # What is there under its name is whole.
        for name, content in results(disk).items():
            assert name.endswith(".partial") or content == expected[name], name
        return set(named)

    assert full_in() == {"generated"}
    resize(disk, 100_000_000)
    assert make(*raw).code == 0
    # The scans take most of the room; from here on it is the other stages that find none.
    used = shutil.disk_usage(disk).used
    rest = sum(len(content) for name, content in expected.items() if name not in raw)
    stages = set()
    for part in (0.02, 0.3, 0.6):
        resize(disk, used + int(part * rest))
        stages |= full_in()
    assert len(stages) > 1, stages
    resize(disk, 100_000_000)
    result = make("all_tables")
    assert result.code == 0, result.text
    assert_same(disk, miniature)


# Damaged --------------------------------------------------------------------------------------------------------------


def test_a_damaged_store_is_named_and_made_again_on_request(copied: Miniature) -> None:
    scores = "results/scores/cheraghian/mvtec3d/carrot/111/real3d.zarr.zip"
    metrics = "results/metrics/cheraghian/mvtec3d/carrot/111/real3d.csv"
    store, table = copied.directory / scores, copied.directory / metrics
    whole, numbers, stat = store.read_bytes(), table.read_bytes(), store.stat()
    for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[: len(whole) // 2]):
        # As a disk does it: without a new date.
        store.write_bytes(damaged)
        os.utime(store, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        table.unlink(missing_ok=True)
        result = run(copied.snakefile, copied.directory, metrics)
        assert result.code != 0
        assert re.search(rf"Error: \S*{re.escape(scores)}: .*delete it and run again", result.text), result.text
        assert not table.exists()
    result = run(copied.snakefile, copied.directory, metrics, "--forcerun", scores)
    assert result.code == 0, result.text
    assert result.jobs == {"scores": 1, "metrics": 1}
    assert (store.read_bytes(), table.read_bytes()) == (whole, numbers)


# Twice ----------------------------------------------------------------------------------------------------------------


def test_a_second_run_in_the_folder_says_so_and_harms_nothing(
    miniature: Miniature, start: Start, tmp_path: Path
) -> None:
    first, output = start(tmp_path, CLOUDS)
    raw = tmp_path / "results/generated/real3d"
    wait_for(lambda: list(raw.rglob("*.pcd")), first)
    # It waits, however slow the second one is.
    os.killpg(first.pid, signal.SIGSTOP)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "results").rglob("*")}
    second = run(miniature.snakefile, tmp_path, CLOUDS)
    assert second.code != 0
    assert "Directory cannot be locked" in second.text
    assert str(tmp_path) in second.text
    # Nor does it once it is told to take no notice of Snakemake's lock.
    forced = run(miniature.snakefile, tmp_path, CLOUDS, "--nolock")
    assert forced.code != 0
    assert f"{tmp_path}: another run is going on in this folder" in forced.text
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "results").rglob("*")} == before
    # To look is allowed.
    assert run(miniature.snakefile, tmp_path, CLOUDS, "-n").code == 0
    os.killpg(first.pid, signal.SIGCONT)
    assert first.wait(600) == 0, output.read_text()
    assert (tmp_path / CLOUDS).read_bytes() == (miniature.directory / CLOUDS).read_bytes()


@pytest.mark.cluster
def test_of_two_runs_started_at_once_one_works(miniature: Miniature, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    command = [sys.executable, "-m", "snakemake", "--snakefile", miniature.snakefile, "--directory", tmp_path]
    command += ["--cores", "1", CLOUDS, "--configfile", config]
    for _ in range(5):
        shutil.rmtree(tmp_path / "results", ignore_errors=True)
        shutil.rmtree(tmp_path / ".snakemake", ignore_errors=True)
        both = [
            subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(2)
        ]
        texts = [process.communicate()[0] for process in both]
        assert sorted(process.returncode for process in both) == [0, 1], texts
        refused = texts[0] if both[0].returncode else texts[1]
        assert "cannot be locked" in refused or "another run is going on in this folder" in refused
        assert (tmp_path / CLOUDS).read_bytes() == (miniature.directory / CLOUDS).read_bytes()
