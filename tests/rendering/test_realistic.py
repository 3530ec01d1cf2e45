"""Realistic projection: images, visibility and ground truth against loops over single voxels in float64."""

import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

from pointad_core.clouds.subsets import random_subset
from pointad_core.errors import InputError
from pointad_core.rendering import realistic
from pointad_core.rendering.registry import RENDERERS
from pointad_core.stages.renders import make_renders
from pointad_core.storage import stores

SIDE, DEPTH = 224, 112


def cloud(seed, n=30, flat=1.0):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3)) * [1.0, 0.6, flat] + [3.0, -2.0, 5.0]
    return points, rng.random(n) < 0.3


def about(axis, degrees):
    """Right-handed rotation about one axis."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array(
        {
            "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
            "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
            "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
        }[axis]
    )


def naive_views():
    """Ten views: four quarter turns with a tilt, four without, top and bottom; each set a little to the side."""
    for first, second, third in (
        *((("x", quarter), 45, 20) for quarter in (0, 90, 180, 270)),
        *((("x", quarter), 0, 20) for quarter in (0, 90, 180, 270)),
        (("y", -90), 12, 12),
        (("y", 90), 12, 12),
    ):
        yield about("y", third) @ about("x", second) @ about(*first) @ about("z", 90)


def naive_place(points, rotation):
    """Voxel and depth of each point."""
    turned = [rotation @ point for point in points]
    low, high = np.min(turned, axis=0), np.max(turned, axis=0)
    places = []
    for x, y, z in turned:
        x, y, z = (np.array([x, y, z]) - (low + high) / 2) / max(high - low) * 2
        row = min(max(math.ceil((0.7 * x + 1) / 2 * SIDE), 1), SIDE - 2)
        column = min(max(math.ceil((0.7 * y + 1) / 2 * SIDE), 1), SIDE - 2)
        depth = ((z + 1) / 2 + 0.3) / 1.3 * (DEPTH - 2)
        places.append((min(max(math.ceil(depth), 1), DEPTH - 3), row, column, min(max(depth, 1), DEPTH - 2)))
    return places


def naive_draw(places, anomalous):
    """Densify and smooth only what each pixel or voxel asks for, one after the other."""
    dense: dict[tuple[int, int, int], float] = {}
    for layer, row, column, depth in places:
        for z in range(max(layer - 2, 0), min(layer + 3, DEPTH)):
            for r in range(max(row - 5, 0), min(row + 6, SIDE)):
                for c in range(max(column - 5, 0), min(column + 6, SIDE)):
                    dense[z, r, c] = max(dense.get((z, r, c), 0.0), depth)
    kernel = {
        (i, j, k): math.exp(-(i**2) / 8 - (j**2) / 2 - (k**2) / 2)
        for i in range(-2, 3)
        for j in range(-2, 3)
        for k in range(-2, 3)
    }
    total = sum(kernel.values())
    smooth: dict[tuple[int, int, int], float] = {}
    for (z, r, c), depth in dense.items():
        for (i, j, k), weight in kernel.items():
            if 0 <= z + i < DEPTH:
                key = (z + i, r + j, c + k)
                smooth[key] = smooth.get(key, 0.0) + weight / total * depth
    near = np.zeros((SIDE, SIDE))
    for (_, r, c), value in smooth.items():
        near[r, c] = max(near[r, c], value)
    image = 1 - near / near.max()
    visible = [
        abs(image[row, column] - (1 - smooth[layer, row, column] / near.max())) < 0.1
        for layer, row, column, _ in places
    ]
    truth = np.zeros((SIDE, SIDE), bool)
    for r in range(SIDE):
        for c in range(SIDE):
            window = [
                (depth, not label)
                for (_, row, column, depth), label in zip(places, anomalous, strict=True)
                if abs(row - r) <= 5 and abs(column - c) <= 5
            ]
            truth[r, c] = bool(window) and not max(window)[1]
    return image, truth, visible


@pytest.mark.parametrize("tilt", [0, 45])
def test_views(tilt):
    wanted = np.stack([rotation @ about("x", tilt) for rotation in naive_views()])
    np.testing.assert_allclose(realistic.rotations(tilt).numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize(("seed", "view", "flat"), [(0, 0, 1.0), (1, 5, 0.1), (2, 8, 0.5)])
def test_a_view_is_that_of_the_naive_loop(seed, view, flat):
    points, anomalous = cloud(seed, flat=flat)
    rotation = realistic.rotations(0)[view]
    places = realistic.place(torch.from_numpy(points), rotation)
    wanted_places = naive_place(points, rotation.numpy())
    voxels = np.array([place[:3] for place in wanted_places])
    np.testing.assert_array_equal(torch.stack([places.layers, places.rows, places.columns], 1).numpy(), voxels)
    depths = np.array([place[3] for place in wanted_places])
    np.testing.assert_allclose(places.depths.numpy() / 256, depths, atol=1 / 512 + 1e-9)

    image, mask, visible = realistic.draw(places, torch.from_numpy(anomalous))
    wanted_image, wanted_mask, wanted_visible = naive_draw(wanted_places, anomalous)
    # A depth is kept to half a step of 1/256 layer, of up to 110 layers.
    np.testing.assert_allclose(image.numpy(), wanted_image, atol=1e-4)
    assert (mask.numpy() == wanted_mask).all()
    assert visible.tolist() == wanted_visible
    assert 0 < sum(wanted_visible) < len(points) or flat == 0.1
    assert wanted_mask.any()


@pytest.mark.parametrize("resolution", [56, 224, 336])
def test_crop_and_pixels(resolution):
    """Points stay where they are drawn: each visible point's pixel is dark, and its place scales with the crop."""
    points, anomalous = cloud(3, n=200)
    images, masks, pixels, visible = realistic.project(
        torch.from_numpy(points), torch.from_numpy(anomalous), 0, resolution
    )
    assert images.shape == masks.shape == (10, resolution, resolution)
    assert images.dtype == masks.dtype == torch.uint8
    for view, rotation in enumerate(realistic.rotations(0)):
        places = realistic.place(torch.from_numpy(points), rotation)
        image, mask, seen = realistic.draw(places, torch.from_numpy(anomalous))
        assert torch.equal(visible[view], seen)
        for point in range(0, len(points), 20):
            column, row = pixels[view, point].tolist()
            scale = (resolution - 1) / 183
            assert abs(column - (int(places.columns[point]) - 20) * scale) <= 0.5
            assert abs(row - (int(places.rows[point]) - 20) * scale) <= 0.5
            # Bilinear, corners on corners: the value of the image at this pixel from its four cells.
            y, x = row / scale + 20, column / scale + 20
            top, left = min(int(y), 202), min(int(x), 202)
            cells = image[top : top + 2, left : left + 2].double().numpy()
            wanted = np.array([1 - (y - top), y - top]) @ cells @ np.array([1 - (x - left), x - left])
            assert abs(int(images[view, row, column]) - 255 * wanted) <= 0.6
            assert bool(masks[view, row, column]) == bool(mask[int(y + 0.5), int(x + 0.5)])


def test_order_of_points_does_not_matter():
    points, anomalous = cloud(4, n=3000)
    order = np.random.default_rng(5).permutation(len(points))
    first = realistic.project(torch.from_numpy(points), torch.from_numpy(anomalous), 180, 112)
    other = realistic.project(torch.from_numpy(points[order]), torch.from_numpy(anomalous[order]), 180, 112)
    assert torch.equal(first[0], other[0])
    assert torch.equal(first[1], other[1])
    assert torch.equal(first[2][:, order], other[2])
    assert torch.equal(first[3][:, order], other[3])


@pytest.mark.parametrize("unit", [1e-3, 40.0])
def test_unit_and_place_do_not_matter(unit):
    points, anomalous = cloud(6)
    moved = points * unit + [1.0, 2.0, -0.5]
    first, other = (realistic.project(torch.from_numpy(p), torch.from_numpy(anomalous), 0, 56) for p in (points, moved))
    # A point on a voxel's border may fall to either side by rounding.
    assert (first[0].int() - other[0].int()).abs().float().mean() < 0.5
    assert (first[3] == other[3]).float().mean() > 0.98


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((0, 3)), "no points"),
        (np.ones((4, 3)), "coincide"),
        (np.array([[0, 0, 0], [1, np.nan, 0]]), "not finite"),
    ],
)
def test_bad_clouds(points, message):
    with pytest.raises(InputError, match=message):
        realistic.project(torch.from_numpy(points), torch.zeros(len(points), dtype=torch.bool), 0, 56)


def test_points_that_are_not_drawn_follow_the_nearest_that_is():
    rng = np.random.default_rng(7)
    points = rng.normal(size=(5000, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    labels = (points[:, 2] > 0.8).astype(np.uint8)
    options = {"resolution": 112, "views": {"tilt": 0, "x": [1, 2], "y": []}}
    renders = realistic.render({"points": points, "labels": labels}, options)
    assert renders.images.shape == renders.masks.shape == (10, 112, 112)
    assert renders.pixels.shape == (10, 5000, 2)
    assert renders.pixels.dtype == np.int16
    assert renders.visible.any(axis=0).all()
    assert 0 < renders.masks.mean() < 0.1

    drawn = random_subset(5000, 2048).numpy()
    assert len(drawn) == len(set(drawn)) == 2048
    distances = np.linalg.norm(points[:, None].astype(float) - points[None, drawn], axis=2)
    nearest = drawn[distances.argmin(1)]
    np.testing.assert_array_equal(renders.pixels, renders.pixels[:, nearest])
    np.testing.assert_array_equal(renders.visible, renders.visible[:, nearest])
    # The half of a ball that faces the eye is what a view shows.
    facing = np.stack([points @ rotation[2] for rotation in realistic.rotations(0).numpy()])
    assert renders.visible[facing > 0.3].mean() > 0.99
    assert renders.visible[facing < -0.3].mean() < 0.03


def test_the_stage_writes_them(tmp_path):
    rng = np.random.default_rng(8)
    points = (rng.random((300, 3)) * [1, 1, 0.2]).astype(np.float32)
    scan = {"points": points, "normals": points, "labels": np.zeros(300, np.uint8)}
    attributes = {"dataset": "d", "category": "c", "organised": False}
    with stores.write(tmp_path / "clouds.zarr.zip", "clouds", {}, attributes) as writer:
        writer.add("good/000", scan)
    renderer = {"name": "realistic", **asdict(RENDERERS["realistic"])}
    options = {"resolution": 56, "views": {"tilt": 45, "x": [0], "y": []}, "renderer": renderer}
    options |= {"point_size": 8, "window": 1024, "visibility": "soft"}
    make_renders(tmp_path / "clouds.zarr.zip", tmp_path / "renders.zarr.zip", options, {})
    with stores.read(tmp_path / "renders.zarr.zip", "renders") as reader:
        arrays = reader.load("good/000", ["images", "masks", "pixels", "visible"])
        assert reader.attributes["views"][4] == [45, 0, 20]
    wanted = realistic.render(scan, options)
    np.testing.assert_array_equal(arrays["images"], wanted.images)
    assert arrays["images"].min() < 60
    assert not arrays["masks"].any()
