"""M3DM: features and scores against loops over points and cells, the SVMs, and what it finds."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from pointad_core.errors import InputError
from pointad_core.methods import m3dm
from pointad_core.methods.cells import thin_grid
from pointad_core.methods.dino import Dino
from pointad_core.methods.fusion import Fusion
from pointad_core.methods.local_patches import cut_patches
from pointad_core.methods.m3dm import CELLS, plane
from pointad_core.methods.point_mae import PointMae, nearest_centres
from pointad_core.methods.smoothing import smooth_map
from tests.good_scans import SIDE, colours, dome, on_bump
from tests.transformer_oracle import noisy

CPU = torch.device("cpu")
OPTIONS = {
    **{"groups": 64, "group_points": 16, "coreset": 0.1, "mlp_ratio": 0.1, "epochs": 1, "batch_size": 256},
    **{"learning_rate": 0.003, "network": None, "point_mae": None, "fusion": None, "smoothing_sigma": 6},
}


@pytest.fixture(autouse=True)
def tower(monkeypatch):
    monkeypatch.setattr(m3dm, "load_tower", lambda *_: colours)


def learnt(scans, seed=0, **changes):
    options = OPTIONS | changes
    tensors = m3dm.learn(scans, options, None, seed, CPU)
    return tensors, m3dm.restore(tensors, options, None, CPU), options


def naive_features(state, sample, options):
    """Features of the scan's cells: of the cloud's float64 [56, 56, 1152] and where they are, of its photograph, and of
    both; points first, then whole images."""
    chosen, pixels = thin_grid(sample.grid, SIDE, 224)
    points = sample.points[chosen].astype(np.float64)
    points = points - points.mean(0)
    points /= np.linalg.norm(points, axis=1).max()
    index, members = cut_patches(points.astype(np.float32), options["groups"], options["group_points"])
    groups = np.stack([points[own] - points[centre] for centre, own in zip(index, members, strict=True)])
    tokens = state.points(torch.from_numpy(groups).float(), torch.from_numpy(points[index]).float()).double().numpy()
    image, there = np.zeros((1152, SIDE * SIDE)), np.zeros((1, SIDE * SIDE))
    for pixel, point in zip(pixels, points, strict=True):
        gaps = ((points[index] - point) ** 2).sum(1)
        nearest = np.argsort(gaps)[:3]
        weights = 1 / (gaps[nearest] + 1e-8)
        image[:, pixel], there[0, pixel] = weights @ tokens[nearest] / weights.sum(), 1

    def pool(part):
        whole = torch.from_numpy(part).reshape(1, -1, SIDE, SIDE)
        return F.adaptive_avg_pool2d(F.avg_pool2d(whole, 3, stride=1), CELLS)[0]

    xyz, held = pool(image), pool(there)[0] > 0
    rgb = colours(sample.photograph)[0].double()
    at_xyz = F.adaptive_avg_pool2d(rgb[None], CELLS)[0]
    fused = state.fusion(xyz.flatten(1).T.float(), at_xyz.flatten(1).T.float()).double()
    rgb_held = torch.zeros(12, 12, dtype=torch.bool)
    for pixel in sample.grid.tolist():
        rgb_held[pixel // SIDE * 12 // SIDE, pixel % SIDE * 12 // SIDE] = True
    return {
        "xyz": (xyz.flatten(1).T, held.flatten(), CELLS),
        "rgb": (rgb.flatten(1).T, rgb_held.flatten(), 12),
        "fused": (fused, held.flatten(), CELLS),
    }


def naive_bank(tensors, kind, features, held, cells, sample):
    """Distances of a scan's points to a bank, and its score as an object."""
    bank, (mean, deviation) = tensors[f"bank.{kind}"].double(), tensors[f"scaling.{kind}"].tolist()
    image, worst = torch.zeros(cells * cells, dtype=torch.float64), (-1.0, None)
    for cell in torch.nonzero(held).flatten().tolist():
        query = (features[cell] - mean) / deviation
        image[cell] = (bank - query).norm(dim=1).min()
        if float(image[cell]) > worst[0]:
            worst = float(image[cell]), query
    largest, query = worst
    nearest = bank[(bank - query).norm(dim=1).argmin()]
    around = bank[(bank - nearest).norm(dim=1).argsort()[1:3]]
    length = np.sqrt(len(query))
    others = sum(np.exp(float((query - entry).norm()) / length) for entry in around)
    whole = (1 - np.exp(largest / length) / others) * largest
    large = F.interpolate(image.reshape(1, 1, cells, cells), size=SIDE, mode="bilinear", align_corners=False)
    return large.flatten().numpy()[sample.grid], whole


def on_grid(values, sample):
    image = np.zeros(SIDE * SIDE)
    image[sample.grid] = values
    return smooth_map(image.reshape(SIDE, SIDE), 6)


def test_scores_are_those_of_loops():
    tensors, state, options = learnt([dome(seed) for seed in range(2)])
    sample = dome(9, bump=True)
    found = m3dm.score(state, sample, options)
    assert list(found) == ["3d", "rgb", "m3d"]
    points, objects = {}, {}
    for kind, (features, held, cells) in naive_features(state, sample, options).items():
        points[kind], objects[kind] = naive_bank(tensors, kind, features, held, cells, sample)
    for name, of, which in (("points", points, None), ("objects", objects, "object")):
        normal = tensors[f"plane.{name}"].numpy()
        wanted = sum(count * of[kind] for count, kind in zip(normal, ("xyz", "rgb", "fused"), strict=True))
        for modality, value in (("3d", of["xyz"]), ("rgb", of["rgb"]), ("m3d", wanted)):
            if which is None:
                values = found[modality].points
                np.testing.assert_allclose(values, on_grid(value, sample), rtol=5e-3, atol=2e-3 * values.max())
            else:
                assert found[modality].object == pytest.approx(value, rel=5e-3)


def test_banks_are_a_tenth_of_their_own_features():
    scans = [dome(seed) for seed in range(2)]
    tensors, state, options = learnt(scans)
    features = [naive_features(state, scan, options) for scan in scans]
    for kind in ("xyz", "rgb", "fused"):
        lot = torch.cat([of_scan[kind][0][of_scan[kind][1]] for of_scan in features])
        bank = tensors[f"bank.{kind}"]
        assert len(bank) == int(0.1 * len(lot))
        mean, deviation = tensors[f"scaling.{kind}"].tolist()
        assert mean == pytest.approx(lot.mean().item(), abs=1e-3 * lot.std().item())
        assert deviation == pytest.approx(lot.std(correction=0).item(), rel=1e-3)
        gaps = torch.cdist((bank.double() * deviation + mean), lot).amin(1)
        assert gaps.max() < 0.02 * lot.norm(dim=1).mean()  # each is one of them, but for half precision


def test_a_plane_weighs_scores_as_the_good_scans_do():
    rng = np.random.default_rng(0)
    scores = np.abs(rng.normal([4, 1, 2], 0.1, size=(4000, 3)))
    normal = plane(scores, 0)
    assert (normal > 0).all()
    np.testing.assert_allclose(normal / np.linalg.norm(normal), np.array([4, 1, 2]) / 21**0.5, atol=0.02)
    # Half of the good scans lie on either side.
    sums = scores @ normal
    assert np.mean(sums < np.median(sums)) == pytest.approx(0.5, abs=0.01)
    np.testing.assert_array_equal(plane(scores, 0), normal)
    with pytest.raises(InputError, match="finds no plane"):
        plane(np.zeros((5, 3)), 0)


def test_a_bump_is_found():
    _, state, options = learnt([dome(seed) for seed in range(3)], groups=128)
    sample = dome(9, bump=True)
    found = m3dm.score(state, sample, options)
    labels = on_bump(sample.points)
    for modality, least in (("3d", 0.85), ("rgb", 0.95), ("m3d", 0.9)):
        assert roc_auc_score(labels, found[modality].points.ravel()[sample.grid]) > least, modality
    good = m3dm.score(state, dome(8), options)
    assert all(found[modality].object > good[modality].object for modality in found)


def test_clouds_without_pixels_and_scans_without_photographs():
    for organised in (False, True):
        tensors, state, options = learnt([dome(s, photograph=False, organised=organised) for s in range(2)])
        assert set(tensors) == {"seed", "bank.xyz", "scaling.xyz"}
        sample = dome(5, photograph=organised, organised=organised)
        found = m3dm.score(state, sample, options)
        assert list(found) == ["3d"]
        assert found["3d"].points.shape == ((SIDE, SIDE) if organised else (len(sample.points),))


def test_points_take_the_three_nearest_centres_scores():
    _, state, options = learnt([dome(s, organised=False) for s in range(2)], smoothing_sigma=0)
    sample = dome(5, organised=False)
    features = m3dm._features(state.points, None, sample, options, CPU)
    bank = state.banks["xyz"]
    of_centres = torch.cdist((features.xyz - bank.mean) / bank.deviation, bank.entries).amin(1).numpy()
    index, weights = nearest_centres(sample.points / 1000, features.centres / 1000)
    wanted = (of_centres[index] * weights).sum(1)
    found = m3dm.score(state, sample, options)["3d"].points
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * wanted.max())


def test_the_same_seed_gives_the_same_bytes():
    scans = [dome(seed) for seed in range(2)]
    first, again, other = (learnt(scans, seed)[0] for seed in (0, 0, 1))
    assert first.keys() == again.keys()
    assert all(torch.equal(part, again[name]) for name, part in first.items())
    assert not torch.equal(first["bank.xyz"], other["bank.xyz"])


def test_weights_of_files_are_used(tmp_path, monkeypatch):
    """Point-MAE is then given metres; neither file's weights are kept in what is learnt."""
    files = {"point_mae": tmp_path / "pretrain.pth", "network": tmp_path / "dino.pth", "fusion": tmp_path / "uff.pth"}
    state = {f"module.MAE_encoder.{name}": part for name, part in noisy(PointMae(), 1).state_dict().items()}
    torch.save({"base_model": state}, files["point_mae"])
    dino = noisy(Dino(64, 2, 8, 26), 2)
    torch.save(dino.state_dict(), files["network"])
    fusion = noisy(Fusion(1152, 64, 0.25), 3)
    torch.save({"model": fusion.state_dict()}, files["fusion"])
    monkeypatch.setattr(m3dm, "load_tower", None)
    tensors, state, options = learnt(
        [dome(seed) for seed in range(2)], **{key: str(path) for key, path in files.items()}
    )
    assert not [name for name in tensors if name.startswith(("points.", "fusion."))]
    sample = dome(5)
    features = m3dm._features(state.points, state.photographs, sample, options, CPU)
    assert features.rgb_held.shape == (25,)
    image = torch.from_numpy(sample.photograph).permute(2, 0, 1)[None] / 255
    held = torch.from_numpy(features.rgb_held)
    torch.testing.assert_close(features.rgb, dino(image)[0].flatten(1).T[held], rtol=1e-4, atol=1e-4)
    wanted = fusion(features.xyz, features.rgb_at_xyz)
    torch.testing.assert_close(m3dm._of_kind(features, "fused", state.fusion, CPU), wanted, rtol=1e-4, atol=1e-4)
    far = type(sample)(sample.points * 1000, 1000.0, sample.grid, SIDE, sample.photograph)
    in_millimetres = m3dm._features(state.points, state.photographs, far, options, CPU)
    torch.testing.assert_close(in_millimetres.xyz, features.xyz, rtol=1e-3, atol=1e-3)
    assert list(m3dm.score(state, sample, options)) == ["3d", "rgb", "m3d"]


def test_what_cannot_be_learnt_from_is_refused():
    with pytest.raises(InputError, match="1 of 2 good scans have no photograph, others have one"):
        learnt([dome(0), dome(1, photograph=False)])
    with pytest.raises(InputError, match=r"none\.pth: no such checkpoint"):
        learnt([dome(0)], point_mae="none.pth")


def test_banks_of_other_settings_are_refused():
    tensors, state, options = learnt([dome(0), dome(1)])
    with pytest.raises(InputError, match="is no fusion with mlp_ratio 2; learn it again"):
        m3dm.restore(tensors, options | {"mlp_ratio": 2}, None, CPU)
    with pytest.raises(InputError, match="is no bank of M3DM; learn it again"):
        m3dm.restore({"codes": torch.zeros(3)}, options, None, CPU)
    longer = type(state)(**{**vars(state), "photographs": lambda image: colours(image)[0].repeat(2, 1, 1)})
    with pytest.raises(InputError, match="its photograph's features are of another length than the bank's"):
        m3dm.score(longer, dome(2), options)
