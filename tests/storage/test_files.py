"""Files: whole or not at all, the last writer wins, and a changed byte is noticed."""

import errno
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointad_core.errors import InputError
from pointad_core.storage import files


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "deep" / "file.csv"
    with files.replacing(path) as partial:
        partial.write_text("one")
        assert not path.exists()
    with pytest.raises(RuntimeError, match="half way"), files.replacing(path) as partial:
        partial.write_text("two, but only the fi")
        raise RuntimeError("half way")
    assert path.read_text() == "one"
    assert os.listdir(path.parent) == [path.name]


def test_what_a_killed_process_left_goes_and_nothing_else(tmp_path):
    path = tmp_path / "[a]*.csv"
    others = ["[a]*.csv.b.csv.0123abcd.partial", "a.csv.0123abcd.partial"]
    for name in ("[a]*.csv.0123abcd.partial", "[a]*.csv", *others):
        (tmp_path / name).write_text("old")
    with files.replacing(path) as partial:
        partial.write_text("new")
    assert sorted(os.listdir(tmp_path)) == ["[a]*.csv", *others]
    assert path.read_text() == "new"


def test_a_process_that_outlived_its_run_does_not_put_its_file_over_the_new_one(tmp_path):
    path = tmp_path / "file.csv"
    outlived = files.replacing(path)
    old = outlived.__enter__()
    stream = open(old, "w")  # noqa: SIM115 - as a process that was not killed holds it
    stream.write("old, first half; ")
    with files.replacing(path) as partial:
        partial.write_text("new, first half; ")
        # In the middle of the new one's work the old one comes to its end.
        stream.write("old, second half")
        stream.close()
        with pytest.raises(FileNotFoundError):
            outlived.__exit__(None, None, None)
        assert not path.exists()
        with open(partial, "a") as file:
            file.write("new, second half")
    assert path.read_text() == "new, first half; new, second half"
    assert os.listdir(tmp_path) == [path.name]


def test_a_full_disk_is_named(tmp_path):
    path = tmp_path / "file.csv"
    with pytest.raises(OSError, match=str(path)) as caught, files.replacing(path) as partial:
        partial.write_text("first half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []


def test_the_file_is_named_and_not_what_stands_in_for_it(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(IsADirectoryError) as caught, files.replacing(tmp_path / "folder.csv") as partial:
        partial.write_text("new")
    assert caught.value.filename == str(tmp_path / "folder.csv")


def test_a_place_where_nothing_can_be_written_is_known_before(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    files.check_place(tmp_path / "new/folder/file.json")
    files.check_place(tmp_path / "file")
    with pytest.raises(InputError, match="is a folder, expected a file"):
        files.check_place(tmp_path)
    with pytest.raises(InputError, match=r"file/a\.json: cannot be written, for .*file is no folder"):
        files.check_place(tmp_path / "file/a.json")
    monkeypatch.setattr(os, "access", lambda path, how: path != tmp_path)  # root may write anywhere
    with pytest.raises(InputError, match=r"a\.json: cannot be written, for .* may not be written to"):
        files.check_place(tmp_path / "new/a.json")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@settings(deadline=None)
@given(st.binary(), st.binary(), st.data())
def test_a_seal_sees_every_change(before, after, data):
    content = files.seal(before + files.BLANK_SEAL.encode() + after)
    assert files.is_sealed(content)
    position = data.draw(st.integers(0, len(content) - 1))
    flipped = bytearray(content)
    flipped[position] ^= data.draw(st.integers(1, 255))
    assert not files.is_sealed(bytes(flipped))
    assert not files.is_sealed(content[:position])
    assert not files.is_sealed(content + b"\0")
