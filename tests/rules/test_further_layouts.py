"""Anomaly-ShapeNet and MulSen-AD in a real run: from generated raw scans to tables, learnt on train splits as well."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from miniature import CONFIG, LEARNING, Miniature, snakemake

from pointad_core.storage import stores

DATASETS = ("anomaly_shapenet", "mulsen_ad")


def config(scans: int) -> dict[str, Any]:
    categories = {"anomaly_shapenet": "ashtray0", "mulsen_ad": "nut"}
    datasets = {
        name: {
            "layout": name,
            "generated": {"scans": scans, "seed": 1, "train_scans": 1},
            "categories": {category: None},
            "auxiliary": [category],
            "n_points": 1000,
            "sampling": "voxel",
            "shard_size": 6,
        }
        for name, category in categories.items()
    }
    return {
        **CONFIG,
        "datasets": datasets,
        "methods": {"pointad_plus": {"system": "pointad_plus", **LEARNING}, "btf": {"system": "btf"}},
        "experiments": {"cross_dataset": [{"source": "anomaly_shapenet", "targets": ["mulsen_ad"]}]},
    }


@pytest.fixture(scope="module")
def made(snakefile: Path, tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    directory = tmp_path_factory.mktemp("layouts")
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(config(10)))
    result = snakemake("all_tables", "--configfile", path, snakefile=snakefile, directory=directory, cores=8)
    assert result.code == 0, result.text
    return Miniature(snakefile, directory, result)


def test_tables_are_made_of_raw_scans(made: Miniature) -> None:
    table = pd.read_csv(made.directory / "results/tables/table4.csv")
    assert {"pointad_plus", "btf"} <= set(table.astype(str).to_numpy().ravel())
    metrics = pd.read_csv(next((made.directory / "results/metrics/pointad_plus").rglob("mulsen_ad.csv")))
    assert set(metrics["modality"]) == {"3d"}
    assert metrics.filter(regex="auroc").notna().all(axis=None)


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


def test_a_table_grows_with_the_scans_and_nothing_else_is_generated_anew(made: Miniature) -> None:
    # Of two more scans, one lies in each shard or both in one; the table of all lies with the first scan.
    jobs = made.plan(config(12))
    assert 1 <= sum(count for rule, count in jobs.items() if rule.startswith("generate_mulsen_ad_nut")) <= 2
    assert not made.plan(config(10))
