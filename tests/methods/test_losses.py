"""Every loss against its naive float64 form, written from the paper's formulas, gradients included."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from pointad_core.errors import InputError
from pointad_core.methods import losses


def rng(seed):
    return np.random.default_rng(seed)


def naive_focal(p, y):
    """Two-channel focal loss with a clamped one-hot label, pixel by pixel."""
    total = 0.0
    for probability, label in zip(p.ravel(), y.ravel(), strict=True):
        one_hot = np.clip([not label, label], 1e-5, 1 - 1e-5)
        pt = one_hot @ [1 - probability, probability] + 1e-5
        total += -((1 - pt) ** 2) * np.log(pt)
    return total / p.size


def naive_dice(p, t):
    return 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@given(st.integers(0, 10**6), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_focal_is_the_two_channel_form(seed, share):
    p, y = rng(seed).random((3, 5, 4)), rng(seed + 1).random((3, 5, 4)) < share
    got = losses.focal(torch.from_numpy(p), torch.from_numpy(y))
    assert got.item() == pytest.approx(naive_focal(p, y), rel=1e-12)


def test_focal_stays_finite_at_sure_and_wrong():
    p = torch.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    loss = losses.focal(p, torch.tensor([True, False, False, True]))
    loss.backward()
    assert loss.item() == pytest.approx(naive_focal(np.array([0.0, 1, 0, 1]), np.array([1, 0, 0, 1]) > 0), rel=1e-5)
    assert torch.isfinite(p.grad).all()


def test_focal_gradient():
    p = torch.rand(20, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    y = torch.arange(20) % 3 == 0
    assert gradcheck(lambda x: losses.focal(x, y), (p,))


@given(st.integers(0, 10**6), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_dice_pair_is_dice_of_both_classes(seed, share):
    p, y = rng(seed).random((4, 50)), (rng(seed + 1).random((4, 50)) < share).astype(float)
    wanted = [naive_dice(1 - a, 1 - b) + naive_dice(a, b) for a, b in zip(p, y, strict=True)]
    sums = (torch.from_numpy(value) for value in (p.sum(1), (p * y).sum(1), y.sum(1)))
    np.testing.assert_allclose(losses.dice_pair(*sums, 50).numpy(), wanted, rtol=1e-12)


@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_dice_over_all_pixels_is_dice_with_empty_ones_of_neither_class(seed, share, there):
    y, exists = rng(seed).random(60) < share, rng(seed + 1).random(60) < there
    abnormal = rng(seed + 2).random(60) * exists
    normal = (1 - abnormal) * exists
    wanted = naive_dice(normal, 1 - y) + naive_dice(abnormal, y)
    empty = (int((~exists & ~y).sum()), int((~exists & y).sum()))
    sums = (torch.tensor(value) for value in (abnormal.sum(), (abnormal * y).sum(), float((exists & y).sum())))
    assert losses.dice_pair(*sums, int(exists.sum()), empty).item() == pytest.approx(wanted, rel=1e-12)


def test_dice_gradient():
    p = torch.rand(30, dtype=torch.float64, generator=torch.Generator().manual_seed(4)).requires_grad_()
    y = (torch.arange(30) % 4 == 0).double()
    pair = lambda x: losses.dice_pair(x.sum(), x @ y, y.sum(), 30)  # noqa: E731
    assert gradcheck(pair, (p,))
    naive = (1 - (2 * ((1 - p) * (1 - y)).sum() + 1) / ((1 - p).sum() + (1 - y).sum() + 1)) + (
        1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    )
    (wanted,) = torch.autograd.grad(naive, p)
    (got,) = torch.autograd.grad(pair(p), p)
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-14)


def global_case(seed):
    cosines = rng(seed).uniform(-0.4, 0.4, (9, 2))
    logits = torch.from_numpy((cosines[:, 1] - cosines[:, 0]) / 0.07)
    return cosines, logits


@pytest.mark.parametrize("seed", range(5))
def test_global_2d(seed):
    cosines, logits = global_case(seed)
    labels = rng(seed + 50).random(9) < 0.5
    wanted = np.mean([-np.log(p[int(y)]) for p, y in zip(softmax(cosines / 0.07), labels, strict=True)])
    assert losses.global_2d(logits, torch.from_numpy(labels)).item() == pytest.approx(wanted, rel=1e-10)
    assert gradcheck(lambda x: losses.global_2d(x, torch.from_numpy(labels)), (logits.requires_grad_(),))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("label", [False, True])
def test_global_3d(seed, label):
    cosines, logits = global_case(seed)
    wanted = {
        "probability_mean": -np.log(softmax(cosines / 0.07).mean(0)[int(label)]),
        "logit_mean": -np.log(softmax((cosines / 0.07).mean(0))[int(label)]),
    }
    logits.requires_grad_()
    for reduction, value in wanted.items():
        loss = lambda x, reduction=reduction: losses.global_3d(x, torch.tensor(label), reduction)  # noqa: E731
        assert loss(logits).item() == pytest.approx(value, rel=1e-10)
        assert gradcheck(loss, (logits,))


def test_global_3d_stays_finite_where_all_views_are_wrong():
    loss = losses.global_3d(torch.full((9,), 300.0), torch.tensor(False), "probability_mean")
    assert loss.item() == pytest.approx(300.0)


def unit(seed):
    x = rng(seed).normal(size=(2, 6))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_cross(seed):
    g, r = unit(seed), unit(seed + 100)
    cosine = {(i, j): g[i] @ r[j] for i in (0, 1) for j in (0, 1)}  # (geometry, rendering), 0 = n, 1 = a
    for form in ("softmax", "ratio"):
        value = {
            key: np.exp(c / 0.07) if form == "softmax" else max(c, 1e-6)  # the ratio's terms, as the paper lists them
            for key, c in cosine.items()
        }
        terms = [
            value[1, 1] / (value[1, 1] + value[1, 0]),
            value[0, 0] / (value[0, 0] + value[1, 0]),
            value[1, 1] / (value[1, 1] + value[0, 1]),
            value[0, 0] / (value[0, 0] + value[0, 1]),
        ]
        got = losses.cross(torch.from_numpy(g), torch.from_numpy(r), 0.07, form)
        assert got.item() == pytest.approx(-np.log(terms).sum(), rel=1e-9)


@pytest.mark.parametrize("form", ["softmax", "ratio"])
def test_cross_gradient_pulls_meanings_together(form):
    # All cosines positive, where the clamp of the ratio does not act.
    g, r = (torch.from_numpy(np.abs(unit(seed))).requires_grad_() for seed in (1, 2))
    assert gradcheck(lambda x, y: losses.cross(x, y, 0.5, form), (g, r))
    aligned, swapped = torch.eye(2, 4), torch.eye(2, 4).flip(0)
    assert losses.cross(aligned, aligned, 0.07, form) < losses.cross(aligned, swapped, 0.07, form)


def test_unknown_forms_are_refused():
    with pytest.raises(InputError, match=r"'mean'.*probability_mean"):
        losses.global_3d(torch.zeros(3), torch.tensor(True), "mean")
    with pytest.raises(InputError, match=r"'cosine'.*softmax"):
        losses.cross(torch.eye(2), torch.eye(2), 0.07, "cosine")
