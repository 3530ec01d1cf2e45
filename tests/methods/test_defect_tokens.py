"""Defect tokens: prototypes, farthest features and tokens against loops; what a step of training makes of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import CPU, MODEL, Case, values
from toy import GRID, SIZE, unit

from pointad_core.errors import InputError
from pointad_core.methods import pointad_plus
from pointad_core.methods.defect_tokens import DefectToken, find_direction, find_prototypes, find_shown
from pointad_core.methods.interface import Settings, state_for
from pointad_core.methods.registry import SYSTEMS
from pointad_core.methods.training import train, train_step


def shown(sample):
    """Features of the patches that show a point."""
    return sample.patches[find_shown(sample)]


SETTINGS = Settings.of({"deep_blocks": 3, "defect_features": 5, "prototypes": 3}, SYSTEMS["pointad_plus"].losses)


def scan(seed, defective=True):
    """A scan whose features have the width of the model's."""
    case = Case(seed, defective)
    rng = np.random.default_rng(100 + seed)
    widen = rng.normal(size=(16, 128))
    wide = {
        name: torch.from_numpy(unit(getattr(case.sample, name).numpy().astype(float) @ widen)).half()
        for name in ("views", "patches")
    }
    return replace(case.sample, **wide).on(CPU), case.targets


def first(seed=0, settings=SETTINGS):
    return pointad_plus.first_weights("", settings, MODEL, torch.Generator().manual_seed(seed), CPU)


def begun(seed=0):
    learner = first(seed)
    learner.begin([scan(7, defective=False)[0]])
    with torch.no_grad():
        for values_ in learner.token.maps.values():
            values_.mul_(20)
    return learner


def test_only_patches_that_show_a_point_count():
    sample, _ = scan(1)
    # Points of one corner alone, and one view that sees none.
    sample.visible[:] &= sample.pixels[..., 0] < SIZE // 2
    sample.visible[2] = False
    wanted = []
    for view in range(len(sample.patches)):
        for patch in range(GRID**2):
            row, column = divmod(patch, GRID)
            for (x, y), seen in zip(sample.pixels[view].tolist(), sample.visible[view], strict=True):
                if seen and (y * GRID // SIZE, x * GRID // SIZE) == (row, column):
                    wanted.append(sample.patches[view, patch])
                    break
    assert 0 < len(wanted) < sample.patches.shape[0] * GRID**2
    assert torch.equal(shown(sample), torch.stack(wanted))


def naive_prototypes(features, count):
    """k-means by the cosine in float64, a feature at a time; as the docstring says it."""
    mean = features.mean(0)
    centres = [max(features, key=lambda f: f @ mean)]
    while len(centres) < count:
        centres.append(min(features, key=lambda f: max(f @ c for c in centres)))
    for _ in range(50):
        members = [[] for _ in centres]
        for feature in features:
            members[int(np.argmax([feature @ c for c in centres]))].append(feature)
        centres = [unit(np.sum(own, axis=0)) if own else c for own, c in zip(members, centres, strict=True)]
    return np.array(centres)


@pytest.mark.parametrize("count", [1, 4, 9])
def test_prototypes_are_the_centres_of_clusters(count):
    features = unit(np.random.default_rng(count).normal(size=(60, 6)))
    found = find_prototypes(torch.from_numpy(features), count)
    np.testing.assert_allclose(found, naive_prototypes(features, count), atol=1e-5)
    assert found.dtype == torch.float32
    assert torch.equal(found, find_prototypes(torch.from_numpy(features), count))


def test_a_cluster_without_members_keeps_its_centre():
    features = torch.eye(3)[[0, 0, 1]]
    found = find_prototypes(features, 3)  # the third start is one of the first two over again
    assert found.isfinite().all()
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))


def test_more_prototypes_than_features_are_refused():
    with pytest.raises(InputError, match="prototypes is 4, but the good scans have only 3 patches with points"):
        find_prototypes(torch.eye(3), 4)


def test_the_farthest_features_are_those_with_the_farthest_nearest_prototype():
    rng = np.random.default_rng(2)
    features, prototypes, seen = unit(rng.normal(size=(40, 5))), unit(rng.normal(size=(4, 5))), rng.random(40) < 0.6
    distance = {place: min(np.linalg.norm(features[place] - p) for p in prototypes) for place in np.flatnonzero(seen)}
    order = sorted(distance, key=lambda place: -distance[place])
    given = [torch.from_numpy(array) for array in (features, seen, prototypes)]
    for count in (1, 6, 40):
        wanted = unit(features[order[:count]].mean(0))
        np.testing.assert_allclose(find_direction(*given, count), wanted, atol=1e-12)
    with pytest.raises(InputError, match="prototypes have 4 dimensions, the features have 5; train the prompts again"):
        find_direction(*given[:2], torch.eye(4), 6)


def test_a_token_is_the_map_of_the_farthest_features_mean_direction():
    sample, _ = scan(3)
    token = begun().token
    assert isinstance(token, DefectToken)
    features = shown(sample).double().numpy()
    near = (features @ token.prototypes.double().numpy().T).max(1)
    direction = unit(features[np.argsort(near)[:5]].mean(0))
    found = token.of(sample)
    assert list(found) == ["rendering", "geometry"]
    for layer, values_ in token.maps.items():
        wanted = values_.detach().double().numpy() @ direction
        assert np.abs(wanted).max() > 0.01
        np.testing.assert_allclose(found[layer].detach(), wanted, atol=1e-5)


def test_prototypes_come_from_good_scans_alone_and_never_without_one():
    scans = [scan(seed, defective) for seed, defective in ((1, True), (2, False), (3, False))]
    learner = first()
    settings = replace(SETTINGS, epochs=1)
    train(pointad_plus, learner, scans.__getitem__, 3, settings, torch.Generator().manual_seed(0), CPU)
    good = torch.cat([shown(sample) for sample, targets in scans if not targets.defective])
    torch.testing.assert_close(learner.token.prototypes, find_prototypes(good, 3))
    with pytest.raises(InputError, match="defect_features: no good scan, from which prototypes could be learnt"):
        train(pointad_plus, first(), scans.__getitem__, 1, settings, torch.Generator().manual_seed(0), CPU)


def test_of_a_scan_with_many_patches_some_are_taken_evenly(monkeypatch):
    sample, _ = scan(4, defective=False)
    monkeypatch.setattr("pointad_core.methods.defect_tokens.MOST", 10)
    features = shown(sample)
    found = first().token.learn([sample], 3).prototypes
    torch.testing.assert_close(found, find_prototypes(features[:: -(-len(features) // 10)], 3))


def test_the_abnormal_embedding_is_each_scans_own_and_the_normal_one_is_not():
    learner = begun()
    one, other = (state_for(learner.state(), scan(seed)[0]) for seed in (1, 2))
    without = {layer: pair.embeddings() for layer, pair in learner.pairs.items()}
    for layer in ("rendering", "geometry"):
        torch.testing.assert_close(one[layer][0], other[layer][0], rtol=0, atol=0)
        torch.testing.assert_close(one[layer][0], without[layer][0])
        assert (one[layer][1] - other[layer][1]).abs().max() > 1e-3
        assert (one[layer][1] - without[layer][1]).abs().max() > 1e-3


def test_a_step_follows_the_gradient_of_the_whole_batch_through_every_scans_prompts():
    scans = [scan(seed) for seed in (1, 2)]
    learner = begun()
    parts = learner.parameters()
    assert len(parts) == 6
    row = train_step(pointad_plus, learner, torch.optim.SGD(parts, lr=0), scans, 2, SETTINGS, CPU)
    got = [part.grad for part in parts]
    total = torch.zeros(())
    for sample, targets in scans:
        state = state_for(learner.state(), sample)
        total = total + sum(values(pointad_plus.loss_terms(state, sample, targets, SETTINGS)).values()) / 2
    for a, b in zip(got, torch.autograd.grad(total, parts), strict=True):
        assert b.abs().max() > 1e-6
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)
    assert row["total"] == pytest.approx(total.item(), rel=1e-5)


def test_training_twice_gives_the_same_and_what_is_kept_scores_alike():
    scans = [scan(seed, defective) for seed, defective in ((1, True), (2, False), (3, True))]
    kept = []
    for _ in range(2):
        learner = first()
        train(
            pointad_plus,
            learner,
            scans.__getitem__,
            3,
            replace(SETTINGS, epochs=2),
            torch.Generator().manual_seed(5),
            CPU,
        )
        kept.append(learner.tensors())
    assert sorted(kept[0]) == sorted(
        ["prototypes"]
        + [
            f"{layer}.{part}"
            for layer in ("geometry", "rendering")
            for part in ("context_abnormal", "context_normal", "deep", "defect_map")
        ]
    )
    for name, part in kept[0].items():
        assert torch.equal(part, kept[1][name])
        assert not part.requires_grad
    assert not torch.equal(kept[0]["rendering.defect_map"], first().token.maps["rendering"])
    restored = pointad_plus.restore(kept[0], SETTINGS, MODEL, CPU)("any")
    for sample, _ in scans:
        one, other = state_for(restored, sample), state_for(learner.state(), sample)
        for layer in one:
            assert torch.equal(one[layer], other[layer])


def test_prompts_and_settings_that_do_not_agree_are_refused():
    learner = begun()
    with pytest.raises(InputError, match="defect_features is 0, but the prompts take defect tokens in"):
        pointad_plus.restore(learner.tensors(), replace(SETTINGS, defect_features=0), MODEL, CPU)
    plain = first(settings=replace(SETTINGS, defect_features=0)).tensors()
    with pytest.raises(InputError, match="defect_features is 5, but the prompts have been learnt without"):
        pointad_plus.restore(plain, SETTINGS, MODEL, CPU)


def test_a_token_takes_a_place_in_the_text_tower():
    full = replace(SETTINGS, context_length=70)
    first(settings=full)
    with pytest.raises(
        InputError, match=r"is 71, .* 77 tokens, 7 of them taken by 'damaged point cloud.' and a defect"
    ):
        first(settings=replace(full, context_length=71))
    first(settings=replace(full, context_length=71, defect_features=0))
