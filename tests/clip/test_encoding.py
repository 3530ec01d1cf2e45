"""Batches of 8-bit images: how many at once, and that it makes no difference."""

import numpy as np
import torch

from pointad_core.clip.loading import load_clip
from pointad_core.clip.tower import batch_size, encode

SIZE = 42


def test_batches_make_no_difference(models):
    clip = load_clip("tiny", 2, random_seed=3)
    images = np.random.default_rng(3).integers(256, size=(5, SIZE, SIZE), dtype=np.uint8)
    one, three = (encode(clip, images, ["vv"], batch) for batch in (1, 3))
    for name, value in one.items():
        torch.testing.assert_close(value, three[name], atol=1e-3, rtol=0)


def test_batch_follows_the_devices_memory(models, monkeypatch):
    clip = load_clip("tiny", 2, random_seed=3)
    assert batch_size(clip) == 1
    monkeypatch.setattr(type(clip), "device", torch.device("cuda"))
    sizes = [batch_size(clip, free) for free in (0, 10**6, 10**7, 10**12)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1
    assert 1 < sizes[2] < sizes[3] == 64
