"""PointNet: against a loop over points, the order of points, place and scale, and files of weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from pointad_core.errors import InputError
from pointad_core.methods import cheraghian, pointnet
from pointad_core.methods.interface import Settings
from pointad_core.methods.segmentation import PointSample

WEIGHTS = pointnet.first_weights(torch.Generator().manual_seed(0))
TEXTS = torch.rand(2, 1024, generator=torch.Generator().manual_seed(1))


def random_points(seed, n=40):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)) * torch.tensor([3.0, 1.0, 0.2]) + 5


def global_score(points):
    return cheraghian.global_score({"text": TEXTS, **WEIGHTS}, PointSample(points), Settings())


def naive(points):
    """Each point by itself, in float64."""
    centre = points.double().mean(0)
    radius = max(float((point.double() - centre).norm()) for point in points)
    features = []
    for point in points:
        x = (point.double() - centre) / radius
        for layer in range(5):
            x = (WEIGHTS[f"{layer}.weight"].double() @ x + WEIGHTS[f"{layer}.bias"].double()).clamp(min=0)
        features.append(x)
    return torch.stack(features), torch.stack([max(column) for column in torch.stack(features).T])


def test_features_are_those_of_each_point_by_itself():
    points = random_points(1)
    features = pointnet.point_features(WEIGHTS, pointnet.normalise(points))
    wanted, wanted_global = naive(points)
    assert features.shape == (40, 1024)
    torch.testing.assert_close(features.double(), wanted, rtol=1e-4, atol=1e-5)
    # The cloud's feature, as Cheraghian compares it with two texts.
    normal, abnormal = (wanted_global @ text.double() / text.norm() / wanted_global.norm() for text in TEXTS)
    wanted_score = torch.sigmoid((abnormal - normal) / Settings().temperature)
    assert global_score(points).item() == pytest.approx(wanted_score.item(), rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(1, 50))
def test_order_of_points_does_not_matter(seed, n):
    points = random_points(seed, n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed + 1))
    features = pointnet.point_features(WEIGHTS, pointnet.normalise(points))
    shuffled = pointnet.point_features(WEIGHTS, pointnet.normalise(points[order]))
    torch.testing.assert_close(shuffled, features[order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(global_score(points[order]), global_score(points), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 40.0])
def test_place_and_unit_do_not_matter(unit):
    points = random_points(2).double()
    moved = points * unit + torch.tensor([7.0, -1.0, 2.0], dtype=torch.float64)
    torch.testing.assert_close(pointnet.normalise(moved), pointnet.normalise(points), rtol=0, atol=1e-5)
    assert pointnet.normalise(points).norm(dim=1).max() == pytest.approx(1)


def test_one_place():
    assert not pointnet.normalise(torch.ones(4, 3)).any()


def test_signals_keep_their_size():
    points = pointnet.normalise(random_points(3, 500))
    features = pointnet.point_features(WEIGHTS, points)
    assert 0.1 < float(features.square().mean() / points.square().mean()) < 10
    assert all(not WEIGHTS[f"{layer}.bias"].any() for layer in range(5))


def test_weights_from_a_file(tmp_path):
    path = tmp_path / "pointnet.safetensors"
    save_file(WEIGHTS, path)
    read = pointnet.read(path)
    assert read.keys() == WEIGHTS.keys()
    assert all(torch.equal(read[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("4.bias"), r"'4.bias' is missing, expected \(1024,\)"),
        (
            lambda weights: weights.update({"0.weight": torch.zeros(64, 6)}),
            r"'0.weight' is \(64, 6\), expected \(64, 3\)",
        ),
        (lambda weights: weights.update({"head": torch.zeros(2)}), r"'head' is \(2,\), expected no such tensor"),
    ],
)
def test_other_files_are_refused(tmp_path, change, message):
    weights = dict(WEIGHTS)
    change(weights)
    path = tmp_path / "pointnet.safetensors"
    save_file(weights, path)
    with pytest.raises(InputError, match=message) as error:
        pointnet.read(path)
    assert str(path) in str(error.value)
    with pytest.raises(InputError, match="no such checkpoint"):
        pointnet.read(tmp_path / "none.safetensors")


def test_the_same_seed_gives_the_same_weights():
    again, other = (pointnet.first_weights(torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert all(torch.equal(again[name], WEIGHTS[name]) for name in WEIGHTS)
    assert not np.array_equal(other["0.weight"], WEIGHTS["0.weight"])
