"""Scores with views that are weighed against the naive float64 versions, a point and a view at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import CPU, Case, bilinear, softmax_abnormal
from toy import GRID, SIZE, unit

from pointad_core.errors import InputError
from pointad_core.methods import clip_rendering, pointad, pointad_plus, pointclip_v2
from pointad_core.methods.interface import Settings
from pointad_core.methods.view_weights import view_shares

HOW = ["incidence", "coverage", "sharpness"]


def given(seed):
    """A case, what a system takes of it, and cosines of random angles."""
    case = Case(seed)
    cosines = np.random.default_rng(seed + 100).random(case.renders["visible"].shape)
    state = {layer: rows.detach().float() for layer, rows in case.embeddings.items()}
    return case, state, replace(case.sample.on(CPU), incidence=torch.from_numpy(cosines).float()), cosines


def weigh(how, case, cosines, view, point, probability):
    """What a view's word on a point counts by, before the weights of a point are made to sum to 1."""
    if how == "incidence":
        return cosines[view, point]
    if how == "coverage":
        flags = case.renders["visible"][view]
        return sum(bool(flag) for flag in flags) / len(flags)
    return abs(2 * probability - 1)


def naive(case, how, cosines):
    """S_a and T_a, float64 [n], with the views weighed."""
    r, g = (case.embeddings[layer].detach() for layer in ("rendering", "geometry"))
    patches = torch.from_numpy(case.features["patches_vv"].astype(float))
    maps = [bilinear(softmax_abnormal(view, r).view(GRID, GRID), SIZE).numpy() for view in patches]
    geometry = softmax_abnormal(patches, g).numpy()
    pixels, visible = case.renders["pixels"].astype(int), case.renders["visible"]
    implicit, q = [], []
    for point in range(visible.shape[1]):
        score = total = 0.0
        feature, whole = np.zeros(patches.shape[2]), 0.0
        for view in range(len(visible)):
            if not visible[view, point]:
                continue
            column, row = pixels[view, point]
            patch = (row * GRID // SIZE) * GRID + column * GRID // SIZE
            weight = weigh(how, case, cosines, view, point, maps[view][row, column])
            score, total = score + weight * maps[view][row, column], total + weight
            weight = weigh(how, case, cosines, view, point, geometry[view, patch])
            feature, whole = feature + weight * patches[view, patch].numpy(), whole + weight
        implicit.append(score / total)
        q.append(feature / whole)
    around, shares = case.prepared["neighbours"], case.prepared["weights"].astype(float)
    fused = [
        case.alpha * sum(s * q[j] for s, j in zip(shares[i], around[i], strict=True)) + (1 - case.alpha) * q[i]
        for i in range(len(q))
    ]
    return np.array(implicit), softmax_abnormal(torch.from_numpy(unit(np.array(fused))), g).numpy()


@pytest.mark.parametrize("how", HOW)
def test_scores_of_both_branches(how):
    case, state, sample, cosines = given(0)
    settings = Settings(view_weights=how)
    implicit, explicit = naive(case, how, cosines)
    found = pointad_plus.branches(state, sample, settings)
    np.testing.assert_allclose(found["implicit"].numpy(), implicit, atol=2e-5)
    np.testing.assert_allclose(found["explicit"].numpy(), explicit, atol=2e-5)
    for module in (pointad, clip_rendering):
        np.testing.assert_array_equal(module.point_scores(state, sample, settings), found["implicit"])
    plain = pointad_plus.branches(state, sample, Settings())
    for name, scores in plain.items():
        assert (scores - found[name]).abs().max() > 1e-4


@pytest.mark.parametrize("how", HOW)
def test_pointclips_averaged_patches_are_weighed_alike(how):
    case, state, sample, cosines = given(1)
    found = pointclip_v2.point_scores(state, sample, Settings(view_weights=how)).numpy()
    averaged = pointclip_v2.patch_probabilities(state, sample, Settings()).double()
    maps = [bilinear(view.view(GRID, GRID), SIZE).numpy() for view in averaged]
    pixels, visible = case.renders["pixels"].astype(int), case.renders["visible"]
    for point in range(0, visible.shape[1], 7):
        values = [maps[view][pixels[view, point, 1], pixels[view, point, 0]] for view in range(len(maps))]
        weights = [
            weigh(how, case, cosines, view, point, value) * visible[view, point] for view, value in enumerate(values)
        ]
        assert found[point] == pytest.approx(np.average(values, weights=weights), abs=2e-5)


@pytest.mark.parametrize("how", HOW)
def test_what_prompts_learn_by_does_not_change(how):
    case, state, sample, _ = given(2)
    terms = [
        {
            name: term()
            for name, term in pointad_plus.loss_terms(state, sample, case.targets, Settings(view_weights=of)).items()
        }
        for of in (how, "mean")
    ]
    assert terms[0] == terms[1]


def test_equal_views_are_the_plain_mean_and_none_is_the_mask_itself():
    _, state, sample, _ = given(3)
    values = torch.rand(sample.visible.shape)
    assert view_shares(values, sample, Settings()) is sample.visible
    equal = replace(sample, incidence=torch.full(sample.visible.shape, 0.3))
    plain = pointad_plus.branches(state, sample, Settings())
    for name, scores in pointad_plus.branches(state, equal, Settings(view_weights="incidence")).items():
        torch.testing.assert_close(scores, plain[name], atol=1e-5, rtol=0)


@pytest.mark.parametrize("how", HOW)
def test_shares_sum_to_one_over_the_views_that_see_a_point(how):
    _, _, sample, _ = given(4)
    shares = view_shares(torch.rand(sample.visible.shape), sample, Settings(view_weights=how))
    assert not shares[~sample.visible].any()
    torch.testing.assert_close(shares.sum(0), torch.ones(shares.shape[1]))


def test_a_point_whose_views_all_count_for_nothing_has_their_plain_mean():
    _, _, sample, _ = given(5)
    nothing = replace(sample, incidence=torch.zeros(sample.visible.shape))
    seen = sample.visible.float()
    for how, values in (("incidence", torch.rand(seen.shape)), ("sharpness", torch.full(seen.shape, 0.5))):
        shares = view_shares(values, nothing, Settings(view_weights=how))
        torch.testing.assert_close(shares, seen / seen.sum(0))


def test_a_scan_without_its_angles_is_refused():
    case, state, _, _ = given(6)
    with pytest.raises(InputError, match="read without its angles of incidence"):
        pointad.point_scores(state, case.sample.on(CPU), Settings(view_weights="incidence"))
