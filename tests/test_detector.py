"""A detector in memory gives what the workflow's stages give for the same scan, bit for bit."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from pointad_core.datasets.generator.scans import generate_category
from pointad_core.datasets.registry import LAYOUTS, reader
from pointad_core.datasets.scans import Organised
from pointad_core.detector import Detector, as_raw, to_pixels
from pointad_core.errors import InputError
from pointad_core.methods.registry import SYSTEMS, plain
from pointad_core.rendering.registry import RENDERERS
from pointad_core.stages.aggregation import make_aggregation
from pointad_core.stages.clouds import make_clouds
from pointad_core.stages.features import make_features
from pointad_core.stages.prompts import make_prompts
from pointad_core.stages.renders import make_renders
from pointad_core.stages.scores import make_scores
from pointad_core.storage import stores

MODEL = {"resolution": 336, "model": "pointad-pocket", "pretrained": "shapes", "vv_blocks": 1}
VIEWS = {"tilt": 180, "x": [-45, 0], "y": [30]}
CATEGORIES = {"mvtec3d": "carrot", "eyecandies": "Confetto", "real3d": "shell"}


class Chain:
    """The stages run on two generated scans, a good and a defective one, for one system."""

    def __init__(
        self, folder: Path, layout: str, system: str, renderer: str = "splat", defect_features: int = 0
    ) -> None:
        self.folder, self.layout, self.category = folder, layout, CATEGORIES[layout]
        self.entry = SYSTEMS[system]
        generate_category(folder / "raw", layout, self.category, [0, 1], seed=3)
        organised = LAYOUTS[layout].scene is not None
        cloud = {"resolution": 336, "normals": {"radius": 0.1 if organised else 0.8, "neighbours": 30}, "seed": 5}
        cloud |= {"background": "remove"} if organised else {"n_points": 4000, "sampling": "farthest"}
        found = RENDERERS[renderer]
        render = {"point_size": 8, "window": 672, "visibility": "soft"}
        render = {key: render[key] for key in found.options if key in render}
        render |= {"resolution": 336, "views": VIEWS if found.shaded else {"tilt": 180}}
        render |= {"renderer": {"name": renderer, "module": found.module, "options": list(found.options)}}
        aggregation = {"neighbours": 6, "kernel_sigma": 1.0, "kernel_units": "data", "alpha": 0.4}
        layouts = {"name": layout, **vars(LAYOUTS[layout])}
        at = {stage: folder / f"{stage}.zarr.zip" for stage in ("clouds", "renders", "features", "aggregation")}
        make_clouds(
            folder / "raw", at["clouds"], "toys", layouts, self.category, cloud, {"layout": layouts, "options": cloud}
        )
        stages = ["clouds"]
        if self.entry.stream:
            stages += ["renders", "features"]
            make_renders(at["clouds"], at["renders"], render, {"options": render})
            options = {**MODEL, "streams": [self.entry.stream]}
            make_features(
                clouds=at["clouds"],
                renders=at["renders"],
                output=at["features"],
                options=options,
                provenance={"options": options},
            )
        if self.entry.aggregates:
            stages.append("aggregation")
            inputs = {stage: at[stage] for stage in ("clouds", "renders", "features")}
            made = {"options": aggregation}
            make_aggregation(**inputs, output=at["aggregation"], options=aggregation, provenance=made)
        inputs = {stage: at[stage] for stage in stages}
        learning = {"epochs": 1, "deep_blocks": 2} if self.entry.stream else {"epochs": 1}
        scoring = {"defect_features": defect_features} if defect_features else {}
        self.prompts = folder / "prompts.safetensors"
        display = "sweet carrot" if self.entry.class_names else None
        make_prompts(
            plain(self.entry),
            inputs,
            self.prompts,
            folder / "p.csv",
            learning | scoring,
            MODEL,
            display,
            111,
            {"code": "abc"},
        )
        category = {"name": self.category, "display": "other name", **inputs}
        make_scores(plain(self.entry), self.prompts, [category], folder / "scores.zarr.zip", scoring, MODEL, {})

    def scans(self):
        """Each raw scan as arrays, and what the scores stage kept of it."""
        module = reader(self.layout)
        with stores.read(self.folder / "scores.zarr.zip", "scores") as store:
            for scan in module.find_scans(self.folder / "raw", self.category):
                name = f"{self.category}/{scan.name}"
                yield module.read(scan), store.load(name, store.arrays(name)), store.scan_attributes(name)

    def score(self, options):
        """Object scores and arrays of each scan with these settings of the scores, as the scores stage keeps them."""
        stages = ("clouds", "renders", "features", "aggregation")
        inputs = {stage: self.folder / f"{stage}.zarr.zip" for stage in stages}
        output = self.folder / "other.zarr.zip"
        category = {"name": self.category, "display": "other name", **inputs}
        make_scores(plain(self.entry), self.prompts, [category], output, options, MODEL, {})
        with stores.read(output, "scores") as store:
            for name in store.scans:
                yield store.scan_attributes(name), store.load(name, store.arrays(name))


CASES = [
    ("mvtec3d", "pointad_plus", "splat"),
    ("eyecandies", "anomalyclip", "depth"),
    ("real3d", "pointclip_v2_a", "realistic"),
    ("real3d", "cheraghian", "splat"),
    ("real3d", "pointad_plus", "splat_depth", 12),
]


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    """Each chain, run once when it is first asked for."""
    torch.set_num_threads(1)
    return cache(lambda *case: Chain(tmp_path_factory.mktemp("chain"), *case))


@pytest.fixture(params=CASES, ids=["-".join(case[:2]) for case in CASES])
def chain(request, chains):
    return chains(*request.param)


@pytest.fixture
def plus(chains):
    return chains(*CASES[0])


def test_it_gives_what_the_stages_give_bit_for_bit(chain):
    detector = Detector.load(chain.prompts, device="cpu")
    for raw, arrays, attributes in chain.scans():
        organised = isinstance(raw, Organised)
        found = detector.score(raw, name="other name")
        assert set(found.arrays) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found.arrays[name], array)
        assert found.objects == {key: value for key, value in attributes.items() if key.startswith("object_")}
        assert found.object == found.objects["object_m3d" if "object_m3d" in found.objects else "object_3d"]
        assert found.points.shape == raw.points.shape[:-1]
        if organised:
            assert np.isnan(found.points[~raw.valid]).all()
            assert 0 < np.isfinite(found.points).sum() <= raw.valid.sum()
        else:
            np.testing.assert_array_equal(found.points, arrays["original_3d"])
        # Arrays alone, of which nothing says what is defective: of a good scan that is all there is to say.
        with_rgb, alone = (
            detector(raw.points, rgb, name="other name") for rgb in ((raw.rgb, None) if organised else (None, None))
        )
        assert set(alone.objects) == {"object_3d"}
        assert set(with_rgb.objects) == set(found.objects)
        for one in (with_rgb, alone):
            for name in one.arrays:
                if not attributes["defective"]:
                    np.testing.assert_array_equal(one.arrays[name], arrays[name])
                np.testing.assert_allclose(one.arrays[name], arrays[name], atol=0.02)


@pytest.mark.parametrize("how", ["incidence", "coverage", "sharpness"])
def test_other_settings_of_the_scores_do_the_same_to_both(plus, how):
    settings = {"view_weights": how, "object_share": 0.05}
    detector = Detector.load(plus.prompts, device="cpu", settings=settings)
    for (raw, usual, _), (attributes, arrays) in zip(plus.scans(), plus.score(settings), strict=True):
        seen = detector.look(raw)
        found = detector.judge(seen, "other name")
        for name, array in arrays.items():
            np.testing.assert_array_equal(found.arrays[name], array)
            assert np.abs(array - usual[name]).max() > 1e-4
        told = found.objects | detector.score_parts(seen, found)
        assert told == {name: attributes[name] for name in told}
        assert attributes["object_3d"] == pytest.approx(0.5 * told["global_3d"] + 0.5 * told["highest_3d"])


def test_what_a_prompts_file_does_not_keep_of_its_method_can_be_said(plus):
    settings = {"smoothing_sigma": 2, "smoothing_over": "points", "rgb_map": "pixels"}
    detector = Detector.load(plus.prompts, device="cpu", settings=settings)
    for (raw, usual, _), (attributes, arrays) in zip(plus.scans(), plus.score(settings), strict=True):
        found = detector.score(raw, "other name")
        assert found.objects == {key: value for key, value in attributes.items() if key.startswith("object_")}
        assert arrays.keys() == {"map_3d", "map_m3d"}
        for name, array in arrays.items():
            np.testing.assert_array_equal(found.arrays[name], array)
            assert np.abs(array - usual[name]).max() > 1e-4


def test_numbers_of_views_are_those_of_a_system_that_has_views(plus, chains):
    assert Detector.load(plus.prompts, "cpu").precision == "float32"
    assert Detector.load(chains("real3d", "cheraghian", "splat").prompts, "cpu").precision is None


def test_another_preparation_can_be_asked_for(plus):
    raw, arrays, _ = next(plus.scans())
    whole = Detector.load(plus.prompts, "cpu", clouds={"background": "none"})(raw.points)
    # With its background every point counts, also where the nearest pixel of the coarser grid shows a hole.
    np.testing.assert_array_equal(np.isfinite(whole.points), raw.valid)
    sharp = Detector.load(plus.prompts, "cpu", settings={"smoothing_sigma": 0})(raw.points)
    assert np.nanmax(sharp.points) > np.max(arrays["map_3d"])
    views = {"tilt": 180, "x": [0], "y": []}
    front = Detector.load(plus.prompts, "cpu", renders={"views": views})(raw.points)
    assert not np.array_equal(front.arrays["map_3d"], arrays["map_3d"])
    # Points alone, of prompts that were learnt on organised scans.
    cloud = raw.points[raw.valid][::20]
    points = Detector.load(plus.prompts, "cpu", clouds={"n_points": 2000})(cloud)
    assert points.points.shape == (len(cloud),)
    assert np.isfinite(points.points).all()


def test_a_scan_far_from_the_origin_or_with_a_stray_point_is_scored_as_without(plus):
    options = {"n_points": 2000}
    detector = Detector.load(plus.prompts, "cpu", clouds=options)
    raw, _, _ = next(plus.scans())
    cloud = raw.points[raw.valid][::40]
    expected = detector(cloud).points
    far = detector(cloud + np.array([500000, 4649776.25, 120])).points
    # A pixel at the border of two may be the other one's.
    assert np.mean(np.abs(far - expected) < 1e-3) > 0.98
    removing = Detector.load(plus.prompts, "cpu", clouds={**options, "outliers": "remove"})
    stray = removing(np.r_[cloud, [[50.0, 0, 0.6]]]).points
    np.testing.assert_array_equal(stray[:-1], expected)
    assert stray[-1] == expected[cloud[:, 0].argmax()]


def test_points_of_the_pixels_of_a_scan_are_those_of_the_nearest_pixel_of_the_map(plus):
    detector = Detector.load(plus.prompts, "cpu")
    raw, _, _ = next(plus.scans())
    found = detector(raw.points)
    scores = found.arrays["map_3d"]
    # A square of 400 pixels on a grid of 336, by the definition of the grid's pixels.
    of_grid = np.arange(336) * 400 // 336
    for row, column in np.argwhere(np.isfinite(found.points))[::997]:
        near = [np.flatnonzero(np.abs(of_grid - at) == np.abs(of_grid - at).min())[0] for at in (row, column)]
        assert found.points[row, column] == scores[near[0], near[1]]


def test_pixels_of_a_scan_that_is_no_square():
    raw = Organised(
        np.ones((50, 90, 3)), np.ones((50, 90), bool), np.zeros((50, 90, 3), np.uint8), np.zeros((50, 90), bool)
    )
    # The padded square has 100 pixels a side: 25 rows above, 5 columns to the left.
    grid = np.arange(100 * 100, dtype=np.int32)
    scores = np.arange(10000, dtype=np.float32).reshape(100, 100)
    shown = to_pixels(scores, {"grid": grid}, raw, {"scene": "plane"})
    np.testing.assert_array_equal(shown, scores[25:75, 5:95])


def test_a_point_whose_pixel_of_the_map_has_none_has_the_nearest_score():
    rng = np.random.default_rng(5)
    valid = rng.random((80, 100)) < 0.3
    raw = Organised(np.ones((80, 100, 3)), valid, None, None)
    of_grid = np.arange(40) * 100 // 40
    grid = np.flatnonzero(np.pad(valid, ((10, 10), (0, 0)))[of_grid[:, None], of_grid])
    scores = np.full((40, 40), -1, np.float32)
    scores.ravel()[grid] = np.arange(len(grid))
    shown = to_pixels(scores, {"grid": grid}, raw, {"scene": "plane", "background": "none"})
    np.testing.assert_array_equal(np.isfinite(shown), valid)
    rows, columns = np.divmod(grid, 40)
    for row, column in np.argwhere(valid):
        own = [np.abs(of_grid - at).argmin() for at in (row + 10, column)]
        apart = np.hypot(rows - own[0], columns - own[1])
        assert apart[int(shown[row, column])] == apart.min()
    # Of a scan whose background was removed, points that are no part of the object have no score.
    lost = to_pixels(scores, {"grid": grid}, raw, {"scene": "plane", "background": "remove"})
    kept = np.isfinite(lost)
    assert 0 < kept.sum() < valid.sum()
    np.testing.assert_array_equal(lost[kept], shown[kept])


def test_missing_points_of_an_array_are_those_of_a_file():
    points = np.random.default_rng().uniform(0.6, 0.7, (20, 30, 3))
    lost = np.zeros((20, 30), bool)
    lost[2:4, 5:9] = True
    points[lost] = (0.1, 0.2, 65535)
    points[0, 0] = np.nan
    lost[0, 0] = True
    np.testing.assert_array_equal(as_raw(points, None).valid, ~lost)


@pytest.mark.parametrize(
    ("points", "rgb", "told"),
    [
        (np.zeros((5, 2)), None, r"points are \[5, 2\]"),
        (np.zeros((0, 3)), None, "points: the scan is empty; it has no points"),
        (np.full((5, 3), np.nan), None, r"points: the scan is empty; 5 of 5 points are missing \(NaN: 5\)"),
        (np.diag([np.nan, 1, 2]), None, r"points: 1 of 3 points are missing \(NaN: 1\); leave them out"),
        (np.zeros((4, 4, 3)), None, r"points: the scan is empty; 16 of 16 points are missing"),
        (np.ones((4, 4, 3)), np.zeros((4, 5, 3), np.uint8), r"rgb is uint8 \[4, 5, 3\]"),
        (np.ones((4, 4, 3)), np.zeros((4, 4, 3)), "rgb is float64"),
        (np.ones((4, 3)), np.zeros((4, 3), np.uint8), r"expected \[n, 3\] without rgb"),
    ],
)
def test_arrays_of_other_shapes_are_refused(plus, points, rgb, told):
    with pytest.raises(InputError, match=told):
        Detector.load(plus.prompts, "cpu")(points, rgb)


def test_what_cannot_be_loaded_is_named(plus, tmp_path):
    with pytest.raises(InputError, match="no such prompts"):
        Detector.load(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match=r"a detector has no clouds: backgroun; known are background, .*n_points"):
        Detector.load(plus.prompts, clouds={"backgroun": "none"})
    with pytest.raises(InputError, match="a detector has no cloud; known are aggregation, clouds, model, renders"):
        Detector.load(plus.prompts, cloud={})


def test_prompts_without_names_score_without_text_tower_or_download(plus):
    """Cached features and the embeddings in the prompts file are all that scoring takes."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pointad_core.methods.registry import SYSTEMS, plain\n"
        "from pointad_core.stages.scores import make_scores\n"
        f"folder = Path({str(plus.folder)!r})\n"
        "stores = {s: folder / f'{s}.zarr.zip' for s in ('clouds', 'renders', 'features', 'aggregation')}\n"
        f"category = {{'name': {plus.category!r}, 'display': 'other name', **stores}}\n"
        f"model = {{**{MODEL!r}, 'model': 'no such model'}}\n"
        "make_scores(plain(SYSTEMS['pointad_plus']), folder / 'prompts.safetensors', [category],\n"
        "            folder / 'again.zarr.zip', {}, model, {})\n"
        "assert 'open_clip' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (plus.folder / "again.zarr.zip").read_bytes() == (plus.folder / "scores.zarr.zip").read_bytes()
