"""Stores: whole or not at all, the same bytes for the same content, damage seen when read."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pointad_core.errors import InputError
from pointad_core.storage import stores
from pointad_core.storage.shards import split


def write_example(path: Path, seed: int = 0, scans: int = 3) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    content = {
        f"dent/{i:03d}": {
            "points": rng.normal(size=(50 + i, 3)).astype("f4"),
            "labels": rng.integers(0, 2, 50 + i).astype("u1"),
            "empty": np.zeros((0, 3), "f4"),
        }
        for i in range(scans)
    }
    with stores.write(path, "clouds", {"seed": seed}, {"dataset": "toy"}) as store:
        for scan, arrays in content.items():
            store.add(scan, arrays, {"defective": True})
    return content


def test_several_threads_read_one_store(tmp_path):
    content = write_example(tmp_path / "toy.zarr.zip", scans=6)
    with stores.read(tmp_path / "toy.zarr.zip", "clouds") as store, ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda scan: (scan, store.load(scan, store.arrays(scan))), list(content) * 20)
        for scan, arrays in found:
            for name, array in content[scan].items():
                np.testing.assert_array_equal(arrays[name], array)


def test_a_store_gives_back_what_was_written(tmp_path):
    path = tmp_path / "deep" / "toy.zarr.zip"
    content = write_example(path)
    with stores.read(path, "clouds") as store:
        assert store.scans == list(content)
        assert store.attributes["dataset"] == "toy"
        assert store.attributes["provenance"]["seed"] == 0
        assert store.attributes["provenance"]["packages"]["numpy"] == np.__version__
        for scan, arrays in content.items():
            assert store.arrays(scan) == sorted(arrays)
            assert store.scan_attributes(scan) == {"name": scan, "defective": True}
            for name, array in store.load(scan, list(arrays)).items():
                assert array.dtype == arrays[name].dtype
                np.testing.assert_array_equal(array, arrays[name])
    assert os.listdir(path.parent) == [path.name]


@settings(max_examples=25, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float16, np.int16, np.uint8, np.bool_]),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
    )
)
def test_any_array_survives(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("store") / "any.zarr.zip"
    with stores.write(path, "clouds", {}) as store:
        store.add("scan", {"array": array})
    with stores.read(path, "clouds") as store:
        np.testing.assert_array_equal(store.load("scan", ["array"])["array"], array)


def test_the_archive_is_plain_zarr(tmp_path):
    path = tmp_path / "toy.zarr.zip"
    content = write_example(path)
    store = zarr.storage.ZipStore(path, mode="r")
    group = zarr.open_group(store, mode="r")
    np.testing.assert_array_equal(group["scans/00001/points"][...], content["dent/001"]["points"])
    assert group.attrs["complete"] is True
    store.close()


def test_same_content_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_example(tmp_path / f"{name}.zarr.zip", seed=4)
    write_example(tmp_path / "c.zarr.zip", seed=5)
    a, b, c = ((tmp_path / f"{name}.zarr.zip").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_an_error_while_writing_leaves_the_old_store(tmp_path):
    path = tmp_path / "toy.zarr.zip"
    write_example(path)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="half way"), stores.write(path, "clouds", {}) as store:
        store.add("one", {"points": np.zeros((2, 3))})
        raise RuntimeError("half way")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_a_kill_while_writing_leaves_nothing_under_the_name(tmp_path):
    path = tmp_path / "toy.zarr.zip"
    script = f"""
import os, signal, numpy as np
from pointad_core.storage import stores
with stores.write({str(path)!r}, "clouds", {{}}) as store:
    store.add("one", {{"points": np.zeros((2, 3))}})
    os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False)
    assert process.returncode == -signal.SIGKILL
    assert not path.exists()
    write_example(path)  # What the kill left beside it does not stand in the way,
    assert os.listdir(tmp_path) == [path.name]  # and does not stay.


def test_a_full_disk_leaves_nothing_and_is_named(tmp_path):
    # A limit on the size of files stands for the disk's end: the system's error is as bare of a name.
    path = tmp_path / "toy.zarr.zip"
    script = f"""
import resource, signal, numpy as np
from pointad_core.storage import jobs, stores
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
with jobs.logged({str(tmp_path / "log")!r}), stores.write({str(path)!r}, "clouds", {{}}) as store:
    for index in range(10):
        store.add(str(index), {{"points": np.random.default_rng(index).normal(size=(5000, 3))}})
"""
    command = [sys.executable, "-c", script]
    process = subprocess.run(command, cwd=Path(__file__).parents[2], check=False, capture_output=True, text=True)
    assert process.returncode == 1
    assert process.stderr.startswith("Error: ")
    for text in (process.stderr, (tmp_path / "log").read_text()):
        assert "File too large" in text
        assert str(path) in text
        assert "Traceback" not in text
    assert os.listdir(tmp_path) == ["log"]


def test_a_scan_cannot_be_added_twice(tmp_path):
    with pytest.raises(ValueError, match="twice"), stores.write(tmp_path / "x.zarr.zip", "clouds", {}) as store:
        store.add("one", {})
        store.add("one", {})


def read_all(path: Path) -> dict[str, tuple[dict, dict[str, np.ndarray]]]:
    with stores.read(path, "clouds") as store:
        return {scan: (store.scan_attributes(scan), store.load(scan, store.arrays(scan))) for scan in store.scans}


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    """A store that every damage is done to a copy of."""
    path = tmp_path_factory.mktemp("example") / "toy.zarr.zip"
    write_example(path, scans=2)
    return path


def regions(path: Path) -> dict[str, tuple[int, int]]:
    """First and last byte of what a store consists of."""
    with zipfile.ZipFile(path) as archive:
        chunk = archive.getinfo("scans/00001/points/c/0/0")
        header = len(chunk.FileHeader())
        return {
            "header of an entry": (chunk.header_offset, chunk.header_offset + header - 1),
            "content of an entry": (chunk.header_offset + header, chunk.header_offset + header + chunk.file_size - 1),
            "directory": (archive.start_dir, path.stat().st_size - len(archive.comment) - 1),
            "seal": (path.stat().st_size - len(archive.comment), path.stat().st_size - 1),
            "anywhere": (0, path.stat().st_size - 1),
        }


@pytest.mark.parametrize(
    "region", ["header of an entry", "content of an entry", "directory", "seal", "anywhere", "last byte"]
)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_noticed_and_the_store_named(example, region, data):
    content = bytearray(example.read_bytes())
    first, last = regions(example).get(region, (len(content) - 1, len(content) - 1))
    content[data.draw(st.integers(first, last))] ^= data.draw(st.integers(1, 255))
    path = example.with_name("damaged.zarr.zip")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged\.zarr\.zip: .*delete it and run again"):
        read_all(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_store_that_is_cut_short_or_longer_is_noticed(example, data):
    content = example.read_bytes()
    length = data.draw(st.integers(0, len(content) - 1))
    path = example.with_name("cut.zarr.zip")
    for other in (content[:length], content[length + 1 :], content + data.draw(st.binary(min_size=1))):
        path.write_bytes(other)
        with pytest.raises(InputError, match=r"cut\.zarr\.zip: .*delete it and run again"):
            read_all(path)


def test_two_bytes_that_changed_places_are_noticed(example):
    # The directory as it was, and an archive whose entries no longer match it.
    with zipfile.ZipFile(example) as archive:
        one, two = (archive.getinfo(f"scans/0000{scan}/zarr.json").header_offset for scan in (0, 1))
    content = bytearray(example.read_bytes())
    assert content[one + 14] != content[two + 14]
    content[one + 14], content[two + 14] = content[two + 14], content[one + 14]
    path = example.with_name("mixed.zarr.zip")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"mixed\.zarr\.zip: the store is damaged \(scans/00000/zarr\.json"):
        read_all(path)


def test_a_large_archive_is_read(tmp_path, monkeypatch):
    # Beyond 4 GB zip writes its offsets and sizes in another way; that limit can be moved.
    path = tmp_path / "toy.zarr.zip"
    for limit in (600, 100):
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
        content = write_example(path)
        found = read_all(path)
        for scan, arrays in content.items():
            for name, array in arrays.items():
                np.testing.assert_array_equal(found[scan][1][name], array)


def test_opening_a_store_reads_its_directory_alone(tmp_path):
    # So that a large one is as quick to open as a small one: damage in a scan shows when that scan is read.
    path = tmp_path / "toy.zarr.zip"
    content = write_example(path)
    with zipfile.ZipFile(path) as archive:
        position = archive.getinfo("scans/00001/points/c/0/0").header_offset + 100
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with stores.read(path, "clouds") as store:
        for scan in ("dent/000", "dent/002"):
            for name, array in store.load(scan, ["points", "labels"]).items():
                np.testing.assert_array_equal(array, content[scan][name])
        with pytest.raises(InputError, match="scans/00001/points/c/0/0"):
            store.load("dent/001", ["points"])


def test_a_store_that_is_missing_or_no_store_is_named(tmp_path):
    path = tmp_path / "toy.zarr.zip"
    with pytest.raises(InputError, match=r"toy\.zarr\.zip: no such store"):
        read_all(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(InputError, match=r"toy\.zarr\.zip: not a readable store"):
        read_all(path)


def test_a_store_of_another_kind_or_schema_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "toy.zarr.zip"
    write_example(path)
    with pytest.raises(InputError, match="kind is 'clouds', expected 'renders'"), stores.read(path, "renders"):
        pass
    monkeypatch.setattr(stores, "SCHEMA", stores.SCHEMA + 1)
    with (
        pytest.raises(InputError, match=f"schema is {stores.SCHEMA - 1}, expected {stores.SCHEMA}"),
        stores.read(path, "clouds"),
    ):
        pass


def test_missing_scans_and_arrays_are_named(tmp_path):
    path = tmp_path / "toy.zarr.zip"
    write_example(path)
    with stores.read(path, "clouds") as store:
        with pytest.raises(InputError, match="no scan 'bump/000'"):
            store.load("bump/000", ["points"])
        with pytest.raises(InputError, match="no array 'normals'"):
            store.load("dent/000", ["normals"])


def test_package_versions_are_json():
    assert "torch" in json.loads(json.dumps(stores.package_versions()))


def test_check_refuses_what_read_refuses(tmp_path):
    path = tmp_path / "toy.zarr.zip"
    write_example(path)
    stores.check(path, "clouds")
    with pytest.raises(InputError, match="expected 'renders'"):
        stores.check(path, "renders")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"toy\.zarr\.zip"):
        stores.check(path, "clouds")


def write_shards(folder: Path, size: int, **provenance: object) -> list[Path]:
    """The example's scans in shards, and as a whole beside them; both say that they are `folder`'s."""
    whole = folder / "whole.zarr.zip"
    content = write_example(whole, scans=7)
    with stores.read(whole, "clouds") as store:
        attributes = {scan: store.scan_attributes(scan) for scan in store.scans}
    paths = []
    for shard, scans in split(content, size).items():
        paths.append(folder / f"toy/{shard}.zarr.zip")
        with stores.write(paths[-1], "clouds", {"seed": 0, **provenance}, {"dataset": "toy"}) as writer:
            for scan in scans:
                writer.add(scan, content[scan], attributes[scan])
    return paths


@pytest.mark.parametrize("size", [1, 2, 6, 7])
def test_shards_put_together_are_the_whole(tmp_path, size):
    paths = write_shards(tmp_path, size)
    stores.join(paths[::-1], tmp_path / "joined.zarr.zip", "clouds")
    assert (tmp_path / "joined.zarr.zip").read_bytes() == (tmp_path / "whole.zarr.zip").read_bytes()


def test_shards_are_read_as_one_store(tmp_path):
    paths = write_shards(tmp_path, 2)
    with stores.read(paths, "clouds") as shards, stores.read(tmp_path / "whole.zarr.zip", "clouds") as whole:
        assert shards.path == tmp_path / "toy"
        assert shards.attributes == whole.attributes
        for scan in whole.scans:
            assert shards.scan_attributes(scan) == whole.scan_attributes(scan)
            assert shards.arrays(scan) == whole.arrays(scan)
            np.testing.assert_array_equal(
                shards.load(scan, ["points"])["points"], whole.load(scan, ["points"])["points"]
            )
        with pytest.raises(InputError, match=r"toy: no scan 'bump/000'"):
            shards.load("bump/000", ["points"])
        with pytest.raises(InputError, match=r"toy/[01]+\.zarr\.zip: scan 'dent/000' has no array 'normals'"):
            shards.load("dent/000", ["normals"])


def test_shards_that_do_not_belong_together_are_refused(tmp_path):
    first, *others = write_shards(tmp_path, 2)
    with (
        pytest.raises(InputError, match=r"scan 'dent/00\d' is in .*toy.* as well"),
        stores.read([first, first], "clouds"),
    ):
        pass
    with stores.write(others[0], "clouds", {"seed": 0}, {"dataset": "another"}) as writer:
        writer.add("dent/9", {})
    with pytest.raises(InputError, match="dataset is 'another', but 'toy' in"), stores.read([first, *others], "clouds"):
        pass


def test_what_made_shards_is_told_of_all(tmp_path):
    (tmp_path / "other").mkdir()
    path = write_shards(tmp_path, 4, device="cpu")[0]
    other = write_shards(tmp_path / "other", 4, device="cuda")[1]
    with stores.read([path, other], "clouds") as store:
        assert store.attributes["provenance"]["device"] == ["cpu", "cuda"]
        assert store.attributes["provenance"]["seed"] == 0


def test_many_shards_are_opened_at_once(tmp_path):
    """More than the customary limit of open files, which is the process's own to raise."""
    script = f"""
import resource
from pathlib import Path
from pointad_core.storage import stores
from pointad_core.errors import InputError
from pointad_core.storage.shards import split
paths = sorted(Path({str(tmp_path / "toy")!r}).iterdir())
soft = len(list(Path("/proc/self/fd").iterdir())) + 3
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, soft + len(paths)))
for _ in range(3):
    with stores.read(paths, "clouds") as store:
        store.load(store.scans[0], ["points"])
with stores.read(paths, "clouds"):
    try:
        with stores.read(paths, "clouds"):
            pass
    except InputError as error:
        print(error)
"""
    write_shards(tmp_path, 1)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Too many open files; set a larger shard_size" in done.stdout
