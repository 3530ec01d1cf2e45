"""PointAD+: each loss term with its gradients, and the scores, against the direct form of the paper."""

import numpy as np
import pytest
import torch
from cases import CPU, Case, values

from pointad_core.methods import pointad_plus
from pointad_core.methods.interface import Settings
from pointad_core.methods.registry import SYSTEMS, load


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("defective", [True, False])
def test_loss_terms_and_gradients_are_those_of_the_direct_form(seed, defective):
    case = Case(seed, defective)
    float_embeddings = case.float_embeddings()
    terms = pointad_plus.loss_terms(float_embeddings, case.sample.on(CPU), case.targets, Settings())
    wanted = case.naive_terms()
    assert list(terms) == list(wanted) == list(SYSTEMS["pointad_plus"].losses)
    for name, term in values(terms).items():
        assert term.item() == pytest.approx(wanted[name].item(), rel=2e-5, abs=2e-6), name
        got = torch.autograd.grad(term, list(float_embeddings.values()), retain_graph=True, allow_unused=True)
        naive = torch.autograd.grad(wanted[name], list(case.embeddings.values()), retain_graph=True, allow_unused=True)
        for a, b in zip(got, naive, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                # Features of float16 have lengths within 0.05 % of 1; the gradients of both forms see the same.
                torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


def test_logit_mean_and_ratio_are_options():
    case = Case(4)
    default, other = (
        values(pointad_plus.loss_terms(case.float_embeddings(), case.sample.on(CPU), case.targets, settings))
        for settings in (Settings(), Settings.of({"global_3d": "logit_mean", "cross_loss": "ratio"}))
    )
    changed = {name for name in default if default[name] != other[name]}
    assert changed == {"global_3d", "cross"}


@pytest.mark.parametrize("seed", range(3))
def test_point_scores(seed):
    case = Case(seed)
    embeddings = {k: v.detach() for k, v in case.float_embeddings().items()}
    _, implicit, explicit = case.naive_scores()
    both = 0.5 * implicit + 0.5 * explicit
    wanted = {"clip_rendering": implicit, "pointad": implicit, "pointad_coop": implicit}
    wanted |= {"pointad_plus": both, "pointad_plus_coop": both}
    for system, naive in wanted.items():
        got = load(SYSTEMS[system]).point_scores(embeddings, case.sample.on(CPU), Settings())
        np.testing.assert_allclose(got.numpy(), naive.detach().numpy(), atol=1e-5)


def test_texts():
    assert pointad_plus.templates("rope") == {
        "rendering": ("object.", "damaged object."),
        "geometry": ("point cloud.", "damaged point cloud."),
    }


def test_each_system_says_which_losses_teach_which_prompts():
    """A layer's embeddings get a gradient from the losses that its entry names, and from no others."""
    case, layers = Case(5), {"the rendering prompts": "rendering", "the geometry prompts": "geometry"}
    embeddings = case.float_embeddings()
    terms = values(pointad_plus.loss_terms(embeddings, case.sample.on(CPU), case.targets, Settings()))
    for name in ("pointad_plus", "pointad_plus_coop"):
        for what, losses in SYSTEMS[name].teaching.items():
            leaf = embeddings[layers[what]]
            reach = {
                loss
                for loss, term in terms.items()
                if torch.autograd.grad(term, leaf, retain_graph=True, allow_unused=True)[0] is not None
            }
            assert reach == set(losses)
