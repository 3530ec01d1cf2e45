"""Oracles: the lighting of one point written with vectors, and squares painted one by one, pixel by pixel."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pointad_core.rendering.shaded import LIGHTS, angles, rotate_normals, shrink
from pointad_core.rendering.splat import draw, shade
from pointad_core.rendering.views import EYE, project, rotations
from pointad_core.rendering.visibility import draw_squares

TURNS = rotations(angles({"tilt": 180, "x": [-45, 0, 15], "y": [-30]}))


def draw_cloud(seed, n=80):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(n, 3, generator=generator) * torch.tensor([1.0, 0.7, 0.6])
    normals = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=1)
    return points, normals, torch.rand(n, generator=generator) < 0.3


def shade_naively(point, normal, power=1.0):
    """Phong as in Open3D's shader: two lights at 2E before the object's middle and two at 2E behind it, each with so
    many times its usual power."""
    unit = lambda vector: vector / math.sqrt(sum(value**2 for value in vector))  # noqa: E731
    point, normal = np.asarray(point, np.float64), np.asarray(normal, np.float64)
    eye = unit(np.array([0, 0, 0.7 / math.tan(math.radians(30))]) - point)
    if normal @ eye < 0:
        normal = -normal
    grey = 0.0
    for z in (2, 2, -2, -2):
        light = unit(np.array([0, 0, z]) - point)
        reflected = 2 * (normal @ light) * normal - light
        grey += power * (0.7 * 0.66 * max(0, normal @ light) + 0.2 * max(0, eye @ reflected) ** 100)
    return min(max(grey, 0), 1)


def paint_naively(columns, rows, depths, window, size):
    """Index of the nearest point over each pixel, -1 for none."""
    columns, rows, depths = columns.tolist(), rows.tolist(), depths.tolist()
    nearest = np.full((window, window), -1)
    for point in range(len(columns)):
        u, v = columns[point], rows[point]
        if not (-0.5 < u <= window - 0.5 and -0.5 < v <= window - 0.5):
            continue
        for row in range(window):
            for column in range(window):
                inside = -size / 2 <= column - u < size / 2 and -size / 2 <= row - v < size / 2
                if inside and (nearest[row, column] < 0 or depths[point] > depths[nearest[row, column]]):
                    nearest[row, column] = point
    return nearest


@pytest.mark.parametrize("power", LIGHTS.values(), ids=LIGHTS)
def test_shade_agrees_with_vectors_point_by_point(power):
    points, normals, _ = draw_cloud(0, 400)
    projection = project(points, TURNS, 64)
    turned = rotate_normals(normals, TURNS)
    found = shade(projection.points.float(), turned, power)
    for view in range(len(TURNS)):
        expected = [
            shade_naively(p, n, power)
            for p, n in zip(projection.points[view].T.numpy(), turned[view].T.numpy(), strict=True)
        ]
        np.testing.assert_allclose(found[view], expected, atol=2e-5)


def test_normals_turn_with_the_points():
    normals = torch.tensor([[0.0, 1.0, 0.0]])
    np.testing.assert_allclose(rotate_normals(normals, rotations([[90, 0, 0]]))[0, :, 0], [0, 0, 1], atol=1e-7)


def test_either_side_of_a_normal_shines_the_same():
    points, normals, _ = draw_cloud(1)
    points = project(points, TURNS, 64).points.float()
    turned = rotate_normals(normals, TURNS)
    assert torch.equal(shade(points, turned), shade(points, -turned))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8])
def test_squares_agree_with_those_painted_one_by_one(size):
    # The near corners of a cube leave the frame, and squares between them cross its border.
    generator = torch.Generator().manual_seed(size)
    points = torch.cat([torch.rand(80, 3, generator=generator), torch.rand(80, 3, generator=generator).round()])
    projection = project(points, TURNS, 40)
    assert not projection.inside.all()
    found = draw_squares(projection, projection.levels, size)
    for view in range(len(TURNS)):
        nearest = paint_naively(projection.columns[view], projection.rows[view], projection.points[view, 2], 40, size)
        expected = np.where(nearest < 0, -1, projection.levels[view].numpy()[nearest])
        np.testing.assert_array_equal(found[view], expected)


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_draw_agrees_with_a_painter_at_full_size(power):
    points, normals, labels = draw_cloud(3)
    projection = project(points, TURNS, 48)
    turned = rotate_normals(normals, TURNS)
    images, masks = draw(projection, turned, labels, 5, 48, power)
    for view in range(len(TURNS)):
        nearest = paint_naively(projection.columns[view], projection.rows[view], projection.points[view, 2], 48, 5)
        grey = [
            255 * shade_naively(p, n, power)
            for p, n in zip(projection.points[view].T.numpy(), turned[view].T.numpy(), strict=True)
        ]
        expected = np.where(nearest < 0, 255, np.array(grey)[nearest])
        assert np.abs(images[view].numpy() - expected).max() <= 0.51
        np.testing.assert_array_equal(masks[view], (nearest >= 0) & labels.numpy()[nearest])
    assert masks.any()


def test_the_small_pictures_are_the_large_ones_resized_like_pillow_does():
    points, normals, labels = draw_cloud(4, 300)
    projection = project(points, TURNS, 256)
    turned = rotate_normals(normals, TURNS)
    large, large_masks = draw(projection, turned, labels, 8, 256)
    small, small_masks = draw(projection, turned, labels, 8, 84)
    for view in range(len(TURNS)):
        expected = Image.fromarray(large[view].numpy()).resize((84, 84), Image.Resampling.BICUBIC)
        assert np.abs(small[view].numpy().astype(int) - np.asarray(expected)).max() <= 1
        mask = Image.fromarray(large_masks[view].numpy() * 255).resize((84, 84), Image.Resampling.BICUBIC)
        grey = np.asarray(mask).astype(int)
        sure = np.abs(grey - 127.5) > 2
        np.testing.assert_array_equal(small_masks[view].numpy()[sure], (grey > 127)[sure])


def test_bytes_and_floats_resize_alike():
    images = torch.randint(0, 256, (2, 4, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(images.float(), size=(42, 42), mode="bicubic", antialias=True)
    assert (shrink(images, 42) - smooth.round().clamp(0, 255)).abs().max() <= 1


@given(st.integers(0, 2**32), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_the_order_of_points_plays_no_part(seed, size):
    points, normals, labels = draw_cloud(seed)
    # Some points coincide: then grey and label decide, not the order.
    points = torch.cat([points, points[:20]])
    normals = torch.cat([normals, normals.flip(0)[:20]])
    labels = torch.cat([labels, ~labels[:20]])
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
    pictures = [
        draw(project(points[o], TURNS, 96), rotate_normals(normals[o], TURNS), labels[o], size, 32)
        for o in (torch.arange(len(points)), order)
    ]
    assert torch.equal(pictures[0][0], pictures[1][0])
    assert torch.equal(pictures[0][1], pictures[1][1])


def test_a_point_facing_eye_and_light_is_white_hot():
    # Straight below the eye: diffuse 2 * 0.7 * 0.66 and highlight 0.4 from the front, cut at 1.
    assert shade(torch.tensor([[[0.0], [0.0], [0.0]]]), torch.tensor([[[0.0], [0.0], [1.0]]])).item() == 1
    slant = math.radians(40)
    grey = shade(torch.zeros(1, 3, 1), torch.tensor([[[math.sin(slant)], [0.0], [math.cos(slant)]]])).item()
    assert grey == pytest.approx(2 * 0.7 * 0.66 * math.cos(slant), abs=1e-3)
    assert pytest.approx(1.2124, abs=1e-4) == EYE
