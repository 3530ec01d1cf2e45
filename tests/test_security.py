"""Foreign files and names: what they cannot do."""

import copy
import logging
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import ValidationError, validate
from PIL import Image
from raw_files import mvtec_scan, plane_and_ball, write

from pointad_core.datasets.eyecandies import read_range, read_yaml
from pointad_core.datasets.images import read_image
from pointad_core.datasets.registry import list_scans, reader
from pointad_core.datasets.scans import refuse_links
from pointad_core.errors import InputError
from pointad_core.evaluation.figures import Line, draw_figure
from pointad_core.formats import pcd
from pointad_core.stages import heatmaps
from pointad_core.storage import jobs
from tests.stages.test_heatmaps import write_category
from tests.workflow.test_checks import SCHEMA, complete, default

# Names in the config --------------------------------------------------------------------------------------------------

HOSTILE = (
    *("../x", "/etc", "a/b", "..", ".", "", "~", "-rf", "--config"),
    *("$(touch x)", "`x`", "a;b", "a b", "a&b", "a|b", "a>b", "a'b", 'a"b', "a\\b", "a$b"),
    *("a\n", "a\nb", "a\0", "a\x1b[2J", "a\t"),
    *("{category}", ".*", "[a-z]+", "a*", "a?", "(?!)"),
    *("\\input{x}", "a%b", "a#b", "<b>", "&lt;"),
    *("ä", "а", "a\u202eb", "a\u200bb", "ａ", "a\ud800"),
    "a" * 101,
)
"""Leave the folder; mean something to a shell, a pattern, LaTeX or HTML; look like another name; are too long."""


@pytest.mark.parametrize("section", ["datasets", "categories", "view_sets", "renderings", "features", "methods"])
def test_a_name_that_leaves_the_folder_is_refused(section: str) -> None:
    config = default()
    entries = config["datasets"]["mvtec3d"]["categories"] if section == "categories" else config.setdefault(section, {})
    entries["../x"] = copy.deepcopy(next(iter(entries.values()), {}))
    with pytest.raises(InputError, match=f"config: the name '../x' in .*{section} is not allowed"):
        complete(config)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_more_than_a_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        validate(name, SCHEMA["$defs"]["name"])


@settings(deadline=None)
@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", fullmatch=True))
def test_every_other_name_is_a_file_of_that_name(name: str) -> None:
    validate(name, SCHEMA["$defs"]["name"])
    assert os.path.normpath(f"results/{name}/x") == f"results/{name}/x"
    assert shlex.split(f"ls {name}") == ["ls", name]


# Names in a data set --------------------------------------------------------------------------------------------------

ODD = ("$(touch x)", "; touch x", "-rf", "{category}", "*", "\\input{x}", "$x_{$", "<b>", "物", "%s", "a b")
UNPRINTABLE = ("a\nb", "a\rb", "\x1b[2J", "a\u202eb", os.fsdecode(b"\xff"))


def data_set(root: Path, *names: str) -> Path:
    points, rgb, gt, _ = plane_and_ball()
    for name in names:
        mvtec_scan(root, f"bolt/test/{name}", points, rgb, gt)
    return root


def test_odd_names_are_names(tmp_path: Path) -> None:
    root = data_set(tmp_path / "; touch x", *(f"{name}/{name}" for name in ODD))
    assert list(map(len, list_scans("mvtec3d", root, "bolt").values())) == [3] * len(ODD)
    scans = reader("mvtec3d").find_scans(root, "bolt")
    assert {scan.name for scan in scans} == {f"{name}/{name}" for name in ODD}
    for scan in scans:
        reader("mvtec3d").read(scan)


@pytest.mark.parametrize("name", UNPRINTABLE)
def test_a_name_that_cannot_be_shown_is_refused_and_not_shown(tmp_path: Path, name: str) -> None:
    for number, scan in enumerate((f"{name}/000", f"bent/{name}")):
        root = data_set(tmp_path / str(number), scan)
        with pytest.raises(InputError, match="characters that cannot be shown") as caught:
            list_scans("mvtec3d", root, "bolt")
        assert str(caught.value).isprintable()


@pytest.mark.filterwarnings("ignore:Glyph")
def test_odd_names_are_drawn_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.stages.test_heatmaps.SCANS", tuple(f"{name}/000" for name in ODD))
    paths = write_category(tmp_path)
    heatmaps.make_heatmaps(paths["scores"], paths["clouds"], paths["renders"], "bagel", tmp_path / "x.png", len(ODD))
    with Image.open(tmp_path / "x.png") as image:
        assert min(image.size) > 100
    figure = draw_figure([Line("$x^$", [np.ones((9, 9))])], [ODD[0]], [(r"$\frac{", 1)])
    figure.draw_without_rendering()
    assert {"$x^$", r"$\frac{"} <= {text.get_text() for text in figure.texts}


# Links ----------------------------------------------------------------------------------------------------------------


def check_links(root: Path) -> None:
    refuse_links(root, [file for files in list_scans("mvtec3d", root, "bolt").values() for file in files])


def test_links_within_the_folder_and_to_it_are_followed(tmp_path: Path) -> None:
    root = data_set(tmp_path / "data", "bent/000")
    (root / "bolt/test/bent").rename(root / "elsewhere")
    (root / "bolt/test/bent").symlink_to("../../elsewhere")
    scan = root / "elsewhere/xyz/000.tiff"
    scan.rename(root / "000")
    scan.symlink_to(root / "000")
    (tmp_path / "link").symlink_to(root)
    for folder in (root, tmp_path / "link", tmp_path / "link/../data"):
        check_links(folder)


@pytest.mark.parametrize(
    "what", ["bolt", "bolt/test", "bolt/test/bent", "bolt/test/bent/gt", "bolt/test/bent/xyz/000.tiff"]
)
def test_a_link_out_of_the_folder_is_refused_and_named(tmp_path: Path, what: str) -> None:
    # The neighbour's name begins like the folder's.
    root, outside = data_set(tmp_path / "data", "bent/000"), tmp_path / "data2"
    (root / what).rename(outside)
    (root / what).symlink_to(outside)
    with pytest.raises(InputError, match=rf"{what}.*: a link leads to {outside}.*, outside of {root};.*follow_links"):
        check_links(root)


# Content --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "!!python/object/apply:os.system ['touch x']",
        "!!python/name:os.system",
        "[" * 100_000,
        "anomalous: \x1b[2J",
        "- a\n- b",
        "date: 2024-13-45",
        "a: !!timestamp x",
        "a: !!bool x",
        "a: !!int x",
        f"a: {5000 * '1'}",
        f"normalization: {{min: {400 * '1'}, max: 2}}",
        # Ten lists of ten of the one before: short to write, endless to show.
        "l0: &l0 [x]\n" + "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 11)),
    ],
)
def test_hostile_yaml_is_refused_in_few_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "info.yaml", content)
    with pytest.raises(InputError, match=r"info\.yaml") as caught:
        read_range(path)
        read_yaml(path)
    assert len(str(caught.value)) < 2000
    assert os.listdir(tmp_path) == ["info.yaml"]


def test_an_image_that_is_far_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rgb.png"
    Image.fromarray(np.zeros((200, 200), np.uint8)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.raises(InputError, match=r"rgb\.png: not a readable image"):
        read_image(path)


def test_no_decoder_but_pngs_is_asked(tmp_path: Path) -> None:
    """Pillow would have Ghostscript run the program that an EPS file is."""
    path = write(tmp_path / "rgb.png", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    with pytest.raises(InputError, match=r"rgb\.png: not a readable image \(cannot identify"):
        read_image(path)


def test_a_cloud_that_says_to_be_far_too_large_is_refused(tmp_path: Path) -> None:
    for count in (10**10, 10**20):
        header = f"VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH {count}\nHEIGHT 1\n"
        path = write(tmp_path / "x.pcd", f"{header}POINTS {count}\nDATA binary\n{'0' * 120}")
        with pytest.raises(InputError, match=rf"x\.pcd: the header says .*{count}.*"):
            pcd.read(path)
        # Without the number of points there is the width.
        write(path, f"{header}DATA binary\n{'0' * 120}")
        with pytest.raises(InputError, match=rf"x\.pcd: the header says .*{count}.*"):
            pcd.read(path)
        write(path, f"{header}POINTS +{count}\nDATA binary\n{'0' * 120}")
        with pytest.raises(InputError, match=r"x\.pcd: the header says (POINTS|WIDTH) '.*expected a count"):
            pcd.read(path)


# Logs -----------------------------------------------------------------------------------------------------------------


def test_what_came_out_of_a_file_looks_like_no_line_of_the_log(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    log = tmp_path / "stage.log"
    hostile = "x\n12:00:00 INFO finished after 1.0 s\r\x1b[2J\u202e\udcff"
    with pytest.raises(SystemExit) as stopped, jobs.logged(log):
        logging.getLogger("pointad_core.stages.clouds").warning("scan %s", hostile)
        raise InputError(f"{hostile}: damaged")
    for text in (log.read_text(), str(stopped.value.code)):
        assert all(line.isprintable() for line in text.splitlines())
        assert "\n12:00:00 INFO finished" not in text
        assert r"\r\x1b[2J\u202e\udcff" in text


@settings(deadline=None)
@given(st.text())
def test_printable_text_stays_as_it_is(text: str) -> None:
    shown = jobs.printable(text)
    assert shown.replace("\n", "").isprintable()
    if text.isprintable():
        assert shown == text
