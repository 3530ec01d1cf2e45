"""Viewer pages of a category: what is shown of which scan, on small stores made here."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from pointad_core.errors import InputError
from pointad_core.rendering.views import rotations
from pointad_core.stages import viewers
from pointad_core.storage import stores
from tests.stages.test_heatmaps import ANGLES, FRONTAL, PROVENANCE, SCANS, SIDE, disc


def write_category(folder, organised=True, rgb=True, labelled=True):
    """Clouds and renders of a disc with a small disc as its defect, and scores of two methods."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    paths = {name: folder / f"{name}.zip" for name in ("clouds", "renders", "first", "second")}
    about = {"dataset": "toy", "category": "bagel", "organised": organised}
    with (
        stores.write(paths["clouds"], "clouds", PROVENANCE, about) as clouds,
        stores.write(paths["renders"], "renders", PROVENANCE, {"views": ANGLES, "resolution": SIDE}) as renders,
        stores.write(paths["first"], "scores", PROVENANCE) as first,
        stores.write(paths["second"], "scores", PROVENANCE) as second,
    ):
        for index, scan in enumerate(SCANS):
            bad = not scan.startswith("good")
            valid = disc(20, 20, 12)
            mask = disc(16 + index, 18, 4) & valid if bad else np.zeros((SIDE, SIDE), dtype=bool)
            score = (0.2 + mask + 0.01 * rng.random((SIDE, SIDE))).astype(np.float32)
            rows, columns = np.nonzero(valid)
            images = np.full((len(ANGLES), SIDE, SIDE), 255, dtype=np.uint8)
            images[:, valid] = 120
            pixels = np.broadcast_to(np.stack([columns, rows], axis=1).astype(np.int16), (len(ANGLES), len(rows), 2))
            visible = np.ones((len(ANGLES), len(rows)), dtype=bool)
            renders.add(scan, {"images": images, "pixels": pixels, "visible": visible})
            arrays = {"points": np.stack([columns, rows, rows * 0], axis=1).astype(np.float32)}
            if labelled:
                arrays["labels"] = mask[valid].astype(np.uint8)
            if organised:
                arrays["grid"] = np.flatnonzero(valid).astype(np.int32)
                if labelled:
                    arrays["mask"] = mask.astype(np.uint8)
                if rgb:
                    arrays["rgb"] = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            defective = bad if labelled else None
            clouds.add(scan, arrays, {"defective": defective, "defect": scan.split("/")[0], "n_original": 1234})
            for store, factor in ((first, 1), (second, 2)):
                key = "map" if organised else "points"
                found = {f"{key}_3d": (factor * score if organised else factor * score[valid]).astype(np.float32)}
                objects = {"object_3d": 0.25 * factor}
                if organised and rgb:
                    found["map_m3d"] = found["map_3d"] ** 2
                    objects["object_m3d"] = 0.5 * factor
                store.add(f"bagel/{scan}", found, {"category": "bagel", "scan": scan, **objects})
    return {
        "scores": {"PointAD+": paths["first"], "PointAD": paths["second"]},
        "clouds": paths["clouds"],
        "renders": paths["renders"],
    }


@pytest.fixture
def shown(monkeypatch):
    """What a page would be written of."""
    found = []
    monkeypatch.setattr(viewers, "write_viewer", lambda path, scans, title: found.extend([title, *scans]))
    return found


@pytest.mark.parametrize("organised", [True, False])
def test_a_scan_is_shown_with_every_methods_scores(tmp_path, shown, organised):
    paths = write_category(tmp_path / "stores", organised)
    viewers.make_viewers(**paths, category="bagel", output="x", facts={"data set": "Toy"}, scans=["hole/001"])
    title, scan = shown
    assert (title, scan.name) == ("toy bagel", "hole/001")
    modalities = ("3-D", "M3D") if organised else ("3-D",)
    assert list(scan.scores) == [f"{method} {m}" for method in ("PointAD+", "PointAD") for m in modalities]
    first, second = (scan.scores[f"{method} 3-D"] for method in ("PointAD+", "PointAD"))
    assert np.array_equal(second, 2 * first)
    assert np.array_equal(scan.truth, first > 0.7), "scores and labels are those of the same points"
    assert scan.truth.any()
    valid = disc(20, 20, 12)
    assert np.array_equal(scan.points[:, :2], np.argwhere(valid)[:, ::-1])
    with stores.read(paths["clouds"], "clouds") as clouds:
        if organised:
            assert np.array_equal(scan.colours, clouds.load("hole/001", ["rgb"])["rgb"][valid])
        else:
            assert scan.colours is None
    assert scan.facts["ground truth"] == "defective"
    assert scan.facts["data set"] == "Toy"
    assert scan.facts["points in the file"] == "1,234"
    assert scan.facts["object score, PointAD 3-D"] == "0.5"
    assert scan.threshold is None


def test_views_carry_the_map_of_the_first_score(tmp_path, shown):
    paths = write_category(tmp_path)
    viewers.make_viewers(**paths, category="bagel", output="x", scans=["crack/000"])
    scan = shown[1]
    assert [view.name for view in scan.views] == [
        "photograph, PointAD+ 3-D",
        *(f"turned by {x}°, {y}°" for _, x, y in ANGLES),
    ]
    valid = disc(20, 20, 12)
    for view in scan.views:
        assert np.array_equal(np.isfinite(view.scores), valid)
        assert np.allclose(view.scores[valid], scan.scores["PointAD+ 3-D"])
        assert view.image.shape == (SIDE, SIDE, 3)
    assert np.allclose(scan.front, rotations([ANGLES[FRONTAL]])[0])


def test_the_scan_is_turned_as_in_its_views():
    angles = [[180, -45, 30], [45, 10, -20], [0, 0, 0]]
    for angle, expected in zip(angles, rotations(angles), strict=True):
        assert np.allclose(viewers.rotate(*angle), expected)


def test_a_scan_without_labels_or_photograph_shows_neither(tmp_path, shown):
    paths = write_category(tmp_path, rgb=False, labelled=False)
    viewers.make_viewers(**paths, category="bagel", output="x", scans=["crack/000"])
    scan = shown[1]
    assert scan.truth is None
    assert scan.colours is None
    assert scan.facts["ground truth"] == "unlabelled"
    assert len(scan.views) == len(ANGLES)


def test_scans_are_chosen_as_for_the_contact_sheet(tmp_path, shown):
    viewers.make_viewers(**write_category(tmp_path), category="bagel", output="x")
    names = [scan.name for scan in shown[1:]]
    assert names == ["crack/000", "crack/001", "hole/000", "hole/001", "good/000", "good/001"]


class Scripts(HTMLParser):
    """Texts of the scripts of a page by their type."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.kind = {}, None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.kind = dict(attributes).get("type") if tag == "script" else None

    def handle_data(self, data):
        if self.kind:
            self.texts.setdefault(self.kind, []).append(data)

    def handle_endtag(self, tag):
        self.kind = None


def test_a_page_repeats_to_the_byte(tmp_path):
    paths = write_category(tmp_path)
    for name in ("a.html", "b.html"):
        viewers.make_viewers(**paths, category="bagel", output=tmp_path / name)
    page = (tmp_path / "a.html").read_text()
    assert page == (tmp_path / "b.html").read_text()
    scripts = Scripts(page).texts
    content = json.loads(scripts["application/json"][0])
    assert len(content["scans"]) == len(scripts["text/plain"]) == 6
    assert re.search("function findRegions", scripts["module"][0])


def test_what_is_not_there_is_named(tmp_path):
    paths = write_category(tmp_path)
    with pytest.raises(InputError, match="category 'bagel' has no scan 'dent/000'"):
        viewers.make_viewers(**paths, category="bagel", output=tmp_path / "a.html", scans=["dent/000"])
    with pytest.raises(InputError, match="category 'bagel' has no scans to show"):
        viewers.make_viewers(**paths, category="bagel", output=tmp_path / "a.html", scans=[])
    with pytest.raises(InputError, match=r"first\.zip: no scan 'rope/crack/000'"):
        viewers.make_viewers(**paths, category="rope", output=tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def test_starts_without_torch_and_matplotlib():
    code = "import sys, pointad_core.stages.viewers; print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
