"""Figures from stores: which scans a rule takes, what each panel holds, and the files."""

from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from toy import N_VIEWS, SIZE, write_toy

from pointad_core.errors import InputError
from pointad_core.evaluation import figures as drawing
from pointad_core.methods.registry import SYSTEMS, plain
from pointad_core.stages import figures
from pointad_core.storage import stores
from tests.stages.test_scores import MODEL, load_scan, make, p_abnormal, up

RULE = {"first": {"pick": "first"}, "median": {"pick": "median"}, "better": {"better": "explicit", "than": "implicit"}}


# Which scans ----------------------------------------------------------------------------------------------------------


@dataclass
class FakeClouds:
    """Scans by name and whether they are defective."""

    scans: list[str]

    def scan_attributes(self, scan):
        kind = scan.split("/")[0]
        return {"defective": None if kind == "scans" else kind != "good", "defect": kind}

    def check_scans(self, category, scans):
        if odd := set(scans) - set(self.scans):
            raise InputError(f"category {category!r} has no scan {odd}")


@dataclass
class FakeLook:
    """What the rules ask of a look: its scans, and what each map reaches on them."""

    areas: dict[str, dict[str, float]]
    category: str = "bagel"
    clouds: FakeClouds = field(init=False)

    def __post_init__(self):
        self.clouds = FakeClouds([*self.areas, "good/000", "scans/000"])

    def aurocs(self, scan, words):
        return {word: area for word, area in self.areas[scan].items() if word in words}


def look(seed, kinds=("crack", "hole", "dent"), each=3, **about):
    rng = np.random.default_rng(seed)
    words = ("3d", "implicit", "explicit")
    return FakeLook(
        {f"{kind}/{k:03d}": dict(zip(words, rng.random(3), strict=True)) for kind in kinds for k in range(each)},
        **about,
    )


def test_first_takes_a_scan_of_each_kind_before_a_second_and_no_good_one() -> None:
    ranked = figures.rank_scans([look(0)], ["3d"], RULE["first"], None)
    kinds = ("crack", "dent", "hole")
    assert [scan for _, scan in ranked] == [f"{kind}/{k:03d}" for k in range(3) for kind in kinds]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("each", [2, 3])
def test_median_takes_the_scan_of_median_auroc(seed: int, each: int) -> None:
    looks = [look(seed, each=each), look(seed + 50, each=each)]
    words = ["3d", "explicit"]
    means = {
        scan: (sum(looks[0].areas[scan][w] for w in words) + sum(looks[1].areas[scan][w] for w in words)) / 4
        for scan in looks[0].areas
    }
    ranked = [scan for _, scan in figures.rank_scans(looks, words, RULE["median"], None)]
    assert sorted(ranked) == sorted(means)
    below = sum(value < means[ranked[0]] for value in means.values())
    above = sum(value > means[ranked[0]] for value in means.values())
    assert above - below == (0 if len(means) % 2 else 1)
    # The further down the list, the further from the middle.
    order = sorted(means, key=means.__getitem__)
    places = [abs(order.index(scan) - (len(order) - 1) // 2) for scan in ranked]
    assert places == sorted(places)


@pytest.mark.parametrize("seed", range(5))
def test_better_takes_what_gains_most_and_nothing_that_loses(seed: int) -> None:
    one = look(seed)
    gains = {scan: areas["explicit"] - areas["implicit"] for scan, areas in one.areas.items()}
    wanted = sorted((scan for scan in gains if gains[scan] > 0), key=lambda scan: -gains[scan])
    ranked = figures.rank_scans([one], ["explicit", "implicit"], RULE["better"], None)
    assert [scan for _, scan in ranked] == wanted
    assert [gain for gain, _ in ranked] == pytest.approx([gains[scan] for scan in wanted])
    among = wanted[1:]
    ranked = figures.rank_scans([one], ["explicit", "implicit"], RULE["better"], among)
    assert [scan for _, scan in ranked] == among
    assert figures.rank_scans([FakeLook({"crack/000": {"explicit": 0.9}})], ["explicit"], RULE["better"], None) == []


def group_of(rule, looks, count, **of_category):
    categories = [{"name": one.category, "dataset": "Toys", "display": one.category, **of_category} for one in looks]
    return {"label": "toys", "rule": rule, "count": count, "categories": categories}


def test_each_category_has_one_before_any_has_a_second() -> None:
    looks = [look(k, category=name) for k, name in enumerate(("bagel", "rope", "tire"))]
    shown = figures.choose_shown(group_of(RULE["first"], looks, 5), [[one] for one in looks], ["3d"])
    assert [(scan.display, scan.scan) for scan in shown] == [
        *(("bagel", "crack/000"), ("bagel", "dent/000"), ("rope", "crack/000"), ("rope", "dent/000")),
        ("tire", "crack/000"),
    ]
    shown = figures.choose_shown(group_of(RULE["better"], looks, 2), [[one] for one in looks], ["3d"])
    best = {}
    for one in looks:
        best[one.category] = max(areas["explicit"] - areas["implicit"] for areas in one.areas.values())
    assert [scan.display for scan in shown] == sorted(best, key=lambda name: -best[name])[:2]
    named = group_of({"pick": "named"}, looks[:1], None, named=["hole/001", "good/000"])
    assert [scan.scan for scan in figures.choose_shown(named, [looks[:1]], ["3d"])] == ["hole/001", "good/000"]
    with pytest.raises(InputError, match="'bagel' has no scan"):
        figures.choose_shown(group_of({}, looks[:1], None, named=["hole/009"]), [looks[:1]], ["3d"])


# What is drawn, from real stores --------------------------------------------------------------------------------------


def describe(toy, scores, prompts, title="PointAD+", method="pointad_plus"):
    return {
        "title": title,
        "method": method,
        "category": toy.name,
        "display": toy.name,
        "scores": [str(scores)],
        "prompts": str(prompts),
        "stores": {stage: [str(path)] for stage, path in toy.paths.items()},
    }


SYSTEM = {"system": plain(SYSTEMS["pointad_plus"]), "options": {}, "model": MODEL}


@pytest.fixture
def toy(tmp_path):
    toy = write_toy(tmp_path, n_scans=6)
    scores, embeddings = make(tmp_path, "pointad_plus", [toy])
    return toy, describe(toy, scores, tmp_path / "prompts.safetensors"), embeddings


def places_of(description):
    paths = [
        *description["scores"],
        description["prompts"],
        *(p for found in description["stores"].values() for p in found),
    ]
    return {path: path for path in paths}


def test_maps_are_the_stored_ones_and_what_they_are_made_of(toy) -> None:
    one, description, _ = toy
    with ExitStack() as stack:
        seen = figures._open_look(description, {"pointad_plus": SYSTEM}, places_of(description), stack)
        maps = seen.maps("bent/000", ["3d", "m3d", "rgb", "implicit", "explicit"])
        assert list(maps) == ["3d", "m3d", "rgb", "implicit", "explicit"]
        np.testing.assert_array_equal(seen.maps("bent/000", ["rgb"])["rgb"], maps["rgb"])
        stored = stores.read(description["scores"], "scores")
        with stored as reader:
            for modality in ("3d", "m3d"):
                key = f"map_{modality}"
                assert np.array_equal(maps[modality], reader.load("toy/bent/000", [key])[key])
        # Sums go through the filter part by part (Sec. 3.6.2).
        np.testing.assert_allclose(0.5 * maps["implicit"] + 0.5 * maps["explicit"], maps["3d"], atol=1e-5)
        fused = gaussian_filter(0.5 * maps["3d"].astype(float) + 0.5 * maps["rgb"], 4 * SIZE / 336, mode="reflect")
        np.testing.assert_allclose(fused, maps["m3d"], atol=1e-5)
        # Over the pixels that hold a point.
        cloud = load_scan(one, "bent/000")["clouds"]
        labels, areas = cloud["mask"].ravel()[cloud["grid"]], seen.aurocs("bent/000", ["3d", "explicit"])
        for word, area in areas.items():
            values = maps[word].ravel()[cloud["grid"]]
            higher = values[labels > 0][:, None].astype(float) - values[labels == 0]
            assert area == pytest.approx((np.sign(higher).mean() + 1) / 2, abs=1e-9)
        assert seen.aurocs("good/001", ["3d"]) == {}


def test_views_are_shown_with_their_maps_beside_the_points(toy) -> None:
    one, description, embeddings = toy
    arrays = load_scan(one, "bent/000")
    with ExitStack() as stack:
        seen = figures._open_look(description, {"pointad_plus": SYSTEM}, places_of(description), stack)
        shown = [figures.Shown("toys", "Toys", "toy", "bent/000", [seen])]
        images, maps = figures.lines_of_views(shown, ["3d"])
        assert figures._name_views(shown) == [*["0°, 0°"] * N_VIEWS, "points"]
    assert (images.name, maps.name) == ("toy", "PointAD+")
    naive = up(p_abnormal(arrays["features"]["patches_vv"].astype(float), embeddings["rendering"]))
    for view in range(N_VIEWS):
        # Their images are noise all over, so that they are shown whole.
        assert np.array_equal(images.panels[view], arrays["renders"]["images"][view])
        known = np.isfinite(maps.panels[view])
        assert known.mean() > 0.9
        np.testing.assert_allclose(maps.panels[view][known], naive[view][known], atol=1e-5)
    assert len(images.panels) == len(maps.panels) == N_VIEWS + 1
    assert drawing.is_map(maps.panels[-1])


@pytest.mark.parametrize("columns", ["scans", "methods", "views"])
def test_a_figure_is_its_files_and_repeats_to_the_byte(tmp_path, toy, columns: str) -> None:
    _, description, _ = toy
    looks = [description] if columns == "views" else [description, {**description, "title": "Twin"}]
    groups = [
        {
            "label": f"Group {k}",
            "learnt": "cookie of Toys (seed 1)",
            "rule": RULE["median"],
            "count": 1 + k,
            "categories": [{"name": "toy", "dataset": "Toys", "display": "a toy", "looks": looks}],
        }
        for k in range(2)
    ]
    figure = {
        "name": "figure5",
        "caption": "Toys.",
        "columns": columns,
        "maps": ["3d"] if columns == "views" else ["3d", "m3d"],
        "colours": "line",
        "groups": groups,
        "systems": {"pointad_plus": SYSTEM},
        "methods": {"pointad_plus": {"features": "standard"}},
        "features": {"standard": MODEL},
        "generated": ["Toys"],
    }
    ends = {"pdf": "pdf", "png": "png", "tex": "tex", "text": "txt", "csv_output": "csv"}
    for folder in ("a", "b"):
        paths = {key: tmp_path / folder / f"figure5.{end}" for key, end in ends.items()}
        figures.make_figure(figure, places_of(description), **paths)
    for end in ends.values():
        content = (tmp_path / f"a/figure5.{end}").read_bytes()
        assert content == (tmp_path / f"b/figure5.{end}").read_bytes()
        assert content
    rows = pd.read_csv(tmp_path / "a/figure5.csv")
    assert tuple(rows.columns) == figures.COLUMNS
    assert len(rows) == 3 * len(looks) * len(figure["maps"])
    assert rows["p_auroc"].between(0, 1).all()
    middle = rows[(rows.group == "Group 0") & (rows.look == "PointAD+")]["scan"].unique()
    assert len(middle) == 1
    with Image.open(tmp_path / "a/figure5.png") as picture:
        assert picture.width == 7 * drawing.DPI
    assert "Toys." in (tmp_path / "a/figure5.txt").read_text()
    assert r"\caption{Toys." in (tmp_path / "a/figure5.tex").read_text()
    assert (tmp_path / "a/figure5.pdf").read_bytes().startswith(b"%PDF")


def test_a_figure_without_scans_is_refused(tmp_path, toy) -> None:
    _, description, _ = toy
    category = {"name": "toy", "dataset": "Toys", "display": "a toy", "looks": [description], "among": []}
    group = {"label": "none", "learnt": "", "rule": RULE["first"], "count": 1, "categories": [category]}
    figure = {"columns": "scans", "maps": ["3d"], "groups": [group], "systems": {"pointad_plus": SYSTEM}}
    with pytest.raises(InputError, match="a figure without scans"):
        figures.make_figure(figure, places_of(description), *[tmp_path / f"x.{k}" for k in range(5)])
    assert not list(tmp_path.glob("x.*"))
