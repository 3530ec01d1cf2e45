"""Stage predictions: scans of one's own, as `pointad predict` scores them; files in, a folder of files out.

A shard's folder holds a folder for each scan, with its page, point cloud, scores and picture, a page of all, and
`summary.csv`, which is written last and says of each scan what was found, or why it could not be read.
"""

from __future__ import annotations

import csv
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pointad_core.errors import InputError
from pointad_core.predict.batch import predict_files
from pointad_core.predict.inputs import find_inputs
from pointad_core.predict.orientation import parse
from pointad_core.predict.predictor import Predictor
from pointad_core.predict.scan import Wanted
from pointad_core.storage import files, jobs

logger = logging.getLogger(__name__)


def make_predictions(
    folder: str | Path,
    names: Sequence[str],
    output: str | Path,
    options: Mapping[str, Any],
    prompts: str | Path | None = None,
    threshold: str | Path | None = None,
) -> None:
    """Score some scans of a folder, and put what was found in the place of the folder that `output` lies in.

    folder: as `inputs.find_inputs` looks through it; names: of the scans to score, as it names them; output: the
    folder's `summary.csv`; options: an entry of the config's `predictions` (unit, facing, background, stray,
    point_size, rgb, intrinsics, name), and settings of the scores as `Predictor.load` takes them; prompts,
    threshold: files, None for what comes with the package and for none.

    A scan that cannot be read is named in the log and in the summary, and the others go on. Raises InputError for a
    scan that the folder lacks, and for prompts and thresholds that cannot be used.
    """
    intrinsics = options["intrinsics"]
    wanted = Wanted(
        unit=options["unit"],
        facing=parse(options["facing"]),
        background=options["background"],
        stray=options["stray"],
        rgb=options["rgb"],
        intrinsics=None if intrinsics is None else tuple(intrinsics),
        point_size=options["point_size"],
    )
    found = {scan.name: scan for scan in find_inputs([folder], Path("results"), intrinsics is not None)}
    if lost := sorted(set(names) - set(found)):
        raise InputError(f"{folder}: has no scan {lost[0]!r} any more")
    device = str(jobs.pick_device())
    given = [None if path is None else Path(path) for path in (prompts, threshold)]
    predictor = Predictor.load(wanted, given[0], device, options["name"], given[1], options.get("settings"))
    logger.info("prompts %s", predictor.made["prompts_sha256"])  # read here, so that bad ones end the job
    watch = partial(jobs.progress, label="predictions")
    place = Path(output).parent
    place.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{place.name}."
    for left in place.parent.glob(f"{prefix}*.partial"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=prefix, suffix=".partial", dir=place.parent) as partial_folder:
        part = Path(partial_folder) / place.name
        scans = [found[name] for name in names]
        done = predict_files(predictor, scans, part, watch, logger.info, logger.warning, overview=True)
        if done.failures:
            logger.warning("%d of %d scans could not be scored", len(done.failures), len(names))
        # Scans that an earlier run found here and that are gone shall not stay.
        if place.exists():
            shutil.rmtree(place)
        os.replace(part, place)


def join_predictions(tables: Sequence[str | Path], output: str | Path) -> int:
    """Put the summaries of an entry's shards together, by the scans' names; returns how many scans failed.

    Raises InputError where all have.
    """
    rows: dict[str, list[str]] = {}
    head: list[str] = []
    for table in tables:
        with open(table, newline="", encoding="utf-8") as file:
            head, *lines = list(csv.reader(file)) or [[]]
        rows |= {line[0]: line for line in lines}
    if not head:
        raise InputError(f"{tables[0]}: is empty; delete it and run again")
    failed = [line for line in rows.values() if line[head.index("failure")]]
    if len(failed) == len(rows):
        reason = failed[0][head.index("failure")] if failed else "there is none"
        raise InputError(f"{tables[0]}: none of {len(rows)} scans could be scored: {reason}")
    with files.replacing(output) as place, open(place, "w", newline="", encoding="utf-8") as file:
        table_file = csv.writer(file, lineterminator="\n")
        table_file.writerows([head, *(rows[name] for name in sorted(rows))])
    for line in failed:
        logger.warning("%s: %s", line[0], line[head.index("failure")])
    return len(failed)
