"""Depth images against loops over points and pixels."""

from dataclasses import asdict

import numpy as np
import pytest

from pointad_core.errors import InputError
from pointad_core.rendering.depth import angles, render
from pointad_core.rendering.registry import RENDERERS
from pointad_core.stages.renders import make_renders
from pointad_core.storage import stores

SIZE = 24


def options(tilt=180.0, **changes):
    views = {"tilt": tilt, "x": [-30, 30], "y": [15]}
    renderer = {"name": "depth", **asdict(RENDERERS["depth"])}
    found = {"resolution": SIZE, "views": views, "point_size": 8, "renderer": renderer, "visibility": "soft"}
    return found | {"window": 96} | changes


def organised(seed, n=200):
    rng = np.random.default_rng(seed)
    grid = np.sort(rng.choice(SIZE * SIZE, n, replace=False)).astype(np.int32)
    points = rng.normal(size=(n, 3)).astype(np.float32)
    return {"points": points, "labels": (rng.random(n) < 0.2).astype(np.uint8), "grid": grid}


def nearness(point, tilt):
    """z after a turn about x: larger is nearer."""
    angle = np.deg2rad(tilt)
    return np.sin(angle) * float(point[1]) + np.cos(angle) * float(point[2])


@pytest.mark.parametrize("tilt", [180.0, 45.0, 0.0])
@pytest.mark.parametrize("seed", range(2))
def test_organised_scans_stay_on_their_grid(seed, tilt):
    cloud = organised(seed)
    drawn = render(cloud, options(tilt))
    depths = [nearness(point, tilt) for point in cloud["points"]]
    image, mask = np.zeros((2, SIZE, SIZE), np.uint8)
    for index, pixel in enumerate(cloud["grid"]):
        row, column = pixel // SIZE, pixel % SIZE
        image[row, column] = round(255 * (depths[index] - min(depths)) / (max(depths) - min(depths)))
        mask[row, column] = cloud["labels"][index]
        assert tuple(drawn.pixels[0, index]) == (column, row)
    np.testing.assert_array_equal(drawn.images, image[None])
    np.testing.assert_array_equal(drawn.masks, mask[None])
    assert drawn.visible.shape == (1, 200)
    assert drawn.visible.all()
    assert (drawn.images.dtype, drawn.masks.dtype, drawn.pixels.dtype) == (np.uint8, np.uint8, np.int16)
    assert drawn.unseen == 0


def test_a_camera_in_front_sees_near_parts_bright():
    """Organised scans in metres look along +z and are tilted by 180 degrees."""
    cloud = organised(0, n=3)
    cloud["points"][:, 2] = [0.6, 0.65, 0.7]
    assert render(cloud, options(180)).images[0].ravel()[cloud["grid"]].tolist() == [255, 128, 0]


def test_a_flat_scan_is_all_near():
    cloud = organised(0)
    cloud["points"][:, 2] = 0.5
    assert set(render(cloud, options(180)).images[0].ravel()[cloud["grid"]]) == {255}


def naive_view(points, labels, tilt, size):
    """Every pixel's nearest square: the camera's formulas, point by point."""
    angle = np.deg2rad(tilt)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    x = points.astype(float) @ turn.T
    low, high = x.min(0), x.max(0)
    x = (x - (low + high) / 2) / (high - low).max()
    scale = SIZE / 2 / np.tan(np.pi / 6) / (0.7 / np.tan(np.pi / 6) - x[:, 2])
    columns, rows = SIZE / 2 - 0.5 + x[:, 0] * scale, SIZE / 2 - 0.5 - x[:, 1] * scale
    depth = np.full((SIZE, SIZE), -np.inf)
    truth = np.zeros((SIZE, SIZE))
    for row in range(SIZE):
        for column in range(SIZE):
            covers = (np.abs(columns - column) <= size / 2) & (np.abs(rows - row) <= size / 2)
            if covers.any():
                nearest = np.flatnonzero(covers)[x[covers, 2].argmax()]
                depth[row, column], truth[row, column] = x[nearest, 2], labels[nearest]
    seen = np.isfinite(depth)
    image = np.zeros((SIZE, SIZE))
    image[seen] = 255 * (depth[seen] - depth[seen].min()) / (depth[seen].max() - depth[seen].min())
    return image, truth, columns, rows


@pytest.mark.parametrize("seed", range(3))
def test_unorganised_clouds_are_drawn_with_a_z_test(seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(3000, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)  # a sphere: half of it is hidden
    labels = (points[:, 2] < -0.9).astype(np.uint8)  # turned to the front by the tilt
    drawn = render({"points": points, "labels": labels}, options(180.0))
    image, truth, columns, rows = naive_view(points, labels, 180.0, 2)
    # Depths are compared in steps of a four-millionth: grey levels may differ by one at an exact half.
    assert np.abs(drawn.images[0].astype(float) - image).max() <= 0.51
    np.testing.assert_array_equal(drawn.masks[0], truth)
    assert truth.any()
    scaled = np.stack([columns, rows], -1).astype(int).clip(0, SIZE - 1)
    np.testing.assert_array_equal(drawn.pixels[0], scaled)
    assert drawn.visible.all()
    # From 1.21 diameters away a sphere shows (1 - 0.41) / 2 of its surface, and a little more within the tolerance.
    assert 0.55 < drawn.unseen / len(points) < 0.71


def test_the_order_of_points_plays_no_part():
    rng = np.random.default_rng(5)
    points, labels = rng.normal(size=(500, 3)).astype(np.float32), rng.integers(0, 2, 500).astype(np.uint8)
    order = rng.permutation(500)
    one = render({"points": points, "labels": labels}, options())
    other = render({"points": points[order], "labels": labels[order]}, options())
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.masks, other.masks)
    np.testing.assert_array_equal(one.pixels[:, order], other.pixels)


def test_one_view_without_turns():
    assert angles({"tilt": 45, "x": [1, 2], "y": [3]}) == [[45.0, 0.0, 0.0]]


@pytest.mark.parametrize("is_organised", [True, False])
def test_bad_clouds_are_named_and_nothing_is_written(is_organised, tmp_path):
    clouds, output = tmp_path / "clouds.zarr.zip", tmp_path / "renders.zarr.zip"
    attributes = {"dataset": "a", "category": "b", "organised": is_organised}

    def write(points):
        cloud = {"points": points, "normals": points, "labels": np.zeros(len(points), np.uint8)}
        cloud |= {"grid": np.arange(len(points), dtype=np.int32)} if is_organised else {}
        with stores.write(clouds, "clouds", {}, attributes) as writer:
            writer.add("bent/000", cloud)

    for points, message in ((np.zeros((0, 3), np.float32), "no points"), (np.full((9, 3), np.nan, "f4"), "not finite")):
        write(points)
        with pytest.raises(InputError, match=rf"scan bent/000: .*{message}"):
            make_renders(clouds, output, options(), {})
        assert not output.exists()
    write(np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32))
    make_renders(clouds, output, options(), {})
    with stores.read(output, "renders") as reader:
        assert reader.attributes["views"] == [[180.0, 0.0, 0.0]]
        assert reader.arrays("bent/000") == ["images", "masks", "pixels", "visible"]
