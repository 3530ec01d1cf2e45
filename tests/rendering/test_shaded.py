"""Shaded views as a whole: what is returned, the two renderers of them beside each other, and what is refused."""

import itertools
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from pointad_core.errors import InputError
from pointad_core.rendering import open3d, shaded, splat
from pointad_core.rendering.shaded import angles
from pointad_core.rendering.views import project, rotations

VIEWS = {"tilt": 180, "x": [-45, 0, 15], "y": [-30]}
ANGLES = angles(VIEWS)
OPTIONS = {"resolution": 42, "views": VIEWS, "point_size": 6, "visibility": "soft", "window": 128}


def draw_cloud(seed=0, n=1500):
    """An egg with true normals; its top is anomalous."""
    rng = np.random.default_rng(seed)
    sphere = rng.normal(size=(n, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    axes = np.array([0.05, 0.03, 0.04])
    normals = sphere / axes
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    labels = (sphere[:, 2] < -0.6).astype(np.uint8)
    return {"points": (sphere * axes).astype(np.float32), "normals": normals.astype(np.float32), "labels": labels}


@pytest.fixture
def open_window():
    """Skip where Open3D's window cannot be opened, which is what the renderer itself would say."""
    try:
        with open3d._window(1, 64):
            pass
    except InputError as error:
        pytest.skip(str(error))


def rendered(cloud, renderer=splat, device="cpu", **changes):
    return renderer.render(cloud, {**OPTIONS, **changes}, device)


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


@pytest.mark.parametrize("renderer", [splat, open3d])
def test_angles_are_the_x_list_then_the_y_list(renderer):
    wanted = [[45, 1, 0], [45, 2, 0], [45, 0, 3]]
    assert renderer.angles({"tilt": 45, "x": [1, 2], "y": [3]}) == wanted
    with pytest.raises(InputError, match="both x and y are empty"):
        renderer.angles({"tilt": 180, "x": [], "y": []})


def test_renders_have_the_promised_shapes_and_types():
    found = rendered(draw_cloud())
    assert (found.images.shape, found.images.dtype) == ((4, 42, 42), np.uint8)
    assert (found.masks.shape, found.masks.dtype) == ((4, 42, 42), np.uint8)
    assert (found.pixels.shape, found.pixels.dtype) == ((4, 1500, 2), np.int16)
    assert (found.visible.shape, found.visible.dtype) == ((4, 1500), np.bool_)
    assert set(np.unique(found.masks)) == {0, 1}
    assert found.pixels.min() >= 0
    assert found.pixels.max() < 42
    # White around the object, grey on it.
    assert (found.images[:, 0] == 255).all()
    assert found.images.min() < 128
    assert found.unseen > 0


@pytest.mark.parametrize("visibility", ["soft", "strict"])
def test_pixels_point_at_the_object_and_masks_at_the_anomaly(visibility):
    cloud = draw_cloud(n=6000)
    found = rendered(cloud, visibility=visibility)
    seen = found.visible.any(0)
    assert seen.all()  # after the fill-in
    for view in range(4):
        columns, rows = found.pixels[view, found.visible[view]].T
        assert (found.images[view, rows, columns] < 255).mean() > 0.95
    # A defect's points that a view shows lie in its mask, away from the border.
    view = 1
    z = project(torch.from_numpy(cloud["points"]), rotations(ANGLES), 128).points[view, 2].numpy()
    assert (z[cloud["labels"] == 1] > 0).mean() > 0.9
    inner = found.visible[view] & (cloud["points"][:, 2] < -0.75 * 0.04)
    columns, rows = found.pixels[view, inner].T
    assert inner.sum() > 100
    assert found.masks[view, rows, columns].mean() > 0.99


def test_a_good_scan_has_empty_masks():
    cloud = draw_cloud()
    cloud["labels"][:] = 0
    assert not rendered(cloud).masks.any()


@pytest.mark.parametrize("renderer", [splat, open3d])
def test_masks_drawn_apart_are_those_of_a_rendering_with_their_size_and_window(renderer, request):
    if renderer is open3d:
        request.getfixturevalue("open_window")
    cloud, apart = draw_cloud(9), {"point_size": 3, "window": 150}
    together, found, wanted = (
        rendered(cloud, renderer, **changes) for changes in ({}, {"masks": apart}, {**apart, "masks": None})
    )
    np.testing.assert_array_equal(found.masks, wanted.masks)
    assert (found.masks != together.masks).any()
    assert same(found, replace(together, masks=found.masks))
    cloud["labels"][:] = 0
    assert not rendered(cloud, renderer, masks=apart).masks.any()


@pytest.mark.parametrize(
    ("masks", "told"),
    [({"point_size": 0, "window": 128}, "masks.point_size: 0"), ({"point_size": 6, "window": 41}, "masks.window: 41")],
)
def test_masks_that_cannot_be_drawn_are_refused(masks, told):
    with pytest.raises(InputError, match=told):
        rendered(draw_cloud(), masks=masks)


def test_pixels_agree_with_the_camera_in_closed_form():
    cloud = draw_cloud(3, 50)
    found = rendered(cloud)
    points = cloud["points"].astype(float)
    for view, (tilt, x, y) in enumerate(ANGLES):
        a, b = math.radians(tilt + x), math.radians(y)
        about_x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
        about_y = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
        turned = points @ (about_y @ about_x).T
        middle = (turned.min(0) + turned.max(0)) / 2
        extent = np.ptp(turned, axis=0).max()
        depth = 0.7 * extent / math.tan(math.radians(30)) - (turned[:, 2] - middle[2])
        focal = 64 / math.tan(math.radians(30))
        columns = 63.5 + focal * (turned[:, 0] - middle[0]) / depth
        rows = 63.5 - focal * (turned[:, 1] - middle[1]) / depth
        expected = np.clip(np.trunc(np.stack([columns, rows], 1) * 42 / 128), 0, 41)
        np.testing.assert_array_equal(found.pixels[view], expected)


def test_the_same_cloud_gives_the_same_bytes_with_any_number_of_threads():
    cloud = draw_cloud(4)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            found.append(rendered(cloud))
    finally:
        torch.set_num_threads(before)
    assert same(found[0], found[1])
    assert same(found[0], found[2])


def test_permuted_points_give_the_same_pictures_and_permuted_maps():
    cloud = draw_cloud(5)
    order = np.random.default_rng(5).permutation(1500)
    one, other = rendered(cloud), rendered({name: array[order] for name, array in cloud.items()})
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.masks, other.masks)
    np.testing.assert_array_equal(one.pixels[:, order], other.pixels)
    np.testing.assert_array_equal(one.visible[:, order], other.visible)


def test_the_unit_of_the_data_changes_nothing():
    cloud = draw_cloud(6)
    assert same(rendered(cloud), rendered({**cloud, "points": cloud["points"] * 1024}))


@pytest.mark.parametrize("turn", [30, 90])
def test_a_turned_cloud_gives_what_a_turned_view_shows(turn):
    cloud = draw_cloud(7, 3000)
    matrix = rotations([[turn, 0, 0]])[0].float().numpy()
    turned = {**cloud, "points": cloud["points"] @ matrix.T, "normals": cloud["normals"] @ matrix.T}
    one = rendered(cloud, views={"tilt": turn, "x": [0], "y": []})
    other = rendered(turned, views={"tilt": 0, "x": [0], "y": []})
    # The turned cloud is rounded to float32: a handful of points crosses a pixel's border.
    assert (np.abs(one.images.astype(int) - other.images) > 8).mean() < 0.01
    assert (one.visible != other.visible).mean() < 0.005
    assert np.abs(one.pixels - other.pixels).max() <= 1


@pytest.mark.parametrize("renderer", [splat, open3d])
def test_five_lights_from_bright_to_dark_change_the_pictures_alone(request, renderer):
    if renderer is open3d:
        request.getfixturevalue("open_window")
    cloud, size = draw_cloud(2, 6000), {"resolution": 84, "point_size": 7}
    five = [rendered(cloud, renderer, light=light, **size) for light in ("++", "+", "original", "-", "--")]
    assert same(five[2], rendered(cloud, renderer, **size))
    for one in five:
        for name in ("masks", "pixels", "visible", "unseen"):
            np.testing.assert_array_equal(getattr(one, name), getattr(five[2], name))
    covered = five[-1].images < 250
    levels = [one.images[covered].astype(float) for one in five]
    for brighter, darker in itertools.pairwise(levels):
        assert (brighter >= darker).mean() > 0.99
        assert brighter.mean() > darker.mean() + 10
    # The brightest keeps the shape: most of the object is not white.
    assert (levels[0] < 250).mean() > 0.5


@pytest.mark.parametrize("light", ["original", "++", "--"])
@pytest.mark.parametrize("defective", [True, False])
def test_open3d_draws_the_same(open_window, defective, light):
    cloud = draw_cloud(8, 20000)
    if not defective:
        cloud["labels"][:] = 0
    changes = {"resolution": 112, "window": 512, "point_size": 7, "light": light}
    one, other = (rendered(cloud, renderer, **changes) for renderer in (splat, open3d))
    covered = (one.images < 250) | (other.images < 250)
    difference = np.abs(one.images.astype(int) - other.images)[covered] / 255
    assert np.median(difference) <= 0.01
    assert np.percentile(difference, 99) <= 0.05
    if defective:
        assert (one.masks & other.masks).sum() / (one.masks | other.masks).sum() > 0.98
    else:
        assert not other.masks.any()
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_array_equal(one.visible, other.visible)


def test_open3d_without_its_libraries_says_which_are_missing(monkeypatch, tmp_path):
    error = "libGL.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "open3d.py").write_text(f"raise OSError({error!r})")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "open3d", raising=False)
    with pytest.raises(InputError, match=r"libGL\.so\.1.*libEGL\.so\.1.*renderer: splat"):
        rendered(draw_cloud(), open3d)


def test_open3d_that_opens_no_window_says_so(monkeypatch):
    o3d = pytest.importorskip("open3d", exc_type=ImportError)

    class Windowless:
        def create_window(self, **_):
            return False

        def destroy_window(self):
            pass

    monkeypatch.setattr(o3d.visualization, "Visualizer", Windowless)
    with pytest.raises(InputError, match="cannot open a window of 128 x 128 pixels"):
        rendered(draw_cloud(), open3d)


@pytest.mark.parametrize("visibility", ["soft", "strict"])
@pytest.mark.parametrize(
    ("points", "message"),
    [(np.zeros((0, 3)), "no points"), (np.ones((3, 3)), "coincide"), (np.diag([1, np.nan, 2]), "not finite")],
)
def test_a_cloud_without_a_shape_is_refused(points, message, visibility):
    cloud = {"points": points.astype(np.float32), "normals": points.astype(np.float32), "labels": np.zeros(len(points))}
    with pytest.raises(InputError, match=message):
        rendered(cloud, visibility=visibility)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"views": {"tilt": 180, "x": [], "y": []}}, "both x and y are empty"),
        ({"visibility": "hard"}, "visibility: 'hard' is not one of soft, strict"),
        ({"light": "bright"}, r"light: 'bright' is not one of \+\+ \+ original - --"),
        ({"point_size": 0}, "point_size: 0"),
        ({"point_size": 2.5}, "point_size: 2.5"),
        ({"window": 41}, "window: 41 pixels are fewer than the image's 42"),
    ],
)
@pytest.mark.parametrize("renderer", [splat, open3d])
def test_options_that_are_not_allowed_are_named(renderer, changes, message):
    with pytest.raises(InputError, match=message):
        rendered(draw_cloud(), renderer, **changes)


def test_shrinking_in_floats_gives_what_bytes_give():
    drawn = torch.as_tensor(np.random.default_rng(3).integers(0, 256, (2, 3, 97, 97)), dtype=torch.uint8)
    drawn[..., 20:60] = 255  # borders, at which a bicubic overshoots
    drawn[..., 40:50, :] = 0
    one, other = shaded.shrink(drawn, 42), shaded.shrink_in_floats(drawn, 42)
    assert (one.int() - other.int()).abs().max() <= 1
    assert (one != other).float().mean() < 0.01


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same():
    cloud = draw_cloud(9, 20000)
    one, other = (rendered(cloud, device=device, resolution=112, window=512) for device in ("cpu", "cuda"))
    difference = np.abs(one.images.astype(int) - other.images)
    assert (difference > 1).mean() < 0.001
    assert (one.masks != other.masks).mean() < 0.001
    assert (one.visible != other.visible).mean() < 0.001
    assert (one.pixels != other.pixels).mean() < 0.0001
