"""Parts of an object's score against what the score is made of."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import CPU, TAU, Case
from scipy.ndimage import gaussian_filter
from toy import GRID, SIZE, unit

from pointad_core.methods import pointad, pointad_plus
from pointad_core.methods.interface import Settings
from pointad_core.methods.parts import object_parts
from pointad_core.methods.scoring import ask, score_branches, score_rgb, score_scan
from pointad_core.methods.smoothing import smooth_map


def photograph(seed, dim=16):
    rng = np.random.default_rng(seed)
    return tuple(torch.from_numpy(unit(rng.normal(size=shape))).float() for shape in ((dim,), (GRID**2, dim)))


def given(seed, module=pointad_plus, sigma=4.0, rgb=None, **settings):
    case = Case(seed)
    state = {layer: rows.detach().float() for layer, rows in case.embeddings.items()}
    return module, state, case.sample.on(CPU), case.cloud, SIZE, Settings(smoothing_sigma=sigma, **settings), rgb


def score(module, state, sample, cloud, resolution, settings, rgb):
    """Arrays, object scores, their parts and the branches of a scan."""
    answers = ask(module, state, sample, resolution, settings, rgb)
    arrays, objects = score_scan(answers, module, cloud, resolution, settings)
    parts = object_parts(answers, arrays, cloud, resolution, settings)
    return arrays, objects, parts, score_branches(answers, cloud, resolution, settings)


@pytest.mark.parametrize("sigma", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_parts_are_what_the_branches_say_where_the_map_is_highest(seed, sigma):
    arguments = given(seed, sigma=sigma)
    arrays, objects, parts, branches = score(*arguments)
    assert list(parts) == ["global_3d", "maximum_3d", "implicit_3d", "explicit_3d"]
    assert 0.5 * parts["global_3d"] + 0.5 * parts["maximum_3d"] == pytest.approx(objects["object_3d"])
    assert parts["maximum_3d"] == arrays["map_3d"].max()
    place = arrays["map_3d"].argmax()
    for name, smoothed in branches.items():
        assert parts[f"{name}_3d"] == pytest.approx(smoothed.ravel()[place], abs=1e-5)
    assert (parts["implicit_3d"] + parts["explicit_3d"]) / 2 == pytest.approx(parts["maximum_3d"], abs=1e-6)


@pytest.mark.parametrize("rgb_map", ["points", "pixels"])
def test_parts_with_a_photograph(rgb_map):
    rgb = photograph(3)
    arguments = given(2, rgb=rgb, rgb_map=rgb_map)
    arrays, objects, parts, branches = score(*arguments)
    assert 0.5 * parts["global_m3d"] + 0.5 * parts["maximum_m3d"] == pytest.approx(objects["object_m3d"])
    of_rgb, _ = score_rgb(rgb, arguments[1]["rendering"], TAU, SIZE)
    assert parts["global_m3d"] == pytest.approx(0.5 * parts["global_3d"] + 0.5 * of_rgb)
    of_points = (parts["implicit_m3d"] + parts["explicit_m3d"]) / 2
    assert (of_points + parts["rgb_m3d"]) / 2 == pytest.approx(parts["maximum_m3d"], abs=1e-6)
    place = arrays["map_m3d"].argmax()
    for name, smoothed in branches.items():
        twice = gaussian_filter(smoothed, 4 * SIZE / 336, mode="reflect").ravel()[place]
        assert parts[f"{name}_m3d"] == pytest.approx(twice, abs=1e-5)


@pytest.mark.parametrize("rgb_map", ["points", "pixels"])
def test_parts_where_the_filter_goes_over_points_alone(rgb_map):
    arguments = given(2, sigma=40.0, rgb=photograph(3), rgb_map=rgb_map, smoothing_over="points")
    arrays, objects, parts, branches = score(*arguments)
    over = np.zeros(SIZE * SIZE, bool)
    over[arguments[3]["grid"]] = True
    for modality, maps in (
        ("3d", {name: image for name, image in branches.items() if name != "rgb"}),
        ("m3d", {name: smooth_map(image, 40.0, over.reshape(SIZE, SIZE)) for name, image in branches.items()}),
    ):
        place = arrays[f"map_{modality}"].argmax()
        assert parts[f"maximum_{modality}"] == arrays[f"map_{modality}"].max()
        assert 0.5 * parts[f"global_{modality}"] + 0.5 * parts[f"maximum_{modality}"] == pytest.approx(
            objects[f"object_{modality}"]
        )
        for name, smoothed in maps.items():
            assert parts[f"{name}_{modality}"] == pytest.approx(smoothed.ravel()[place], abs=1e-6)
    of_points = (parts["implicit_m3d"] + parts["explicit_m3d"]) / 2
    assert (of_points + parts["rgb_m3d"]) / 2 == pytest.approx(parts["maximum_m3d"], abs=1e-6)


def test_a_system_of_one_branch_has_it_beside_the_photographs():
    arguments = given(4, pointad, rgb=photograph(5))
    _arrays, _, parts, _branches = score(*arguments)
    assert list(parts) == ["global_3d", "maximum_3d", "global_m3d", "maximum_m3d", "points_m3d", "rgb_m3d"]
    assert (parts["points_m3d"] + parts["rgb_m3d"]) / 2 == pytest.approx(parts["maximum_m3d"], abs=1e-6)
    assert score(*arguments[:-1], None)[2].keys() == {"global_3d", "maximum_3d"}


@pytest.mark.parametrize("share", [0.01, 0.2, 1.0])
@pytest.mark.parametrize("module", [pointad_plus, pointad])
@pytest.mark.parametrize("over", ["pixels", "points"])
def test_parts_of_the_mean_of_a_share(over, module, share):
    arguments = given(6, module, rgb=photograph(7), object_share=share, smoothing_over=over, rgb_map="pixels")
    arrays, objects, parts, _branches = score(*arguments)
    branches = ["implicit", "explicit"] if module is pointad_plus else ["points"]
    named = [f"{name}_3d" for name in branches] if len(branches) > 1 else []
    in_m3d = ["global_m3d", "highest_m3d", *(f"{name}_m3d" for name in branches), "rgb_m3d"]
    assert list(parts) == ["global_3d", "highest_3d", *named, *in_m3d]
    for modality in ("3d", "m3d"):
        both = 0.5 * parts[f"global_{modality}"] + 0.5 * parts[f"highest_{modality}"]
        assert objects[f"object_{modality}"] == pytest.approx(both)
        of_points = np.sort(arrays[f"map_{modality}"].ravel()[arguments[3]["grid"]].astype(float))
        count = max(1, round(share * len(of_points)))
        assert parts[f"highest_{modality}"] == pytest.approx(of_points[-count:].mean())
    # What the branches say about the same points is their mean.
    if named:
        assert np.mean([parts[name] for name in named]) == pytest.approx(parts["highest_3d"], abs=1e-6)
    of_branches = np.mean([parts[f"{name}_m3d"] for name in branches])
    assert (of_branches + parts["rgb_m3d"]) / 2 == pytest.approx(parts["highest_m3d"], abs=1e-6)


def system(one, two):
    parts = {"one": torch.from_numpy(one), "two": torch.from_numpy(two)}
    return SimpleNamespace(
        branches=lambda *_: parts,
        point_scores=lambda *_: (parts["one"] + parts["two"]) / 2,
        global_score=lambda *_: torch.tensor(0.25, dtype=torch.float64),
        object_score=lambda probability, smoothed: probability,
    )


@pytest.mark.parametrize("sigma", [0, 6])
def test_parts_of_a_cloud_without_a_grid(sigma):
    rng = np.random.default_rng(3)
    positions = rng.uniform(size=(4000, 3)).astype(np.float32)
    near = np.exp(-(((positions - 0.4) / 0.1) ** 2).sum(axis=1))
    one, two = (0.1 * rng.random(4000) + near).astype(np.float32), (0.2 * rng.random(4000)).astype(np.float32)
    cloud = {"points": positions, "nearest": np.arange(4000)}
    arguments = system(one, two), {}, None, cloud, SIZE, Settings(smoothing_sigma=sigma), None
    arrays, _, parts, branches = score(*arguments)
    assert parts["global_3d"] == 0.25
    assert (parts["one_3d"] + parts["two_3d"]) / 2 == pytest.approx(parts["maximum_3d"]) == arrays["points_3d"].max()
    place = arrays["points_3d"].argmax()
    for name, smoothed in branches.items():
        assert parts[f"{name}_3d"] == pytest.approx(smoothed[place], abs=0.02 if sigma else 1e-6)


def test_parts_of_a_share_of_a_cloud_without_a_grid():
    rng = np.random.default_rng(4)
    one, two = rng.random((2, 900)).astype(np.float32)
    cloud = {"points": rng.uniform(size=(900, 3)).astype(np.float32), "nearest": np.arange(900)}
    arguments = system(one, two), {}, None, cloud, SIZE, Settings(object_share=0.1), None
    arrays, _, parts, branches = score(*arguments)
    assert list(parts) == ["global_3d", "highest_3d", "one_3d", "two_3d"]
    places = sorted(range(900), key=lambda place: arrays["points_3d"][place])[-90:]
    assert parts["highest_3d"] == pytest.approx(np.mean([float(arrays["points_3d"][place]) for place in places]))
    for name, smoothed in branches.items():
        assert parts[f"{name}_3d"] == pytest.approx(np.mean([float(smoothed[place]) for place in places]))
    assert (parts["one_3d"] + parts["two_3d"]) / 2 == pytest.approx(parts["highest_3d"], abs=1e-6)


def test_scores_of_nothing_are_made_of_nothing():
    nothing = np.zeros(30, np.float32)
    cloud = {"points": np.random.default_rng(0).normal(size=(30, 3)), "nearest": np.arange(30)}
    arguments = system(nothing, nothing), {}, None, cloud, SIZE, Settings(), None
    assert score(*arguments)[2] == {"global_3d": 0.25, "maximum_3d": 0, "one_3d": 0, "two_3d": 0}
