"""Training: batches, a step against the gradient of the whole batch, what is refused, and the cache."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from cases import CPU, random_scan, values
from toy import GRID, SIZE

from pointad_core.clip.loading import load_clip
from pointad_core.errors import InputError
from pointad_core.methods import pointad, pointad_plus
from pointad_core.methods.aggregation import patch_indices
from pointad_core.methods.interface import Settings
from pointad_core.methods.prompts import PromptLearner, Prompts
from pointad_core.methods.registry import SYSTEMS
from pointad_core.methods.segmentation import Aggregation, PointSample
from pointad_core.methods.targets import make_targets
from pointad_core.methods.training import Adam, batches, cached, mix_views, n_bytes, train, train_step


@pytest.fixture(scope="module")
def clip():
    return load_clip("pointad-pocket", 1, random_seed=111)


def first(clip, texts=("object.", "damaged object.")):
    return PromptLearner.first(clip, texts, Settings(deep_blocks=3), torch.Generator().manual_seed(0))


pointad_entry = SYSTEMS["pointad"]


def weigh(entry, **weights):
    return Settings.of({"loss_weights": weights}, entry.losses)


def unit(x):
    return torch.nn.functional.normalize(x, dim=-1)


def example(seed):
    """A scan as it is trained on, its features of length 1."""
    sample, labels, masks = random_scan(seed, dim=128)
    sample = replace(sample, views=unit(sample.views - 0.5), patches=unit(sample.patches - 0.5))
    return sample, make_targets(sample, labels, masks, True)


def aggregated_example():
    """The same with what G-aggregation needs: each point's neighbours are the next two."""
    sample, targets = example(3)
    n = sample.visible.shape[1]
    following = (torch.arange(n)[:, None] + torch.tensor([1, 2])) % n
    index = patch_indices(sample.pixels, SIZE, GRID).int()
    constants = Aggregation(index, following.int(), torch.full((n, 2), 0.5), torch.ones(n), 0.5)
    return replace(sample, aggregation=constants), targets


def test_batches_visit_every_scan_once_an_epoch():
    steps = batches(10, Settings(epochs=3, batch_size=4), torch.Generator().manual_seed(0))
    assert [epoch for epoch, _ in steps] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [len(batch) for _, batch in steps] == [4, 4, 2] * 3
    orders = [[index for number, batch in steps if number == epoch for index in batch] for epoch in (1, 2, 3)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1]


def test_a_step_follows_the_gradient_of_the_whole_batch(clip):
    """Clouds one after the other, text tower once: the same gradient as all at once."""
    scans = [example(seed) for seed in (1, 2)]
    settings = weigh(pointad_entry, local_2d=0.5, global_2d=2)
    pair = first(clip)
    still = torch.optim.SGD([pair.context, pair.deep], lr=0)
    row = train_step(pointad, Prompts({"rendering": pair}), still, scans, 2, settings, CPU)
    got = pair.context.grad, pair.deep.grad
    embeddings = {"rendering": pair.embeddings()}
    total = 0.0
    for sample, targets in scans:
        terms = values(pointad.loss_terms(embeddings, sample.on(CPU), targets, settings))
        total += (terms["global_3d"] + terms["local_3d"] + 2 * terms["global_2d"] + 0.5 * terms["local_2d"]) / 2
    for a, b in zip(got, torch.autograd.grad(total, (pair.context, pair.deep)), strict=True):
        assert b.abs().max() > 1e-3
        torch.testing.assert_close(a, b, rtol=1e-3, atol=5e-6)
    assert row["total"] == pytest.approx(total.item(), rel=1e-5)
    assert list(row) == ["global_3d", "local_3d", "global_2d", "local_2d", "total"]


@pytest.mark.parametrize("n", [1, 3, 4])
def test_mixed_views_follow_the_published_order(n):
    """Chunks of n rows of the whole batch, stacked and averaged: cloud by cloud only for one cloud."""
    scans = [example(seed) for seed in range(n)]
    k = len(scans[0][0].views)
    rows = torch.cat([sample.views for sample, _ in scans])
    stacked = torch.stack(torch.chunk(rows, k), dim=1)  # n, K, d
    for (mixed, targets), (sample, same), wanted in zip(mix_views(scans), scans, stacked, strict=True):
        torch.testing.assert_close(mixed.mixed, wanted, rtol=0, atol=0)
        assert targets is same
        assert torch.equal(mixed.views, sample.views)
        assert torch.equal(mixed.mixed, sample.views) == (n == 1)


def test_a_step_with_mixed_views_changes_the_global_3d_loss_alone(clip):
    scans = [example(seed) for seed in range(3)]
    # Of three clouds one is good: as defective ones alike, they could change places.
    scans[1] = scans[1][0], replace(scans[1][1], defective=torch.tensor(False))
    own, mixed = (
        train_step(
            pointad,
            Prompts({"rendering": (pair := first(clip))}),
            torch.optim.SGD([pair.context], lr=0),
            scans,
            3,
            replace(weigh(pointad_entry), global_3d=global_3d),
            CPU,
        )
        for global_3d in ("logit_mean", "mixed_logit_mean")
    )
    assert {name for name in own if own[name] != mixed[name]} == {"global_3d", "total"}
    g = first(clip).embeddings().detach().double()
    rows = torch.cat([sample.views for sample, _ in scans]).double() @ g.T / 0.07
    means = torch.stack(torch.chunk(rows, len(rows) // 3), dim=1).mean(1)
    wanted = torch.nn.functional.cross_entropy(means, torch.tensor([1, 0, 1])).item()
    assert mixed["global_3d"] == pytest.approx(wanted, rel=1e-5)


def test_views_that_a_system_does_not_have_are_not_mixed():
    with pytest.raises(InputError, match="reads clouds alone and has no views"):
        mix_views([(PointSample(torch.zeros(3, 3)), None)])


class Numbers:
    """The least there is to learn: two numbers."""

    def __init__(self):
        self.used, self.other = (torch.full((1,), value, requires_grad=True) for value in (2.0, 3.0))

    def parameters(self):
        return [self.used, self.other, torch.zeros(0, 4, requires_grad=True)]

    def state(self):
        return {"used": self.used * 1, "other": self.other * 1, "fixed": torch.ones(1)}


def step(terms, weights, n=1):
    """A step on clouds whose terms are functions of the state; what was learnt, and the row."""
    learner = Numbers()
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    module = SimpleNamespace(
        loss_terms=lambda state, *_: {name: lambda term=term: term(state) for name, term in terms.items()}
    )
    row = train_step(module, learner, optimizer, [example(0)] * n, n, Settings(loss_weights=weights), CPU)
    return learner.used.item(), learner.other.item(), row


def refuse(state):
    raise AssertionError("a loss of weight 0 was computed")


def both(state):
    return (state["used"] * state["other"]).sum()


def test_a_loss_of_weight_0_is_not_computed():
    weights = {"both": 0.5, "refused": 0.0, "broken": 0}
    used, other, row = step({"refused": refuse, "both": both, "broken": lambda state: both(state) * math.nan}, weights)
    assert row == {"both": 6, "total": 3}
    assert (used, other) == pytest.approx((2 - 0.1 * 1.5, 3 - 0.1 * 1.0))


def test_a_batch_has_the_mean_of_its_clouds():
    assert step({"both": both}, {"both": 1.0}, n=3) == step({"both": both}, {"both": 1.0})


def learn(terms, weights, n=1, learner=None, **settings):
    """A training on n clouds of which the index is all that is known; terms: of the state and an index."""
    sample, _ = example(0)
    module = SimpleNamespace(loss_terms=lambda state, sample, index, settings: terms(state, index))
    given = Settings(loss_weights=weights, learning_rate=0.1, **settings)
    generator = torch.Generator().manual_seed(0)
    return train(module, learner or Numbers(), lambda index: (sample, index), n, given, generator, CPU)


def test_losses_that_leave_something_untouched_are_refused():
    told = "loss_weights: the losses one, two leave a part of what scores at its start; give a weight to another"

    def terms(state, index):
        used = state["used"].sum()
        return {"one": lambda: used, "two": lambda: 2 * used, "three": lambda: both(state)}

    with pytest.raises(InputError, match=told):
        learn(terms, {"one": 1.0, "two": 1.0, "three": 0.0})
    learn(terms, {"one": 1.0, "two": 1.0, "three": 0.1})
    with pytest.raises(InputError, match="the losses nothing leave a part of what scores at its start"):
        learn(lambda state, index: {"nothing": lambda: state["fixed"].sum()}, {"nothing": 1.0})


@pytest.mark.parametrize("batch_size", [1, 2])
def test_what_only_some_clouds_reach_is_learnt_from_them(batch_size):
    """One cloud of five reaches the second number; a step without it leaves that number as it is."""
    found = []

    class Watched(Numbers):
        def state(self):
            found.append(self.other.item())
            return super().state()

    def terms(state, index):
        return {"some": lambda: both(state) if index == 3 else state["used"].sum()}

    learner, settings = Watched(), {"batch_size": batch_size, "epochs": 3}
    rows = learn(terms, {"some": 1.0}, 5, learner, **settings)
    steps = batches(5, Settings(**settings), torch.Generator().manual_seed(0))
    assert len(rows) == len(steps) == 3 * math.ceil(5 / batch_size)
    changed = [before != after for before, after in pairwise([*found, learner.other.item()])]
    assert changed == [3 in batch for _, batch in steps]


def test_what_no_cloud_of_the_first_epoch_reaches_is_refused_after_it():
    """A loss that reaches the second number from the second epoch on comes too late."""
    seen = []

    def terms(state, index):
        seen.append(index)
        return {"late": lambda: both(state) if len(seen) > 5 else state["used"].sum()}

    with pytest.raises(InputError, match="the losses late leave a part of what scores at its start"):
        learn(terms, {"late": 1.0}, 5, batch_size=2, epochs=2)
    assert sorted(seen) == [0, 1, 2, 3, 4]


def test_losses_that_the_module_does_not_know_are_refused():
    with pytest.raises(InputError, match=r"loss_terms gives \['both'\], and nothing for \['far', 'near'\]"):
        step({"both": both}, {"both": 1.0, "near": 1.0, "far": 2.0, "none": 0.0})


def test_geometry_prompts_need_a_loss_that_reaches_them(clip):
    """PointAD+ by the losses of PointAD alone."""
    entry, scan = SYSTEMS["pointad_plus"], aggregated_example()
    learner = Prompts({layer: first(clip, texts) for layer, texts in pointad_plus.templates("").items()})
    before = [part.detach().clone() for part in learner.parameters()]

    def learn(**weights):
        settings = replace(weigh(entry, **weights), epochs=1, learning_rate=0.1)
        train(pointad_plus, learner, lambda index: scan, 1, settings, torch.Generator(), CPU)

    def unchanged():
        return [torch.equal(a, b) for a, b in zip(before, learner.parameters(), strict=True)]

    told = "losses global_3d, local_3d, global_2d, local_2d leave .* give a weight to another, or take a system without"
    with pytest.raises(InputError, match=told):
        learn(geometry=0, cross=0)
    assert unchanged() == [False, False, True, True]
    for weights in ({"geometry": 0}, {"cross": 0}):
        learn(**weights)
    assert unchanged() == [False] * 4


def test_deep_tokens_that_are_switched_off_need_no_gradient(clip):
    pair = PromptLearner.first(clip, ("object.", "damaged object."), Settings(deep_blocks=0), torch.Generator())
    settings = replace(weigh(pointad_entry), epochs=1)
    train(pointad, Prompts({"rendering": pair}), lambda index: example(1), 1, settings, torch.Generator(), CPU)
    assert pair.deep.numel() == 0


def test_nothing_is_updated_where_the_loss_is_not_finite():
    used, other, row = step({"both": lambda state: both(state) * math.inf}, {"both": 1.0})
    assert (used, other, row["total"]) == (2, 3, math.inf)


def test_training_stops_at_a_loss_that_is_not_finite(clip):
    def loss_terms(embeddings, sample, targets, settings):
        seen.append(1)
        return {"global_2d": lambda: embeddings["rendering"].sum() * (math.nan if len(seen) == 4 else 1.0)}

    seen: list[int] = []
    with pytest.raises(InputError, match=r"not finite at step 2 \(epoch 2\)"):
        train(
            SimpleNamespace(loss_terms=loss_terms),
            Prompts({"rendering": first(clip)}),
            lambda index: example(0),
            2,
            Settings(epochs=5, loss_weights={"global_2d": 1.0}),
            torch.Generator(),
            CPU,
        )


def test_the_cache_keeps_to_its_budget():
    reads = Counter()
    sample, labels, masks = random_scan(0)
    item = sample, make_targets(sample, labels, masks, True)
    size = sum(map(n_bytes, item))
    assert size > sample.patches.nbytes + masks.nbytes

    def load(index):
        reads[index] += 1
        return item

    get = cached(load, torch.device("cpu"), budget=2 * size + size // 2)
    for _ in range(3):
        for index in range(4):
            assert get(index) is item
    assert reads == {0: 1, 1: 1, 2: 3, 3: 3}


def test_adam_is_torchs_to_the_bit():
    generator = torch.Generator().manual_seed(3)
    ours = [torch.randn(shape, generator=generator, requires_grad=True) for shape in [(5, 3), (7,), (2, 2)]]
    theirs = [part.detach().clone().requires_grad_() for part in ours]
    settings = {"lr": 0.01, "betas": (0.6, 0.95)}
    optimizers = [(Adam(ours, **settings), ours), (torch.optim.Adam(theirs, **settings), theirs)]
    for step in range(12):
        target = torch.randn(3, generator=generator)
        for optimizer, parts in optimizers:
            optimizer.zero_grad()
            # The last is reached from the fifth step on, and not in every one.
            loss = (parts[0] @ target).square().sum() + parts[1].sin().sum()
            (loss + (parts[2].exp().sum() if step >= 4 and step % 3 else 0)).backward()
            optimizer.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
