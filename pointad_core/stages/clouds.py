"""Clouds: the raw scans of a category, each made a cloud (Sec. 4.1), in one store."""

import importlib
import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from pointad_core.clouds.background import WAYS_ON, loses_defect
from pointad_core.clouds.cloud import make_cloud
from pointad_core.clouds.frame import to_unit
from pointad_core.datasets.scans import GOOD, TEST, Organised, Scan
from pointad_core.errors import InputError
from pointad_core.storage import jobs, stores
from pointad_core.storage.shards import WHOLE

logger = logging.getLogger(__name__)

LOST = "hardly a point is left where the ground truth marks a defect"


def make_clouds(
    root: str | os.PathLike[str],
    output: str | os.PathLike[str],
    dataset: str,
    layout: Mapping[str, Any],
    category: str,
    options: Mapping[str, Any],
    provenance: Mapping[str, Any],
    shard: str = WHOLE,
) -> None:
    """Read every scan of a category's split, or of a shard of it, and write its clouds to the store `output`.

    root: folder of the data set, only read; layout: name, the rest as in `datasets.registry.Layout`, and the split
    where that is not the test split; options: those of `make_cloud` but the scene, and unit (as `frame.to_unit` takes
    it) and missing ("auto", "none" or a number).

    The store has per scan the attributes name, defective (null where it is not known), defect, n_original
    and the arrays of `make_cloud`.

    Raises InputError for scans that cannot be read or used, and where most of the defective ones lose their defects;
    the message names the file, and no store is written.
    """
    reader = importlib.import_module(f"pointad_core.{layout['module']}")
    scans = reader.find_scans(root, category, shard, layout.get("split", TEST))
    attributes = {
        "dataset": dataset,
        "category": category,
        "layout": layout["name"],
        "organised": layout["scene"] is not None,
        "resolution": options["resolution"],
    }
    mark, unit = options.get("missing", "auto"), options.get("unit")
    mark = None if mark == "auto" else mark
    defective, losing, unlabelled, without_rgb = 0, [], 0, 0
    with stores.write(output, "clouds", provenance, attributes) as store:
        for scan in jobs.progress(scans, f"clouds {dataset}/{category}"):
            raw = reader.read(scan, mark, unit)
            for note in raw.notes:
                logger.info("%s: %s", scan.path, note)
            raw = to_unit(raw, unit, layout["unit"], layout["extents"], scan.path)
            cloud = make_cloud(raw, {**options, "scene": layout["scene"]}, scan.path)
            if isinstance(raw, Organised):
                without_rgb += raw.rgb is None
                labels, original = raw.mask, int(np.count_nonzero(raw.valid))
            else:
                labels, original = raw.labels, len(raw.points)
            about = {"defective": is_defective(scan, labels), "defect": scan.defect, "n_original": original}
            unlabelled += about["defective"] is None
            store.add(scan.name, cloud, about)
            defective += bool(about["defective"])
            if loses_defect(cloud, options.get("density", 1)):
                logger.warning("%s: %s", scan.path, LOST)
                losing.append(scan)
        if 2 * len(losing) > defective and options.get("background", "remove") == "remove":
            many = f"and so in {len(losing)} of {defective} defective scans"
            raise InputError(f"{losing[0].path}: {LOST}, {many}: the object is taken for the background. {WAYS_ON}")
    for count, what in ((unlabelled, "labels, neither good nor defective"), (without_rgb, "a photograph, without M3D")):
        if count:
            logger.info("%d of %d scans are without %s", count, len(scans), what)


def is_defective(scan: Scan, labels: np.ndarray | None) -> bool | None:
    """Label of a scan: that of its ground truth (max y), whatever its folder, name or metadata say; without any, None,
    or what is known of it otherwise (`Scan.known`)."""
    if labels is None:
        return scan.defect != GOOD if scan.known else None
    defective = bool(labels.any())
    if defective != (scan.defect != GOOD):
        message = "%s: called %r, but its ground truth has %s anomalous point; the ground truth counts"
        logger.warning(message, scan.path, scan.defect, "an" if defective else "no")
    return defective
