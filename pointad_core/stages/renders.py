"""Stage "renders": every cloud from every view, with its ground truth and its point-pixel maps (Sec. 3.3)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pointad_core.errors import InputError
from pointad_core.rendering.registry import load
from pointad_core.storage import jobs, stores


def make_renders(
    clouds: str | Path, output: str | Path, options: Mapping[str, Any], provenance: Mapping[str, Any]
) -> None:
    """Render every scan of a store of clouds into a store of renders, one scan at a time.

    options: resolution, views {tilt, x, y} in degrees, renderer, and what that reads: point_size, visibility, window;
    the renderer as its name and the entry in `rendering.registry` that this stands for, {name, module, options}.

    The store has per scan the attribute unseen and the arrays images, masks, pixels and visible of `Renders`. Raises
    InputError as the renderer does, naming the store and the scan.
    """
    renderer = options["renderer"]
    module = load(renderer["module"])
    device = jobs.pick_device()
    with stores.read(clouds, "clouds") as reader:
        names = ["points", "normals", "labels", *(["grid"] if reader.attributes["organised"] else [])]
        attributes = {
            **{key: reader.attributes[key] for key in ("dataset", "category")},
            "views": module.angles(options["views"]),
            "resolution": options["resolution"],
            "renderer": renderer["name"],
            **{key: options[key] for key in renderer["options"]},
        }
        with stores.write(output, "renders", {**provenance, "device": device.type}, attributes) as writer:
            for scan in jobs.progress(reader.scans, f"renders {attributes['category']}"):
                cloud = reader.load(scan, names)
                try:
                    renders = module.render(cloud, options, device)
                except InputError as error:
                    raise InputError(f"{clouds}: scan {scan}: {error}") from error
                arrays = {name: getattr(renders, name) for name in ("images", "masks", "pixels", "visible")}
                writer.add(scan, arrays, {"unseen": renders.unseen})
