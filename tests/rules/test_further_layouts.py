"""Anomaly-ShapeNet and MulSen-AD in a real run: from generated raw scans to tables, learnt on train splits as well."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from miniature import CONFIG, LEARNING, Miniature, snakemake

from pointad_core.storage import stores

UNSUPERVISED = [f"results/metrics/btf/{name}.train/each/111/{name}.csv" for name in ("anomaly_shapenet", "mulsen_ad")]


def config(scans: int) -> dict[str, Any]:
    """Prompts learnt on a category of the one and tested on one of the other, which has so many scans in two shards."""
    shared = {"n_points": 1000, "sampling": "voxel"}
    shapenet = {"generated": {"scans": 4, "seed": 1, "train_scans": 1}, "categories": {"ashtray0": None}}
    mulsen = {"generated": {"scans": scans, "seed": 1, "train_scans": 1}, "categories": {"nut": None}, "shard_size": 8}
    return {
        **CONFIG,
        "datasets": {
            "anomaly_shapenet": {"layout": "anomaly_shapenet", **shared, **shapenet, "auxiliary": ["ashtray0"]},
            "mulsen_ad": {"layout": "mulsen_ad", **shared, **mulsen},
        },
        "methods": {"pointad_plus": {"system": "pointad_plus", **LEARNING}, "btf": {"system": "btf"}},
        "experiments": {"cross_dataset": [{"source": "anomaly_shapenet", "targets": ["mulsen_ad"]}]},
    }


@pytest.fixture(scope="module")
def made(snakefile: Path, tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    directory = tmp_path_factory.mktemp("layouts")
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(config(10)))
    targets = ["--configfile", path, "--", "all_tables", *UNSUPERVISED]
    result = snakemake(*targets, snakefile=snakefile, directory=directory, cores=8)
    assert result.code == 0, result.text
    return Miniature(snakefile, directory, result)


def test_tables_are_made_of_raw_scans(made: Miniature) -> None:
    table = pd.read_csv(made.directory / "results/tables/table3.csv")
    assert table[["source", "dataset", "method"]].to_numpy().tolist() == [
        ["anomaly_shapenet", "mulsen_ad", "pointad_plus"]
    ]
    assert table[["i_auroc", "ap", "p_auroc_paper", "p_auroc_object"]].notna().all(axis=None)
    for target, defective in zip(UNSUPERVISED, (2, 4), strict=True):
        (row,) = pd.read_csv(made.directory / target).to_dict("records")
        assert (row["modality"], row["n_defective"]) == ("3d", defective)
        assert 0 <= row["p_auroc_object"] <= 1


def test_a_stain_is_a_good_cloud_and_each_shard_knows_it(made: Miniature) -> None:
    defective: dict[str, bool | None] = {}
    shards = sorted((made.directory / "results/clouds/mulsen_ad/nut").glob("*.zarr.zip"))
    assert len(shards) == 2
    for shard in shards:
        with stores.read(shard, "clouds") as store:
            defective |= {name: store.scan_attributes(name)["defective"] for name in store.scans}
    good = [f"good/{number}" for number in range(5)]
    kinds = ["hole/0", "crack/0", "scratch/0", "foreign_body/0"]
    assert defective == {**dict.fromkeys([*good, "color/0"], False), **dict.fromkeys(kinds, True)}


def test_a_table_grows_with_the_scans_and_where_nothing_changes_nothing_runs(made: Miniature) -> None:
    assert not made.plan(config(10))
    # Of two more scans each belongs to a shard; the tables of all lie with the first scan's.
    jobs = made.plan(config(12))
    generated = {rule for rule in jobs if rule.startswith("generate_")}
    assert generated
    assert generated <= {"generate_mulsen_ad_nut_0", "generate_mulsen_ad_nut_1"}
