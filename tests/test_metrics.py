"""Metrics against the naive versions: every distinct score a threshold, regions labelled anew at each."""

import csv
import subprocess
import sys
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pointad_core import metrics, stores
from pointad_core.errors import InputError

SIDE = 12


# ---- oracles -------------------------------------------------------------------------------------------------------


def find_regions(mask):
    """8-connected components of a mask as lists of (row, column), by flood fill."""
    left = {(int(r), int(c)) for r, c in np.argwhere(mask)}
    regions = []
    while left:
        queue = deque([left.pop()])
        region = [queue[0]]
        while queue:
            row, column = queue.popleft()
            for neighbour in [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                if neighbour in left:
                    left.remove(neighbour)
                    queue.append(neighbour)
                    region.append(neighbour)
        regions.append(region)
    return regions


def naive_aupro(maps, masks, valid, limit):
    """Mean over regions of the covered share against the share of good pixels hit, at every distinct score."""
    thresholds = sorted({float(v) for m, ok in zip(maps, valid, strict=True) for v in m[ok]}, reverse=True)
    rates, overlaps = [0.0], [0.0]
    for threshold in thresholds:
        hits = good = 0
        shares = []
        for scores, mask, ok in zip(maps, masks, valid, strict=True):
            found = scores.astype(np.float64) >= threshold
            hits += int((found & ~mask & ok).sum())
            good += int((~mask & ok).sum())
            for region in find_regions(mask):
                counted = [pixel for pixel in region if ok[pixel]]
                if counted:
                    shares.append(sum(bool(found[pixel]) for pixel in counted) / len(counted))
        rates.append(hits / good)
        overlaps.append(sum(shares) / len(shares))
    area = 0.0
    for x0, x1, y0, y1 in zip(rates, rates[1:], overlaps, overlaps[1:], strict=False):
        if x0 >= limit:
            break
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            x1 = limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def naive_auroc(negatives, positives):
    """Share of (defective, good) pairs in the right order, ties counting half."""
    wins = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p in positives for n in negatives)
    return wins / (len(negatives) * len(positives))


def draw_maps(rng, levels=None, count=3):
    """Random maps and masks with a few rectangular and lonely defects; scores from few levels give ties."""
    maps, masks, valid = [], [], []
    for _ in range(count):
        mask = np.zeros((SIDE, SIDE), dtype=bool)
        for _ in range(rng.integers(1, 4)):
            row, column = rng.integers(0, SIDE - 3, 2)
            mask[row : row + rng.integers(1, 4), column : column + rng.integers(1, 4)] = True
        mask[tuple(rng.integers(0, SIDE, 2))] = True
        # Thin enough for a missing pixel to cut it.
        row = rng.integers(0, SIDE)
        mask[row, : rng.integers(4, 9)] = True
        scores = rng.normal(size=(SIDE, SIDE)) + mask * rng.uniform(0, 2)
        if levels:
            scores = np.floor(scores * levels) / levels
        maps.append(scores.astype(np.float32))
        masks.append(mask)
        valid.append(rng.random((SIDE, SIDE)) < 0.7)
    return maps, masks, valid


# ---- AUPRO and AUROC -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [None, 1, 3], ids=["distinct", "many-ties", "some-ties"])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_aupro_equals_a_sweep_over_every_score(seed, limit, levels):
    maps, masks, valid = draw_maps(np.random.default_rng(seed), levels)
    everywhere = [np.ones_like(mask) for mask in masks]
    assert metrics.aupro(maps, masks, limit=limit) == pytest.approx(naive_aupro(maps, masks, everywhere, limit))
    assert metrics.aupro(maps, masks, valid, limit) == pytest.approx(naive_aupro(maps, masks, valid, limit))


@settings(max_examples=60, deadline=None)
@given(
    negatives=st.lists(st.integers(-5, 5), min_size=1, max_size=12),
    positives=st.lists(st.integers(-5, 5), min_size=1, max_size=12),
)
def test_auroc_counts_pairs(negatives, positives):
    area = metrics.curve_area(np.array(negatives, dtype=np.float32), np.array(positives, dtype=np.float32))
    assert area == pytest.approx(naive_auroc(negatives, positives))


def test_auroc_equals_scikit_learn():
    rng = np.random.default_rng(5)
    scores = np.round(rng.normal(size=5000), 2).astype(np.float32)
    labels = rng.random(5000) < 0.1
    area = metrics.curve_area(scores[~labels], scores[labels])
    assert area == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), levels=st.sampled_from([None, 2]), limit=st.floats(0.01, 1.0))
def test_order_of_scores_is_all_that_counts(seed, levels, limit):
    rng = np.random.default_rng(seed)
    maps, masks, valid = draw_maps(rng, levels)
    value = metrics.aupro(maps, masks, valid, limit)
    assert 0 <= value <= 1 + 1e-12
    # A strictly growing map of the scores, made from their ranks: no rounding can merge two of them.
    distinct, ranks = np.unique(np.stack(maps), return_inverse=True)
    steps = np.cumsum(rng.uniform(0.1, 3, len(distinct)))
    transformed = list(steps[ranks].reshape(len(maps), SIDE, SIDE))
    assert metrics.aupro(transformed, masks, valid, limit) == pytest.approx(value, abs=1e-12)
    # Order of the scans, and flips of the image, change nothing either.
    order = rng.permutation(len(maps))
    flipped = [[part[i][::-1, ::-1] for i in order] for part in (maps, masks, valid)]
    assert metrics.aupro(*flipped, limit) == pytest.approx(value, abs=1e-12)


def test_constant_scores_are_one_threshold():
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[2:4, 2:4] = True
    # One straight line from (0, 0) to (1, 1): half of the limit, whatever the limit is.
    assert metrics.aupro([np.zeros((SIDE, SIDE))], [mask]) == pytest.approx(metrics.AUPRO_LIMIT / 2)
    assert metrics.aupro([mask.astype(float)], [mask]) == 1
    assert metrics.aupro([-mask.astype(float)], [mask]) == 0


def test_regions_touch_at_corners_and_are_not_split_by_missing_pixels():
    mask = np.zeros((5, 5), dtype=bool)
    mask[0, 0] = mask[1, 1] = mask[4, 0] = mask[4, 1] = mask[4, 2] = True
    weights = metrics.region_weights(mask)
    np.testing.assert_allclose(weights, [1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])
    valid = np.ones((5, 5), dtype=bool)
    valid[4, 1] = valid[1, 1] = False
    np.testing.assert_allclose(metrics.region_weights(mask, valid), [1, 1 / 2, 1 / 2])
    assert metrics.region_weights(np.zeros((5, 5), dtype=bool)).shape == (0,)


def test_large_regions_do_not_drown_small_ones():
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[:5, :5] = True
    mask[10, 10] = True
    scores = np.zeros((SIDE, SIDE))
    scores[10, 10] = 1
    # The lonely pixel is one region of two: half, and the rest rises with the background's ties.
    assert metrics.aupro([scores], [mask], limit=0.3) == pytest.approx(0.5 + 0.5 * 0.15)


def test_a_curve_needs_both_classes():
    with pytest.raises(ValueError, match="3 good and 0 defective"):
        metrics.curve_area(np.zeros(3), np.zeros(0))


# ---- the stage -----------------------------------------------------------------------------------------------------

PROVENANCE = {"code": "test"}


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
            clouds.add(
                scan,
                {"grid": np.flatnonzero(entry["valid"]).astype(np.int32), "mask": entry["mask"]},
                {"defective": bad},
            )
            kept = ["3d", "m3d"] if rgb else ["3d"]
            scored.add(
                f"bagel/{scan}",
                {f"map_{name}": entry[f"map_{name}"] for name in kept},
                {"category": "bagel", "scan": scan, "defective": bad}
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
            content[scan] = entry
            clouds.add(scan, {"labels": entry["labels"], "original_labels": labels}, {"defective": bad})
            scored.add(
                f"duck/{scan}",
                {"points_3d": entry["kept"], "original_3d": original},
                {"category": "duck", "scan": scan, "defective": bad, "object_3d": entry["object_3d"]},
            )
    return folder / "scores.zip", {"duck": folder / "clouds.zip"}, content


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def naive_ap(values, labels):
    """Sum over thresholds of the recall gained there times the precision there."""
    total, last = 0.0, 0.0
    for threshold in sorted(set(values), reverse=True):
        found = [label for value, label in zip(values, labels, strict=True) if value >= threshold]
        recall = sum(found) / sum(labels)
        total += (recall - last) * sum(found) / len(found)
        last = recall
    return total


def test_organised_category_in_both_protocols(tmp_path):
    scores, clouds, content = write_organised(tmp_path, np.random.default_rng(3))
    metrics.make_metrics(scores, clouds, tmp_path / "metrics.csv")
    rows = read_rows(tmp_path / "metrics.csv")
    assert list(rows[0]) == list(metrics.COLUMNS)
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
        assert row["p_auroc_paper"] != row["p_auroc_object"]


def test_unorganised_category_has_points_but_no_regions(tmp_path):
    scores, clouds, content = write_unorganised(tmp_path, np.random.default_rng(4))
    metrics.make_metrics(scores, clouds, tmp_path / "metrics.csv")
    (row,) = read_rows(tmp_path / "metrics.csv")
    assert row["modality"] == "3d"
    assert row["aupro_paper"] == row["aupro_object"] == ""
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
        metrics.make_metrics(scores, clouds, tmp_path / name)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    value = read_rows(tmp_path / "a.csv")[0]["p_auroc_object"]
    assert repr(float(value)) == value


def test_no_m3d_row_without_rgb(tmp_path):
    scores, clouds, _ = write_organised(tmp_path, np.random.default_rng(3), rgb=False)
    metrics.make_metrics(scores, clouds, tmp_path / "metrics.csv")
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
        metrics.make_metrics(scores, clouds, tmp_path / "out" / "metrics.csv")
    assert not (tmp_path / "out").exists()


def test_scores_of_other_scans_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    rng = np.random.default_rng(0)
    scores, _, _ = write_organised(tmp_path / "a", rng)
    _, clouds, _ = write_organised(tmp_path / "b", rng, scans=("bent/000", "good/000"))
    with pytest.raises(InputError, match=r"scans differ .* first at 'bagel/good/001'"):
        metrics.make_metrics(scores, clouds, tmp_path / "metrics.csv")
    with pytest.raises(InputError, match="no scores of category 'rope'"):
        metrics.make_metrics(scores, {"rope": clouds["bagel"]}, tmp_path / "metrics.csv")


def test_starts_without_torch_and_scikit_learn():
    code = "import sys, pointad_core.metrics; print([m for m in ('torch', 'sklearn', 'pandas') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
