"""Heat maps: what is drawn where, on small stores made here."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pointad_core.errors import InputError
from pointad_core.evaluation import pictures
from pointad_core.stages import heatmaps
from pointad_core.storage import stores

SIDE = 40
PROVENANCE = {"code": "test"}
ANGLES = [[180, -45, 0], [180, 0, -30], [180, 0, 0], [180, 15, 0]]
FRONTAL = 2
SCANS = ("crack/000", "crack/001", "good/000", "good/001", "hole/000", "hole/001")


def disc(row, column, radius):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


def write_category(folder, organised=True, rgb=True, seed=0, hot=1.0, unlabelled=()):
    """Clouds, renders and scores of a disc with a small disc as its defect; the score is `hot` there. Of the scans
    that are `unlabelled` the stores have no labels."""
    rng = np.random.default_rng(seed)
    paths = {stage: folder / f"{stage}.zip" for stage in ("clouds", "renders", "scores")}
    with (
        stores.write(
            paths["clouds"], "clouds", PROVENANCE, {"dataset": "toy", "category": "bagel", "organised": organised}
        ) as clouds,
        stores.write(paths["renders"], "renders", PROVENANCE, {"views": ANGLES, "resolution": SIDE}) as renders,
        stores.write(paths["scores"], "scores", PROVENANCE) as scored,
    ):
        for index, scan in enumerate(SCANS):
            bad = not scan.startswith("good")
            valid = disc(20, 20, 12)
            mask = disc(16 + index, 18, 4) & valid if bad else np.zeros((SIDE, SIDE), dtype=bool)
            scores = (0.2 + hot * mask + 0.01 * rng.random((SIDE, SIDE))).astype(np.float32)
            rows, columns = np.nonzero(valid)
            truth = mask[valid].astype(np.uint8)
            images = np.full((len(ANGLES), SIDE, SIDE), 255, dtype=np.uint8)
            images[FRONTAL][valid] = 120
            pixels = np.zeros((len(ANGLES), len(rows), 2), dtype=np.int16)
            pixels[FRONTAL] = np.stack([columns, rows], axis=1)
            renders.add(
                scan,
                {"images": images, "pixels": pixels, "visible": np.ones((len(ANGLES), len(rows)), dtype=bool)},
            )
            about = {"defective": None if scan in unlabelled else bad, "defect": scan.split("/")[0]}
            objects = {"object_3d": float(scores.max()), "category": "bagel", "scan": scan, "defective": bad}
            if organised:
                arrays = {"grid": np.flatnonzero(valid).astype(np.int32), "mask": mask.astype(np.uint8)}
                maps = {"map_3d": scores}
                if rgb:
                    arrays["rgb"] = np.repeat((valid * 200).astype(np.uint8)[..., None], 3, axis=2)
                    maps["map_m3d"] = scores**2
                    objects["object_m3d"] = float(scores.max() ** 2)
                if scan in unlabelled:
                    del arrays["mask"]
                clouds.add(scan, arrays, about)
                scored.add(f"bagel/{scan}", maps, objects)
            else:
                clouds.add(scan, {} if scan in unlabelled else {"labels": truth}, about)
                scored.add(f"bagel/{scan}", {"points_3d": scores[valid]}, objects)
    return paths


def load(paths, scan):
    with (
        stores.read(paths["clouds"], "clouds") as clouds,
        stores.read(paths["renders"], "renders") as renders,
        stores.read(paths["scores"], "scores") as scored,
    ):
        return heatmaps.load_picture(scored, clouds, renders, "bagel", scan)


def test_scans_of_every_kind_are_chosen(tmp_path):
    paths = write_category(tmp_path)
    with stores.read(paths["clouds"], "clouds") as clouds:
        assert heatmaps.choose_scans(clouds, 2) == (["crack/000", "hole/000"], ["good/000", "good/001"])
        assert heatmaps.choose_scans(clouds, 3)[0] == ["crack/000", "crack/001", "hole/000"]
        assert heatmaps.choose_scans(clouds, 9)[0] == ["crack/000", "crack/001", "hole/000", "hole/001"]


def test_scans_without_labels_come_after_the_defective_ones(tmp_path):
    paths = write_category(tmp_path, unlabelled=("crack/000", "good/000", "hole/000"))
    with stores.read(paths["clouds"], "clouds") as clouds:
        assert heatmaps.choose_scans(clouds, 4) == (["crack/001", "hole/001", "crack/000", "good/000"], ["good/001"])
        assert heatmaps.choose_scans(clouds, 1)[0] == ["crack/001"]


@pytest.mark.parametrize("organised", [True, False])
def test_a_scan_without_labels_is_drawn_as_such(tmp_path, organised):
    for name, unlabelled in (("some", SCANS[:1]), ("all", SCANS)):
        (tmp_path / name).mkdir()
        paths = write_category(tmp_path / name, organised, unlabelled=unlabelled)
        picture = load(paths, "crack/000")
        assert (picture.defective, picture.truth) == (None, None)
        assert picture.maps
        figure = pictures.draw_sheet([picture, load(paths, "good/000")], "toys")
        titles = [panel.get_title() for panel in figure.axes]
        assert ("Ground truth" in titles) is (name == "some")
        rows = [panel.get_ylabel() for panel in figure.axes if "/" in panel.get_ylabel()]
        assert rows == ["crack/000\nunlabelled", f"good/000\n{'good' if name == 'some' else 'unlabelled'}"]


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_the_label_of_the_colours_is_whole(tmp_path, rows):
    paths = write_category(tmp_path)
    figure = pictures.draw_sheet([load(paths, scan) for scan in SCANS[:rows]], "toys")
    figure.draw_without_rendering()
    (label,) = [axes.yaxis.label for axes in figure.axes if "anomaly score" in axes.get_ylabel()]
    box = label.get_window_extent()
    assert box.y0 >= 0
    assert box.y1 <= figure.bbox.y1
    assert box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("organised", [True, False])
def test_maps_show_the_object_alone_and_the_defect_where_it_is(tmp_path, organised):
    picture = load(write_category(tmp_path, organised), "hole/000")
    (image, *_) = picture.maps.values()
    red = (picture.truth == pictures._DEFECT).all(axis=-1)
    white = (picture.truth == 255).all(axis=-1)
    assert np.array_equal(np.isnan(image), white)
    assert red.any()
    assert np.array_equal(image > 0.7, red)
    assert picture.render.shape == picture.truth.shape[:2], "same window of the same view"
    assert picture.objects["3-D"] == pytest.approx(1.2, abs=0.02)
    # Cropped to the object: no more than a tenth of white on each side.
    assert image.shape[0] < SIDE
    assert not np.isnan(image[image.shape[0] // 2]).all()


def test_modalities_follow_the_scores(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert list(load(write_category(tmp_path / "a"), "crack/000").maps) == ["3-D", "M3D"]
    picture = load(write_category(tmp_path / "b", rgb=False), "crack/000")
    assert list(picture.maps) == ["3-D"]
    assert picture.rgb is None


def read_image(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize(("organised", "columns"), [(True, 5), (False, 3)])
def test_contact_sheet_has_a_row_a_scan_and_repeats_to_the_byte(tmp_path, organised, columns):
    paths = write_category(tmp_path, organised)
    for name in ("a.png", "b.png"):
        heatmaps.make_heatmaps(**paths, category="bagel", output=tmp_path / name, count=2)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    image = read_image(tmp_path / "a.png")
    assert image.shape[0] == pytest.approx((3 * pictures.CELL + 0.75) * pictures.DPI, abs=2)
    assert image.shape[1] == pytest.approx((columns * pictures.CELL + 1.2) * pictures.DPI, abs=2)
    # Two defective scans have red in their truth, the good one has none.
    red = (np.abs(image - pictures._DEFECT.astype(int)).max(axis=-1) == 0).sum(axis=1)
    thirds = [part.sum() for part in np.array_split(red, 3)]
    assert thirds[0] > 50
    assert thirds[1] > 50
    assert thirds[2] == 0


def test_all_maps_share_one_range_of_colours(tmp_path, monkeypatch):
    limits = []
    draw = pictures._draw_row
    monkeypatch.setattr(pictures, "_draw_row", lambda *args: (limits.append(args[3]), draw(*args))[1])
    heatmaps.make_heatmaps(**write_category(tmp_path), category="bagel", output=tmp_path / "a.png", count=1)
    assert len(limits) == 2
    assert len({pair for row in limits for pair in row.values()}) == 1


def test_scores_of_another_category_are_named(tmp_path):
    paths = write_category(tmp_path)
    with pytest.raises(InputError, match=r"scores\.zip: no scan 'rope/crack/000'"):
        heatmaps.make_heatmaps(**paths, category="rope", output=tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_named_scans_are_drawn_in_their_order(tmp_path):
    paths = write_category(tmp_path)
    heatmaps.make_heatmaps(**paths, category="bagel", output=tmp_path / "a.png", scans=["good/001", "hole/001"])
    image = read_image(tmp_path / "a.png")
    assert image.shape[0] == pytest.approx((2 * pictures.CELL + 0.75) * pictures.DPI, abs=2)
    red = (np.abs(image - pictures._DEFECT.astype(int)).max(axis=-1) == 0).sum(axis=1)
    good, defective = (part.sum() for part in np.array_split(red, 2))
    assert good == 0
    assert defective > 50
    # What is chosen by itself, by name.
    heatmaps.make_heatmaps(**paths, category="bagel", output=tmp_path / "b.png", count=2)
    chosen = ["crack/000", "hole/000", "good/000"]
    heatmaps.make_heatmaps(**paths, category="bagel", output=tmp_path / "c.png", scans=chosen)
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "c.png").read_bytes()


def test_unknown_scans_are_named(tmp_path):
    paths = write_category(tmp_path)
    message = r"category 'bagel' has no scan 'dent/000'; it has 'crack/000', 'crack/001', 'good/000'"
    scans = ["good/001", "dent/000"]
    with pytest.raises(InputError, match=message):
        heatmaps.make_heatmaps(**paths, category="bagel", output=tmp_path / "a.png", scans=scans)
    with pytest.raises(InputError, match="category 'bagel' has no scans to draw"):
        heatmaps.make_heatmaps(**paths, category="bagel", output=tmp_path / "a.png", scans=[])
    assert not (tmp_path / "a.png").exists()


def test_starts_without_torch_and_matplotlib():
    code = "import sys, pointad_core.stages.heatmaps; print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
