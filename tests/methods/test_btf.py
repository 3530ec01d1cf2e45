"""BTF against a naive version of it, on organised scans and on clouds without pixels."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from pointad_core.clouds.fpfh import compute_fpfh
from pointad_core.errors import InputError
from pointad_core.methods import btf
from pointad_core.methods.interface import CloudSample

CPU = torch.device("cpu")
OPTIONS = {"coreset": 1.0, "network": None, "smoothing_sigma": 6}
MODEL = {"model": "pointad-pocket", "pretrained": "shapes", "vv_blocks": 1, "resolution": 336}
SIZE = 336


def organised(rng, bump=0.0, photograph=False) -> CloudSample:
    """A wavy square of 12 cm on 200 x 200 pixels in the middle, with a bump of so many metres."""
    rows, columns = np.mgrid[68:268, 68:268]
    x, y = (columns - 168) * 6e-4, (rows - 168) * 6e-4
    z = 0.004 * np.sin(60 * x) + 2e-5 * rng.standard_normal(x.shape)
    z -= bump * np.exp(-((x - 0.02) ** 2 + (y + 0.02) ** 2) / (2 * 0.004**2))
    there = rng.random(x.shape) < 0.98
    points = np.stack([x, y, z + 0.6], axis=2)[there].astype(np.float32)
    picture = rng.integers(100, 120, (SIZE, SIZE, 3)).astype(np.uint8) if photograph else None
    grid = (rows * SIZE + columns)[there]
    return CloudSample(points, 1.0, grid.astype(np.int32), SIZE, picture)


def naive_cells(sample: CloudSample) -> np.ndarray:
    """FPFH f8[28,28,33] of the cells, pixel by pixel."""
    of_pixel = {pixel: index for index, pixel in enumerate(sample.grid.tolist())}
    there = [
        (row, column, of_pixel[pixel])
        for row in range(224)
        for column in range(224)
        if (pixel := (row * SIZE // 224) * SIZE + column * SIZE // 224) in of_pixel
    ]
    image = np.zeros((224, 224, 33))
    chosen = sample.points[[index for _, _, index in there]]
    for (row, column, _), feature in zip(there, compute_fpfh(chosen, 0.1, 30, 0.25, 100), strict=True):
        image[row, column] = feature
    smooth = np.stack([image[i : 222 + i, j : 222 + j] for i in range(3) for j in range(3)]).mean(0)
    edges = [(222 * i // 28, -(-222 * (i + 1) // 28)) for i in range(28)]
    return np.array([[smooth[a:b, c:d].mean((0, 1)) for c, d in edges] for a, b in edges])


def naive_score(bank: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, float]:
    flat = cells.reshape(-1, cells.shape[-1])
    apart = np.linalg.norm(flat[:, None] - bank, axis=2)
    grid = apart.min(1).reshape(28, 28)
    worst = int(apart.min(1).argmax())
    own = int(apart[worst].argmin())
    around = [i for i in np.linalg.norm(bank - bank[own], axis=1).argsort(kind="stable") if i != own][:2]
    others = np.exp(np.linalg.norm(flat[worst] - bank[around], axis=1) / np.sqrt(bank.shape[1])).sum()
    star = apart[worst].min()
    # Bilinear, of cells whose middles lie at (i + 0.5) * 12 - 0.5 pixels, the outermost beyond them.
    places = np.clip((np.arange(SIZE) + 0.5) / 12 - 0.5, 0, 27)
    rows, columns = np.meshgrid(places, places, indexing="ij")
    large = ndimage.map_coordinates(grid, [rows, columns], order=1)
    smooth = ndimage.gaussian_filter(large, 6, mode="reflect", truncate=4)
    return smooth, (1 - np.exp(star / np.sqrt(bank.shape[1])) / others) * star


def test_the_form_of_fpfh_is_the_naive_one():
    rng = np.random.default_rng()
    good, odd = [organised(rng) for _ in range(2)], organised(rng, bump=0.003)
    tensors = btf.learn(good, OPTIONS, MODEL, 1, CPU)
    assert set(tensors) == {"bank_3d", "scale"}
    bank = np.concatenate([naive_cells(scan).reshape(-1, 33) for scan in good])
    np.testing.assert_allclose(tensors["bank_3d"], bank, atol=1e-2)
    found = btf.score(btf.restore(tensors, OPTIONS, None, CPU), odd, OPTIONS)
    assert set(found) == {"3d"}
    expected, whole = naive_score(bank, naive_cells(odd))
    np.testing.assert_allclose(found["3d"].points, expected, atol=0.05)
    assert found["3d"].object == pytest.approx(whole, rel=1e-2)
    # It is there that it is odd.
    row, column = np.unravel_index(found["3d"].points.argmax(), (SIZE, SIZE))
    assert np.hypot(row - 168 + 0.02 / 6e-4, column - 168 - 0.02 / 6e-4) < 25
    assert found["3d"].object > btf.score(btf.restore(tensors, OPTIONS, None, CPU), good[0], OPTIONS)["3d"].object


def test_a_share_of_the_cells_is_kept():
    rng = np.random.default_rng(0)
    good = [organised(rng) for _ in range(2)]
    some = btf.learn(good, {**OPTIONS, "coreset": 0.1}, MODEL, 1, CPU)["bank_3d"]
    every = btf.learn(good, OPTIONS, MODEL, 1, CPU)["bank_3d"]
    assert (len(some), len(every)) == (156, 1568)
    assert {tuple(row) for row in some.tolist()} <= {tuple(row) for row in every.tolist()}


def test_photographs_have_a_bank_of_their_own_and_one_with_the_cloud():
    rng = np.random.default_rng()
    good = [organised(rng, photograph=True) for _ in range(2)]
    stained = organised(rng, photograph=True)
    stained.photograph[200:230, 100:130] = (255, 0, 0)
    tensors = btf.learn(good, OPTIONS, MODEL, 1, CPU)
    bank_3d, bank_rgb, bank_m3d = (tensors[f"bank_{name}"] for name in ("3d", "rgb", "m3d"))
    torch.testing.assert_close(bank_m3d, torch.cat([bank_rgb, bank_3d], 1))
    # CLIP's features are brought to the mean length of FPFH.
    assert bank_rgb.norm(dim=1).mean() == pytest.approx(float(bank_3d.norm(dim=1).mean()), rel=1e-4)
    state = btf.restore(tensors, OPTIONS, MODEL, CPU)
    found = btf.score(state, stained, OPTIONS)
    assert set(found) == {"3d", "rgb", "m3d"}
    row, column = np.unravel_index(found["rgb"].points.argmax(), (SIZE, SIZE))
    assert 180 < row < 250
    assert 80 < column < 150
    # A scan without a photograph has scores of its cloud all the same, and what was scored before leaves no trace.
    bare = CloudSample(stained.points, 1.0, stained.grid, SIZE, None)
    again = btf.score(state, bare, OPTIONS)
    assert set(again) == {"3d"}
    np.testing.assert_array_equal(again["3d"].points, found["3d"].points)


def cap(rng, dent=0.0) -> CloudSample:
    """A cap of a ball of 15 mm, 4,000 points, with a dent of so many millimetres."""
    directions = rng.normal(size=(4000, 3))
    directions[:, 2] = np.abs(directions[:, 2])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    depth = dent * np.exp(-np.sum((directions - (0, 0.6, 0.8)) ** 2, axis=1) / (2 * 0.08**2))
    return CloudSample((directions * (15 - depth)[:, None]).astype(np.float32), 1000.0, None, SIZE, None)


def test_a_cloud_without_pixels_is_scored_by_cells_of_its_own():
    rng = np.random.default_rng()
    tensors = btf.learn([cap(rng) for _ in range(3)], OPTIONS, MODEL, 1, CPU)
    assert tensors["bank_3d"].shape == (3 * 784, 33)
    odd = cap(rng, dent=1.5)
    found = btf.score(btf.restore(tensors, OPTIONS, None, CPU), odd, OPTIONS)
    assert found["3d"].points.shape == (4000,)
    place = odd.points[found["3d"].points.argmax()] / 15
    assert np.linalg.norm(place - (0, 0.6, 0.8)) < 0.35


def test_a_cell_of_such_a_cloud_is_the_mean_of_the_points_around_it():
    sample = cap(np.random.default_rng())
    cells, centres = btf._shape_cells(sample)
    features = compute_fpfh(sample.points, 100, 30, 250, 100)
    apart = np.linalg.norm(centres[7] - sample.points, axis=1)
    np.testing.assert_allclose(cells[7], features[apart.argsort()[:64]].mean(0), atol=0.05)
    scores = torch.rand(784)
    found = btf._to_points(scores, centres, sample, 0.0)
    order = np.linalg.norm(sample.points[11] - centres.astype(np.float64), axis=1)
    three = order.argsort()[:3]
    weights = 1 / np.maximum(order[three], 1e-30)
    assert found[11] == pytest.approx(float(scores.numpy()[three] @ weights / weights.sum()), rel=1e-4)


def test_what_does_not_belong_together_is_refused():
    rng = np.random.default_rng()
    mixed = [organised(rng, photograph=True), organised(rng)]
    with pytest.raises(InputError, match="1 of 2 good scans have no photograph"):
        btf.learn(mixed, OPTIONS, MODEL, 1, CPU)
    with pytest.raises(InputError, match="is no bank of BTF"):
        btf.restore({"bank_3d": torch.zeros(3, 5), "scale": torch.tensor(1.0)}, OPTIONS, None, CPU)
    tensors = btf.learn(mixed[:1], OPTIONS, MODEL, 1, CPU)
    tensors["bank_rgb"] = tensors["bank_rgb"][:, :5]
    with pytest.raises(InputError, match="of another length"):
        btf.score(btf.restore(tensors, OPTIONS, MODEL, CPU), mixed[0], OPTIONS)
