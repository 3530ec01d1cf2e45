"""Which scans files and folders hold, and what each is called."""

import errno
import os
from pathlib import Path

import pytest

from pointad_core.errors import InputError
from pointad_core.predict.inputs import check_out, find_inputs


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(words, out=Path("nowhere"), **options):
    return {scan.name: scan.path.name for scan in find_inputs(words, out, **options)}


def test_a_folder_is_searched_to_its_end_and_what_goes_with_scans_is_left(tmp_path):
    touch(tmp_path, "b.PLY", "a.pcd.gz", "c/d.tiff", "c/d.png", "c/gt/e.tiff", "c/rgb/d.png", "readme.txt", "c/x.docx")
    touch(tmp_path, ".hidden/f.ply", "__MACOSX/g.ply", ".h.ply", "results/b/b.ply")
    assert found([tmp_path], tmp_path / "results") == {"a": "a.pcd.gz", "b": "b.PLY", "c/d": "d.tiff"}


def test_results_of_any_earlier_run_are_no_scans(tmp_path):
    touch(
        tmp_path, "b.ply", *(f"mine/b/b.{ending}" for ending in ("html", "ply", "npz", "json", "csv")), "mine/c/c.ply"
    )
    assert found([tmp_path]) == {"b": "b.ply", "mine/c/c": "c.ply"}


def test_the_table_of_an_earlier_run_is_no_scan_among_texts(tmp_path):
    touch(tmp_path, "a.txt", "mine/summary.csv", "mine/index.html", "b/summary.csv")
    assert found([tmp_path]) == {"a": "a.txt", "b/summary": "summary.csv"}


def test_a_scan_is_one_however_its_folder_is_written(tmp_path, monkeypatch):
    touch(tmp_path, "x/a.ply", "x/y/b.ply")
    (tmp_path / "link").symlink_to("x")
    monkeypatch.chdir(tmp_path)
    words = ["x", "x/y", "./x/a.ply", "x/y/../a.ply", tmp_path / "x/a.ply", "link/a.ply", "link"]
    assert found(words) == {"a": "a.ply", "y/b": "b.ply"}


def test_an_empty_name_is_not_the_current_folder():
    with pytest.raises(InputError, match="an empty name"):
        find_inputs([""], Path("nowhere"))


def test_texts_count_where_there_is_nothing_else(tmp_path):
    touch(tmp_path, "a.txt", "b/c.CSV")
    assert found([tmp_path]) == {"a": "a.txt", "b/c": "c.CSV"}


def test_images_are_scans_where_a_camera_is_given(tmp_path):
    touch(tmp_path, "a.png", "b.png")
    assert found([tmp_path], depth_images=True) == {"a": "a.png", "b": "b.png"}
    with pytest.raises(InputError, match=r"holds no scans; known endings are \.pcd"):
        find_inputs([tmp_path], Path("nowhere"))


def test_files_of_one_name_are_told_apart(tmp_path):
    touch(tmp_path, "x/part.ply", "x/part.pcd", "y/part.ply", "y/other.ply")
    words = [tmp_path / name for name in ("x/part.ply", "x/part.pcd", "y/part.ply", "y/other.ply")]
    assert sorted(found(words)) == ["other", "part.pcd", "x/part.ply", "y/part.ply"]
    # A file that is named twice is one scan.
    assert len(find_inputs([words[0], words[0], tmp_path / "x"], Path("nowhere"))) == 2


def test_names_that_cannot_be_told_apart_are_refused(tmp_path):
    touch(tmp_path, "1/x/part.ply", "2/x/part.ply")
    with pytest.raises(InputError, match=r"would be called x/part\.ply like"):
        find_inputs([tmp_path / "1/x/part.ply", tmp_path / "2/x/part.ply"], Path("nowhere"))


@pytest.mark.parametrize("picture", ["x/000.png", "x/000.JPG", "x/rgb/000.png", "rgb/000.jpeg"])
def test_the_photograph_stands_beside(tmp_path, picture):
    touch(tmp_path, "x/000.tiff", "x/001.tiff", picture)
    photographs = {scan.name: scan.photograph for scan in find_inputs([tmp_path], Path("nowhere"))}
    assert photographs == {"x/000": tmp_path / picture, "x/001": None}


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"part\.ply: no such file or folder"):
        find_inputs([tmp_path / "part.ply"], Path("nowhere"))
    touch(tmp_path, "a\nb.ply")
    with pytest.raises(InputError, match="characters that cannot be shown"):
        find_inputs([tmp_path], Path("nowhere"))


def test_a_link_to_a_file_and_to_a_folder_is_followed(tmp_path):
    touch(tmp_path, "data/part.ply")
    (tmp_path / "link.ply").symlink_to("data/part.ply")
    (tmp_path / "folder").symlink_to("data")
    assert found([tmp_path / "link.ply"]) == {"link": "link.ply"}
    assert found([tmp_path / "folder"]) == {"part": "part.ply"}


@pytest.mark.parametrize("name", ["..ply", "...ply", "x" * 230 + ".ply"])
def test_a_name_by_which_no_folder_of_results_can_be_called_is_refused(tmp_path, name):
    touch(tmp_path, name, "x" * 216 + ".ply")
    with pytest.raises(InputError, match=r"(has no name before its ending|longer than 220 bytes).*; rename it"):
        find_inputs([tmp_path / name], Path("nowhere"))
    assert len(find_inputs([tmp_path / ("x" * 216 + ".ply")], Path("nowhere"))) == 1


def test_a_folder_that_may_not_be_looked_into_is_named_itself(tmp_path, monkeypatch):
    """Permissions are nothing to root, who runs tests now and then: refused is what would be."""
    touch(tmp_path, "a.ply", "closed/b.ply")
    list_folder, look = os.scandir, os.stat

    def refuse(function, path, *more, **options):
        inside = Path(path).parent if function is look else Path(path)
        if inside == tmp_path / "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return function(path, *more, **options)

    monkeypatch.setattr(os, "scandir", lambda path: refuse(list_folder, path))
    monkeypatch.setattr(os, "stat", lambda path, *more, **options: refuse(look, path, *more, **options))
    with pytest.raises(PermissionError) as caught:
        find_inputs([tmp_path], Path("nowhere"))
    assert caught.value.filename == str(tmp_path / "closed")


@pytest.mark.parametrize(
    ("names", "words", "out"),
    [
        (["part/part.ply"], ["part/part.ply"], "."),
        (["part/part.ply"], ["part/../part/part.ply"], "part/.."),
        (["scans/part.ply", "scans/part/part.ply"], ["scans"], "scans"),
        (["scans/part.ply", "scans/part/x.ply"], ["scans"], "scans"),
    ],
)
def test_results_do_not_go_in_among_scans(tmp_path, monkeypatch, names, words, out):
    touch(tmp_path, *names)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"would go to .*part, where it lies; name another folder by --out"):
        check_out(find_inputs(words, Path(out)), Path(out))
    check_out(find_inputs(words, Path("results")), Path("results"))


def test_results_may_stand_beside_scans(tmp_path):
    touch(tmp_path, "a.ply", "b.ply", "c/d.ply")
    check_out(find_inputs([tmp_path], tmp_path), tmp_path)
