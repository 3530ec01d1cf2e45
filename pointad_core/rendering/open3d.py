"""Second renderer: Open3D's legacy visualizer, headless, as the public PointAD code draws its views (Sec. 3.3).

Same window, point size, camera and data flow as `splat`; it exists to be compared with. Open3D 0.20 and later
need no display: they fall back to an off-screen EGL context, which needs the system's Mesa libraries.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from pointad_core.errors import InputError, printed
from pointad_core.imports import import_open3d
from pointad_core.rendering import shaded
from pointad_core.rendering.shaded import GREY, shrink
from pointad_core.rendering.views import Projection

LIBRARIES = "libEGL.so.1, libGL.so.1 and libgomp.so.1 (on Debian and Ubuntu: apt install libegl1 libgl1 libgomp1)"


@contextmanager
def _window(size: int, window: int) -> Iterator[tuple[Any, Any, Any]]:
    """Open3D, a visualizer with a hidden window of `window` pixels a side and points of `size`, and its options."""
    try:
        o3d = import_open3d()
    except (ImportError, OSError) as error:
        raise InputError(
            f"renderer: open3d cannot be imported ({error}); it needs the package open3d-cpu and {LIBRARIES}, "
            "or set renderer: splat"
        ) from error
    with printed("renderer: open3d"), o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Warning):
        visualizer = o3d.visualization.Visualizer()
        opened = visualizer.create_window(width=window, height=window, visible=False)
        try:
            # Older versions return True without a display and have no render options then.
            options = visualizer.get_render_option() if opened else None
            if options is None:
                raise InputError(
                    f"renderer: Open3D {o3d.__version__} cannot open a window of {window} x {window} pixels; without "
                    f"a display it needs version 0.20 or later and {LIBRARIES}, or set renderer: splat"
                )
            options.point_size = float(size)
            yield o3d, visualizer, options
        finally:
            visualizer.destroy_window()


def set_power(options: Any, power: float) -> None:
    """Multiply the diffuse and specular power of the window's lamps, which its options offer in a file alone."""
    if power == 1:
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "options.json"
        options.save_to_json(str(file))
        found = json.loads(file.read_text())
        lamps = [key for key in found if key.endswith(("_diffuse_power", "_specular_power"))]
        file.write_text(json.dumps(found | {key: found[key] * power for key in lamps}))
        options.load_from_json(str(file))


def draw(
    projection: Projection, normals: torch.Tensor, labels: torch.Tensor, size: int, resolution: int, power: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the image and the ground truth of every view; arguments and result as of `shaded.Draw`.

    The ground truth is a second picture from the same camera: black and white points on black, without light.
    Raises InputError where Open3D or the libraries that its window needs are missing.
    """
    points = projection.points.to("cpu").transpose(1, 2).numpy()
    turned = normals.to("cpu", torch.float64).transpose(1, 2).numpy()
    grey = np.full(points.shape[1:], GREY)
    truth = np.repeat(labels.to("cpu", torch.float64).numpy()[:, None], 3, axis=1)
    pictures = [(grey, 1.0, True), (truth, 0.0, False)][: 2 if labels.any() else 1]
    window = projection.window
    drawn = np.zeros((len(points), 2, window, window), np.uint8)
    with _window(size, window) as (o3d, visualizer, options):
        set_power(options, power)
        for view in range(len(points)):
            cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points[view]))
            cloud.normals = o3d.utility.Vector3dVector(turned[view])
            for picture, (colours, background, light) in enumerate(pictures):
                cloud.colors = o3d.utility.Vector3dVector(colours)
                options.background_color = np.full(3, background)
                options.light_on = light
                visualizer.clear_geometries()
                visualizer.add_geometry(cloud, reset_bounding_box=True)
                frame = np.asarray(visualizer.capture_screen_float_buffer(do_render=True))
                if frame.shape[:2] != (window, window):
                    raise InputError(
                        f"renderer: Open3D drew {frame.shape[1]} x {frame.shape[0]} pixels in place of {window} x "
                        f"{window}; choose a smaller window or set renderer: splat"
                    )
                drawn[view, picture] = (frame[..., 0] * 255).round().astype(np.uint8)
    small = shrink(torch.from_numpy(drawn), resolution)
    return small[:, 0].contiguous(), (small[:, 1] > 127).to(torch.uint8)


angles = shaded.angles
render = partial(shaded.render, draw=draw)
