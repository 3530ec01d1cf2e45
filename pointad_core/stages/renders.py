"""Stage "renders": every cloud from every view, with its ground truth and its point-pixel maps (Sec. 3.3)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.errors import InputError
from pointad_core.rendering.registry import load
from pointad_core.storage import jobs, stores


def make_renders(
    clouds: str | Path, output: str | Path, options: Mapping[str, Any], provenance: Mapping[str, Any]
) -> None:
    """Render every scan of a store of clouds into a store of renders, one scan at a time.

    options: resolution, views {tilt, x, y} in degrees, renderer, and what that reads: point_size, visibility, window,
    and light and masks if they are other than usual;
    the renderer as its name and the entry in `rendering.registry` that this stands for, {name, module, options}.

    The store has per scan the attribute unseen and the arrays images, masks, pixels and visible of `Renders`, without
    masks where nobody labelled the scan. Raises InputError as the renderer does, naming the store and the scan.
    """
    renderer = options["renderer"]
    module = load(renderer["module"])
    device = jobs.pick_device()
    with stores.read(clouds, "clouds") as reader:
        wanted = {"points", "normals", "labels", "grid"}
        attributes = {
            **{key: reader.attributes[key] for key in ("dataset", "category")},
            "views": module.angles(options["views"]),
            "resolution": options["resolution"],
            "renderer": renderer["name"],
            **{key: options[key] for key in (*renderer["options"], "light", "masks") if key in options},
        }

        def read(scan: str) -> dict[str, np.ndarray]:
            return reader.load(scan, [name for name in reader.arrays(scan) if name in wanted])

        # Scans are read and written in threads while others are rendered.
        shown = jobs.progress(reader.scans, f"renders {attributes['category']}")
        with (
            stores.write(output, "renders", {**provenance, "device": device.type}, attributes) as writer,
            jobs.behind(writer.add) as hand_over,
        ):
            for scan, cloud in zip(shown, jobs.ahead(read, reader.scans), strict=True):
                try:
                    renders = module.render(cloud, options, device)
                except InputError as error:
                    raise InputError(f"{clouds}: scan {scan}: {error}") from error
                names = ["images", "pixels", "visible", *(["masks"] if "labels" in cloud else [])]
                hand_over(scan, {name: getattr(renders, name) for name in names}, {"unseen": renders.unseen})
