"""A plane behind a part is left out; a part's own flat side is not."""

from pathlib import Path

import numpy as np
import own_scans as shapes
import pytest

from pointad_core.errors import InputError
from pointad_core.predict.background import find_background

PATH = Path("part.ply")


def table_and_dome(rng, size=100.0):
    """Points in no order of a dome of radius 30 on a square table, and which of them are the dome's."""
    flat = rng.uniform(-size, size, (9000, 2))
    flat = flat[(flat**2).sum(1) > 28**2]
    dome = shapes.dome(4000, rng)
    return np.concatenate([np.c_[flat, rng.normal(0, 0.1, len(flat))], dome]), np.arange(len(flat) + len(dome)) >= len(
        flat
    )


def test_a_table_is_left_out_however_it_lies():
    rng = np.random.default_rng(1)
    points, of_dome = table_and_dome(rng)
    for rotation in (np.eye(3), shapes.turn(rng)):
        for scale in (1.0, 0.001):
            background, note = find_background(
                points @ rotation.T * scale, np.ones(len(points), bool), None, "auto", 1, PATH
            )
            high = points[:, 2] > 6
            assert not background[high].any()
            assert background[~of_dome].mean() > 0.99
            assert "a plane fills 6" in note
            assert "--background none keeps it" in note


@pytest.mark.parametrize(
    "points",
    [
        shapes.box(9000, (3, 2, 1), np.random.default_rng(2)),
        shapes.dome(9000, np.random.default_rng(2)),
        # A plate with a bump, which is its defect.
        (lambda xy: np.c_[xy, np.exp(-((xy**2).sum(1)) / 20)])(np.random.default_rng(2).uniform(-50, 50, (9000, 2))),
        # The upper side of a block, and its walls that go down from it.
        (lambda box: box[box[:, 2] > -0.49])(shapes.box(9000, (3, 3, 1), np.random.default_rng(2))),
        np.random.default_rng(2).normal(size=(9000, 3)),
    ],
    ids=["box", "dome", "plate with a bump", "block", "noise"],
)
def test_a_part_keeps_its_own_sides(points):
    background, note = find_background(points, np.ones(len(points), bool), None, "auto", 1, PATH)
    assert not background.any()
    assert note == ""


@pytest.mark.parametrize("metres", [1.0, 0.001, None])
def test_the_plane_behind_an_organised_scan_is_left_out(metres):
    scale = 1 / (metres or 0.007)
    scan = shapes.camera_scan(240).astype(float) * scale
    valid = np.ones(scan.shape[:2], bool)
    background, note = find_background(scan, valid, metres, "auto", 1, PATH)
    high = scan[..., 2] < 0.59 * scale
    # The ball's rim is seen at a flat angle: its points are far apart.
    assert background[high].mean() < 0.03
    assert background[scan[..., 2] > 0.599 * scale].all()
    assert "plane" in note
    none, note = find_background(scan, valid, metres, "none", 1, PATH)
    assert (none.any(), note) == (False, "")


def test_an_organised_part_without_a_plane_stays_whole():
    scan = shapes.camera_scan(160).astype(float)
    valid = scan[..., 2] < 0.599
    background, note = find_background(np.where(valid[..., None], scan, np.nan), valid, 1.0, "auto", 1, PATH)
    assert (background.any(), note) == (False, "")
    with pytest.raises(InputError, match=r"part\.ply: 0 points in the outer"):
        find_background(np.where(valid[..., None], scan, 0), valid, 1.0, "remove", 1, PATH)


def test_what_shall_be_removed_and_leaves_nothing_is_an_error():
    flat = np.random.default_rng(3).uniform(-1, 1, (900, 2))
    with pytest.raises(InputError, match=r"part\.ply: no object is left"):
        find_background(np.c_[flat, 0 * flat[:, 0]], np.ones(900, bool), None, "remove", 1, PATH)


def test_a_background_whose_part_is_too_coarse_to_find_stays_unasked():
    scan = shapes.camera_scan(60).astype(float)
    valid = np.ones(scan.shape[:2], bool)
    background, note = find_background(scan, valid, 1.0, "auto", 1, PATH)
    assert not background.any()
    assert "no part can be told from it; nothing was left out" in note
    with pytest.raises(InputError, match="no object found"):
        find_background(scan, valid, 1.0, "remove", 1, PATH)
