"""Samples, and patches brought to the size of a render."""

import numpy as np
import pytest
import torch
from cases import CPU, Case
from toy import ALPHA, SIZE

from pointad_core.errors import InputError
from pointad_core.methods.segmentation import PointSample, implicit_scores, make_sample, move, upsample


@pytest.mark.parametrize(("grid", "size"), [(4, 28), (5, 33), (24, 336)])
def test_upsample_is_torchs_bilinear_interpolation(grid, size):
    maps = torch.rand(2, grid * grid, generator=torch.Generator().manual_seed(grid), dtype=torch.float64)
    wanted = torch.nn.functional.interpolate(maps.view(1, 2, grid, grid), size, mode="bilinear")[0]
    torch.testing.assert_close(upsample(maps, size), wanted, rtol=0, atol=1e-12)


def test_patches_that_are_no_square_are_refused():
    with pytest.raises(InputError, match="577 patches"):
        upsample(torch.zeros(1, 577), 336)


def test_mean_over_the_views_that_see_a_point():
    """Of maps of 2 x 2 patches in renders of 2 x 2 pixels, each point at the same pixel in both."""
    values = torch.tensor([[1.0, 2.0, 5.0, 9.0], [3.0, 4.0, 7.0, 9.0]])
    pixels = torch.tensor([[0, 0], [1, 0], [0, 1]], dtype=torch.int16).expand(2, 3, 2)
    visible = torch.tensor([[True, False, False], [True, True, False]])
    assert implicit_scores(values, pixels, visible, 2).tolist() == [2.0, 4.0, 0.0]


@pytest.mark.parametrize("aggregates", [True, False])
def test_a_sample_from_arrays(aggregates):
    case = Case(1)
    f, r = case.features, case.renders
    prepared = case.prepared if aggregates else None
    found = make_sample(f["global"], f["patches_vv"], r["pixels"], r["visible"], SIZE, prepared, ALPHA)
    assert (found.views.dtype, found.patches.dtype, found.resolution) == (torch.float16, torch.float16, SIZE)
    for name in ("views", "patches", "pixels", "visible"):
        assert torch.equal(getattr(found, name), getattr(case.sample, name))
    assert (found.aggregation is not None) == aggregates
    if aggregates:
        assert found.aggregation.alpha == ALPHA
        assert found.aggregation.patch_index.dtype == torch.int32
        assert torch.equal(found.aggregation.patch_index, case.sample.aggregation.patch_index)
        for name in ("neighbours", "weights", "norms"):
            assert torch.equal(getattr(found.aggregation, name), torch.from_numpy(case.prepared[name]))


def test_on_a_device_features_are_float32_and_all_the_rest_keeps_its_type():
    case, meta = Case(2), torch.device("meta")
    moved = case.sample.on(CPU)
    assert (moved.views.dtype, moved.patches.dtype, moved.pixels.dtype) == (torch.float32, torch.float32, torch.int16)
    np.testing.assert_array_equal(moved.views.numpy(), case.features["global"].astype(np.float32))
    elsewhere = case.sample.on(meta)
    assert {part.device.type for part in (elsewhere.views, elsewhere.visible, elsewhere.aggregation.norms)} == {"meta"}
    assert elsewhere.aggregation.alpha == ALPHA
    assert PointSample(torch.zeros(4, 3)).on(meta).points.device == meta
    assert move(case.targets, meta).pixels.overlap.device == meta
    assert move(3.5, meta) == 3.5
