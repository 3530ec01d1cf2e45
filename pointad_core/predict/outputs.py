"""What `pointad predict` writes of a scan: a page, a point cloud, scores as tables, a picture, and words and numbers.

The point cloud follows what CloudCompare and MeshLab read: binary PLY of vertices alone, x y z, red green blue, and the
score as the scalar `scalar_score`, NaN and grey where a point has none.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.evaluation.pictures import find_silhouette
from pointad_core.evaluation.viewer import Shown, View, write_viewer
from pointad_core.formats.unit import describe, metres_of
from pointad_core.predict.picture import draw_picture, to_colours
from pointad_core.predict.predictor import Prediction

MOST_ROWS = 500_000
"""Points of a scan up to which its scores are written as CSV as well."""
GREY = 150


def write_all(found: Prediction, name: str, folder: Path) -> dict[str, Any]:
    """Write all files of a scan into `folder`, all or none of them, over those of an earlier run; its name is theirs.

    Returns what the JSON says. Raises OSError, with a path, where the disk is full or the folder may not be written.
    """
    summary = summarise(found, name)
    stem = folder.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{stem}.", suffix=".partial", dir=folder.parent) as place:
            part = Path(place)
            write_viewer(part / f"{stem}.html", [to_shown(found, summary)], name)
            write_ply(part / f"{stem}.ply", found.scan.points, found.scan.valid, found.scores, found.colour_range)
            write_npz(part / f"{stem}.npz", found)
            if found.scores.size <= MOST_ROWS:
                write_csv(part / f"{stem}.csv", found.scan.points, found.scores)
            draw_picture(found).save(part / f"{stem}.png", format="PNG", compress_level=3)
            (part / f"{stem}.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
            folder.mkdir(exist_ok=True)
            # Of a scan that now has too many points for one, an earlier run's table would be another's.
            (folder / f"{stem}.csv").unlink(missing_ok=True)
            for file in sorted(part.iterdir()):
                os.replace(file, folder / file.name)
    except OSError as error:
        # The file's own place, which is gone, tells nothing.
        raise OSError(error.errno, error.strerror, str(folder)) from error
    return summary


def summarise(found: Prediction, name: str) -> dict[str, Any]:
    """What was found of a scan, in plain values."""
    scan, at = found.scan, found.maximum
    calibration = found.calibration
    turn = {"front": found.facing.frame[2].tolist(), "up": found.facing.frame[1].tolist(), "why": found.facing.note}
    return {
        "name": name,
        "file": str(scan.path),
        "object_score": found.object,
        "score_parts": dict(found.score_parts),
        "decision": found.decision,
        "threshold": None
        if calibration is None
        else {
            "threshold": calibration.threshold,
            "points": calibration.point_threshold,
            "false_alarm_rate": calibration.false_alarm_rate,
            "interval": list(calibration.interval),
            "n": calibration.n,
        },
        "reference_scans": found.rank,
        "maximum": {
            "score": float(found.scores.ravel()[at]),
            "index": at,
            **({"row": at // scan.points.shape[1], "column": at % scan.points.shape[1]} if scan.organised else {}),
            "point": scan.points.reshape(-1, 3)[at].tolist(),
        },
        "points": {
            "all": int(scan.valid.size),
            "missing": int(np.count_nonzero(~scan.valid)),
            "left_out": int(np.count_nonzero(scan.valid & ~scan.kept)),
            "scored": int(np.count_nonzero(scan.kept)),
        },
        "unit": scan.unit,
        "extent": scan.extent,
        "orientation": {"views": found.kind, **turn},
        "scores_of": "points and photograph" if found.modality == "m3d" else "points",
        "notes": [*scan.notes, found.facing.note],
        "made": {
            "version": version("pointad_core"),
            "model": found.made["model"],
            "prompts": str(found.prompts) if found.prompts else "those of the package",
            "prompts_sha256": found.made["prompts_sha256"],
            "settings": found.made["settings"],
            "device": found.device,
            "precision": found.precision,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": {step: round(seconds, 3) for step, seconds in found.seconds.items()},
        },
    }


def tell_rank(rank: Mapping[str, int] | None) -> str:
    """A rank in words, "" without one."""
    if not rank:
        return ""
    kinds = [kind for kind in ("good", "defective") if kind in rank]
    return "higher than " + " and ".join(f"{rank[f'higher_than_{kind}']} of {rank[kind]} {kind}" for kind in kinds)


def tell(found: Prediction) -> str:
    """The part's score and what it means, in one line."""
    if found.calibration is not None:
        bound = f"above {found.calibration.threshold:.4f} at {found.calibration.false_alarm_rate:.1%} false alarms"
        return f"score {found.object:.4f}, {found.decision} (defective {bound})"
    rank = tell_rank(found.rank)
    return f"score {found.object:.4f}, uncalibrated" + (f" ({rank} generated scans)" if rank else "")


def to_shown(found: Prediction, summary: Mapping[str, Any], most: int | None = None) -> Shown:
    """A scan as the viewer has it: the points that are there; most: thinned to so many."""
    from pointad_core.evaluation.packing import thin

    scan = found.scan
    valid = scan.valid
    scores = {"score": found.scores[valid], **{name: part[valid] for name, part in found.branches.items()}}
    points = scan.points[valid]
    kept = np.arange(len(points)) if most is None else thin(points, scores["score"], most)
    colours = scan.photograph if scan.photograph is not None else scan.colours
    metres = metres_of(scan.unit) * scan.extent if scan.unit else None
    facts = {
        "object score": f"{found.object:.4f}",
        "decision": found.decision,
        "among generated scans": tell_rank(found.rank),
        "threshold of the object score": f"{found.calibration.threshold:.4f}" if found.calibration else "",
        "unit": scan.unit or "unknown",
        "size": describe(metres) if metres else f"{scan.extent:.4g}",
        "points": ", ".join(f"{key.replace('_', ' ')} {count}" for key, count in summary["points"].items() if count),
        "scores of": summary["scores_of"],
        "file": str(scan.path),
        "model": str(found.made["model"]["model"]),
        "prompts": summary["made"]["prompts"],
        "notes": "; ".join(summary["notes"]),
        "made by": f"pointad {summary['made']['version']}, {summary['made']['time']}",
    }
    renders, views = found.seen.renders, []
    if renders is not None and most is None:
        for number, (name, scored) in enumerate(zip(found.view_names, found.view_maps, strict=True)):
            image = np.repeat(renders.images[number][..., None], 3, axis=2)
            shown = find_silhouette(renders.images[number], renders.pixels[number], renders.visible[number])
            views.append(View(name, image, np.where(shown, scored, np.nan)))
    frame = found.facing.frame
    return Shown(
        summary["name"],
        points[kept],
        {name: part[kept] for name, part in scores.items()},
        colours[valid][kept] if colours is not None else None,
        scan.labels[valid][kept] if scan.labels is not None else None,
        found.calibration.point_threshold if found.calibration else None,
        {key: text for key, text in facts.items() if text},
        views,
        # A mirrored file's frame is no rotation.
        frame if np.linalg.det(frame) > 0 else None,
        np.flatnonzero(valid)[kept],
    )


def write_ply(
    path: Path, points: np.ndarray, valid: np.ndarray, scores: np.ndarray, colours: tuple[float, float]
) -> None:
    """Points that are there, in their order, with their score and its colour; float64 where float32 is too coarse.

    colours: the scores at both ends of the scale.
    """
    places, values = points[valid], scores[valid]
    extent = float(np.ptp(places, axis=0).max())
    coarse = np.spacing(np.float32(np.abs(places).max())) > 1e-5 * extent
    number, kind = ("<f8", "double") if coarse else ("<f4", "float")
    fields: list[Any] = [(axis, number) for axis in "xyz"]
    fields += [(colour, "u1") for colour in ("red", "green", "blue")] + [("scalar_score", "<f4")]
    rows = np.zeros(len(places), fields)
    for column, axis in enumerate("xyz"):
        rows[axis] = places[:, column]
    painted = np.where(np.isfinite(values)[:, None], to_colours(values, *colours), GREY)
    for column, colour in enumerate(("red", "green", "blue")):
        rows[colour] = painted[:, column]
    rows["scalar_score"] = values
    header = ["ply", "format binary_little_endian 1.0", "comment made by pointad", f"element vertex {len(rows)}"]
    header += [f"property {kind} {axis}" for axis in "xyz"]
    header += [f"property uchar {colour}" for colour in ("red", "green", "blue")]
    header += ["property float scalar_score", "end_header"]
    with open(path, "wb") as file:
        file.write(("\n".join(header) + "\n").encode())
        file.write(rows.tobytes())


def write_csv(path: Path, points: np.ndarray, scores: np.ndarray) -> None:
    """A row x,y,z,score for each point of the file, missing ones too, in its order."""
    places = points.reshape(-1, 3)
    # As many digits as the file's numbers have.
    single = np.array_equal(places, places.astype(np.float32), equal_nan=True)
    row = ",".join(["%.9g" if single else "%.17g"] * 3) + ",%.7g\n"
    columns = (*places.T.tolist(), scores.ravel().tolist())
    with open(path, "w", encoding="ascii", newline="") as file:
        file.write("x,y,z,score\n")
        file.writelines(map(row.__mod__, zip(*columns, strict=True)))


def write_npz(path: Path, found: Prediction) -> None:
    """Scores f4 of all points of the file in its order, [H,W] of an organised scan, the branches', and the part's."""
    np.savez_compressed(path, score=found.scores, object=np.float64(found.object), **found.branches)  # type: ignore[arg-type]
