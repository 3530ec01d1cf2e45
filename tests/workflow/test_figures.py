"""Figures in the plan: whose prompts, which categories and stores, and what no figure can show."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from pointad_core.errors import InputError
from workflow import checks, figures, tables
from workflow.checks import complete as complete_in_place

REPOSITORY = Path(__file__).parents[2]


def complete(config: dict[str, Any]) -> dict[str, Any]:
    config = copy.deepcopy(config)
    complete_in_place(config)
    return config


def small(**figure: Any) -> dict[str, Any]:
    """A config with two generated data sets and one figure, of these keys."""
    categories = {"bagel": None, "carrot": {"scans": ["dent/000", "good/001"]}, "cookie": None}
    parts = {"layout": "mvtec3d", "generated": {"scans": 4, "seed": 1}, "label": "Parts"}
    clouds = {"layout": "real3d", "generated": {"scans": 4, "seed": 1}, "categories": {"diamond": None, "shell": None}}
    return {
        "datasets": {"parts": {**parts, "categories": categories, "auxiliary": ["cookie"]}, "clouds": clouds},
        "features": {
            "standard": {"model": "pointad-pocket", "pretrained": "shapes", "vv_blocks": 1},
            "depth": {"model": "pointad-pocket", "pretrained": "shapes", "vv_blocks": 1, "rendering": "depth"},
        },
        "methods": {
            "fixed": {"system": "clip_rendering"},
            "flat": {"system": "anomalyclip", "features": "depth", "deep_blocks": 1},
            "network": {"system": "cheraghian"},
            "first": {"system": "pointad", "deep_blocks": 1},
            "learnt": {"system": "pointad_plus", "deep_blocks": 1},
        },
        "seeds": [1, 2],
        "figures": {"map": {"scans": [{"dataset": "parts"}], **figure}},
    }


PROMPTS = {"source": "parts", "auxiliary": "cookie"}
RUN = "parts/cookie/1"


def test_stored_maps_take_scores_and_pictures_alone() -> None:
    config = complete(small(methods=["fixed", "learnt"], maps=["3d", "m3d"]))
    options = figures.figure_options(config, "map")
    (group,) = options["groups"]
    assert [category["name"] for category in group["categories"]] == ["bagel", "carrot"], "cookie has been seen"
    assert [category.get("among") for category in group["categories"]] == [None, ["dent/000", "good/001"]]
    assert group["count"] == 2
    assert group["rule"] == {"pick": "median"}
    assert options["systems"] == {"fixed": None, "learnt": None}
    assert options["generated"] == ["Parts"]
    stores = figures.figure_stores(config, "map")
    assert sorted(stores) == sorted(
        f"results/{name}.zarr.zip"
        for category in ("bagel", "carrot")
        for name in (
            *(f"clouds/parts/{category}", f"renders/standard/parts/{category}"),
            *(f"scores/fixed/none/none/0/parts/{category}", f"scores/learnt/{RUN}/parts/{category}"),
        )
    )
    # Which method it is says how it scores where the figure does not score itself.
    other = small(methods=["fixed", "learnt"], maps=["3d", "m3d"])
    other["methods"]["learnt"]["smoothing_sigma"] = 2
    assert figures.figure_options(complete(other), "map") == options


def test_computed_maps_take_features_and_prompts_too() -> None:
    config = complete(
        small(methods=["learnt"], maps=["explicit"], scans=[{"dataset": "parts", "categories": ["bagel"]}])
    )
    options, stores = figures.figure_options(config, "map"), figures.figure_stores(config, "map")
    assert options["systems"]["learnt"]["options"]["smoothing_sigma"] == 4
    assert f"results/prompts/learnt/{RUN}.safetensors" in stores
    for stage in ("features/standard", "aggregation/standard/standard"):
        assert f"results/{stage}/parts/bagel.zarr.zip" in stores
    assert figures.figure_code(config, "map") != figures.figure_code(complete(small(maps=["3d"])), "map")


def test_prompts_are_the_groups_else_the_figures_else_the_data_sets_own() -> None:
    other = {**PROMPTS, "seed": 2}
    scans = [{"dataset": "clouds", "label": "Other"}, {"dataset": "clouds", "prompts": other, "count": 7}]
    config = complete(small(methods=["learnt"], prompts=PROMPTS, scans=scans))
    groups = figures.figure_options(config, "map")["groups"]
    assert [group["label"] for group in groups] == ["Other", "clouds"]
    assert [group["count"] for group in groups] == [2, 7]
    assert [group["learnt"] for group in groups] == [f"cookie of Parts (seed {seed})" for seed in (1, 2)]
    first = [group["categories"][0]["looks"][0]["scores"] for group in groups]
    assert first == [[f"results/scores/learnt/parts/cookie/{seed}/clouds/diamond.zarr.zip"] for seed in (1, 2)]
    own = figures.figure_options(complete(small(methods=["learnt"])), "map")["groups"]
    assert own[0]["learnt"] == "cookie of Parts (seed 1)"


LIGHTS = {"original": None, "--": {"dataset": {"rendering": {"light": "--"}}}}
ABLATION = {"datasets": {"parts": {"categories": ["bagel"]}}, "base": "learnt", "rows": LIGHTS}


def test_rows_of_an_ablation_are_looks_and_take_its_scores() -> None:
    config = small(ablation="light", columns="methods") | {"ablations": {"light": ABLATION}}
    config = complete(config)
    (group,) = figures.figure_options(config, "map")["groups"]
    (category,) = group["categories"]
    assert category["name"] == "bagel", "the only one that the ablation tests"
    original, dark = category["looks"]
    assert [look["title"] for look in (original, dark)] == ["original", "--"]
    variant = next(name for name in config["datasets"] if "light" in name)
    assert original["stores"]["renders"] == ["results/renders/standard/parts/bagel.zarr.zip"]
    assert dark["stores"]["renders"] == [f"results/renders/standard/{variant}/bagel.zarr.zip"]
    # The table needs the whole data set's scores; those of a category alone would be made for the figure.
    assert dark["scores"] == [f"results/scores/learnt/{RUN}/{variant}.zarr.zip"]
    config["ablations"]["light"]["seeds"] = [2]
    (group,) = figures.figure_options(config, "map")["groups"]
    assert group["categories"][0]["looks"][1]["scores"] == [f"results/scores/learnt/{RUN}/{variant}/bagel.zarr.zip"]


def test_a_figures_own_rows_are_entries_that_no_table_has() -> None:
    rows = {"all": None, "some": {"method": {"loss_weights": {"global_2d": 0}}}}
    config = complete(small(base="first", rows=rows, maps=["rgb", "3d"], scans=[{"dataset": "parts", "count": 1}]))
    ((_, first, _), (_, some, _)) = figures.looks_of(config, "map", config["figures"]["map"]["scans"][0])
    assert (first, some) == ("first", "first--global_2d-0")
    assert config["methods"][some]["loss_weights"]["global_2d"] == 0
    assert some not in tables.labels_of(config)
    assert f"results/prompts/{some}/{RUN}.safetensors" in figures.figure_stores(config, "map")
    assert f"results/scores/{some}/{RUN}/parts/bagel.zarr.zip" in figures.figure_stores(config, "map")


def test_named_scans_are_not_chosen_from() -> None:
    scans = {"carrot": ["dent/000"], "bagel": ["good/001", "hole/000"]}
    config = complete(small(methods=["learnt"], scans=[{"dataset": "parts", "scans": scans}]))
    (group,) = figures.figure_options(config, "map")["groups"]
    assert {category["name"]: category["named"] for category in group["categories"]} == scans
    assert (group["count"], group["rule"]) == (None, {"pick": "named"})


def test_targets_are_every_figures_files() -> None:
    files = figures.targets(complete(small()))
    assert {"results/figures/map.pdf", "results/figures/map.png", "results/figures/figures.tex"} <= set(files)
    nothing = small()
    nothing["figures"] = {}
    assert "so that there is nothing to draw" in figures.targets(complete(nothing))[0]


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        (
            {"methods": ["lernt"]},
            r"figures.map.methods\[0\] is 'lernt' \(did you mean 'learnt'\?\), expected one of methods",
        ),
        ({"scans": [{"dataset": "part"}]}, r"figures.map.scans\[0\].dataset is 'part' \(did you mean 'parts'\?\)"),
        (
            {"scans": [{"dataset": "parts", "categories": ["bagle"]}]},
            r"scans\[0\].categories is 'bagle'.*a category of parts",
        ),
        (
            {"scans": [{"dataset": "parts", "scans": {"rope": ["a"]}}]},
            r"scans\[0\].scans is 'rope', expected a category",
        ),
        (
            {"scans": [{"dataset": "parts", "categories": ["cookie"]}]},
            "shows cookie of parts, which the prompts .* have seen",
        ),
        ({"scans": [{"dataset": "clouds"}]}, r"scans\[0\] has no prompts, and datasets.clouds no auxiliary class"),
        (
            {"scans": [{"dataset": "clouds"}], "base": "fixed", "rows": {"a": None, "b": {"base": "first"}}},
            r"scans\[0\] has no prompts, and datasets.clouds no auxiliary class",
        ),
        ({"prompts": {**PROMPTS, "source": "bits"}}, "figures.map.prompts.source is 'bits'"),
        (
            {"prompts": {**PROMPTS, "auxiliary": "bagel"}},
            "prompts.auxiliary is 'bagel', expected an auxiliary class of parts",
        ),
        ({"prompts": {**PROMPTS, "seed": 3}}, "figures.map.prompts.seed is 3, expected one of seeds: 1, 2"),
        ({"methods": ["first"], "maps": ["explicit"]}, "shows the map 'explicit', method 'first' has: 3d, m3d, rgb"),
        ({"methods": ["network"], "maps": ["m3d"]}, "shows the map 'm3d', method 'network' has: 3d$"),
        ({"scans": [{"dataset": "parts", "better": "3d"}]}, "one of the keys 'better' and 'than', expected both"),
        (
            {"scans": [{"dataset": "parts", "better": "explicit", "than": "implicit"}], "methods": ["first"]},
            "the map 'explicit', method 'first' has",
        ),
        (
            {"scans": [{"dataset": "parts", "count": 1, "scans": {"bagel": ["a"]}}]},
            "names its scans, and leaves nothing",
        ),
        ({"scans": [{"dataset": "parts", "count": 17}]}, "figures.map has 17 columns, expected at most 16"),
        (
            {"scans": [{"dataset": "parts", "better": "m3d", "than": "m3d"}], "methods": ["first"]},
            r"scans\[0\].than is 'm3d', as 'better' is",
        ),
        (
            {"scans": [{"dataset": "clouds", "prompts": PROMPTS}], "maps": ["m3d", "rgb"], "methods": ["first"]},
            r"scans\[0\] is of clouds, whose layout has no photographs",
        ),
        ({"columns": "views", "methods": ["first", "learnt"]}, "a column for each view: expected one method"),
        ({"columns": "views", "methods": ["flat"]}, "shows the views of 'flat', which reads no shaded views"),
        ({"columns": "views", "methods": ["network"]}, "shows the views of 'network', which reads no shaded views"),
        (
            {"methods": ["first"], "base": "first", "rows": {"a": None}},
            "has the keys methods and rows, expected at most one",
        ),
        ({"base": "first"}, "has one of the keys base and rows"),
        ({"base": "frist", "rows": {"a": None}}, r"figures.map.base is 'frist' \(did you mean 'first'\?\)"),
        (
            {"base": "first", "rows": {"a": None, "b": {}}},
            "figures.map.rows.b is the same as figures.map.rows.a",
        ),
        (
            {"base": "first", "rows": {"a": {"method": {"epoch": 3}}}},
            "figures.map.rows.a.method has the unknown key 'epoch'",
        ),
        ({"ablation": "light"}, "figures.map.ablation is 'light', expected one of ablations: none"),
        ({"columns": "rows"}, "figures.map.columns is 'rows', expected one of scans, views, methods"),
        ({"scans": []}, "figures.map.scans is"),
        ({"colour": "map"}, "unknown key 'colour' .did you mean 'colours'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_its_key(figure: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        complete(small(**figure))
    assert str(caught.value).startswith("config: ")


@pytest.mark.parametrize("shown", [{"methods": ["fixed"]}, {"base": "fixed", "rows": {"a": None}}])
def test_a_figure_of_what_is_never_trained_needs_no_prompts(shown: dict[str, Any]) -> None:
    config = complete(small(scans=[{"dataset": "clouds"}], **shown))
    stores = figures.figure_stores(config, "map")
    folder = "results/scores/fixed/none/none/0/clouds"
    read = {store for store in stores if "/scores/" in store}
    assert read == {f"{folder}/{category}.zarr.zip" for category in ("diamond", "shell")}
    assert [group["learnt"] for group in figures.figure_options(config, "map")["groups"]] == [None]


def test_more_views_than_a_page_has_room_for_are_refused() -> None:
    config = small(columns="views", methods=["first"])
    complete(config | {"renderings": {"standard": {"n_views": 15}}})
    with pytest.raises(InputError, match=r"figures\.map has 17 columns, expected at most 16"):
        complete(config | {"renderings": {"standard": {"n_views": 16}}})


def test_a_group_without_a_category_to_show_is_refused() -> None:
    config = small(methods=["learnt"])
    config["datasets"]["parts"]["categories"] = {"cookie": None}
    with pytest.raises(InputError, match="shows nothing: parts has no category that the prompts of parts/cookie have"):
        complete(config)
    named = small(ablation="light", scans=[{"dataset": "parts", "categories": ["carrot"]}])
    with pytest.raises(InputError, match=r"shows carrot of parts, which ablations\.light does not test"):
        complete(named | {"ablations": {"light": ABLATION}})


def test_a_figure_is_not_called_as_the_document_of_all() -> None:
    config = small()
    config["figures"] = {"figures": config["figures"]["map"]}
    with pytest.raises(InputError, match="'figures' is the name of the document"):
        complete(config)


@pytest.mark.parametrize("name", ["config", "paper"])
def test_the_configs_of_the_package_have_the_papers_figures(name: str) -> None:
    config = yaml.safe_load((REPOSITORY / f"config/{name}.yaml").read_text())
    checks.complete(config)
    for figure in config["figures"]:
        assert figures.figure_stores(config, figure)
