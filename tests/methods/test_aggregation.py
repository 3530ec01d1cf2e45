"""Points from patches: the scalar form against naive float64 loops over full features."""

import numpy as np
import pytest
import torch
from aggregation_oracle import naive_fused
from hypothesis import given, settings
from hypothesis import strategies as st

from pointad_core.errors import InputError
from pointad_core.methods import aggregation
from pointad_core.methods.aggregation import (
    aggregate,
    aggregate_scalars,
    fused_norms,
    kernel_weights,
    patch_indices,
    prepare,
)
from pointad_core.methods.neighbours import find_in_cells

SEEDS = st.integers(0, 2**32 - 1)


def random_cloud(seed, n_views=3, n_points=17, grid=4, dim=21, k=5):
    """A random cloud with unit patch features: as the store has them, but any numbers do."""
    rng = np.random.default_rng(seed)
    patches = rng.normal(size=(n_views, grid**2, dim))
    patches /= np.linalg.norm(patches, axis=-1, keepdims=True)
    visible = rng.random((n_views, n_points)) < 0.5
    visible[rng.integers(n_views, size=n_points), np.arange(n_points)] = True
    neighbours = np.stack([rng.permutation(np.delete(np.arange(n_points), i))[:k] for i in range(n_points)])
    weights = rng.random((n_points, k))
    weights /= weights.sum(1, keepdims=True)
    return {
        "patches": patches,
        "patch_index": rng.integers(grid**2, size=(n_views, n_points)),
        "visible": visible,
        "neighbours": neighbours.astype(np.int32),
        "weights": weights.astype(np.float32),
    }


def as_tensors(cloud):
    return [torch.from_numpy(cloud[name]) for name in ("patch_index", "visible", "neighbours", "weights")]


@settings(deadline=None)
@given(seed=SEEDS, alpha=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_scalar_form_equals_full_features(seed, alpha):
    cloud = random_cloud(seed)
    texts = np.random.default_rng(seed + 1).normal(size=(2, 21))
    scalars = torch.from_numpy(cloud["patches"] @ texts.T).float()
    fused = naive_fused(cloud, alpha)
    found = aggregate_scalars(scalars, *as_tensors(cloud), alpha)
    np.testing.assert_allclose(found.numpy(), fused @ texts.T, atol=1e-5)
    norms = fused_norms(torch.from_numpy(cloud["patches"]).float(), *as_tensors(cloud), alpha)
    np.testing.assert_allclose(norms.numpy(), np.linalg.norm(fused, axis=1), atol=1e-6)


@pytest.mark.parametrize("block", [1, 4, 20, 21, 64])
def test_norms_do_not_depend_on_the_block(block):
    cloud = random_cloud(5)
    patches = torch.from_numpy(cloud["patches"]).half()
    cloud["patches"] = patches.double().numpy()
    norms = fused_norms(patches, *as_tensors(cloud), 0.5, block=block)
    assert norms.dtype == torch.float32
    np.testing.assert_allclose(norms.numpy(), np.linalg.norm(naive_fused(cloud, 0.5), axis=1), atol=1e-6)


def test_gradient_is_that_of_the_linear_map():
    cloud = random_cloud(7)
    rng = np.random.default_rng(8)
    upstream = rng.normal(size=(17, 2))
    scalars = torch.from_numpy(rng.normal(size=(3, 16, 2))).requires_grad_()
    aggregate_scalars(scalars, *as_tensors(cloud), 0.5).backward(torch.from_numpy(upstream))
    expected = np.zeros((3, 16, 2))
    for j in range(17):
        # Each point spreads its gradient over itself and its neighbours, and each of these over its patches.
        shares = [(j, 0.5)] + [
            (i, 0.5 * float(w)) for i, w in zip(cloud["neighbours"][j], cloud["weights"][j], strict=True)
        ]
        for i, share in shares:
            count = cloud["visible"][:, i].sum()
            for k in np.flatnonzero(cloud["visible"][:, i]):
                expected[k, cloud["patch_index"][k, i]] += share / count * upstream[j]
    assert scalars.grad is not None
    np.testing.assert_allclose(scalars.grad.numpy(), expected, atol=1e-6)


@settings(deadline=None)
@given(seed=SEEDS)
def test_order_of_points_does_not_matter(seed):
    cloud = random_cloud(seed)
    order = np.random.default_rng(seed).permutation(17)
    inverse = np.argsort(order)
    shuffled = cloud | {
        "patch_index": cloud["patch_index"][:, order],
        "visible": cloud["visible"][:, order],
        "neighbours": inverse[cloud["neighbours"][order]],
        "weights": cloud["weights"][order],
    }
    scalars = torch.from_numpy(cloud["patches"][..., :2]).float()
    before = aggregate_scalars(scalars, *as_tensors(cloud), 0.5)
    after = aggregate_scalars(scalars, *as_tensors(shuffled), 0.5)
    torch.testing.assert_close(after, before[order])


def test_aggregate_on_points():
    values = torch.tensor([[1.0], [10.0], [100.0]])
    neighbours = torch.tensor([[1, 2], [0, 2], [0, 1]])
    weights = torch.tensor([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]])
    found = aggregate(values, neighbours, weights, 0.4)
    torch.testing.assert_close(found, torch.tensor([[0.4 * 77.5 + 0.6], [0.4 + 6.0], [0.4 * 5.5 + 60.0]]))


def test_patch_of_a_pixel():
    pixels = np.random.default_rng(1).integers(0, 336, size=(2, 50, 2))
    pixels[0, :2] = [[0, 0], [335, 335]]
    found = patch_indices(torch.from_numpy(pixels.astype(np.int16)), 336, 24)
    expected = [[(row * 24 // 336) * 24 + column * 24 // 336 for column, row in view] for view in pixels.tolist()]
    assert found.tolist() == expected
    # A grid that does not divide the resolution; int16 would overflow in 335 * 100.
    assert patch_indices(torch.tensor([335, 334], dtype=torch.int16), 336, 100).item() == 99 * 100 + 99


@settings(deadline=None)
@given(
    seed=SEEDS,
    sigma=st.floats(1e-6, 1e6),
    units=st.sampled_from(["data", "spacing"]),
    scale=st.sampled_from([1e-4, 1.0, 1e3]),
)
def test_kernel_rows_sum_to_one_and_favour_the_near(seed, sigma, units, scale):
    distances = np.sort(np.random.default_rng(seed).random((6, 4)), axis=1) * scale
    weights = kernel_weights(distances, sigma, units)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    assert (np.diff(weights, axis=1) <= 0).all()


def test_kernel_is_the_papers():
    distances = np.random.default_rng(2).random((5, 3))
    for units, width in (("data", 0.7), ("spacing", 0.7 * distances.mean())):
        kernel = np.exp(-(distances**2) / (2 * width**2))
        expected = kernel / kernel.sum(1, keepdims=True)
        np.testing.assert_allclose(kernel_weights(distances, 0.7, units), expected, rtol=1e-6)
    # sigma of 1 on a scan in metres is a uniform mean, as in the paper's setting.
    np.testing.assert_allclose(kernel_weights(distances * 1e-3, 1.0), 1 / 3, rtol=1e-5)


@pytest.mark.parametrize("units", ["data", "spacing"])
def test_kernel_of_tensors_is_that_of_arrays(units):
    distances = np.random.default_rng(2).random((500, 10))
    found = kernel_weights(torch.from_numpy(distances), 0.7, units)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, kernel_weights(distances, 0.7, units), rtol=2e-7)
    assert kernel_weights(torch.zeros(2, 4), 1.0, units).tolist() == [[0.25] * 4] * 2


def test_what_a_gpu_computes_is_what_a_cpu_does(monkeypatch):
    """Neighbours by cells, the kernel of tensors and norms in larger blocks, here with tensors on the CPU."""
    rng = np.random.default_rng(6)
    places = rng.integers(84, size=(3, 400, 2)).astype(np.int16)
    patches = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(3, 36, 200))), dim=-1).half()
    visible = rng.random((3, 400)) < 0.6
    visible[0] = True
    options = {"neighbours": 6, "kernel_sigma": 0.8, "kernel_units": "spacing", "alpha": 0.4}
    arguments = rng.normal(size=(400, 3)).astype(np.float32), places, visible, patches, 84, options
    expected = prepare(*arguments)
    own = aggregation.fused_norms
    monkeypatch.setattr(aggregation, "fused_norms", lambda *given: own(*given, block=128))

    def on_device(points, k, *kernel):
        neighbours, distances = find_in_cells(points, k)
        return neighbours, kernel_weights(distances, *kernel)

    monkeypatch.setattr(aggregation, "find_kernel", on_device)
    found = prepare(*arguments)
    assert torch.equal(found["neighbours"], expected["neighbours"])
    torch.testing.assert_close(found["weights"], expected["weights"], rtol=3e-7, atol=0)
    torch.testing.assert_close(found["norms"], expected["norms"], rtol=1e-6, atol=0)


def test_kernel_of_coinciding_points_is_uniform():
    assert kernel_weights(np.zeros((2, 4)), 1.0, "spacing").tolist() == [[0.25] * 4] * 2
    assert kernel_weights(np.zeros((2, 4)), 1.0, "data").tolist() == [[0.25] * 4] * 2


def test_kernel_options_are_checked():
    with pytest.raises(InputError, match=r"kernel_units is 'metres'.*data.*spacing"):
        kernel_weights(np.ones((1, 1)), 1.0, "metres")
    for sigma in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="kernel_sigma"):
            kernel_weights(np.ones((1, 1)), sigma)
