"""Ablations: what rows become, what they share, what is computed for them, and mistakes in them."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from pointad_core.errors import InputError
from pointad_core.evaluation.ablations import paper_ablations
from workflow import ablations, checks, plan, raw_scans, tables
from workflow.variants import is_derived

REPOSITORY = Path(__file__).parents[2]

LENGTH = {
    "caption": "Length",
    "datasets": {"parts": {"auxiliary": ["carrot"], "categories": ["bagel", "cookie"]}},
    "base": "plus",
    "rows": {"6": {"method": {"context_length": 6}}, "12": {"method": {"context_length": 12}}},
}
DATA = {
    "datasets": {"parts": None},
    "base": "plus",
    "rows": {"all": None, "strict": {"dataset": {"rendering": {"visibility": "strict"}}}},
}


def config(**sections: Any) -> dict[str, Any]:
    """A config with methods `fixed`, `first` and `plus`, and a generated data set `parts` of four categories."""
    parts = {
        "layout": "mvtec3d",
        "generated": {"scans": 4, "seed": 1},
        "categories": {"bagel": None, "cable_gland": None, "carrot": None, "cookie": None},
        "auxiliary": ["carrot", "cookie"],
        "label": "Parts",
    }
    standard = {"model": "pointad-pocket", "pretrained": "shapes", "vv_blocks": 1}
    return {
        "datasets": {"parts": parts},
        "features": {"standard": standard},
        "methods": {
            "fixed": {"system": "clip_rendering"},
            "first": {"system": "pointad", "deep_blocks": 3},
            "plus": {"system": "pointad_plus", "deep_blocks": 3, "label": "Ours", "published": "PointAD+"},
        },
        "experiments": {"one_vs_rest": ["parts"]},
        "seeds": [1, 2],
        **sections,
    }


def complete(**named: Any) -> dict[str, Any]:
    completed = config(ablations=copy.deepcopy(named))
    checks.complete(completed)
    return completed


def rows(row: Any, **base: Any) -> dict[str, Any]:
    return {"datasets": {"parts": None}, "base": "plus", "rows": {"row": row}, **base}


# Rows and entries -----------------------------------------------------------------------------------------------------


def test_a_row_becomes_an_entry_that_differs_in_what_the_row_says() -> None:
    found = complete(length=LENGTH)
    entry, base = found["methods"]["plus--context_length-6"], found["methods"]["plus"]
    assert entry == {key: value for key, value in base.items() if key != "label"} | {
        "context_length": 6,
        "published": None,
    }
    assert plan.training_options(found, "plus--context_length-6")["context_length"] == 6
    # Only what the ablation is restricted to is tested, on prompts of the data set as it is.
    variant = found["datasets"]["parts--categories-bagel.cookie"]
    assert (list(variant["categories"]), variant["variant_of"], variant["auxiliary"]) == (
        ["bagel", "cookie"],
        "parts",
        [],
    )
    assert "label" not in variant
    row = ablations.rows_of(found, "length")["6"]
    assert (row.method, row.datasets) == ("plus--context_length-6", {"parts": "parts--categories-bagel.cookie"})
    # A row whose value is the base's, which the base itself does not write down, costs nothing.
    assert ablations.rows_of(found, "length")["12"].method == "plus"
    assert ablations.runs(found, "length") == [
        ("plus--context_length-6", "parts", "carrot", 1, "parts--categories-bagel.cookie"),
        ("plus--context_length-6", "parts", "carrot", 2, "parts--categories-bagel.cookie"),
        ("plus", "parts", "carrot", 1, "parts--categories-bagel.cookie"),
        ("plus", "parts", "carrot", 2, "parts--categories-bagel.cookie"),
    ]
    assert plan.stores_of(found, row.method, row.datasets["parts"], ["bagel"]) == plan.stores_of(
        found, "plus", "parts", ["bagel"]
    )


def test_what_a_method_reads_changes_in_training_and_testing() -> None:
    found = complete(
        reads=rows({"rendering": {"n_views": 3}, "aggregation": {"alpha": 0.25, "neighbours": 10}}, seeds=[2])
    )
    row = ablations.rows_of(found, "reads")["row"]
    assert row == ablations.Row("plus--n_views-3--alpha-0.25", {"parts": "parts"})
    method = found["methods"][row.method]
    assert (method["features"], method["aggregation"]) == ("standard--n_views-3", "standard--alpha-0.25")
    assert found["renderings"]["standard--n_views-3"] == {**found["renderings"]["standard"], "n_views": 3}
    for auxiliary in ("carrot", "bagel"):
        stores = plan.stores_of(found, row.method, "parts", [auxiliary])
        assert stores["renders"] == [f"results/renders/standard--n_views-3/parts/{auxiliary}.zarr.zip"]
        assert stores["aggregation"] == [
            f"results/aggregation/standard--alpha-0.25/standard--n_views-3/parts/{auxiliary}.zarr.zip"
        ]
    assert [run[2:4] for run in ablations.runs(found, "reads")] == [("carrot", 2), ("cookie", 2)]


def test_a_changed_data_set_is_tested_with_prompts_of_the_one_that_it_is_of() -> None:
    found = complete(data=DATA)
    variant = "parts--visibility-strict"
    assert ablations.rows_of(found, "data")["strict"] == ablations.Row("plus", {"parts": variant})
    assert {run[1] for run in ablations.runs(found, "data")} == {"parts"}
    shown = ablations.options(found, "data")["groups"][0]["rows"]["strict"]
    assert shown == {
        "method": "plus",
        "dataset": variant,
        "tested": {"carrot": ["bagel", "cable_gland", "cookie"], "cookie": ["bagel", "cable_gland", "carrot"]},
    }
    # The points are the same.
    assert plan.clouds_of(found, variant, "bagel") == ["results/clouds/parts/bagel.zarr.zip"]
    assert raw_scans.root_of(found, variant) == "results/generated/parts"
    # Asked for by its path, a page of it has every method, with the same prompts.
    page = tables.viewer_stores(found, variant, "carrot")
    assert page["clouds"] == ["results/clouds/parts/carrot.zarr.zip"]
    assert page["scores"] == [
        f"results/scores/plus/parts/cookie/1/{variant}.zarr.zip",
        f"results/scores/first/parts/cookie/1/{variant}.zarr.zip",
        f"results/scores/fixed/none/none/0/{variant}.zarr.zip",
    ]


def test_rows_that_are_the_same_are_one_entry_whatever_their_ablation() -> None:
    again = {**LENGTH, "rows": {"short": {"method": {"context_length": 6}}, "other": {"base": "first"}}}
    found = complete(length=LENGTH, again=again, data=DATA)
    assert ablations.rows_of(found, "again")["short"] == ablations.rows_of(found, "length")["6"]
    assert ablations.rows_of(found, "again")["other"].method == "first"
    assert [name for name in found["methods"] if "--" in name] == ["plus--context_length-6"]
    assert len([name for name in found["datasets"] if "--" in name]) == 2


def test_names_tell_what_differs_and_fit_a_path() -> None:
    weights = {"local_3d": 0, "global_2d": 0.0, "local_2d": 0}
    long = {"temperature": 0.123456789, "smoothing_sigma": 2, "epochs": 1, "batch_size": 2, "learning_rate": 0.00001}
    found = complete(
        names={
            **DATA,
            "rows": {
                "weights": {"base": "first", "method": {"loss_weights": weights}},
                "long": {"method": {**long, "betas": [0.25, 0.75]}},
                "longer": {"method": {**long, "betas": [0.25, 0.875]}},
                "category": {"dataset": {"categories": {"bagel": {"point_size": 5}}}},
            },
        }
    )
    found = ablations.rows_of(found, "names")
    assert found["weights"].method == "first--global_2d-0--local_2d-0--local_3d-0"
    assert found["long"].method != found["longer"].method
    for row in found.values():
        assert all(len(name) <= 100 for name in (row.method, *row.datasets.values()))
    assert found["category"].datasets == {"parts": "parts--categories.bagel.point_size-5"}


def test_only_its_own_table_shows_what_a_row_makes() -> None:
    found, without = complete(length=LENGTH, data=DATA), complete()
    for number in (1, 3):
        assert tables.table_options(found, number) == tables.table_options(without, number)
        assert tables.table_metrics(found, number) == tables.table_metrics(without, number)
    assert tables.labels_of(found) == tables.labels_of(without)
    assert tables.heatmaps(found) == tables.heatmaps(without)
    assert tables.summaries(found) == tables.summaries(without)
    assert tables.viewers(found) == tables.viewers(without)
    assert tables.viewer_stores(found, "parts", "bagel") == tables.viewer_stores(without, "parts", "bagel")
    assert plan.dataset_metrics(found, "parts") == plan.dataset_metrics(without, "parts")
    assert tables.names(without) == ["table1", "table2", "table3", "table4"]
    assert tables.names(found) == ["table1", "table2", "table3", "table4", "length", "data"]
    alone = config(ablations={"data": copy.deepcopy(DATA)}, experiments={})
    checks.complete(alone)
    assert tables.names(alone) == ["data"]


def test_a_table_is_told_what_it_shows() -> None:
    completed = complete(length={**LENGTH, "modalities": ["3d", "m3d"], "seeds": [2]})
    found = ablations.options(completed, "length")
    assert (found["name"], found["caption"], found["seeds"]) == ("length", "Length", [2])
    assert found["bases"] == {"6": "Ours", "12": "Ours"}
    assert found["datasets"]["parts"] == {
        "label": "Parts",
        "generated": completed["datasets"]["parts"]["generated"],
        "auxiliary": ["carrot"],
        "categories": ["bagel", "cookie"],
    }
    assert found["methods"]["plus--context_length-6"] == {"trained": True, "features": "standard"}


@pytest.mark.parametrize("name", ["config", "paper"])
def test_both_configs_list_the_papers_ablations(name: str) -> None:
    found = yaml.safe_load((REPOSITORY / f"config/{name}.yaml").read_text())
    checks.complete(found)
    assert [entry["published"] for entry in found["ablations"].values()] == [6, 7, 8, 9, 10]
    assert [len(entry["rows"]) for entry in found["ablations"].values()] == [11, 7, 5, 5, 5]
    for key in ("modules", "prompt_length", "density", "lighting"):
        entry = found["ablations"][key]
        printed = dict.fromkeys(row for table, row, *_ in paper_ablations() if table == entry["published"])
        # One row of Table 6 has no numbers in print.
        assert [row for row in entry["rows"] if row != "and 2D global"] == list(printed)
    # Every training differs from every other: of losses and stages, of views, of lengths, and of a row of Figure 8.
    derived = [name for name in found["methods"] if is_derived(name)]
    trained = [repr((plan.training_options(found, name), found["methods"][name])) for name in derived]
    assert len(set(trained)) == len(derived) == 8 + 6 + 4 + 1
    shown = [ablations.rows_of(found, key) for key in found["ablations"]]
    whole = ["and cross-hierarchy", "9", "12", "100 %", "original"]
    modules, views, length, density, lighting = (rows[row] for rows, row in zip(shown, whole, strict=True))
    assert modules.method == views.method == "pointad_plus"
    assert modules == length
    assert views == density == lighting


# Mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ablation", "told"),
    [
        (rows(None, base="pluss"), "config: ablations.name.base is 'pluss' (did you mean 'plus'?), expected one of"),
        (rows({"base": "none"}), "ablations.name.rows.row.base is 'none', expected one of methods: first, fixed, "),
        (
            rows({"method": {"contxt_length": 6}}),
            "ablations.name.rows.row.method has the unknown key 'contxt_length' (did you mean 'context_length'?)",
        ),
        (
            rows({"method": {"context_length": 0}}),
            "config: ablations.name.rows.row.method.context_length is 0, expected integer >= 1",
        ),
        (
            rows({"method": {"context_length": 99}}),
            "config: ablations.name.rows.row.method.context_length is 99, but the text tower of",
        ),
        (
            rows({"method": {"loss_weights": {"crss": 0}}}),
            "config: ablations.name.rows.row.method.loss_weights is 'crss' (did you mean 'cross'?)",
        ),
        (
            rows({"rendering": {"window": 1}}),
            "config: ablations.name.rows.row.rendering.window is 1, expected integer >= 14",
        ),
        (
            rows({"dataset": {"rendering": {"visibility": "loose"}}}),
            "config: ablations.name.rows.row.dataset.rendering.visibility is 'loose', expected one of soft, strict",
        ),
        (rows({"dataset": {"categories": ["bagel"]}}), "rows.row.dataset.categories is no mapping of categories to"),
        (rows({"features": {"rendering": ["a"]}}), "rows.row.features.rendering is ['a'], expected one of renderings"),
        (rows({"method": {"loss_weights": 1}}), "rows.row.method.loss_weights is 1, expected a mapping"),
        (rows({"method": {"label": "x"}}), "rows.row.method has the key 'label', which a row cannot change"),
        (rows({"dataset": {"root": "/"}}), "rows.row.dataset has the key 'root', which a row cannot change"),
        (
            rows({"method": {"system": "new"}}),
            "ablations.name.rows.row.method.system is 'new', expected one of the sys",
        ),
        (rows({"method": {"system": ["a"]}}), "ablations.name.rows.row.method.system is ['a'], expected string"),
        (rows({"dataset": {"split": "train"}}), "rows.row.dataset has the key 'split', which a row cannot change"),
        (
            rows({"dataset": {"categories": {"bagels": None}}}),
            "rows.row.dataset.categories is 'bagels' (did you mean 'bagel'?), expected one of datasets.parts",
        ),
        (rows({"method": {"features": "new"}}), "ablations.name.rows.row.method.features is 'new', expected one of"),
        (
            rows({"method": {"features": "new"}, "rendering": {"window": 99}}),
            "ablations.name.rows.row.method.features is 'new', expected one of features: standard",
        ),
        (
            rows({"features": {"rendering": "new"}}),
            "ablations.name.rows.row.features.rendering is 'new', expected one of renderings",
        ),
        (
            rows({"aggregation": {"alpha": 0.1}}, base="first"),
            "config: ablations.name.rows.row changes aggregation, of which system 'pointad' reads nothing",
        ),
        (rows({"views": 3}), "config: ablations.name.rows.row has the unknown key 'views'; known: aggregation, base,"),
        (
            rows(None, rows={"": None}),
            "config: ablations.name.rows has a row without a name, expected what stands in the table for it",
        ),
        (rows(None, rows={}), "ablations.name.rows is {}, expected a mapping, of at least 1"),
        (
            rows(None, rows={"a": None, "b": {"method": {"context_length": 12}}}),
            "config: ablations.name.rows.b is the same as ablations.name.rows.a, expected another one",
        ),
        (
            rows(None, datasets={"part": None}),
            "ablations.name.datasets is 'part' (did you mean 'parts'?), expected one",
        ),
        (
            rows(None, datasets={"bare": None}),
            "config: ablations.name.datasets is 'bare', but datasets.bare.auxiliary names no category to train on",
        ),
        (
            rows(None, datasets={"parts": {"auxiliary": ["bagel"]}}),
            "ablations.name.datasets.parts.auxiliary[0] is 'bagel', expected one of datasets.parts.auxiliary: carrot",
        ),
        (
            rows(None, datasets={"parts": {"categories": ["bagels"]}}),
            "ablations.name.datasets.parts.categories[0] is 'bagels' (did you mean 'bagel'?)",
        ),
        (
            rows(None, datasets={"parts": {"categories": ["carrot"]}}),
            "config: ablations.name.datasets.parts leaves 'carrot' alone, which prompts are trained on; nothing is",
        ),
        (rows(None, seeds=[3]), "config: ablations.name.seeds is 3, expected one of seeds: 1, 2"),
        (rows(None, published=5), "config: ablations.name.published is 5, expected one of 6, 7, 8, 9, 10"),
    ],
)
def test_a_mistake_is_named_in_one_line_by_the_row(ablation: dict[str, Any], told: str) -> None:
    bare = {"layout": "mvtec3d", "generated": {"seed": 9}, "categories": {"bagel": None, "carrot": None}}
    wrong = config(ablations={"name": copy.deepcopy(ablation)})
    wrong["datasets"]["bare"] = bare
    with pytest.raises(InputError) as error:
        checks.complete(wrong)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("base", "looks", "told"),
    [
        ("deep", {"light": "--"}, "light, but the renderer 'depth' takes no heed of it: nothing would change"),
        ("deep", {"window": 2000}, None),
        ("words", {"window": 2000}, "window, but system 'cheraghian' reads no renders: nothing would change"),
        ("plus", {"light": "--"}, None),
    ],
)
def test_a_row_whose_method_does_not_see_the_change_is_refused(base: str, looks: Any, told: str | None) -> None:
    given = config(ablations={"name": rows({"dataset": {"rendering": looks}}, base=base)})
    given["features"]["depth"] = {**given["features"]["standard"], "rendering": "depth"}
    given["methods"]["deep"] = {"system": "anomalyclip", "features": "depth", "deep_blocks": 3}
    given["methods"]["words"] = {"system": "cheraghian"}
    if told is None:
        checks.complete(given)
    else:
        with pytest.raises(InputError) as error:
            checks.complete(given)
        assert str(error.value) == f"config: ablations.name.rows.row.dataset.rendering changes {told}"


def test_a_table_of_the_paper_is_one_ablations() -> None:
    two = {name: {**rows(None), "published": 7} for name in ("first", "second")}
    with pytest.raises(InputError, match=r"ablations\.second\.published is 7, as ablations\.first\.published is"):
        checks.complete(config(ablations=two))
    two["second"]["published"] = 8
    checks.complete(config(ablations=two))


@pytest.mark.parametrize("name", ["table1", "tables", "differences3", "overhead"])
def test_an_ablation_is_not_named_as_another_table(name: str) -> None:
    with pytest.raises(InputError, match=f"ablations.{name} is the name of another table"):
        complete(**{name: DATA})


def test_two_hyphens_are_for_what_ablations_make() -> None:
    taken = config()
    taken["methods"]["first--again"] = {"system": "pointad", "deep_blocks": 3}
    with pytest.raises(InputError, match=r"config: methods\.first--again has '--' in its name"):
        checks.complete(taken)


def test_categories_that_are_tested_anyway_are_no_restriction() -> None:
    datasets = {"parts": {"auxiliary": ["carrot"], "categories": ["bagel", "cable_gland", "cookie"]}}
    assert ablations.rows_of(complete(all={**DATA, "datasets": datasets}), "all")["all"].datasets == {"parts": "parts"}
    datasets["parts"]["auxiliary"].append("cookie")
    found = ablations.rows_of(complete(some={**DATA, "datasets": datasets}), "some")["all"].datasets["parts"]
    assert found == "parts--categories-bagel.cable_gland.cookie"
