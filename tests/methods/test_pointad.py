"""PointAD, and CLIP + Rendering, which scores like it: texts, losses and scores against the paper's direct form."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import CPU, Case, values

from pointad_core.methods import clip_rendering, pointad
from pointad_core.methods.interface import Settings
from pointad_core.methods.prompts import Prompts
from pointad_core.methods.registry import RENDERING
from pointad_core.methods.training import train_step

TERMS = ["global_3d", "local_3d", "global_2d", "local_2d"]


def test_texts():
    assert clip_rendering.templates("cable gland")["rendering"] == (
        "A photo of a normal cable gland",
        "A photo of an anomalous cable gland",
    )
    assert pointad.templates("rope") == {"rendering": ("object.", "damaged object.")}


def test_pointad_has_the_four_rendering_terms():
    case = Case(3)
    terms = pointad.loss_terms(case.float_embeddings(), case.sample.on(CPU), case.targets, Settings())
    assert list(terms) == TERMS == list(RENDERING)
    wanted = case.naive_terms()
    for name, value in values(terms).items():
        assert value.item() == pytest.approx(wanted[name].item(), rel=2e-5, abs=2e-6), name


@pytest.mark.parametrize("system", [pointad, clip_rendering])
def test_scores(system):
    case = Case(6)
    _, implicit, _ = case.naive_scores()
    state, sample = case.float_embeddings(), case.sample.on(CPU)
    got = system.point_scores(state, sample, Settings()).detach().numpy()
    np.testing.assert_allclose(got, implicit.detach().numpy(), atol=1e-5)
    views, r = case.features["global"].astype(float), case.embeddings["rendering"].detach().numpy()
    p = [np.exp(view @ r[1] / 0.07) / (np.exp(view @ r[0] / 0.07) + np.exp(view @ r[1] / 0.07)) for view in views]
    assert system.global_score(state, sample, Settings()).item() == pytest.approx(np.mean(p), abs=1e-5)
    assert system.object_score(0.4, np.array([[0.1, 0.9], [0.2, 0.3]])) == pytest.approx(0.65)


class Learner:
    """Text embeddings that are learnt themselves."""

    def __init__(self, state):
        self._state = state

    def parameters(self):
        return list(self._state.values())

    def state(self):
        return {name: part * 1.0 for name, part in self._state.items()}


def test_a_loss_without_weight_is_not_computed():
    """Nothing that it alone reads matters: here renders whose masks have a count that is no number."""
    case, settings = Case(3), Settings.of({"loss_weights": {"local_2d": 0}}, RENDERING)
    nan = torch.full_like(case.targets.pixels.labelled, torch.nan)
    broken = replace(case.targets, pixels=replace(case.targets.pixels, labelled=nan))
    rows = []
    for targets, weights in ((case.targets, settings), (broken, settings), (broken, Settings.of({}, RENDERING))):
        learner = Learner({"rendering": case.float_embeddings()["rendering"]})
        optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
        rows.append(train_step(pointad, learner, optimizer, [(case.sample, targets)], 1, weights, CPU))
    assert list(rows[0]) == [*TERMS[:3], "total"]
    assert rows[0] == rows[1]
    assert rows[1]["total"] == pytest.approx(sum(rows[1][name] for name in TERMS[:3]))
    assert np.isnan(rows[2]["total"])


def test_first_weights_and_restore_are_those_of_prompts_without_names(tmp_path):
    model = {"model": "pointad-pocket", "random_seed": 1, "vv_blocks": 1}
    settings = Settings(deep_blocks=3)
    prompts = pointad.first_weights("", settings, model, torch.Generator().manual_seed(0), CPU)
    assert isinstance(prompts, Prompts)
    state = pointad.restore(prompts.tensors(), settings, {"model": "is not needed"}, CPU)("whatever")
    torch.testing.assert_close(state["rendering"], prompts.state()["rendering"].detach())
