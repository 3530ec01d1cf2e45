"""Every renderer behind the same two functions."""

import subprocess
import sys

import numpy as np
import pytest

from pointad_core.errors import InputError
from pointad_core.rendering.registry import RENDERERS, load
from pointad_core.rendering.views import Renders

VIEWS = {"tilt": 180, "x": [-45, 0, 15], "y": [-30]}
OPTIONS = {"resolution": 42, "views": VIEWS, "point_size": 6, "visibility": "soft", "window": 128}


def draw_cloud(n=500):
    """A ball on a grid: all that a renderer may be handed."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(n, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    grid = np.sort(rng.choice(42 * 42, n, replace=False)).astype(np.int32)
    return {"points": points, "normals": points, "labels": (points[:, 2] < -0.6).astype(np.uint8), "grid": grid}


def rendered(name, cloud, options=OPTIONS):
    try:
        return load(RENDERERS[name].module).render(cloud, options)
    except InputError as error:
        if name != "open3d":
            raise
        pytest.skip(str(error))  # no library, or no window


@pytest.mark.parametrize("organised", [True, False])
@pytest.mark.parametrize("name", RENDERERS)
def test_every_renderer_takes_the_same_and_reads_the_options_that_its_entry_lists(name, organised):
    cloud = draw_cloud()
    if not organised:
        del cloud["grid"]
    found = rendered(name, cloud)
    views = len(load(RENDERERS[name].module).angles(VIEWS))
    assert isinstance(found, Renders)
    assert (found.images.shape, found.images.dtype) == ((views, 42, 42), np.uint8)
    assert (found.masks.shape, found.masks.dtype) == ((views, 42, 42), np.uint8)
    assert (found.pixels.shape, found.pixels.dtype) == ((views, 500, 2), np.int16)
    assert (found.visible.shape, found.visible.dtype) == ((views, 500), np.bool_)

    read = {key: OPTIONS[key] for key in ("resolution", *RENDERERS[name].options)}
    read["views"] = VIEWS if RENDERERS[name].shaded else {"tilt": 180}
    again = rendered(name, cloud, read)
    assert all(np.array_equal(getattr(found, array), getattr(again, array)) for array in vars(found))


@pytest.mark.parametrize("name", RENDERERS)
def test_only_depth_images_stay_on_the_grid(name):
    cloud = draw_cloud()
    free = {key: cloud[key] for key in ("points", "normals", "labels")}
    pair = rendered(name, cloud), rendered(name, free)
    same = all(np.array_equal(*(getattr(renders, array) for renders in pair)) for array in vars(pair[0]))
    assert same == (name != "depth")


def test_an_unknown_module_is_named():
    known = ", ".join(f"rendering.{name}" for name in ("splat", "open3d", "splat_depth", "depth", "realistic"))
    with pytest.raises(InputError, match=f"renderer: 'rendering.sketch' is not one of {known}"):
        load("rendering.sketch")


def test_the_registry_is_light():
    code = "import sys, pointad_core.rendering.registry; print(sorted({'numpy', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
