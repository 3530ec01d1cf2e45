"""Oracles: plain loops over points and the pixels that their squares cover; brute-force neighbours."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pointad_core.clouds.subsets import nearest
from pointad_core.errors import InputError
from pointad_core.rendering.shaded import angles
from pointad_core.rendering.views import EYE, project, rotations
from pointad_core.rendering.visibility import fill_in, soft, square_size, strict

TURNS = rotations(angles({"tilt": 180, "x": [-45, 0, 15], "y": [-30]}))
WINDOW, RESOLUTION = 60, 20


def draw_cloud(seed, n=250):
    """A full cube, the near corners of which leave the frame."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    return torch.cat([torch.rand(n, 3, generator=generator), corners])


def sphere(n, radius=1.0):
    i = torch.arange(n, dtype=torch.float64) + 0.5
    z, turn = 1 - 2 * i / n, i * math.pi * (3 - 5**0.5)
    around = (1 - z**2).sqrt()
    return torch.stack([around * turn.cos(), around * turn.sin(), z], -1) * radius


def strict_naively(columns, rows, depths):
    """One winner per pixel of the image, the first of equally near points."""
    best = {}
    for point, (u, v, z) in enumerate(zip(columns, rows, depths, strict=True)):
        if not (-0.5 < u <= WINDOW - 0.5 and -0.5 < v <= WINDOW - 0.5):
            continue
        pixel = tuple(min(max(int(value * RESOLUTION / WINDOW), 0), RESOLUTION - 1) for value in (u, v))
        if pixel not in best or z > depths[best[pixel]]:
            best[pixel] = point
    visible = np.zeros(len(columns), bool)
    visible[list(best.values())] = True
    return visible


def soft_naively(columns, rows, depths, size):
    """Compare with every point whose square covers the pixel; tolerance 2 widths of a square in the middle plane."""
    tolerance = 2 * size * 1.4 / WINDOW
    inside = [-0.5 < u <= WINDOW - 0.5 and -0.5 < v <= WINDOW - 0.5 for u, v in zip(columns, rows, strict=True)]
    visible = np.zeros(len(columns), bool)
    for point in range(len(columns)):
        column, row = math.ceil(columns[point] - 0.5), math.ceil(rows[point] - 0.5)
        if inside[point]:
            covering = [
                depths[other]
                for other in range(len(columns))
                if inside[other]
                and -size / 2 <= column - columns[other] < size / 2
                and -size / 2 <= row - rows[other] < size / 2
            ]
            visible[point] = max(covering) - depths[point] <= tolerance
    return visible


@pytest.mark.parametrize("seed", range(3))
def test_strict_agrees_with_loops(seed):
    points = draw_cloud(seed)
    points = torch.cat([points, points[:30]])  # ties
    projection = project(points, TURNS, WINDOW)
    assert not projection.inside.all()
    found = strict(projection, RESOLUTION)
    for view in range(len(TURNS)):
        expected = strict_naively(
            projection.columns[view].tolist(), projection.rows[view].tolist(), projection.points[view, 2].tolist()
        )
        np.testing.assert_array_equal(found[view], expected)


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_soft_agrees_with_loops(size):
    projection = project(draw_cloud(size), TURNS, WINDOW)
    found = soft(projection, size)
    for view in range(len(TURNS)):
        expected = soft_naively(
            projection.columns[view].tolist(), projection.rows[view].tolist(), projection.points[view, 2].tolist(), size
        )
        np.testing.assert_array_equal(found[view], expected)
    assert 0 < found.double().mean() < 1


@given(st.integers(0, 2**32), st.sampled_from([0.125, 1.0, 1024.0]))
@settings(max_examples=20, deadline=None)
def test_neither_order_nor_scale_changes_what_is_visible(seed, scale):
    points = draw_cloud(seed)
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
    one, other = project(points, TURNS, WINDOW), project(points[order] * scale, TURNS, WINDOW)
    size = square_size(points, 3, WINDOW)
    assert square_size(points[order] * scale, 3, WINDOW) == size
    assert torch.equal(soft(one, size)[:, order], soft(other, size))
    assert torch.equal(strict(one, RESOLUTION)[:, order], strict(other, RESOLUTION))


@pytest.mark.parametrize("n", [3000, 30000])
def test_a_sphere_hides_its_back_and_shows_its_front(n):
    points = sphere(n)
    projection = project(points, rotations([[0, 0, 0]]), 1024)
    visible = soft(projection, square_size(points, 8, 1024))[0]
    # The eye sees a cap, up to where its rays touch the sphere (radius 1/2 in units of the longest edge).
    cosine = 2 * projection.points[0, 2]
    horizon = 0.5 / EYE
    assert visible[cosine > 0.75].all()
    assert visible[cosine < horizon - 0.15].double().mean() < 0.002
    assert square_size(points, 8, 1024) > 8


def test_squares_grow_with_sparseness_alone():
    sizes = [square_size(sphere(n), 8, 1024) for n in (300, 3000, 30000, 300000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 8
    # A surface with a hundredth of the points has squares about ten times as wide.
    assert sizes[0] / sizes[2] == pytest.approx(10, rel=0.2)
    assert square_size(torch.tensor([[0.0, 0, 0], [1, 0, 0]]), 8, 64) == 64


def test_soft_shows_neighbours_that_share_a_pixel():
    # A plate that faces the camera hides nothing, however many points fall on a pixel.
    points = torch.cat([torch.rand(4000, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(4000, 1)], 1)
    projection = project(points, rotations([[0, 0, 0]]), WINDOW)
    assert soft(projection, 3).all()
    assert strict(projection, RESOLUTION).double().mean() < 0.1


def test_unseen_points_take_the_flags_of_their_nearest_seen_neighbour():
    generator = torch.Generator().manual_seed(5)
    points = torch.rand(200, 3, generator=generator)
    visible = torch.rand(6, 200, generator=generator) < 0.15
    filled, unseen = fill_in(visible, points)
    seen = [j for j in range(200) if visible[:, j].any()]
    assert unseen == 200 - len(seen) > 0
    for i in range(200):
        donor = min(seen, key=lambda j, i=i: math.dist(points[i].tolist(), points[j].tolist()))
        assert filled[:, i].tolist() == visible[:, donor].tolist()


def test_nothing_changes_where_every_point_is_seen():
    visible = torch.eye(4, dtype=torch.bool)
    filled, unseen = fill_in(visible, torch.rand(4, 3))
    assert unseen == 0
    assert torch.equal(filled, visible)


def test_a_cloud_that_no_view_shows_is_refused():
    with pytest.raises(InputError, match="no view shows any point"):
        fill_in(torch.zeros(3, 5, dtype=torch.bool), torch.rand(5, 3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_neighbours_are_the_same_on_a_gpu():
    generator = torch.Generator().manual_seed(6)
    queries, points = torch.rand(3000, 3, generator=generator), torch.rand(5000, 3, generator=generator)
    on_gpu = nearest(queries.cuda(), points.cuda(), chunk=1 << 20).cpu()
    assert torch.equal(on_gpu, nearest(queries, points))
