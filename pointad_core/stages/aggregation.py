"""Stage aggregation: what G-aggregation needs of each cloud and no prompt changes (Sec. 3.4).

Neighbours and kernel weights come from the points, the norms of the fused features from the features as they are
stored, in float16: later stages see no others. No image is encoded here, so that another alpha, kernel or number of
neighbours costs seconds.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pointad_core.errors import InputError
from pointad_core.methods.aggregation import prepare
from pointad_core.storage import jobs, stores


def make_aggregation(
    *,
    clouds: str | Path,
    renders: str | Path,
    features: str | Path,
    output: str | Path,
    options: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> None:
    """Prepare the clouds of one category and write their store, scan by scan.

    clouds, renders, features: stores of the same scans; the features hold V-V patch features. options: an entry of the
    config's `aggregations` (neighbours, kernel_sigma, kernel_units, alpha). Runs on the GPU where there is one.

    Arrays of a scan: neighbours int32 [n, k], weights float32 [n, k], norms float32 [n]. Raises InputError for stores
    that do not belong together, and for a cloud with too few points.
    """
    device = jobs.pick_device()
    with (
        stores.read(clouds, "clouds") as cloud_store,
        stores.read(renders, "renders") as render_store,
        stores.read(features, "features") as feature_store,
    ):
        for store in (render_store, feature_store):
            if store.scans != cloud_store.scans:
                raise InputError(f"{store.path}: its scans are not those of {clouds}; make it again")
        resolution = int(render_store.attributes["resolution"])

        def load(scan: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
            points = cloud_store.load(scan, ["points"])["points"]
            pixels, visible = render_store.load(scan, ["pixels", "visible"]).values()
            patches = feature_store.load(scan, ["patches_vv"])["patches_vv"]
            n_views, n = visible.shape
            if len(points) != n:
                told = f"{len(points)} points in the cloud, {n} in its renders; redo both"
                raise InputError(f"{renders}: scan {scan!r}: {told}")
            if len(patches) != n_views:
                told = f"features of {len(patches)} renders, {renders} has {n_views}; make the features again"
                raise InputError(f"{features}: scan {scan!r} has {told}")
            return points, pixels, visible, patches

        made = {**provenance, "device": device.type}
        with stores.write(output, "aggregation", made, {"alpha": options["alpha"]}) as writer:

            def add(scan: str, prepared: Mapping[str, torch.Tensor]) -> None:
                writer.add(scan, {name: part.cpu().numpy() for name, part in prepared.items()})

            shown = jobs.progress(cloud_store.scans, f"aggregation {Path(output).name}")
            with jobs.behind(add) as hand_over:
                for scan, (points, pixels, visible, patches) in zip(
                    shown, jobs.ahead(load, cloud_store.scans), strict=True
                ):
                    try:
                        there = torch.from_numpy(patches).to(device)
                        hand_over(scan, prepare(points, pixels, visible, there, resolution, options))
                    except InputError as error:
                        raise InputError(f"{clouds}: scan {scan!r}: {error}") from error
