"""Table 6: what each of its rows learns by and scores with, against the direct form of the paper."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from cases import CPU, Case

from pointad_core.methods.interface import Settings
from pointad_core.methods.registry import SYSTEMS, load
from pointad_core.methods.training import train_step

FOUR = ("global_3d", "local_3d", "global_2d", "local_2d")
ROWS = {  # system, losses that have no weight, alpha, the losses that are left and the branches that score
    "3D global": ("pointad", FOUR[1:], 0.5, {"global_3d"}, ("implicit",)),
    "3D local": ("pointad", ("global_3d", "global_2d", "local_2d"), 0.5, {"local_3d"}, ("implicit",)),
    "2D global": ("pointad", ("global_3d", "local_3d", "local_2d"), 0.5, {"global_2d"}, ("implicit",)),
    "2D local": ("pointad", FOUR[:3], 0.5, {"local_2d"}, ("implicit",)),
    "3D global and local": ("pointad", FOUR[2:], 0.5, set(FOUR[:2]), ("implicit",)),
    "and 2D global": ("pointad", FOUR[3:], 0.5, set(FOUR[:3]), ("implicit",)),
    "and 2D local": ("pointad", (), 0.5, set(FOUR), ("implicit",)),
    "and first stage": ("pointad_plus", ("cross",), 0, {*FOUR, "geometry"}, ("implicit", "explicit")),
    "and second stage": ("pointad_plus", ("cross",), 0.5, {*FOUR, "geometry"}, ("implicit", "explicit")),
    "and cross-hierarchy": ("pointad_plus", (), 0.5, {*FOUR, "geometry", "cross"}, ("implicit", "explicit")),
    # No row of the table, but what its columns allow: the neighbours' mean alone.
    "second stage alone": ("pointad_plus", ("cross",), 1, {*FOUR, "geometry"}, ("implicit", "explicit")),
}


class Embeddings:
    """Text embeddings that are learnt themselves."""

    def __init__(self, case: Case, layers: list[str]) -> None:
        self.leaves = {layer: case.float_embeddings()[layer] for layer in layers}

    def parameters(self) -> list[torch.Tensor]:
        return list(self.leaves.values())

    def state(self) -> dict[str, torch.Tensor]:
        return dict(self.leaves)


@pytest.mark.parametrize("defective", [True, False])
@pytest.mark.parametrize("row", ROWS)
def test_a_row_learns_by_its_losses_and_scores_with_what_they_teach(row, defective):
    system, off, alpha, losses, branches = ROWS[row]
    module, case = load(SYSTEMS[system]), Case(len(row), defective, alpha)
    settings = Settings.of({"loss_weights": dict.fromkeys(off, 0)}, SYSTEMS[system].losses)
    learner = Embeddings(case, list(module.templates("")))
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.0)
    found = train_step(module, learner, optimizer, [(case.sample, case.targets)], 1, settings, CPU)
    naive = case.naive_terms()
    assert found.keys() == {*losses, "total"}
    total = sum(naive[name] for name in losses)
    assert found["total"] == pytest.approx(total.item(), rel=2e-5, abs=2e-6)
    # A branch exists where a loss teaches it: each layer that is there gets the gradient of these losses.
    wanted = torch.autograd.grad(total, [case.embeddings[layer] for layer in learner.leaves])
    for (layer, leaf), gradient in zip(learner.leaves.items(), wanted, strict=True):
        torch.testing.assert_close(leaf.grad.double(), gradient, rtol=1e-4, atol=1e-5, msg=lambda m, at=layer: at + m)
    assert set(learner.leaves) == {"rendering", "geometry"}.intersection(
        {"implicit": "rendering", "explicit": "geometry"}[branch] for branch in branches
    )
    _, implicit, explicit = case.naive_scores()
    parts = {"implicit": implicit, "explicit": explicit}
    scores = sum(parts[branch] for branch in branches) / len(branches)
    state = {layer: leaf.detach() for layer, leaf in learner.leaves.items()}
    got = module.point_scores(state, case.sample.on(CPU), settings)
    np.testing.assert_allclose(got.numpy(), scores.detach().numpy(), atol=1e-5)


def test_the_stages_of_g_aggregation_differ():
    """What the rows are told apart by: without it the test above could not fail."""
    explicit = [Case(3, True, alpha).naive_scores()[2].detach().numpy() for alpha in (0, 0.5, 1)]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert np.abs(explicit[one] - explicit[other]).max() > 0.01


@pytest.mark.parametrize("name", ["config", "paper"])
def test_both_configs_have_these_rows_in_the_papers_order(name):
    config = yaml.safe_load((Path(__file__).parents[2] / f"config/{name}.yaml").read_text())
    modules = config["ablations"]["modules"]
    said = {}
    for label, row in modules["rows"].items():
        row = row or {}
        weights = row.get("method", {}).get("loss_weights", {})
        off = {loss for loss, weight in weights.items() if weight == 0}
        assert len(off) == len(weights)
        system = config["methods"][row.get("base", modules["base"])]["system"]
        said[label] = system, off, row.get("aggregation", {}).get("alpha", 0.5)
    rows = {label: (system, set(off), alpha) for label, (system, off, alpha, *_) in ROWS.items()}
    del rows["second stage alone"]
    assert list(said.items()) == [("vanilla", ("clip_rendering", set(), 0.5)), *rows.items()]
