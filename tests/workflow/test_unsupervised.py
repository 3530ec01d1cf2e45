"""What unsupervised systems learn from: train splits, runs, paths, and that nothing else knows of them."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pointad_core.errors import InputError
from workflow import checks, inputs, plan, raw_scans, sizes, tables, unsupervised


def complete(**changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = {
        "datasets": {
            "parts": {
                "layout": "mvtec3d",
                "generated": {"scans": 4, "seed": 1, "train_scans": 3},
                "categories": {"bagel": {"point_size": 5, "scans": ["good/000"]}, "carrot": None},
                "auxiliary": ["carrot"],
                "label": "Parts",
            },
            "coarse": {"variant_of": "parts", "point_size": 20},
            "toys": {
                "layout": "real3d",
                "generated": {"scans": 4, "seed": 1},
                "categories": {"diamond": None},
                "n_points": 1000,
            },
        },
        "features": {"standard": {"model": "pointad-pocket", "pretrained": "shapes", "vv_blocks": 1}},
        "methods": {
            "fixed": {"system": "clip_rendering"},
            "btf": {"system": "btf"},
            "learnt": {"system": "pointad_plus", "deep_blocks": 3},
        },
        "experiments": {"one_vs_rest": ["parts"]},
        "seeds": [1, 2],
    }
    config = copy.deepcopy(config | changes)
    checks.complete(config)
    return config


def job(**values: Any) -> SimpleNamespace:
    return SimpleNamespace(**values)


def test_every_data_set_has_its_train_split_where_a_method_learns_from_it() -> None:
    config = complete()
    assert set(config["datasets"]) == {f"{name}{end}" for name in ("parts", "coarse", "toys") for end in ("", ".train")}
    split = config["datasets"]["parts.train"]
    assert (split["split"], split["variant_of"], split["auxiliary"]) == ("train", "parts", [])
    assert "label" not in split
    # The names of scans that it counts are those of the test split.
    assert split["categories"] == {"bagel": {"point_size": 5}, "carrot": {}}
    # Prototypes show all sides.
    assert (config["datasets"]["toys"]["n_points"], config["datasets"]["toys.train"]["n_points"]) == (1000, 2000)
    without = complete(methods={"fixed": {"system": "clip_rendering"}})
    assert set(without["datasets"]) == {"parts", "coarse", "toys"}


def test_completing_twice_changes_nothing() -> None:
    config = complete()
    again = copy.deepcopy(config)
    checks.complete(again)
    assert again == config


def test_a_data_set_with_the_name_of_a_train_split_is_refused() -> None:
    taken = complete(methods={"fixed": {"system": "clip_rendering"}})["datasets"]
    datasets = {"parts": taken["parts"], "parts.train": {**taken["parts"], "label": "Other"}}
    with pytest.raises(InputError, match=r"datasets\.parts\.train is the name of the train split of parts"):
        complete(datasets=datasets)


def test_train_scans_are_other_files_of_the_same_folder() -> None:
    config = complete()
    assert [raw_scans.root_of(config, name) for name in ("parts.train", "coarse.train")] == [
        "results/generated/parts"
    ] * 2
    scans = raw_scans.list_raw(config, "parts.train", "bagel")[""]
    assert list(scans) == ["good/000", "good/001", "good/002"]
    tested = raw_scans.list_shard(config, "parts", "bagel", "")
    learnt = raw_scans.list_shard(config, "parts.train", "bagel", "")
    assert not set(learnt) & set(tested)
    assert raw_scans.generated_by(config, "parts.train", "bagel", "")["files"] == learnt
    # A prototype comes with the test scans.
    prototypes = raw_scans.list_shard(config, "toys.train", "diamond", "")
    made = raw_scans.generated_by(config, "toys.train", "diamond", "")["files"]
    assert set(prototypes) - set(made) == {"results/generated/toys/diamond/train/000_template.pcd"}
    assert set(prototypes) - set(made) <= set(raw_scans.generated_by(config, "toys", "diamond", "")["files"])
    assert unsupervised.generated_sets(config) == ["parts", "toys", "parts.train", "toys.train"]


def test_a_users_train_scans_are_found_in_their_place(tmp_path: Path) -> None:
    for split in ("test", "train"):
        (tmp_path / f"bolt/{split}/good/xyz").mkdir(parents=True)
        (tmp_path / f"bolt/{split}/good/xyz/{split}.tiff").touch()
    config = complete(
        datasets={"own": {"layout": "mvtec3d", "root": str(tmp_path), "categories": {"bolt": None}}}, experiments={}
    )
    assert list(raw_scans.list_raw(config, "own", "bolt")[""]) == ["good/test"]
    assert list(raw_scans.list_raw(config, "own.train", "bolt")[""]) == ["good/train"]
    assert "split" not in plan.layout_of(config, "own")
    assert plan.layout_of(config, "own.train")["split"] == "train"


def test_runs_learn_each_category_and_test_all() -> None:
    config = complete()
    runs = unsupervised.runs_of(config, "btf", "parts")
    assert runs == [("btf", "parts.train", "each", seed, "parts") for seed in (1, 2)]
    wildcards = job(method="btf", source="parts.train", auxiliary="each", seed="2", dataset="parts", part="")
    assert inputs.tested(config, wildcards) == ["bagel", "carrot"]
    folder = "results/experts/btf/parts.train"
    assert inputs.experts(config, wildcards) == [f"{folder}/bagel/2.safetensors", f"{folder}/carrot/2.safetensors"]
    for part in ("/carrot", "/carrot/01"):
        wildcards.part = part
        assert inputs.experts(config, wildcards) == [f"{folder}/carrot/2.safetensors"]
    assert inputs.prompts(config, wildcards) == []
    assert list(inputs.scored_stores(config, wildcards)) == ["clouds"]
    for source, auxiliary in (("coarse.train", "each"), ("parts.train", "carrot"), ("none", "none")):
        wildcards.source, wildcards.auxiliary = source, auxiliary
        with pytest.raises(
            InputError, match=f"learns on the train split .* parts.train/each, found {source}/{auxiliary}"
        ):
            inputs.experts(config, wildcards)
    wildcards.method = "fixed"
    assert inputs.experts(config, wildcards) == []


def test_an_expert_learns_on_a_train_split_alone() -> None:
    config = complete()
    wildcards = job(method="btf", dataset="parts.train", category="bagel", seed="1")
    assert inputs.good_stores(config, wildcards) == ["results/clouds/parts.train/bagel.zarr.zip"]
    for values, told in (
        ({"dataset": "parts"}, "parts is a test split; 'btf' learns on parts.train"),
        ({"method": "learnt"}, "'learnt' learns on auxiliary classes"),
        ({"category": "peach"}, "no category 'peach'"),
    ):
        with pytest.raises(InputError, match=told):
            inputs.good_stores(config, job(**{**vars(wildcards), **values}))


def test_an_expert_learns_from_all_shards(tmp_path: Path) -> None:
    for number in range(5):
        path = tmp_path / f"bolt/train/good/xyz/{number}.tiff"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    own = {"layout": "mvtec3d", "root": str(tmp_path), "categories": {"bolt": None}, "shard_size": 2}
    config = complete(datasets={"own": own}, experiments={})
    wildcards = job(method="btf", dataset="own.train", category="bolt", seed="1")
    shards = raw_scans.shards_of(config, "own.train", "bolt")
    assert len(shards) > 2
    assert inputs.good_stores(config, wildcards) == [f"results/clouds/own.train/{shard}.zarr.zip" for shard in shards]
    assert sizes.scans_of_category(config, wildcards) == 5


def test_options_hold_what_learning_depends_on(tmp_path: Path) -> None:
    config = complete(methods={"btf": {"system": "btf", "label": "Mine", "coreset": 0.5}})
    assert unsupervised.expert_options(config, "btf") == {"coreset": 0.5, "network": None}
    wildcards = job(method="btf")
    assert inputs.scoring_options(config, wildcards) == {"coreset": 0.5, "network": None, "smoothing_sigma": 6}
    assert inputs.model(config, wildcards) == plan.model_of(config, "standard")
    assert inputs.expert_files(config, wildcards) == []
    config = complete(methods={"btf": {"system": "btf", "network": "w.pth"}})
    assert inputs.model(config, wildcards) is None
    assert inputs.expert_files(config, wildcards) == ["w.pth"]
    assert unsupervised.expert_options(config, "btf")["network"] == "w.pth"


def test_tables_1_to_4_and_their_pictures_know_nothing_of_them() -> None:
    config, without = (
        complete(),
        complete(
            methods={"fixed": {"system": "clip_rendering"}, "learnt": {"system": "pointad_plus", "deep_blocks": 3}}
        ),
    )
    for number in (1, 2, 3, 4):
        assert tables.table_options(config, number) == tables.table_options(without, number)
        assert tables.table_metrics(config, number) == tables.table_metrics(without, number)
    for of_config in (tables.summaries, tables.heatmaps, tables.viewers, tables.trained_of):
        assert of_config(config) == of_config(without)
    assert tables.labels_of(config)["btf"] == "BTF"
