"""The front of a scan: found from its surface whatever its axes are, or as it is asked for."""

import numpy as np
import own_scans as shapes
import pytest

from pointad_core.errors import InputError
from pointad_core.predict.orientation import camera_frame, face, fit_camera, parse, principal_frame

SHEETS = {
    "dome": lambda rng: shapes.dome(8000, rng),
    "bump on a plane": lambda rng: (lambda xy: np.c_[xy, 0.3 * np.exp(-4 * (xy**2).sum(1))])(
        rng.uniform(-1, 1, (8000, 2))
    ),
}
CLOSED = {
    "ball": lambda rng: shapes.sphere(8000, rng),
    "box": lambda rng: shapes.box(8000, (3, 2, 1), rng),
    "thick plate": lambda rng: shapes.box(20000, (3, 2, 0.2), rng),
    "tube": lambda rng: shapes.tube(8000, rng),
}


@pytest.mark.parametrize("name", SHEETS)
def test_a_sheet_shows_the_side_that_bulges_however_it_lies(name):
    rng = np.random.default_rng(5)
    points = SHEETS[name](rng)
    for rotation in (np.eye(3), *(shapes.turn(rng) for _ in range(3))):
        facing = face(points @ rotation.T, None)
        assert not facing.around
        # Up is along z, which the rotation takes with it.
        assert facing.frame[2] @ rotation @ (0, 0, 1) > 0.97
        np.testing.assert_allclose(facing.frame @ facing.frame.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(facing.frame) == pytest.approx(1)


@pytest.mark.parametrize("name", CLOSED)
def test_what_is_closed_is_looked_at_from_all_round(name):
    rng = np.random.default_rng(6)
    points = CLOSED[name](rng)
    for rotation in (np.eye(3), shapes.turn(rng)):
        facing = face(points @ rotation.T, None)
        assert facing.around
        assert "closed" in facing.note


def test_a_closed_part_turns_about_its_longest_axis():
    rng = np.random.default_rng(7)
    rotation = shapes.turn(rng)
    facing = face(shapes.box(8000, (1, 4, 2), rng) @ rotation.T, None)
    assert abs(facing.frame[0] @ rotation @ (0, 1, 0)) > 0.99
    assert abs(facing.frame[2] @ rotation @ (1, 0, 0)) > 0.99


def test_the_frame_turns_with_the_points():
    rng = np.random.default_rng(8)
    points = rng.normal(size=(500, 3)) ** 3 * (3, 2, 1)
    rotation = shapes.turn(rng)
    np.testing.assert_allclose(principal_frame(points @ rotation.T), principal_frame(points) @ rotation.T, atol=1e-9)


def test_a_sheet_about_a_camera_at_the_origin_faces_it_even_where_it_is_hollow():
    rng = np.random.default_rng(9)
    bowl = shapes.dome(8000, rng) + np.array((0, 0, 100))
    facing = face(bowl, None)
    assert facing.frame[2] @ (0, 0, -1) > 0.97
    assert "origin" in facing.note
    assert face(bowl - np.array((0, 0, 100)), None).frame[2] @ (0, 0, 1) > 0.97


def test_an_organised_scan_faces_its_camera():
    scan = shapes.camera_scan().astype(float)
    np.testing.assert_array_equal(camera_frame(scan), [[1, 0, 0], [0, -1, 0], [0, 0, -1]])
    # As OpenGL has it: y up, and the camera looks along -z.
    np.testing.assert_array_equal(camera_frame(scan * (1, -1, -1)), np.eye(3))
    # Axes in another order, and a left-handed file, which mirrors.
    np.testing.assert_array_equal(camera_frame(scan[..., [2, 0, 1]]), [[0, 1, 0], [0, 0, -1], [-1, 0, 0]])
    np.testing.assert_array_equal(camera_frame(scan * (1, -1, 1)), [[1, 0, 0], [0, 1, 0], [0, 0, -1]])
    # The image turned by a right angle: what is right follows the columns.
    np.testing.assert_array_equal(camera_frame(np.rot90(scan)), [[0, 1, 0], [1, 0, 0], [0, 0, -1]])


def ball_on_a_table(size=90):
    """Points [H,W,3] that a pinhole camera at the origin sees: a ball before a table, z away from it."""
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    rays = np.stack([columns, rows, np.ones_like(rows)], -1)
    middle, radius, table = np.array((0.05, -0.02, 2.7)), 0.5, 3.2
    towards = rays @ middle
    depth = towards**2 - (rays**2).sum(-1) * (middle @ middle - radius**2)
    hit = (towards - np.sqrt(np.maximum(depth, 0))) / (rays**2).sum(-1)
    return rays * np.where(depth > 0, hit, table)[..., None]


@pytest.mark.parametrize("seed", range(4))
def test_a_camera_is_found_in_any_axes(seed):
    rng = np.random.default_rng(seed)
    rotation, shift = shapes.turn(rng), rng.normal(size=3)
    scan = ball_on_a_table()
    scan[rng.random(scan.shape[:2]) < 0.2] = np.nan
    expected = np.diag([1.0, -1, -1]) @ rotation.T
    np.testing.assert_allclose(camera_frame(scan @ rotation.T + shift), expected, atol=1e-6)
    # In millimetres, rounded to them, and from the mirror.
    np.testing.assert_allclose(camera_frame((1000 * scan @ rotation.T).round()), expected, atol=0.02)
    mirror = np.diag([-1.0, 1, 1])
    np.testing.assert_allclose(camera_frame(scan @ rotation.T @ mirror), expected @ mirror, atol=1e-6)


def test_parallel_rays_are_found_in_any_axes():
    rotation = shapes.turn(np.random.default_rng(5))
    rows, columns = np.mgrid[:60, :80].astype(float)
    heights = 10 * np.exp(-((rows - 30) ** 2 + (columns - 40) ** 2) / 200)
    scan = np.stack([columns, -rows, heights], -1)
    np.testing.assert_allclose(camera_frame(scan @ rotation.T), rotation.T, atol=1e-6)


def test_of_a_plane_alone_no_camera_is_fitted():
    rotation = shapes.turn(np.random.default_rng(6))
    rows, columns = np.mgrid[:60, :80].astype(float)
    plane = np.stack([columns, rows, np.full_like(rows, 100)], -1)
    assert fit_camera(plane @ rotation.T) is None
    assert camera_frame(plane @ rotation.T) is not None


def test_a_table_of_heights_is_seen_from_above():
    rows, columns = np.mgrid[:60, :80].astype(float)
    heights = 100 + 10 * np.exp(-((rows - 30) ** 2 + (columns - 40) ** 2) / 200)
    np.testing.assert_array_equal(
        camera_frame(np.stack([columns, rows, heights], -1)), [[1, 0, 0], [0, -1, 0], [0, 0, 1]]
    )
    np.testing.assert_array_equal(camera_frame(np.stack([columns, -rows, heights], -1)), np.eye(3))


def test_missing_points_do_not_hide_the_camera():
    scan = shapes.camera_scan().astype(float)
    scan[::2] = np.nan
    assert camera_frame(scan) is None  # No two rows are beside each other.
    scan = shapes.camera_scan().astype(float)
    scan[np.random.default_rng(0).random(scan.shape[:2]) < 0.4] = np.nan
    np.testing.assert_array_equal(camera_frame(scan), [[1, 0, 0], [0, -1, 0], [0, 0, -1]])


def test_what_is_asked_for_is_taken():
    points = shapes.sphere(500, np.random.default_rng(0))
    np.testing.assert_array_equal(face(points, None, parse("z")).frame, np.eye(3))
    np.testing.assert_array_equal(face(points, None, parse("-z")).frame, [[1, 0, 0], [0, -1, 0], [0, 0, -1]])
    np.testing.assert_array_equal(face(points, None, parse("x")).frame, [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    np.testing.assert_allclose(face(points, None, parse("0,3,4")).frame[2], (0, 0.6, 0.8))
    assert face(points, None, parse("around")).around
    camera = face(points + np.array((0, 0, 9)), None, parse("camera"))
    np.testing.assert_allclose(camera.frame[2], (0, 0, -1), atol=0.02)
    with pytest.raises(InputError, match="no camera can have stood"):
        face(points, None, parse("camera"))


@pytest.mark.parametrize("word", ["up", "0,0,0", "1,2", "nan,0,0", "inf,0,0", "", "1,2,3,4"])
def test_other_words_are_refused(word):
    with pytest.raises(InputError, match="--facing is"):
        parse(word)


def test_few_points_are_not_judged():
    assert "too few" in face(shapes.sphere(60, np.random.default_rng(0)), None).note
