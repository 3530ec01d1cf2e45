"""Metrics of one data set's scores per category and modality (Sec. 4.1): stores in, a CSV and replicates out.

AUPRO is empty for unorganised clouds, which have the linked one instead; M3D rows exist where all scans have RGB. Scans
that nobody labelled are left out; a category that has no others has no metrics, all of them empty.
"""

import csv
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.errors import InputError
from pointad_core.evaluation.bootstrap import (
    REPLICATES,
    count_bins,
    find_edges,
    object_replicates,
    point_replicates,
    scan_weights,
    stretched_replicates,
)
from pointad_core.evaluation.metrics import (
    COLUMNS,
    METRICS,
    MODALITIES,
    PointScores,
    linked_weights,
    object_metrics,
    region_weights,
)
from pointad_core.storage import files, stores
from pointad_core.storage.jobs import progress

logger = logging.getLogger("pointad_core")


def _require_finite(values: np.ndarray | float, what: str, path: Path, scan: str) -> None:
    if not np.all(np.isfinite(values)):
        raise InputError(f"{path}: {what} of scan {scan!r} is not finite everywhere (NaN or infinity); score it again")


def _require_both(path: Path, category: str, what: str, good: int, defective: int) -> None:
    if not (good and defective):
        found = "no defective" if good else "no good" if defective else "no"
        raise InputError(
            f"{path}: category {category!r} has {found} {what} ({good} good, {defective} defective); "
            "metrics compare good with defective ones and are undefined without both"
        )


def _load_points(
    scored: stores.StoreReader, name: str, clouds: stores.StoreReader, scan: str, modality: str
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """A scan's points in the paper's protocol and on the object alone: scores, labels, and weights of regions."""
    organised = clouds.attributes["organised"]
    arrays = {"map": "mask"} if organised else {"points": "labels", "original": "original_labels"}
    parts = []
    for values, truth in arrays.items():
        key = f"{values}_{modality}"
        scores, labels = scored.load(name, [key])[key], clouds.load(scan, [truth])[truth]
        if scores.shape != labels.shape:
            raise InputError(
                f"{scored.path}: {key} of scan {name!r} is {scores.shape}, but {truth} in {clouds.path} is "
                f"{labels.shape}; score it again"
            )
        _require_finite(scores, key, scored.path, name)
        weights = region_weights(labels) if organised else None
        if values == "points":
            weights = linked_weights(clouds.load(scan, ["points"])["points"], labels)
        parts.append((scores, labels, weights))
    if organised:
        valid = np.zeros(labels.shape, dtype=bool)
        valid.ravel()[clouds.load(scan, ["grid"])["grid"]] = True
        parts.append((scores[valid], labels[valid], region_weights(labels, valid)))
    return parts


def _measure(
    points: PointScores, protocol: str, organised: bool, weights: np.ndarray
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Metrics of a category's points in one protocol, and the same with scans weighted, by their columns."""
    found = {
        f"p_auroc_{protocol}": points.auroc(),
        f"p_ap_{protocol}": points.average_precision(),
        f"p_f1_max_{protocol}": points.f1_max(),
    }
    if points.weights:
        found[f"aupro_{protocol}" if organised else "aupro_linked"] = points.aupro()
    scores = points.negatives, points.positives, points.weights
    drawn = dict(zip(found, point_replicates(count_bins(find_edges(points.negatives), *scores), weights), strict=False))
    if organised and protocol == "paper":
        found["aupro_stretched"] = points.aupro_stretched()
        drawn["aupro_stretched"] = stretched_replicates(count_bins(points.stretched_edges, *scores), weights)
    return found, drawn


def _category_rows(
    scored: stores.StoreReader, category: str, paths: stores.Paths, wanted: Sequence[str] | None
) -> list[dict[str, Any]]:
    names = {name for name in scored.scans if name.startswith(f"{category}/")}
    if not names:
        raise InputError(f"{scored.path}: no scores of category {category!r}; score it again")
    rows: list[dict[str, Any]] = []
    with stores.read(paths, "clouds") as clouds:
        if odd := sorted({f"{category}/{scan}" for scan in clouds.scans} ^ names):
            raise InputError(
                f"{scored.path}: scans differ from those of {clouds.path}, first at {odd[0]!r}; score it again"
            )
        counted = set(clouds.scans if wanted is None else wanted)
        clouds.check_scans(category, counted)
        scans = {scan: f"{category}/{scan}" for scan in clouds.scans if scan in counted}
        attributes = {name: scored.scan_attributes(name) for name in scans.values()}
        scans = {scan: name for scan, name in scans.items() if attributes[name]["defective"] is not None}
        unlabelled = len(attributes) - len(scans)
        defective = np.array([bool(attributes[name]["defective"]) for name in scans.values()])
        n_defective = int(defective.sum())
        n_good = len(scans) - n_defective
        if unlabelled:
            logger.info("%s: %d of %d scans have no labels and are left out", category, unlabelled, len(attributes))
            if not (n_good and n_defective):
                logger.warning("%s: no metrics, with %d good and %d defective scans", category, n_good, n_defective)
                about = {"category": category, "n_good": n_good, "n_defective": n_defective}
                scored_in = {key for values in attributes.values() for key in values}
                return [{**about, "modality": name} for name in MODALITIES if f"object_{name}" in scored_in]
        attributes = {name: attributes[name] for name in scans.values()}
        # Of others it is known that they are defective, and not where.
        marked = [
            scan for scan in scans if ("mask" if clouds.attributes["organised"] else "labels") in clouds.arrays(scan)
        ]
        if len(marked) < len(scans):
            told = "%s: %d of %d scans have no labels of points; they count for I-AUROC and AP alone"
            logger.info(told, category, len(scans) - len(marked), len(scans))
        _require_both(clouds.path, category, "scans", n_good, n_defective)
        # As they are, and then drawn anew.
        strata = [(bool(bad), scan in marked) for bad, scan in zip(defective, scans, strict=True)]
        weights = np.vstack([np.ones(len(scans)), scan_weights(category, strata)])
        of_points = weights[:, [scan in marked for scan in scans]]
        for modality in MODALITIES:
            key = f"object_{modality}"
            lacking = sum(key not in values for values in attributes.values())
            if modality != "3d" and lacking:
                # A metric of those that have a photograph would be of other scans than the metrics beside it.
                if lacking < len(attributes):
                    told = "%s: no metrics with photographs (%s), for %d of %d scans have none"
                    logger.warning(told, category, modality, lacking, len(attributes))
                continue
            for name, values in attributes.items():
                if key not in values:
                    raise InputError(f"{scored.path}: scan {name!r} has no {key}; score it again")
                _require_finite(values[key], key, scored.path, name)
            objects = np.array([values[key] for values in attributes.values()], dtype=np.float64)
            row = {"category": category, "modality": modality, "n_good": n_good, "n_defective": n_defective}
            protocols = {"paper": PointScores(), "object": PointScores()}
            for scan in progress(marked, f"{category} {modality}"):
                parts = _load_points(scored, scans[scan], clouds, scan, modality)
                for points, part in zip(protocols.values(), parts, strict=True):
                    points.add(*part)
            of_objects = ("i_auroc", "ap", "f1_max")
            row |= zip(of_objects, object_metrics(objects, defective), strict=True)
            drawn = dict(zip(of_objects, object_replicates(objects, defective, weights), strict=True))
            for protocol, points in protocols.items():
                if len(marked) < len(scans) and not any(map(len, points.positives)):
                    continue
                counts = [sum(map(len, part)) for part in (points.negatives, points.positives)]
                _require_both(clouds.path, category, f"points ({protocol} protocol)", *counts)
                found, replicated = _measure(points, protocol, clouds.attributes["organised"], of_points)
                row |= found
                drawn |= replicated
            # What bins lose is lost of all alike: the replicates lie about the exact value.
            row["replicates"] = {
                name: np.clip(values[1:] + (row[name] - values[0]), 0, 1) for name, values in drawn.items()
            }
            told = ", ".join(f"{name} {row[name]:.3f}" for name in METRICS if name in row)
            logger.info("%s %s: %s", category, modality, told)
            rows.append(row)
    return rows


def _stack(row: Mapping[str, Any]) -> np.ndarray:
    """A row's replicates, f4 [len(METRICS), REPLICATES]."""
    undefined = np.full(REPLICATES, np.nan)
    return np.array([row.get("replicates", {}).get(name, undefined) for name in METRICS], dtype=np.float32)


def make_metrics(
    scores: str | Path,
    clouds: Mapping[str, stores.Paths],
    output: str | Path,
    replicates: str | Path,
    scans: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write the metrics of a data set's scores as CSV, one row per category and modality, columns `COLUMNS`; and npz.

    scores: store of kind "scores"; clouds: store of kind "clouds" of every category to report, or those of its shards,
    by the category's name; output: CSV, numbers in their shortest exact form, so that the same scores give the same
    bytes; replicates: npz of the metrics with scans drawn anew (`evaluation.bootstrap`), by "category/modality" f4
    [len(METRICS), REPLICATES], with NaN where a metric is undefined; scans: names of the scans to count, by category;
    of a category that it lacks all are counted.

    Raises InputError for scores that are not finite or do not belong to the clouds, for a scan that its category does
    not have, and for a category whose scans or points are all labelled, all good or all defective, which leaves the
    metrics undefined.
    """
    rows = []
    with stores.read(scores, "scores") as scored:
        for category, paths in clouds.items():
            rows += _category_rows(scored, category, paths, (scans or {}).get(category))
    with files.replacing(replicates) as partial, open(partial, "wb") as file:
        np.savez(file, allow_pickle=False, **{f"{row['category']}/{row['modality']}": _stack(row) for row in rows})
    # As pandas writes it, whose import would take longer than all that is measured here: empty where there is no value.
    written = [{name: value for name, value in row.items() if value == value} for row in rows]
    with files.replacing(output) as partial, open(partial, "w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(written)
