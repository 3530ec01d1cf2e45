"""SDM's 3-D expert: against loops in float64, a gradient by differences, and a surface that it learns."""

import math

import pytest
import torch

from pointad_core.methods import signed_distance
from pointad_core.methods.local_patches import normalise_patches
from pointad_core.methods.signed_distance import draw_queries, first_expert, pull, pull_loss, train_expert

SMALL = ((8, 12, 16, 10, 6), 20)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def waves(n_patches, n_points, seed):
    """Patches of a wavy surface, each turned about its own axis."""
    rng = generator(seed)
    flat = torch.rand(n_patches, n_points, 2, generator=rng) - 0.5
    phase = 6.3 * torch.rand(n_patches, 1, generator=rng)
    height = 0.1 * torch.sin(5 * flat[..., 0] + phase)
    return normalise_patches(torch.cat([flat, height[..., None]], dim=2))


@torch.no_grad()
def layer(linear, x):
    return [
        float(b) + sum(float(w) * v for w, v in zip(row, x, strict=True))
        for row, b in zip(linear.weight, linear.bias, strict=True)
    ]


@torch.no_grad()
def norm(batch, x):
    parts = zip(x, batch.running_mean, batch.running_var, batch.weight, batch.bias, strict=True)
    return [(v - float(m)) / math.sqrt(float(var) + batch.eps) * float(w) + float(b) for v, m, var, w, b in parts]


def relu(x):
    return [max(v, 0.0) for v in x]


def naive_code(expert, patch):
    features = []
    for point in patch.tolist():
        x = point
        for index in (0, 3, 6):
            x = relu(norm(expert.points[index + 1], layer(expert.points[index], x)))
        features.append(x)
    x = [max(column) for column in zip(*features, strict=True)]
    for index in (0, 3):
        x = relu(norm(expert.whole[index + 1], layer(expert.whole[index], x)))
    return x


def naive_distance(expert, code, place):
    x = relu(layer(expert.place, place)) + relu(layer(expert.code, code))
    x = relu(layer(expert.joint, x))
    for linear in expert.hidden:
        x = relu(layer(linear, x))
    return layer(expert.distance, x)[0]


def some_expert():
    expert = first_expert(*SMALL, generator())
    rng = generator(1)
    with torch.no_grad():
        expert.distance.weight.normal_(0, 0.3, generator=rng)
        for module in expert.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                for values in (module.running_mean, module.weight, module.bias):
                    values.normal_(0.5, 0.3, generator=rng)
                module.running_var.uniform_(0.5, 2, generator=rng)
    return expert.eval()


def test_codes_and_distances_are_those_of_loops():
    expert, patches = some_expert(), waves(3, 9, 2)
    places = torch.randn(3, 4, 3, generator=generator(3))
    codes = expert.encode(patches)
    distances = expert.signed_distance(codes, places)
    assert codes.shape == (3, 6)
    assert distances.shape == (3, 4)
    for index in range(3):
        code = naive_code(expert, patches[index])
        torch.testing.assert_close(codes[index], torch.tensor(code), rtol=1e-4, atol=1e-5)
        wanted = [naive_distance(expert, code, place) for place in places[index].tolist()]
        torch.testing.assert_close(distances[index], torch.tensor(wanted), rtol=1e-4, atol=1e-5)


def test_the_papers_sizes():
    shapes = {
        name: tuple(part.shape)
        for name, part in first_expert((64, 128, 1024, 512, 128), 512, generator()).named_parameters()
        if name.endswith("weight") and part.ndim == 2
    }
    assert list(shapes.values()) == [
        *((64, 3), (128, 64), (1024, 128), (512, 1024), (128, 512)),
        *((512, 128), (512, 3), (512, 1024), *[(512, 512)] * 7, (1, 512)),
    ]


@torch.enable_grad()
def test_pull_moves_by_the_distance_against_its_gradient():
    expert = some_expert().double()
    codes, places = expert.encode(waves(2, 9, 4).double()), torch.randn(2, 3, 3, generator=generator(5)).double()
    moved = pull(expert, codes, places)
    for patch in range(2):
        for query in range(3):
            place = places[patch, query]

            def distance(x, code=codes[patch]):
                return expert.signed_distance(code[None], x[None, None]).item()

            steps = 1e-6 * torch.eye(3, dtype=torch.float64)
            slope = torch.tensor([(distance(place + h) - distance(place - h)) / 2e-6 for h in steps])
            wanted = place - distance(place) * slope / slope.norm()
            torch.testing.assert_close(moved[patch, query], wanted, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_mean_distance_to_the_nearest_points():
    expert, patches = some_expert(), waves(2, 30, 6)
    places, nearest = draw_queries(patches, generator(7))
    wanted = []
    for index in range(2):
        for query in range(30):
            gaps = (patches[index] - places[index, query]).norm(dim=1)
            assert torch.equal(nearest[index, query], patches[index, int(gaps.argmin())])
            own = slice(index, index + 1)
            moved = pull(expert, expert.encode(patches[own]), places[own, query : query + 1])
            wanted.append((moved[0, 0] - nearest[index, query]).norm().item())
    assert pull_loss(expert, patches, places, nearest).item() == pytest.approx(sum(wanted) / len(wanted), rel=1e-4)


def test_queries_spread_as_far_as_a_tenth_of_the_points():
    patches = waves(200, 80, 8)
    gaps = torch.stack([(patch[:, None] - patch[None]).norm(dim=2).sort(1).values[:, 8] for patch in patches])
    places, _ = draw_queries(patches, generator(9))
    ratio = ((places - patches) / gaps[..., None]).flatten(1).std(1)
    near = (ratio < 0.75).float().mean()
    assert near == pytest.approx(0.65, abs=0.1)
    assert ratio[ratio < 0.75].mean() == pytest.approx(0.5, abs=0.02)
    assert ratio[ratio > 0.75].mean() == pytest.approx(1.0, abs=0.03)
    # A patch of few points takes the nearest neighbour.
    assert draw_queries(waves(2, 5, 1), generator())[0].isfinite().all()


def test_it_learns_a_surface():
    expert = first_expert((32, 64, 128, 64, 32), 64, generator())
    patches = waves(64, 80, 10)
    losses = [loss for _, loss in train_expert(expert, patches, 40, 16, 2e-3, generator(1))]
    assert len(losses) == 40 * 4
    assert sum(losses[-8:]) < 0.5 * sum(losses[:8])
    with torch.no_grad():
        unseen = waves(16, 80, 11)
        codes = expert.encode(unseen)
        off = unseen + torch.tensor([0, 0, 0.15])
        on_surface, beside = (expert.signed_distance(codes, places).abs().mean() for places in (unseen, off))
    assert on_surface < 0.5 * beside
    assert not expert.training


def test_the_same_seed_gives_the_same_expert():
    def trained(seed):
        expert = first_expert(*SMALL, generator(seed))
        losses = list(train_expert(expert, waves(7, 20, 0), 2, 3, 1e-3, generator(seed)))
        return losses, expert.state_dict()

    losses, weights = trained(0)
    assert [epoch for epoch, _ in losses] == [1, 1, 2, 2]
    again, others = trained(0), trained(1)
    assert losses == again[0]
    assert all(torch.equal(part, again[1][name]) for name, part in weights.items())
    assert losses != others[0]


def test_a_single_patch_cannot_be_learnt_from_alone():
    """Batch normalisation needs two values; whoever calls sees to that."""
    expert = first_expert(*SMALL, generator())
    with pytest.raises(ValueError, match="more than 1 value"):
        list(train_expert(expert, waves(1, 20, 0), 1, 4, 1e-3, generator()))
    assert signed_distance.HIDDEN == 7
