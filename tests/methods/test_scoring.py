"""Maps and scores of one scan against the formulas of Sec. 3.6.2 (whole categories: tests/stages/test_scores.py)."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import CPU, MODEL, TAU, Case, bilinear, softmax_abnormal
from scipy.ndimage import gaussian_filter
from toy import GRID, SIZE, unit

from pointad_core.errors import InputError
from pointad_core.methods import pointad
from pointad_core.methods.interface import Settings
from pointad_core.methods.registry import SYSTEMS
from pointad_core.methods.scoring import ask, restore, score_branches, score_rgb, score_scan
from pointad_core.storage.prompt_files import write_prompts


def smooth(image):
    return gaussian_filter(image, 4 * SIZE / 336, mode="reflect")


def place(scores, grid):
    """Scores at their pixels, one after the other."""
    image = np.zeros((SIZE, SIZE))
    for score, pixel in zip(scores, grid, strict=True):
        image[pixel // SIZE, pixel % SIZE] = score
    return image


def random_scan(seed, n=120):
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(SIZE * SIZE, n, replace=False)), rng.random(n).astype(np.float32), rng


def max_of(probability, smoothed):
    return probability + smoothed.max()


def system(points, probability, object_score):
    """A system that has these scores, whatever the scan."""
    scores, whole = torch.from_numpy(points), torch.tensor(probability, dtype=torch.float64)
    return SimpleNamespace(point_scores=lambda *_: scores, global_score=lambda *_: whole, object_score=object_score)


def score(system, state, sample, cloud, resolution, settings, photograph=None):
    """Arrays and object scores of a scan."""
    return score_scan(ask(system, state, sample, resolution, settings, photograph), system, cloud, resolution, settings)


def test_points_on_their_grid():
    grid, scores, _ = random_scan(0)
    unfiltered = Settings(smoothing_sigma=0)
    maps, _ = score(system(scores, 0.5, max_of), {}, None, {"grid": grid}, SIZE, unfiltered)
    assert maps["map_3d"].dtype == np.float32
    np.testing.assert_array_equal(maps["map_3d"], place(scores, grid).astype(np.float32))


def photograph(seed, dim=16):
    rng = np.random.default_rng(seed)
    view, patches = unit(rng.normal(size=dim)), unit(rng.normal(size=(GRID**2, dim)))
    return view, patches, unit(rng.normal(size=(2, dim)))


def test_map_and_probability_of_a_photograph():
    view, patches, g = (torch.from_numpy(part) for part in photograph(1))
    wanted = bilinear(softmax_abnormal(patches, g).view(GRID, GRID), SIZE).numpy()
    probability, scores = score_rgb((view.float(), patches.float()), g.float(), TAU, SIZE)
    np.testing.assert_allclose(scores, wanted, atol=1e-6)
    assert probability == pytest.approx(softmax_abnormal(view, g).item(), abs=1e-6)
    probability, scores = score_rgb((view.half(), patches.half()), g.float(), TAU, SIZE)
    np.testing.assert_allclose(scores, wanted, atol=0.01)
    assert probability == pytest.approx(softmax_abnormal(view, g).item(), abs=0.01)


def test_an_organised_scan_with_and_without_rgb():
    grid, scores, _ = random_scan(2)
    view, patches, g = (torch.from_numpy(part).float() for part in photograph(5))
    seen = []

    def object_score(probability, smoothed):
        seen.append((probability, smoothed))
        return 10 * probability

    of_rgb, rgb = score_rgb((view, patches), g, TAU, SIZE)
    a_m = smooth(place(scores, grid))
    fused = smooth(0.5 * a_m + 0.5 * smooth(place(rgb.ravel()[grid], grid)))
    given = system(scores, 0.3, object_score), {"rendering": g}, None, {"grid": grid}, SIZE, Settings()
    maps, objects = score(*given, (view, patches))
    assert list(maps) == ["map_3d", "map_m3d"]
    np.testing.assert_allclose(maps["map_3d"], a_m, atol=1e-6)
    np.testing.assert_allclose(maps["map_m3d"], fused, atol=1e-6)
    # The system's own rule, once with its map and once with the fused one and the mean of both probabilities.
    assert objects == pytest.approx({"object_3d": 3.0, "object_m3d": 10 * (0.5 * 0.3 + 0.5 * of_rgb)})
    assert [smoothed is map for (_, smoothed), map in zip(seen, maps.values(), strict=True)] == [True, True]
    alone, objects = score(*given)
    assert (list(alone), objects) == (["map_3d"], {"object_3d": 3.0})
    np.testing.assert_array_equal(alone["map_3d"], maps["map_3d"])


@pytest.mark.parametrize("over", ["pixels", "points"])
@pytest.mark.parametrize("shown", ["points", "pixels"])
def test_what_of_a_photograph_counts_and_what_is_smoothed_over(over, shown):
    grid, scores, _ = random_scan(6)
    view, patches, g = (torch.from_numpy(part).float() for part in photograph(7))
    _, rgb = score_rgb((view, patches), g, TAU, SIZE)
    exists = place(np.ones(len(grid)), grid)

    def smooth_points_alone(image):
        return np.where(exists, smooth(image * exists) / np.maximum(smooth(exists), 1e-30), smooth(image))

    filtered = smooth if over == "pixels" else smooth_points_alone
    a_m = filtered(place(scores, grid))
    of_rgb = smooth(rgb) if shown == "pixels" else filtered(place(rgb.ravel()[grid], grid))
    given = {"grid": grid}, SIZE, Settings(rgb_map=shown, smoothing_over=over), (view, patches)
    maps, _ = score(system(scores, 0.3, max_of), {"rendering": g}, None, *given)
    np.testing.assert_allclose(maps["map_3d"], a_m, atol=2e-6)
    np.testing.assert_allclose(maps["map_m3d"], filtered(0.5 * a_m + 0.5 * of_rgb), atol=2e-6)
    cloud, size, settings, picture = given
    answers = ask(system(scores, 0.3, max_of), {"rendering": g}, None, size, settings, picture)
    parts = score_branches(answers, cloud, size, settings)
    np.testing.assert_allclose(parts["rgb"], of_rgb, atol=2e-6)


def test_an_unorganised_scan():
    rng = np.random.default_rng(3)
    positions, scores, nearest = rng.normal(size=(80, 3)), rng.random(80), rng.integers(0, 80, 200)
    cloud = {"points": positions, "nearest": nearest}
    unfiltered = Settings(smoothing_sigma=0)  # a filter of width 0 is none
    points, objects = score(system(scores, 0.25, max_of), {}, None, cloud, SIZE, unfiltered)
    np.testing.assert_allclose(points["points_3d"], scores, rtol=1e-6)
    np.testing.assert_array_equal(points["original_3d"], points["points_3d"][nearest])
    assert objects["object_3d"] == pytest.approx(0.25 + scores.max())


def mean_of_highest(scores, share):
    """The mean of the highest scores one after the other, as many as the share says, at least one."""
    left, taken = [float(score) for score in scores], []
    while len(taken) < max(1, round(share * len(scores))):
        taken.append(left.pop(left.index(max(left))))
    return sum(taken) / len(taken)


@pytest.mark.parametrize("share", [1e-6, 0.02, 0.1, 0.5, 1.0])
def test_the_object_score_of_a_share_of_the_points(share):
    grid, scores, rng = random_scan(8)
    view, patches, g = (torch.from_numpy(part).float() for part in photograph(9))
    of_rgb, _ = score_rgb((view, patches), g, TAU, SIZE)
    settings = Settings(object_share=share, rgb_map="pixels")
    given = system(scores, 0.3, max_of), {"rendering": g}, None, {"grid": grid}, SIZE, settings, (view, patches)
    maps, objects = score(*given)
    # Of the object's points: empty pixels have scores after the filter, and count in none.
    of_points = {name: [image[pixel // SIZE, pixel % SIZE] for pixel in grid] for name, image in maps.items()}
    assert objects["object_3d"] == pytest.approx(0.3 + mean_of_highest(of_points["map_3d"], share))
    assert objects["object_m3d"] == pytest.approx(
        0.5 * 0.3 + 0.5 * of_rgb + mean_of_highest(of_points["map_m3d"], share)
    )
    usual = score(*given[:5], Settings(rgb_map="pixels"), given[-1])
    for name, image in usual[0].items():
        np.testing.assert_array_equal(maps[name], image)
    assert usual[1]["object_3d"] == pytest.approx(0.3 + maps["map_3d"].max())

    positions = rng.normal(size=(80, 3))
    cloud = {"points": positions, "nearest": rng.integers(0, 80, 200)}
    spread = rng.random(80).astype(np.float32)
    arrays, objects = score(system(spread, 0.25, max_of), {}, None, cloud, SIZE, Settings(object_share=share))
    assert objects["object_3d"] == pytest.approx(0.25 + mean_of_highest(arrays["points_3d"], share))
    # The order of the points plays no part.
    order = rng.permutation(80)
    turned = {"points": positions[order], "nearest": cloud["nearest"]}
    unfiltered = Settings(object_share=share, smoothing_sigma=0)
    same = [
        score(system(*given, max_of), {}, None, of, SIZE, unfiltered)[1]["object_3d"]
        for given, of in (((spread, 0.25), cloud), ((spread[order], 0.25), turned))
    ]
    assert same[0] == same[1]


@pytest.mark.parametrize("with_rgb", [True, False])
def test_a_scan_by_the_systems_own_functions(with_rgb):
    case = Case(7)
    sample, state = case.sample.on(CPU), {"rendering": case.embeddings["rendering"].detach().float()}
    view, patches, _ = (torch.from_numpy(part) for part in photograph(4))
    given = (view, patches) if with_rgb else None
    maps, objects = score(pointad, state, sample, case.cloud, SIZE, Settings(), given)
    points = pointad.point_scores(state, sample, Settings()).numpy()
    probability = float(pointad.global_score(state, sample, Settings()))
    same = system(points, probability, pointad.object_score)
    wanted = score(same, state, None, case.cloud, SIZE, Settings(), given)
    assert objects == wanted[1]
    assert maps.keys() == wanted[0].keys() == ({"map_3d", "map_m3d"} if with_rgb else {"map_3d"})
    for name, array in maps.items():
        np.testing.assert_array_equal(array, wanted[0][name])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_refused(value):
    spoilt = system(np.array([0.5, value]), 0.5, max_of)
    with pytest.raises(InputError, match="its scores are not finite"):
        score(spoilt, {}, None, {"grid": np.array([0, 1])}, SIZE, Settings())
    with pytest.raises(InputError, match="its scores are not finite"):
        score(system(np.array([0.5, 0.5]), value, max_of), {}, None, {"grid": np.array([0, 1])}, SIZE, Settings())


def test_a_photograph_whose_features_overflowed_is_refused():
    case = Case(6)
    state = {layer: rows.detach().float() for layer, rows in case.embeddings.items()}
    dim = case.sample.patches.shape[2]
    for view, patches in ((float("nan"), 0.0), (0.0, float("nan"))):
        photograph = torch.full((dim,), view), torch.full((GRID**2, dim), patches)
        with pytest.raises(InputError, match="its scores are not finite"):
            score(pointad, state, case.sample.on(CPU), case.cloud, SIZE, Settings(), photograph)


def test_states_come_from_the_prompts_file(tmp_path):
    path, pair = tmp_path / "prompts.safetensors", torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    write_prompts(path, {"rendering.embeddings": pair}, {})
    assert torch.equal(restore(SYSTEMS["pointad"], path, Settings(), MODEL, CPU)("rope")["rendering"], pair)
    told = r"prompts\.safetensors: has no prompts of the layers \['geometry'\], only \['rendering.embeddings'\]"
    with pytest.raises(InputError, match=told):
        restore(SYSTEMS["pointad_plus"], path, Settings(), MODEL, CPU)
    with pytest.raises(InputError, match=r"methods\.pointad is trained; its prompts are missing"):
        restore(SYSTEMS["pointad"], None, Settings(), MODEL, CPU)


def test_an_untrained_system_has_its_state_from_the_model():
    state = restore(SYSTEMS["clip_rendering"], None, Settings(), MODEL, CPU)("rope")
    assert state["rendering"].shape == (2, 128)
    assert not state["rendering"].requires_grad
    with pytest.raises(InputError, match=r"^unknown model 'none'"):
        restore(SYSTEMS["clip_rendering"], None, Settings(), {**MODEL, "model": "none"}, CPU)
