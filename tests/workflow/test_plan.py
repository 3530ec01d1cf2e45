"""The plan: who is tested by which prompts, variants, runs, shards and paths, as plain functions of a config."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from snakemake.utils import validate

from pointad_core.errors import InputError
from workflow import checks, inputs, plan, raw_scans, reporting, tables, variants

REPOSITORY = Path(__file__).parents[2]


def complete(config: dict[str, Any]) -> dict[str, Any]:
    config = copy.deepcopy(config)
    variants.complete_variants(config)
    validate(config, str(REPOSITORY / "workflow/schemas/config.schema.yaml"))
    return config


PLUS = {"system": "pointad_plus", "deep_blocks": 3}


def small(**datasets: dict[str, Any]) -> dict[str, Any]:
    """A config with a generated data set, `parts`, and whatever else is given."""
    parts = {
        "layout": "mvtec3d",
        "generated": {"scans": 4, "seed": 1},
        "categories": {"bagel": {"point_size": 5}, "carrot": None, "cookie": None},
        "auxiliary": ["carrot", "cookie"],
        "label": "Parts",
    }
    return {
        "datasets": {"parts": parts, **datasets},
        "features": {"standard": {"model": "pointad-pocket", "pretrained": "shapes", "vv_blocks": 1}},
        "methods": {"fixed": {"system": "clip_rendering"}, "learnt": {"system": "pointad_plus"}},
        "experiments": {"one_vs_rest": ["parts"]},
        "seeds": [1, 2],
    }


# Variants and what prompts have seen ------------------------------------------------------------------------------


def test_a_variant_has_the_keys_of_its_original_but_its_own() -> None:
    config = complete(
        small(
            strict={"variant_of": "parts", "rendering": {"visibility": "strict"}},
            coarse={"variant_of": "strict", "point_size": 20, "auxiliary": []},
        )
    )
    parts, strict, coarse = (config["datasets"][name] for name in ("parts", "strict", "coarse"))
    assert (strict["categories"], strict["generated"]) == (parts["categories"], parts["generated"])
    assert "label" not in strict
    assert coarse["rendering"] == strict["rendering"]
    assert (coarse["point_size"], coarse["auxiliary"]) == (20, [])
    assert variants.original_of(config, "coarse") == "parts"
    for name in ("parts", "strict", "coarse"):
        assert raw_scans.root_of(config, name) == "results/generated/parts"
        assert raw_scans.list_raw(config, name, "bagel") == raw_scans.list_raw(config, "parts", "bagel")
    options = [plan.render_options(config, "standard", name, "bagel") for name in ("parts", "strict", "coarse")]
    assert [found["visibility"] for found in options] == ["soft", "strict", "strict"]
    # What a category says of itself is nearer than what its data set says.
    assert [found["point_size"] for found in options] == [5, 5, 5]
    assert plan.render_options(config, "standard", "coarse", "cookie")["point_size"] == 20


def test_a_variant_shares_what_is_made_alike() -> None:
    config = complete(
        small(
            strict={"variant_of": "parts", "rendering": {"visibility": "strict"}},
            fewer={"variant_of": "strict", "categories": {"bagel": {"point_size": 5, "scans": ["good/000"]}}},
            other={"variant_of": "parts", "normals": {"radius": 0.3, "neighbours": 50}},
            sharded={"variant_of": "parts", "shard_size": 2},
            own={**small()["datasets"]["parts"], "label": "Own"},
        )
    )

    def home(dataset: str, rendering: str | None = None) -> str:
        return plan.store_of(config, "any", dataset, "bagel/01", rendering).split("/")[2]

    homes = {name: home(name) for name in config["datasets"]}
    assert homes == {
        **dict.fromkeys(("parts", "strict", "fewer"), "parts"),
        **{name: name for name in ("other", "sharded", "own")},
    }
    homes = {name: home(name, "standard") for name in config["datasets"]}
    assert homes == {"parts": "parts", "strict": "strict", "fewer": "strict"} | {
        name: name for name in ("other", "sharded", "own")
    }
    # One image from the front, in which no point hides another.
    assert home("fewer", "depth") == "parts"
    stores = plan.stores_of(config, "learnt", "fewer", ["bagel"])
    assert stores == {
        "clouds": ["results/clouds/parts/bagel.zarr.zip"],
        "renders": ["results/renders/standard/strict/bagel.zarr.zip"],
        "features": ["results/features/standard/strict/bagel.zarr.zip"],
        "aggregation": ["results/aggregation/standard/standard/strict/bagel.zarr.zip"],
    }
    assert plan.clouds_of(config, "fewer", "bagel") == stores["clouds"]
    assert tables.picture_renders(config, "fewer", "bagel") == stores["renders"]


def test_a_published_convention_reaches_its_stage_and_leaves_the_params_alone_where_it_is_not_asked_for() -> None:
    asked = {"photographs": "bicubic", "masks": "bilinear", "surroundings": "black"}
    config = complete(small(published={"variant_of": "parts", **asked}))
    usual, published = (plan.cloud_options(config, name) for name in ("parts", "published"))
    assert published == usual | asked
    assert not asked.keys() & usual.keys()
    usual = plan.render_options(config, "standard", "parts", "bagel")
    assert "masks" not in usual
    config = complete(
        small(own={"variant_of": "parts", "rendering": {"masks": {}}}) | {"renderings": {"standard": {"masks": {}}}}
    )
    published = plan.render_options(config, "standard", "parts", "bagel")
    assert published == usual | {"masks": {"point_size": 6, "window": 1036}}
    assert "masks" not in plan.render_options(config, "depth", "own", "bagel")
    learnt = {"dice": "pixels", "deep_precision": "half", "global_3d": "mixed_logit_mean"}
    learnt |= {"defect_features": 12, "prototypes": 16}
    scored = {"rgb_map": "pixels", "smoothing_over": "points", "object_share": 0.01, "view_weights": "coverage"}
    config = complete(small() | {"methods": {"usual": PLUS, "published": {**PLUS, **learnt, **scored}}})
    usual, published = (plan.training_options(config, name) for name in ("usual", "published"))
    assert published == usual | learnt
    assert {"dice", "deep_precision", "defect_features", "prototypes"}.isdisjoint(usual)
    usual, published = (plan.scoring_options(config, name) for name in ("usual", "published"))
    assert published == usual | scored | {"deep_precision": "half", "defect_features": 12}
    assert usual == {"temperature": 0.07, "smoothing_sigma": 4}


def test_scores_that_weigh_views_by_angles_depend_on_the_code_of_angles(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(inputs, "fingerprint", lambda *names: asked.append(names) or "x")
    weighed = {how: {**PLUS, "view_weights": how} for how in ("mean", "coverage", "incidence")}
    config = complete(small() | {"methods": weighed})
    for how in weighed:
        inputs.code_of_scores(config, SimpleNamespace(method=how))
        inputs.code_of_prompts(config, SimpleNamespace(method=how))
    assert [names for names in asked if "rendering.incidence" in names] == [asked[4]]
    assert asked[4][0] == "stages.scores"


def test_completing_twice_changes_nothing() -> None:
    config = small(strict={"variant_of": "parts"})
    once = complete(config)
    assert complete(once) == once


def test_prompts_are_never_tested_on_scans_that_they_have_seen(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    one = {"layout": "mvtec3d", "root": str(tmp_path / "data"), "categories": {"a": None, "b": None}}
    again = {**one, "root": str(tmp_path / "link/../data/.")}
    other = {**one, "root": str(tmp_path)}
    generated = {"layout": "mvtec3d", "categories": {"bagel": None, "carrot": None}}
    config = complete(
        small(
            variant={"variant_of": "parts", "point_size": 3},
            same_seed={**generated, "generated": {"scans": 8, "seed": 1}},
            other_seed={**generated, "generated": {"scans": 4, "seed": 2}},
            one=one,
            again=again,
            linked={**one, "root": str(tmp_path / "link")},
            other=other,
        )
    )
    tested = plan.tested_by
    for target in ("parts", "variant"):
        assert tested(config, "parts", "carrot", target) == ["bagel", "cookie"]
        assert tested(config, "variant", "carrot", target) == ["bagel", "cookie"]
        assert tested(config, plan.NONE, plan.NONE, target) == ["bagel", "carrot", "cookie"]
    assert tested(config, "parts", "carrot", "same_seed") == ["bagel"]
    assert tested(config, "parts", "carrot", "other_seed") == ["bagel", "carrot"]
    for target in ("one", "again", "linked"):
        assert tested(config, "one", "a", target) == ["b"]
    assert tested(config, "one", "a", "other") == ["a", "b"]
    with pytest.raises(InputError, match="carrot is not tested with prompts that were trained on it"):
        plan.check_tested(config, "parts", "carrot", "variant", "carrot")
    plan.check_tested(config, "parts", "carrot", "other_seed", "carrot")
    with pytest.raises(InputError, match="has no category 'tyre'"):
        plan.check_tested(config, "parts", "carrot", "parts", "tyre")


def test_means_are_taken_over_the_tested_categories_alone() -> None:
    config = small(variant={"variant_of": "parts", "auxiliary": []})
    config["experiments"]["cross_dataset"] = [{"source": "parts", "targets": ["variant"]}]
    config = complete(config)
    wanted = {"carrot": ["bagel", "cookie"], "cookie": ["bagel", "carrot"]}
    assert plan.sources_of(config, "parts") == {"parts": wanted}
    assert plan.sources_of(config, "variant") == {"parts": wanted}
    for number in (1, 3):
        (pair,) = tables.table_options(config, number)["pairs"]
        assert pair["tested"] == wanted
    with pytest.raises(InputError, match="no auxiliary class, and no experiment"):
        plan.sources_of(complete(small(alone={**small()["datasets"]["parts"], "auxiliary": []})), "alone")


# Runs, paths and options ------------------------------------------------------------------------------------------


def test_an_untrained_system_has_one_run() -> None:
    config = complete(small())
    runs = plan.runs_of(config, "parts", "parts", ["carrot", "cookie"])
    assert runs[0] == ("fixed", "none", "none", 0, "parts")
    assert runs[1:] == [("learnt", "parts", name, seed, "parts") for name in ("carrot", "cookie") for seed in (1, 2)]
    assert plan.metrics_of(runs + runs)[0] == "results/metrics/fixed/none/none/0/parts.csv"
    assert len(plan.metrics_of(runs + runs)) == 5
    assert len(tables.table_metrics(config, 1)) == 5
    assert tables.table_metrics(config, 3) == []


def test_a_method_is_handed_the_stores_that_it_reads() -> None:
    config = small()
    config["methods"]["alone"] = {"system": "cheraghian"}
    config["aggregations"] = {"wide": {"neighbours": 30}}
    config["methods"]["learnt"]["aggregation"] = "wide"
    config = complete(config)
    found = {name: plan.stores_of(config, name, "parts", ["bagel"]) for name in config["methods"]}
    assert list(found["alone"]) == ["clouds"]
    assert list(found["fixed"]) == ["clouds", "renders", "features"]
    assert found["learnt"]["aggregation"] == ["results/aggregation/wide/standard/parts/bagel.zarr.zip"]
    assert found["learnt"]["renders"] == ["results/renders/standard/parts/bagel.zarr.zip"]


def test_options_hold_what_their_stage_depends_on_and_no_more() -> None:
    config = complete(small())
    features = plan.feature_options(config, "standard")
    assert not {"neighbours", "alpha", "kernel_sigma", "rendering"} & set(features)
    assert features["streams"] == ["plain", "vv"]
    assert set(plan.scoring_options(config, "learnt")) == {"temperature", "smoothing_sigma"}
    assert "smoothing_sigma" not in plan.training_options(config, "learnt")
    assert "label" not in str(plan.layout_of(config, "parts"))
    changed = small()
    changed["methods"]["learnt"] |= {"label": "Ours", "published": "PointAD+"}
    changed = complete(changed)
    for options in (plan.training_options, plan.scoring_options):
        assert options(changed, "learnt") == options(config, "learnt")


def test_methods_that_differ_in_scoring_alone_share_their_prompts() -> None:
    found = {}
    for name in ("config", "beyond", "paper"):
        config = yaml.safe_load((REPOSITORY / f"config/{name}.yaml").read_text())
        checks.complete(config)
        found |= {(name, method): plan.learns_as(config, method) for method in config["methods"]}
    scored_otherwise = {f"pointad_plus_{word}" for word in ("top_share", "incidence", "sharpness")}
    for (name, method), first in found.items():
        assert first == ("pointad_plus" if name == "beyond" and method in scored_otherwise else method)
    config = complete(small())
    learnt = config["methods"]["learnt"]
    run = SimpleNamespace(method="other", source="parts", auxiliary="carrot", seed="1")
    for change in ({"epochs": 1}, {"features": "more"}, {"aggregation": "more"}, {"system": "pointad_plus_coop"}):
        config["methods"]["other"] = learnt | change
        assert inputs.prompts(config, run) == ["results/prompts/other/parts/carrot/1.safetensors"]
    config["methods"]["other"] = learnt | {"smoothing_sigma": 1, "label": "Other"}
    assert inputs.prompts(config, run) == ["results/prompts/learnt/parts/carrot/1.safetensors"]
    assert list(reporting.trainings_of(config, "parts")) == ["learnt"]


def test_a_precision_is_told_where_it_is_not_the_usual_one() -> None:
    config = complete(small())
    assert config["features"]["standard"]["precision"] == "float32"
    assert "precision" not in plan.feature_options(config, "standard")
    changed = small()
    changed["features"]["standard"]["precision"] = "bfloat16"
    changed = complete(changed)
    assert plan.feature_options(changed, "standard") == {
        **plan.feature_options(config, "standard"),
        "precision": "bfloat16",
    }
    # Prompts keep it in their file, so that a scan is encoded as those were that they have learnt on.
    assert plan.model_of(changed, "standard")["precision"] == "bfloat16"


def test_a_number_of_views_counts_where_it_changes_the_view_set() -> None:
    config = small(wide={"variant_of": "parts", "rendering": {"n_views": 11}})
    config["renderings"] = {"few": {"n_views": 3}, "nine": {"n_views": 9}}
    config = complete(config)

    def views(rendering: str, dataset: str) -> Any:
        return plan.render_options(config, rendering, dataset, "bagel")["views"]

    assert plan.render_options(config, "nine", "parts", "bagel") == plan.render_options(
        config, "standard", "parts", "bagel"
    )
    assert views("few", "parts") == {"tilt": 180, "x": [0], "y": [-30, 30]}
    # What a data set says for itself is nearer.
    assert len(views("few", "wide")["x"]) == 7
    assert views("depth", "wide") == {"tilt": 180}


def test_light_counts_where_it_is_another_and_can_belong_to_a_data_set_alone() -> None:
    config = small(dim={"variant_of": "parts", "rendering": {"light": "--"}})
    config["renderings"] = {"bright": {"light": "++"}, "usual": {"light": "original"}}
    config = complete(config)

    def options(rendering: str, dataset: str) -> dict[str, Any]:
        return plan.render_options(config, rendering, dataset, "bagel")

    usual = options("standard", "parts")
    assert "light" not in usual
    assert options("usual", "parts") == usual
    assert options("bright", "parts") == {**usual, "light": "++"}
    assert options("bright", "dim") == options("standard", "dim") == {**usual, "light": "--"}
    for name in ("depth", "realistic"):
        assert options(name, "dim") == options(name, "parts")
    assert plan.cloud_options(config, "dim") == plan.cloud_options(config, "parts")


def test_a_density_counts_where_it_takes_points() -> None:
    parts = {"variant_of": "parts"}
    config = complete(
        small(thin={**parts, "density": 0.5}, whole={**parts, "density": 1}, one={**parts, "density": 1.0})
    )
    whole = plan.cloud_options(config, "parts")
    assert plan.cloud_options(config, "whole") == plan.cloud_options(config, "one") == whole
    assert plan.cloud_options(config, "thin") == {**whole, "density": 0.5}


def test_layouts_of_point_clouds_have_the_same_defaults_but_for_a_unit() -> None:
    categories = {"real3d": "diamond", "anomaly_shapenet": "ashtray0", "mulsen_ad": "nut"}
    own = {
        layout: {"layout": layout, "generated": {"scans": 10}, "categories": {category: None}}
        for layout, category in categories.items()
    }
    config = complete(small(**own))
    options = {layout: plan.cloud_options(config, layout) for layout in own}
    assert options["anomaly_shapenet"].pop("unit") == 0.02
    assert options["real3d"] == options["anomaly_shapenet"] == options["mulsen_ad"]
    assert {config["datasets"][layout]["view_set"] for layout in own} == {"real3d"}
    assert complete(small(own={**own["anomaly_shapenet"], "unit": "mm"}))["datasets"]["own"]["unit"] == "mm"


def test_a_table_of_all_scans_is_written_by_one_shard_and_read_by_those_that_need_it() -> None:
    own = {"layout": "mulsen_ad", "generated": {"scans": 20}, "categories": {"nut": None}, "shard_size": 4}
    config = complete(small(own=own))
    shards = raw_scans.list_raw(config, "own", "nut")
    made = {shard: raw_scans.generated_by(config, "own", "nut", shard) for shard in shards}
    assert len(shards) > 2
    (first,) = (shard for shard, by in made.items() if by["tables"])
    assert 0 in made[first]["numbers"]
    assert made[first]["tables"] == {"n_scans": 20}
    tables_of = {shard: {file for file in by["files"] if file.endswith(".csv")} for shard, by in made.items()}
    assert [shard for shard, files in tables_of.items() if files] == [first]
    for scans in shards.values():
        for name, files in scans.items():
            table = f"results/generated/own/nut/RGB/GT/{name.partition('/')[0]}/data.csv"
            assert table in tables_of[first]
            assert (table in files) == (not name.startswith("good/"))


def test_shards_and_what_cannot_be_looked_at(tmp_path: Path) -> None:
    far = {"layout": "mvtec3d", "root": str(tmp_path / "nowhere"), "categories": {"a": None}, "shard_size": 2}
    config = small(far=far)
    config["datasets"]["parts"]["shard_size"] = 1
    config = complete(config)
    shards = raw_scans.shards_of(config, "parts", "bagel")
    assert len(shards) == 4
    assert all(shard.startswith("bagel/") for shard in shards)
    files = [raw_scans.list_shard(config, "parts", "bagel", shard.partition("/")[2]) for shard in shards]
    assert sorted(file for part in files for file in part) == raw_scans.list_shard(config, "parts", "bagel", "")
    assert raw_scans.count_scans(config, "parts", "bagel") == 4
    assert raw_scans.count_scans(config, "parts", "bagel", shards[0].partition("/")[2]) == 1
    generated = [raw_scans.generated_by(config, "parts", "bagel", shard.partition("/")[2]) for shard in shards]
    assert sorted(number for part in generated for number in part["numbers"]) == [0, 1, 2, 3]
    with pytest.raises(InputError, match=r"parts/bagel has no shard '11111111'"):
        raw_scans.list_shard(config, "parts", "bagel", "11111111")
    with pytest.raises(InputError, match=rf"datasets\.far: {tmp_path}/nowhere: no such folder"):
        raw_scans.list_raw(config, "far", "a")
    assert raw_scans.count_scans(config, "far", "a") == 0
    assert raw_scans.shards_of(config, "far", "a") == ["a"]


def test_results_of_generated_scans_are_not_taken_for_those_of_a_folder_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = complete(small(own={"layout": "mvtec3d", "root": "nowhere", "categories": {"bagel": None}}))
    raw_scans.refuse_generated(config)
    Path("results/generated/parts/bagel").mkdir(parents=True)
    raw_scans.refuse_generated(config)
    Path("results/generated/own/bagel").mkdir(parents=True)
    with pytest.raises(InputError, match="root is 'nowhere', but there is no folder nowhere/bagel, and scans of that"):
        raw_scans.refuse_generated(config)
    Path("nowhere/bagel").mkdir(parents=True)
    raw_scans.refuse_generated(config)


def test_a_subset_is_of_the_categories_that_name_one() -> None:
    config = small()
    config["datasets"]["parts"]["categories"]["bagel"]["scans"] = ["dent/000", "good/001"]
    config = complete(config)
    assert raw_scans.subset_of(config, "parts", ["bagel", "carrot"]) == {"bagel": ["dent/000", "good/001"]}
    assert plan.cloud_options(config, "parts") == plan.cloud_options(complete(small()), "parts")


def test_pictures_show_the_scans_that_the_category_names_for_them() -> None:
    place = SimpleNamespace(dataset="parts", category="bagel")
    assert inputs.drawn_scans(complete(small()), place) is None
    config = small()
    bagel = config["datasets"]["parts"]["categories"]["bagel"]
    bagel["scans"] = ["dent/000", "good/001"]
    assert inputs.drawn_scans(complete(config), place) == ["dent/000", "good/001"]
    bagel["pictures"] = ["hole/002"]
    config = complete(config)
    assert inputs.drawn_scans(config, place) == ["hole/002"]
    assert raw_scans.subset_of(config, "parts", ["bagel"]) == {"bagel": ["dent/000", "good/001"]}


def test_labels_tell_methods_of_one_system_apart() -> None:
    config = small()
    assert tables.labels_of(complete(config)) == {"fixed": "CLIP + Rendering", "learnt": "PointAD+"}
    config["methods"]["other"] = {"system": "pointad_plus"}
    config["methods"]["third"] = {"system": "pointad_plus", "label": "Third"}
    assert list(tables.labels_of(complete(config)).values()) == ["CLIP + Rendering", "learnt", "other", "Third"]


def test_heat_maps_are_of_what_no_prompts_have_seen() -> None:
    sheets = tables.heatmaps(complete(small()))
    assert "results/heatmaps/learnt/parts/carrot/1/parts/carrot.png" not in sheets
    assert "results/heatmaps/learnt/parts/carrot/1/parts/cookie.png" in sheets


def test_heat_maps_take_the_scores_that_are_needed_anyway_else_the_categorys_own() -> None:
    other = {**small()["datasets"]["parts"], "label": "Other"}
    config = complete(small(other=other, split={**other, "label": "Split", "shard_size": 3}))
    config["experiments"]["cross_dataset"] = [{"source": "parts", "targets": ["split"]}]

    def scores(source: str, dataset: str) -> list[str]:
        run = ("learnt", source, "carrot", 1, dataset)
        folder = f"results/scores/learnt/{source}/carrot/1/{dataset}"
        return [path.removeprefix(folder) for path in tables.picture_scores(config, run, "bagel")]

    assert scores("parts", "parts") == [".zarr.zip"]
    assert scores("other", "parts") == ["/bagel.zarr.zip"]
    assert scores("parts", "other") == ["/bagel.zarr.zip"]
    shards = raw_scans.shards_of(config, "split", "bagel")
    assert len(shards) > 1
    assert scores("parts", "split") == [f"/{shard}.zarr.zip" for shard in shards]
    assert tables.picture_scores(config, ("fixed", "none", "none", 0, "other"), "bagel")[0].endswith("/bagel.zarr.zip")


def test_a_category_that_nobody_labelled_is_not_trained_on(tmp_path: Path) -> None:
    own = {"layout": "real3d", "root": str(tmp_path), "categories": {"duck": None, "gone": None}, "auxiliary": ["duck"]}
    config = complete(small(own=own))
    (tmp_path / "duck/test").mkdir(parents=True)
    (tmp_path / "duck/test/1_bulge.pcd").touch()
    with pytest.raises(InputError, match=r"datasets.own.auxiliary: .*duck has no file of labels"):
        inputs.check_labelled(config, "own", "duck")
    inputs.check_labelled(config, "own", "gone")
    inputs.check_labelled(config, "parts", "carrot")
    inputs._has_label_files.cache_clear()
    (tmp_path / "duck/gt").mkdir()
    (tmp_path / "duck/gt/1_bulge.txt").touch()
    inputs.check_labelled(config, "own", "duck")


def test_a_page_shows_every_method_by_prompts_that_have_not_seen_its_category() -> None:
    other = {"layout": "real3d", "generated": {"scans": 4, "seed": 1}, "categories": {"diamond": None}}
    config = small(other=other)
    config["experiments"]["cross_dataset"] = [{"source": "parts", "targets": ["other"]}]
    config = complete(config)
    pages = [
        f"results/viewers/{name}.html" for name in ("parts/bagel", "parts/carrot", "parts/cookie", "other/diamond")
    ]
    assert tables.viewers(config) == pages
    runs = {
        category: list(tables.viewer_runs(config, dataset, category).values())
        for dataset, category in (("parts", "bagel"), ("parts", "carrot"), ("other", "diamond"))
    }
    fixed = ("fixed", "none", "none", 0)
    assert runs["bagel"] == [("learnt", "parts", "carrot", 1, "parts"), (*fixed, "parts")]
    assert runs["carrot"] == [("learnt", "parts", "cookie", 1, "parts"), (*fixed, "parts")]
    assert runs["diamond"] == [("learnt", "parts", "carrot", 1, "other"), (*fixed, "other")]
    assert tables.viewer_methods(config, "parts", "carrot") == ["PointAD+", "CLIP + Rendering"]
    assert tables.viewer_stores(config, "parts", "carrot") == {
        "scores": [
            "results/scores/learnt/parts/cookie/1/parts.zarr.zip",
            "results/scores/fixed/none/none/0/parts.zarr.zip",
        ],
        "clouds": ["results/clouds/parts/carrot.zarr.zip"],
        "renders": ["results/renders/standard/parts/carrot.zarr.zip"],
    }
    facts = tables.viewer_facts(config, "parts", "carrot")
    assert facts == {"category": "carrot", "data set": "Parts", "prompts learnt on": "cookie of parts, seed 1"}


def test_a_category_that_nothing_is_tested_on_has_no_page() -> None:
    config = small()
    config["datasets"]["parts"]["auxiliary"] = ["carrot"]
    del config["methods"]["fixed"]
    config = complete(config)
    assert tables.viewers(config) == ["results/viewers/parts/bagel.html", "results/viewers/parts/cookie.html"]
    with pytest.raises(InputError, match="parts/carrot: no method is tested on it"):
        tables.viewer_stores(config, "parts", "carrot")
    with pytest.raises(InputError, match="has no category 'rope'"):
        tables.viewer_stores(config, "parts", "rope")


def test_planning_does_not_need_snakemake_or_anything_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom workflow import checks, plan, tables\n"
        "heavy = {'snakemake', 'torch', 'numpy', 'pandas', 'zarr', 'open3d'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
