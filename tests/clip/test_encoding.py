"""Batches of 8-bit images: how many at once, and that it makes no difference."""

import numpy as np
import pytest
import torch

from pointad_core.clip.loading import load_clip
from pointad_core.clip.tower import STREAMS, batch_size, encode, encode_each

SIZE = 42


def test_batches_make_no_difference(models):
    clip = load_clip("tiny", 2, random_seed=3)
    images = np.random.default_rng(3).integers(256, size=(5, SIZE, SIZE), dtype=np.uint8)
    one, three = (encode(clip, images, ["vv"], batch) for batch in (1, 3))
    for name, value in one.items():
        torch.testing.assert_close(value, three[name], atol=1e-3, rtol=0)


@pytest.mark.parametrize("batch", [1, 2, 4, 7, 64])
def test_batches_of_several_arrays_give_each_its_own(models, batch):
    """Grey and coloured ones; to the bit, computed with one thread."""
    torch.set_num_threads(1)
    clip = load_clip("tiny", 2, random_seed=3)
    rng = np.random.default_rng(4)
    shapes = [(3,), (1, 3), (2,), (5,), (1, 3), (4,)]
    arrays = [rng.integers(256, size=(n, SIZE, SIZE, *colours), dtype=np.uint8) for n, *colours in shapes]
    sizes = []
    own = clip.encode_images
    clip.encode_images = lambda images, streams: (sizes.append(len(images)), own(images, streams))[1]
    found = list(encode_each(clip, iter(arrays), STREAMS, batch))
    assert sizes == [batch] * (16 // batch) + [16 % batch] * (16 % batch > 0)
    for array, features in zip(arrays, found, strict=True):
        for name, value in encode(clip, array, STREAMS, 1).items():
            assert value.dtype == torch.float16
            assert torch.equal(features[name], value)


def test_arrays_are_asked_for_when_there_is_room(models):
    clip = load_clip("tiny", 2, random_seed=3)
    asked = []

    def arrays():
        for number in range(6):
            asked.append(number)
            yield np.zeros((2, SIZE, SIZE), np.uint8)

    found = encode_each(clip, arrays(), ["vv"], 4)
    assert not asked
    next(found)
    assert asked == [0, 1]
    next(found)
    assert asked == [0, 1]
    next(found)
    assert asked == [0, 1, 2, 3]
    assert len(list(found)) == 3


def test_batch_follows_the_devices_memory(models, monkeypatch):
    clip = load_clip("tiny", 2, random_seed=3)
    assert batch_size(clip) == 1
    monkeypatch.setattr(type(clip), "device", torch.device("cuda"))
    sizes = [batch_size(clip, free) for free in (0, 10**6, 10**7, 10**12)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1
    assert 1 < sizes[2] < sizes[3] == 64
