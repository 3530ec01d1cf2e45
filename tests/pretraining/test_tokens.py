"""Tokens of views: what the lower blocks make of them, and what is said of each patch."""

import numpy as np
import pytest
import torch

from pointad_core.clip.loading import load_clip
from pointad_core.storage import jobs, stores
from pretraining import teacher, tokens
from pretraining.tokens import FROZEN, MODEL, make_tokens, patch_means, varied, views_of
from tests.pretraining.test_teacher import random_weights

SIDE = 336


def write_views(path, things=4):
    """Things with a grey disc each, of which a square is damaged and black."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    disc = np.hypot(rows - 168, columns - 168) < 100
    with stores.write(path, "pretraining views", {}) as writer:
        for number in range(things):
            mask = np.zeros((SIDE, SIDE), bool)
            mask[126 : 126 + 42, 140 + 14 * number : 182 + 14 * number] = True
            image = np.where(mask, 0, np.where(disc, 150, 255)).astype(np.uint8)
            arrays = {"images": np.stack([image] * 3), "masks": np.packbits(np.stack([mask.reshape(-1)] * 3), axis=1)}
            writer.add(f"{number}", arrays, {"family": "gear", "kinds": ["stain" if number == 2 else "hole"]})
    return path


@pytest.fixture
def views(tmp_path):
    return write_views(tmp_path / "views.zarr.zip")


def test_tokens_are_those_before_the_first_trained_block(views, tmp_path, monkeypatch):
    weights = random_weights(torch.Generator().manual_seed(0), blocks=8)
    monkeypatch.setattr(teacher, "read_teacher", lambda wheel: weights)
    monkeypatch.setattr(tokens, "varied", lambda image, mask, shown, rng: (image, mask, shown))
    jobs.use(1, gpus=0)
    make_tokens(views, "wheel", tmp_path / "tokens.zarr.zip", 1, {})
    clip = load_clip(MODEL, 1, random_seed=0)
    teacher.fill(clip, "wheel")
    with (
        stores.read(views, "pretraining views") as lot,
        stores.read(tmp_path / "tokens.zarr.zip", "pretraining tokens") as made,
    ):
        assert made.scans == lot.scans
        for scan in made.scans:
            found = made.load(scan, ["tokens", "damage", "object"])
            assert found["tokens"].shape == (3, 577, 384)
            assert made.scan_attributes(scan)["family"] == "gear"
            image = torch.from_numpy(lot.load(scan, ["images"])["images"][:1]).float() / 255
            expected = clip.encode_images(image[:, None].expand(-1, 3, -1, -1))
            upper = clip.encode_tokens(torch.from_numpy(found["tokens"][:1]).float(), start=FROZEN)
            for name, value in expected.items():
                torch.testing.assert_close(upper[name], value, atol=5e-3, rtol=0, msg=name)
            assert (found["damage"] > 0).any() == (scan != "2"), "of a stain renders show nothing"
            assert 1 < found["object"].mean() / (np.pi * 100**2 / SIDE**2) < 1.3, "patches on the rim count"


def test_a_stain_is_no_damage_of_renders(views):
    with stores.read(views, "pretraining views") as lot:
        assert not any(mask.any() for _, mask, _ in views_of(lot, "2"))
        assert all(mask.any() for _, mask, _ in views_of(lot, "1"))
        assert len(views_of(lot, "0")) == 3


def test_a_varied_view_keeps_white_white_and_its_mask_in_place():
    rng = np.random.default_rng(0)
    image, mask = np.ones((SIDE, SIDE), np.float32), np.zeros((SIDE, SIDE), np.float32)
    image[10:20, 30:60], mask[10:20, 30:60] = 0.4, 1
    mirrored = 0
    for _ in range(20):
        found, where, shown = varied(image, mask, mask, rng)
        assert found.shape == (SIDE, SIDE)
        assert (where == shown).all()
        assert (found[where == 0] == 1).all()
        assert (found[where == 1] < 0.8).all()
        mirrored += bool(where[10, -31])
    assert 0 < mirrored < 20


def test_patch_means_are_means():
    array = np.random.default_rng().random((12, 12), np.float32)
    found = patch_means(array, 4)
    naive = [
        array[3 * row : 3 * row + 3, 3 * column : 3 * column + 3].mean() for row in range(4) for column in range(4)
    ]
    np.testing.assert_allclose(found, naive, rtol=1e-5)
