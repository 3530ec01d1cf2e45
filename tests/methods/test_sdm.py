"""SDM: scores against loops and scikit-learn's pursuit, the alignment, and what it finds."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import sparse_encode
from sklearn.metrics import roc_auc_score

from pointad_core.errors import InputError
from pointad_core.methods import sdm
from pointad_core.methods.cells import colour_cells, thin_grid
from pointad_core.methods.local_patches import cut_patches
from pointad_core.methods.smoothing import smooth_map
from tests.good_scans import SIDE, colours, dome, on_bump

CPU = torch.device("cpu")
OPTIONS = {
    **{"side": 56, "patch_points": 60, "overlap": 4, "width": 32, "epochs": 3, "batch_size": 16},
    **{"learning_rate": 1e-3, "training_patches": None, "network": None, "smoothing_sigma": 6},
}


@pytest.fixture(autouse=True)
def tower(monkeypatch):
    monkeypatch.setattr(sdm, "load_tower", lambda *_: colours)


def learnt(scans, seed=0, **changes):
    options = OPTIONS | changes
    tensors = sdm.learn(scans, options, None, seed, CPU)
    return tensors, sdm.restore(tensors, options, None, CPU), options


def naive_sum(vector, memory, n_nearest):
    """The memory's indices that are nearest to a vector, and scikit-learn's sum of three of these."""
    index = np.argsort(np.linalg.norm(memory - vector, axis=1), kind="stable")[:n_nearest]
    code = sparse_encode(vector[None], memory[index], algorithm="omp", n_nonzero_coefs=3, alpha=1e-10)
    return index, (code @ memory[index])[0]


def normalised(patch):
    centred = patch - patch.mean(0)
    return centred / np.ptp(centred, axis=0).max()


def naive_scores(tensors, state, sample, options):
    """Unsmoothed scores of a scan's points by shape and colour, and both object scores; patch by patch."""
    chosen, pixels = thin_grid(sample.grid, SIDE, options["side"])
    points = sample.points[chosen].astype(np.float64)
    count = round(options["overlap"] * len(points) / options["patch_points"])
    _, members = cut_patches(sample.points[chosen], count, options["patch_points"])
    memory = tensors["codes"].double().numpy()
    lowest, errors, rows = np.full(len(points), np.inf), [], set()
    for own in members:
        patch = torch.from_numpy(normalised(points[own])).float()
        code = state.expert.encode(patch[None])[0].double().numpy()
        matched, sum_ = naive_sum(code, memory, 10)
        errors.append(np.linalg.norm(code - sum_))
        distances = state.expert.signed_distance(torch.from_numpy(sum_).float()[None], patch[None])[0].abs().numpy()
        for point, distance in zip(own, distances, strict=True):
            lowest[point] = min(lowest[point], distance)
        for index in matched:
            bits = [(byte >> (7 - bit)) & 1 for byte in tensors["covers"][index].tolist() for bit in range(8)]
            rows |= {int(tensors["rows"][tensors["scans"][index]][cell]) for cell in range(784) if bits[cell]}
    known = np.flatnonzero(np.isfinite(lowest))
    shape = [
        lowest[known[np.argmin(np.linalg.norm(points[known] - point, axis=1))]] for point in sample.points.astype(float)
    ]
    assert min(rows) >= 0
    allowed = tensors["colours"][sorted(rows)].double().numpy()
    features = colour_cells(colours(sample.photograph), 28).half().double().numpy()
    image = np.zeros((28, 28))
    for row, column in {(p // options["side"] * 28 // 56, p % options["side"] * 28 // 56) for p in pixels.tolist()}:
        vector = features[row * 28 + column]
        image[row, column] = np.linalg.norm(vector - naive_sum(vector, allowed, 5)[1])
    large = torch.nn.functional.interpolate(torch.from_numpy(image)[None, None], size=SIDE, mode="bilinear")
    return np.array(shape), large.flatten().numpy()[sample.grid], max(errors), image.max()


def on_grid(values, sample):
    image = np.zeros(SIDE * SIDE)
    image[sample.grid] = values
    return smooth_map(image.reshape(SIDE, SIDE), 6)


@pytest.mark.filterwarnings("ignore:Orthogonal matching pursuit ended prematurely:RuntimeWarning")
def test_scores_are_those_of_loops():
    scans = [dome(seed) for seed in range(2)]
    tensors, state, options = learnt(scans)
    sample = dome(9, bump=True)
    found = sdm.score(state, sample, options)
    shape, colour, worst, worst_colour = naive_scores(tensors, state, sample, options)
    scale, shift = tensors["alignment"].tolist()
    both = np.maximum(scale * colour + shift, shape)
    assert list(found) == ["3d", "rgb", "m3d"]
    for modality, wanted in (("3d", shape), ("rgb", colour), ("m3d", both)):
        assert found[modality].points.dtype == np.float32
        np.testing.assert_allclose(found[modality].points, on_grid(wanted, sample), rtol=2e-3, atol=1e-4)
    assert found["3d"].object == pytest.approx(worst, rel=1e-3)
    assert found["rgb"].object == pytest.approx(worst_colour, rel=1e-3)
    assert found["m3d"].object == pytest.approx(worst * worst_colour, rel=1e-3)


def test_good_scans_scores_are_aligned():
    """Mean and three deviations of both modalities' scores meet, where each good scan's own patches are left out."""
    scans = [dome(seed) for seed in range(3)]
    tensors, state, options = learnt(scans)
    scale, shift = tensors["alignment"].tolist()
    shapes, aligned = [], []
    for scan in scans:
        cut = sdm._cut(scan, options)
        shape, _, matched = sdm._score_shape(state, cut, scan, skip=1)
        own = sdm._score_shape(state, cut, scan, skip=0)[2]
        assert (own[:, 1:] == matched[:, :-1]).all()
        colour, _ = sdm._score_colour(state, cut, scan, matched, skip=1)
        shapes.append(shape)
        aligned.append(scale * colour + shift)
    shape, colour = np.concatenate(shapes), np.concatenate(aligned)
    assert colour.mean() - 3 * colour.std() == pytest.approx(shape.mean() - 3 * shape.std(), abs=1e-4)
    assert colour.mean() + 3 * colour.std() == pytest.approx(shape.mean() + 3 * shape.std(), abs=1e-4)


def test_a_bump_is_found():
    tensors, state, options = learnt([dome(seed) for seed in range(3)], width=64, epochs=60)
    assert tensors["codes"].shape == (3 * round(4 * len(thin_grid(dome(0).grid, SIDE, 56)[0]) / 60), 16)
    sample = dome(9, bump=True)
    found = sdm.score(state, sample, options)
    labels = on_bump(sample.points)
    for modality, least in (("3d", 0.85), ("rgb", 0.95), ("m3d", 0.95)):
        assert roc_auc_score(labels, found[modality].points.ravel()[sample.grid]) > least, modality
    good = sdm.score(state, dome(8), options)
    assert found["rgb"].object > 2 * good["rgb"].object


def test_clouds_without_pixels_and_scans_without_photographs():
    for organised in (False, True):
        tensors, state, options = learnt([dome(s, photograph=False, organised=organised) for s in range(2)])
        assert not tensors.keys() & {"colours", "covers", "rows"}
        sample = dome(5, photograph=organised, organised=organised)
        found = sdm.score(state, sample, options)
        assert list(found) == ["3d"]
        assert found["3d"].points.shape == ((SIDE, SIDE) if organised else (len(sample.points),))
        assert (found["3d"].points >= 0).all()


def test_the_unit_and_the_place_do_not_matter():
    _, state, options = learnt([dome(s, organised=False) for s in range(2)])
    sample = dome(5, organised=False)
    moved = sdm.score(state, type(sample)(sample.points * 2 + 100, 1000.0, None, SIDE, None), options)
    here = sdm.score(state, sample, options)
    np.testing.assert_allclose(moved["3d"].points, here["3d"].points, rtol=0.02, atol=1e-3)


def test_the_same_seed_gives_the_same_bytes():
    scans = [dome(seed) for seed in range(2)]
    first, again, other = (learnt(scans, seed, training_patches=20)[0] for seed in (0, 0, 1))
    assert first.keys() == again.keys()
    assert all(torch.equal(part, again[name]) for name, part in first.items())
    assert not torch.equal(first["codes"], other["codes"])
    assert all(part.device == CPU for part in first.values())


def test_patches_are_drawn_evenly():
    scans = [dome(seed) for seed in range(3)]
    generator = torch.Generator().manual_seed(0)
    drawn, photographs = sdm._training_patches(scans, OPTIONS | {"training_patches": 20}, generator)
    assert drawn.shape == (20, 60, 3)
    assert photographs == 3
    whole, _ = sdm._training_patches(scans, OPTIONS, generator)
    assert len(whole) == 3 * round(2 * len(thin_grid(scans[0].grid, SIDE, 56)[0]) / 60)


def test_what_cannot_be_learnt_from_is_refused():
    with pytest.raises(InputError, match="1 of 2 good scans have no photograph, others have one"):
        learnt([dome(0), dome(1, photograph=False)])
    few = dome(0, organised=False)
    with pytest.raises(InputError, match="1 patches of 60 points to learn from; more points are needed"):
        learnt([type(few)(few.points[:20], 1000.0, None, SIDE, None)])
    black = [type(scan)(scan.points, 1.0, scan.grid, SIDE, scan.photograph * 0) for scan in (dome(0), dome(1))]
    with pytest.raises(InputError, match="the photographs of the good scans are all alike"):
        learnt(black)


def test_memories_of_other_settings_are_refused(monkeypatch):
    tensors, state, options = learnt([dome(0), dome(1)])
    with pytest.raises(InputError, match="is no memory of SDM with width 64; learn it again"):
        sdm.restore(tensors, options | {"width": 64}, None, CPU)
    longer = type(state)(**{**vars(state), "tower": lambda image: [colours(image)[0].repeat(2, 1, 1)]})
    with pytest.raises(InputError, match="its photograph's features are of another length than the memory's"):
        sdm.score(longer, dome(2), options)
