"""The metrics stage: stores in, a CSV out, held against the naive versions."""

import csv
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from metric_oracles import (
    SIDE,
    draw_maps,
    naive_ap,
    naive_aupro,
    naive_auroc,
    naive_f1_max,
    naive_linked,
    naive_stretched,
)

from pointad_core.errors import InputError
from pointad_core.evaluation.bootstrap import REPLICATES
from pointad_core.evaluation.metrics import COLUMNS, METRICS
from pointad_core.stages.metrics import make_metrics
from pointad_core.storage import stores

PROVENANCE = {"code": "test"}


def measure(scores, clouds, output, *scans):
    """Metrics as CSV, and their replicates beside it."""
    make_metrics(scores, clouds, output, output.with_suffix(".npz"), *scans)


def write_organised(folder, rng, scans=("bent/000", "good/000", "good/001", "hole/000"), rgb=True, edit=None):
    """Clouds and scores of one organised category; returns their paths and what was written."""
    content = {}
    with (
        stores.write(
            folder / "clouds.zip", "clouds", PROVENANCE, {"category": "bagel", "organised": True, "resolution": SIDE}
        ) as clouds,
        stores.write(folder / "scores.zip", "scores", PROVENANCE) as scored,
    ):
        for scan in scans:
            maps, masks, valid = draw_maps(rng, 4, count=2)
            bad = not scan.startswith("good")
            mask = masks[0] if bad else np.zeros_like(masks[0])
            entry = {
                "mask": mask.astype(np.uint8),
                "valid": valid[0],
                "map_3d": maps[0],
                "map_m3d": maps[1],
                "object_3d": float(rng.integers(0, 4)),
                "object_m3d": float(rng.integers(0, 4)),
                "defective": bad,
            }
            if edit:
                edit(scan, entry)
            content[scan] = entry
            truth = {} if entry["defective"] is None else {"mask": entry["mask"]}
            clouds.add(
                scan,
                {"grid": np.flatnonzero(entry["valid"]).astype(np.int32), **truth},
                {"defective": entry["defective"]},
            )
            kept = ["3d", "m3d"] if rgb else ["3d"]
            scored.add(
                f"bagel/{scan}",
                {f"map_{name}": entry[f"map_{name}"] for name in kept},
                {"category": "bagel", "scan": scan, "defective": entry["defective"]}
                | {f"object_{name}": entry[f"object_{name}"] for name in kept},
            )
    return folder / "scores.zip", {"bagel": folder / "clouds.zip"}, content


def write_unorganised(folder, rng):
    content = {}
    with (
        stores.write(folder / "clouds.zip", "clouds", PROVENANCE, {"category": "duck", "organised": False}) as clouds,
        stores.write(folder / "scores.zip", "scores", PROVENANCE) as scored,
    ):
        for scan in ("bulge/0", "good/0", "good/1", "sink/0"):
            bad = not scan.startswith("good")
            original = rng.integers(0, 9, 60).astype(np.float32)
            labels = ((rng.random(60) < 0.3) & bad).astype(np.uint8)
            entry = {"original": original, "original_labels": labels, "kept": original[::2], "labels": labels[::2]}
            entry |= {"object_3d": float(rng.normal()), "defective": bad}
            entry["points"] = rng.uniform(size=(30, 3)).astype(np.float32)
            content[scan] = entry
            arrays = {"points": entry["points"], "labels": entry["labels"], "original_labels": labels}
            clouds.add(scan, arrays, {"defective": bad})
            scored.add(
                f"duck/{scan}",
                {"points_3d": entry["kept"], "original_3d": original},
                {"category": "duck", "scan": scan, "defective": bad, "object_3d": entry["object_3d"]},
            )
    return folder / "scores.zip", {"duck": folder / "clouds.zip"}, content


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_organised_category_in_both_protocols(tmp_path):
    scores, clouds, content = write_organised(tmp_path, np.random.default_rng(3))
    measure(scores, clouds, tmp_path / "metrics.csv")
    rows = read_rows(tmp_path / "metrics.csv")
    assert list(rows[0]) == list(COLUMNS)
    assert [(row["category"], row["modality"], row["n_good"], row["n_defective"]) for row in rows] == [
        ("bagel", "3d", "2", "2"),
        ("bagel", "m3d", "2", "2"),
    ]
    scans = list(content.values())
    labels = [entry["defective"] for entry in scans]
    for row, modality in zip(rows, ("3d", "m3d"), strict=True):
        objects = [entry[f"object_{modality}"] for entry in scans]
        good = [value for value, bad in zip(objects, labels, strict=True) if not bad]
        assert float(row["i_auroc"]) == pytest.approx(
            naive_auroc(good, [value for value, bad in zip(objects, labels, strict=True) if bad])
        )
        assert float(row["ap"]) == pytest.approx(naive_ap(objects, labels))
        assert float(row["f1_max"]) == pytest.approx(naive_f1_max(objects, labels))
        maps = [entry[f"map_{modality}"] for entry in scans]
        masks = [entry["mask"] > 0 for entry in scans]
        for protocol, valid in (
            ("paper", [np.ones_like(mask) for mask in masks]),
            ("object", [entry["valid"] for entry in scans]),
        ):
            pixels = [
                np.concatenate([m[ok & (mask == bad)] for m, mask, ok in zip(maps, masks, valid, strict=True)])
                for bad in (False, True)
            ]
            assert float(row[f"p_auroc_{protocol}"]) == pytest.approx(naive_auroc(*pixels))
            assert float(row[f"aupro_{protocol}"]) == pytest.approx(naive_aupro(maps, masks, valid, 0.3))
            bad = np.repeat([False, True], list(map(len, pixels)))
            assert float(row[f"p_ap_{protocol}"]) == pytest.approx(naive_ap(np.concatenate(pixels), bad))
            assert float(row[f"p_f1_max_{protocol}"]) == pytest.approx(naive_f1_max(np.concatenate(pixels), bad))
        assert float(row["aupro_stretched"]) == pytest.approx(naive_stretched(maps, masks))
        assert row["aupro_linked"] == ""
        assert row["p_auroc_paper"] != row["p_auroc_object"]


def unlabel(*scans):
    """Take the labels of some scans away."""

    def edit(scan, entry):
        if scan in scans:
            entry["defective"] = None

    return edit


def test_scans_without_labels_are_left_out_and_counted(tmp_path, caplog):
    every = ("bent/000", "bent/001", "good/000", "good/001", "hole/000", "odd/000")
    unlabelled = ("bent/001", "odd/000")
    scores, clouds, content = write_organised(tmp_path, np.random.default_rng(3), every, edit=unlabel(*unlabelled))
    with caplog.at_level("INFO"):
        measure(scores, clouds, tmp_path / "metrics.csv")
    assert "bagel: 2 of 6 scans have no labels and are left out" in caplog.messages
    row = read_rows(tmp_path / "metrics.csv")[0]
    assert (row["n_good"], row["n_defective"]) == ("2", "2")
    labelled = [entry for scan, entry in content.items() if scan not in unlabelled]
    maps, masks = [entry["map_3d"] for entry in labelled], [entry["mask"] > 0 for entry in labelled]
    pixels = [np.concatenate([m[mask == bad] for m, mask in zip(maps, masks, strict=True)]) for bad in (False, True)]
    assert float(row["p_auroc_paper"]) == pytest.approx(naive_auroc(*pixels))
    objects = [[entry["object_3d"] for entry in labelled if entry["defective"] is bad] for bad in (False, True)]
    assert float(row["i_auroc"]) == pytest.approx(naive_auroc(*objects))


@pytest.mark.parametrize(("labelled", "n_good"), [((), 0), (("good/000", "good/001"), 2)])
def test_a_category_without_labels_has_no_metrics(tmp_path, caplog, labelled, n_good):
    every = ("bent/000", "good/000", "good/001", "hole/000")
    edit = unlabel(*(scan for scan in every if scan not in labelled))
    scores, clouds, _ = write_organised(tmp_path, np.random.default_rng(3), every, edit=edit)
    measure(scores, clouds, tmp_path / "metrics.csv")
    assert f"bagel: no metrics, with {n_good} good and 0 defective scans" in caplog.messages
    assert (tmp_path / "metrics.csv").read_text().splitlines()[1:] == [
        f"bagel,{modality},{n_good},0" + "," * len(METRICS) for modality in ("3d", "m3d")
    ]


def test_unorganised_category_has_points_and_regions_of_linked_ones(tmp_path):
    scores, clouds, content = write_unorganised(tmp_path, np.random.default_rng(4))
    measure(scores, clouds, tmp_path / "metrics.csv")
    (row,) = read_rows(tmp_path / "metrics.csv")
    assert row["modality"] == "3d"
    assert row["aupro_paper"] == row["aupro_object"] == row["aupro_stretched"] == ""
    clouds, scores, marks = ([entry[key] for entry in content.values()] for key in ("points", "kept", "labels"))
    assert float(row["aupro_linked"]) == pytest.approx(naive_linked(clouds, scores, marks, 0.3))
    for column, values, labels in (
        ("p_auroc_paper", "kept", "labels"),
        ("p_auroc_object", "original", "original_labels"),
    ):
        points = np.concatenate([entry[values] for entry in content.values()])
        bad = np.concatenate([entry[labels] for entry in content.values()]) > 0
        assert float(row[column]) == pytest.approx(naive_auroc(points[~bad], points[bad]))


def test_same_scores_give_the_same_bytes_and_exact_numbers(tmp_path):
    scores, clouds, _ = write_organised(tmp_path, np.random.default_rng(3))
    for name in ("a.csv", "b.csv"):
        measure(scores, clouds, tmp_path / name)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    value = read_rows(tmp_path / "a.csv")[0]["p_auroc_object"]
    assert repr(float(value)) == value


def test_replicates_stand_beside_the_metrics_and_about_them(tmp_path):
    every = ("bent/000", "bent/001", "good/000", "good/001", "good/002", "hole/000", "odd/000")
    scores, clouds, _ = write_organised(tmp_path, np.random.default_rng(3), every, edit=unlabel("odd/000"))
    for name in ("a", "b"):
        measure(scores, clouds, tmp_path / f"{name}.csv")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    rows = read_rows(tmp_path / "a.csv")
    with np.load(tmp_path / "a.npz") as file:
        assert set(file) == {"bagel/3d", "bagel/m3d"}
        for row in rows:
            found = file[f"bagel/{row['modality']}"]
            assert found.dtype == np.float32
            assert found.shape == (len(METRICS), REPLICATES)
            drawn = {name: values for name, values in zip(METRICS, found, strict=True) if row[name]}
            assert drawn.keys() == set(METRICS) - {"aupro_linked"}
            for name, values in drawn.items():
                assert (values >= 0).all()
                assert (values <= 1).all()
                low, high = np.percentile(values, [2.5, 97.5])
                assert low <= np.float32(row[name]) <= high
                assert low < high or high in (0, 1) or name == "f1_max"


def test_an_undefined_metric_has_no_replicates(tmp_path):
    scores, clouds, _ = write_unorganised(tmp_path, np.random.default_rng(4))
    measure(scores, clouds, tmp_path / "metrics.csv")
    (row,) = read_rows(tmp_path / "metrics.csv")
    with np.load(tmp_path / "metrics.npz") as file:
        undefined = np.isnan(file["duck/3d"]).all(axis=1)
    assert undefined.tolist() == [row[name] == "" for name in METRICS]


def test_all_methods_see_the_same_scans_drawn(tmp_path):
    """Scores that are others, but order all points alike, have the same replicates."""
    (tmp_path / "other").mkdir()
    rng, other = np.random.default_rng(3), np.random.default_rng(3)

    def double(scan, entry):
        for name in ("map_3d", "map_m3d"):
            entry[name] = 2 * entry[name] + 1
        entry["object_3d"] = np.exp(entry["object_3d"])

    for folder, generator, edit in ((tmp_path, rng, None), (tmp_path / "other", other, double)):
        scores, clouds, _ = write_organised(folder, generator, edit=edit)
        measure(scores, clouds, folder / "metrics.csv")
    with np.load(tmp_path / "metrics.npz") as one, np.load(tmp_path / "other/metrics.npz") as two:
        assert np.allclose(one["bagel/3d"], two["bagel/3d"], atol=1e-6, equal_nan=True)


def test_no_m3d_row_where_some_scans_have_no_photograph(tmp_path, caplog):
    """What is left of the category has its metrics of points alone."""
    scores, clouds, _ = write_organised(tmp_path, np.random.default_rng(3))
    measure(scores, clouds, tmp_path / "all.csv")
    with stores.read(scores, "scores") as whole, stores.write(tmp_path / "some.zip", "scores", PROVENANCE) as part:
        for name in whole.scans:
            lacks = name == "bagel/good/001"
            arrays = [array for array in whole.arrays(name) if not (lacks and array == "map_m3d")]
            about = whole.scan_attributes(name)
            part.add(name, whole.load(name, arrays), {k: v for k, v in about.items() if not (lacks and "m3d" in k)})
    measure(tmp_path / "some.zip", clouds, tmp_path / "some.csv")
    assert read_rows(tmp_path / "some.csv") == read_rows(tmp_path / "all.csv")[:1]
    assert "bagel: no metrics with photographs (m3d), for 1 of 4 scans have none" in caplog.messages


def test_no_m3d_row_without_rgb(tmp_path):
    scores, clouds, _ = write_organised(tmp_path, np.random.default_rng(3), rgb=False)
    measure(scores, clouds, tmp_path / "metrics.csv")
    assert [row["modality"] for row in read_rows(tmp_path / "metrics.csv")] == ["3d"]


def only_background(scan, entry):
    entry["valid"] = entry["valid"] & (entry["mask"] == 0)


def unlabelled(scan, entry):
    entry["mask"] = np.zeros_like(entry["mask"])


def nan_map(scan, entry):
    if scan == "good/001":
        entry["map_3d"][3, 4] = np.nan


def nan_object(scan, entry):
    if scan == "hole/000":
        entry["object_m3d"] = float("nan")


def smaller_map(scan, entry):
    entry["map_3d"] = entry["map_3d"][1:]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scans": ("good/000", "good/001")}, r"category 'bagel' has no defective scans \(2 good, 0 defective\)"),
        ({"scans": ("bent/000",)}, r"category 'bagel' has no good scans \(0 good, 1 defective\)"),
        ({"edit": unlabelled}, r"category 'bagel' has no defective points \(paper protocol\)"),
        ({"edit": only_background}, r"category 'bagel' has no defective points \(object protocol\)"),
        ({"edit": nan_map}, r"map_3d of scan 'bagel/good/001' is not finite"),
        ({"edit": nan_object}, r"object_m3d of scan 'bagel/hole/000' is not finite"),
        ({"edit": smaller_map}, r"map_3d of scan 'bagel/bent/000' is \(11, 12\)"),
    ],
)
def test_undefined_metrics_are_refused_and_nothing_is_written(tmp_path, options, message):
    scores, clouds, _ = write_organised(tmp_path, np.random.default_rng(3), **options)
    with pytest.raises(InputError, match=message):
        measure(scores, clouds, tmp_path / "out" / "metrics.csv")
    assert not (tmp_path / "out").exists()


def test_scores_of_other_scans_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    rng = np.random.default_rng(0)
    scores, _, _ = write_organised(tmp_path / "a", rng)
    _, clouds, _ = write_organised(tmp_path / "b", rng, scans=("bent/000", "good/000"))
    with pytest.raises(InputError, match=r"scans differ .* first at 'bagel/good/001'"):
        measure(scores, clouds, tmp_path / "metrics.csv")
    with pytest.raises(InputError, match="no scores of category 'rope'"):
        measure(scores, {"rope": clouds["bagel"]}, tmp_path / "metrics.csv")


def keep(path, kind, names, folder):
    """A store of these scans alone."""
    with stores.read(path, kind) as whole:
        attributes = {key: whole.attributes[key] for key in ("category", "organised") if key in whole.attributes}
        with stores.write(folder / path.name, kind, PROVENANCE, attributes) as part:
            for name in whole.scans:
                if name in names:
                    part.add(name, whole.load(name, whole.arrays(name)), whole.scan_attributes(name))
    return folder / path.name


@pytest.mark.parametrize(
    ("write", "category", "scans"),
    [(write_organised, "bagel", ["hole/000", "good/000"]), (write_unorganised, "duck", ["good/1", "sink/0", "good/0"])],
)
def test_a_subset_counts_as_if_there_were_no_other_scans(tmp_path, write, category, scans):
    scores, clouds, _ = write(tmp_path, np.random.default_rng(6))
    (tmp_path / "alone").mkdir()
    few = keep(scores, "scores", [f"{category}/{scan}" for scan in scans], tmp_path / "alone")
    alone = keep(clouds[category], "clouds", scans, tmp_path / "alone")
    measure(few, {category: alone}, tmp_path / "alone.csv")
    for name, order in (("subset", scans), ("reversed", [*scans[::-1], scans[0]])):
        measure(scores, clouds, tmp_path / f"{name}.csv", {category: order})
        assert (tmp_path / f"{name}.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()
    measure(scores, clouds, tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_bytes() != (tmp_path / "alone.csv").read_bytes()


def test_a_category_without_a_list_of_scans_counts_whole(tmp_path):
    scores, clouds, _ = write_organised(tmp_path, np.random.default_rng(3))
    measure(scores, clouds, tmp_path / "all.csv")
    measure(scores, clouds, tmp_path / "others.csv", {"rope": ["good/000"]})
    assert (tmp_path / "others.csv").read_bytes() == (tmp_path / "all.csv").read_bytes()


@pytest.mark.parametrize(
    ("scans", "message"),
    [
        (["good/000", "bent/007"], r"category 'bagel' has no scan 'bent/007'; it has 'bent/000', 'good/000', 'good"),
        (["good/000", "good/001"], r"category 'bagel' has no defective scans \(2 good, 0 defective\)"),
        (["hole/000"], r"category 'bagel' has no good scans \(0 good, 1 defective\)"),
        ([], r"category 'bagel' has no scans \(0 good, 0 defective\)"),
    ],
)
def test_a_subset_without_both_classes_or_of_unknown_scans_is_refused(tmp_path, scans, message):
    scores, clouds, _ = write_organised(tmp_path, np.random.default_rng(3))
    with pytest.raises(InputError, match=message):
        measure(scores, clouds, tmp_path / "metrics.csv", {"bagel": scans})
    assert not (tmp_path / "metrics.csv").exists()


def test_a_job_imports_nothing_that_takes_longer_than_the_job(tmp_path):
    scores, clouds, _ = write_organised(tmp_path, np.random.default_rng(3))
    heavy = ["torch", "sklearn", "pandas", "open3d", "matplotlib"]
    code = (
        "import sys; from pointad_core.stages.metrics import make_metrics; "
        f"make_metrics({str(scores)!r}, {{'bagel': {str(clouds['bagel'])!r}}}, 'metrics.csv', 'metrics.npz'); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_table_is_written_as_by_pandas(tmp_path):
    scores, clouds, _ = write_organised(tmp_path, np.random.default_rng(3))
    measure(scores, clouds, tmp_path / "metrics.csv")
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert table.to_csv(index=False, lineterminator="\n") == (tmp_path / "metrics.csv").read_text()
    assert table["aupro_linked"].isna().all()
