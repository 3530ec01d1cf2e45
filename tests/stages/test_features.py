"""The features store against naive float64 towers, neighbours and fused features."""

import clip_oracle as oracle
import numpy as np
import pytest
import torch
from test_geometry import naive_fused

from pointad_core.storage import stores
from pointad_core.clip.loading import load_clip
from pointad_core.errors import InputError
from pointad_core.methods.aggregation import find_neighbours
from pointad_core.stages.features import make_features

SIZE = 42
GRID = 3
N_VIEWS = 3
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory):
    oracle.register(tmp_path_factory.mktemp("models"))


def naive_neighbours(points, k):
    """Brute force: sorted distances and, where these are all different, indices."""
    indices, distances = [], []
    for i in range(len(points)):
        found = sorted(
            (float(np.linalg.norm(points[i].astype(float) - points[j])), j) for j in range(len(points)) if j != i
        )
        distances.append([distance for distance, _ in found[:k]])
        indices.append([j for _, j in found[:k]])
    return np.array(indices), np.array(distances)


def test_neighbours_are_the_nearest_others():
    points = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
    indices, distances = find_neighbours(points, 7)
    expected_indices, expected_distances = naive_neighbours(points, 7)
    assert indices.dtype == np.int32
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-12)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_a_point_is_never_its_own_neighbour_even_among_duplicates(k):
    rng = np.random.default_rng(2)
    points = rng.normal(size=(30, 3)).astype(np.float32)
    points[5:17] = points[5]  # more coinciding points than neighbours
    points[20:22] = points[20]
    indices, distances = find_neighbours(points, k)
    assert (indices != np.arange(30)[:, None]).all()
    assert all(len(set(row)) == k for row in indices.tolist())
    _, expected = naive_neighbours(points, k)
    np.testing.assert_allclose(distances, expected, atol=1e-12)


def test_more_neighbours_than_points_are_refused():
    with pytest.raises(ValueError, match="5 neighbours asked for, 5 points allow 1 to 4"):
        find_neighbours(np.zeros((5, 3)), 5)
    with pytest.raises(ValueError, match="0 neighbours"):
        find_neighbours(np.zeros((5, 3)), 0)


def draw_scan(rng, n, rgb):
    cloud = {"points": rng.normal(size=(n, 3)).astype(np.float32)}
    if rgb:
        cloud["rgb"] = rng.integers(256, size=(SIZE, SIZE, 3), dtype=np.uint8)
    visible = rng.random((N_VIEWS, n)) < 0.6
    visible[0] = True
    renders = {
        "images": rng.integers(256, size=(N_VIEWS, SIZE, SIZE), dtype=np.uint8),
        "pixels": rng.integers(SIZE, size=(N_VIEWS, n, 2)).astype(np.int16),
        "visible": visible,
    }
    return cloud, renders


def write_stores(folder, scans, kinds=("clouds", "renders")):
    """scans: name -> (cloud arrays, render arrays)."""
    paths = {}
    for position, kind in enumerate(kinds):
        paths[kind] = folder / f"{kind}.zarr.zip"
        with stores.write(paths[kind], kind, {}) as writer:
            for name, pair in scans.items():
                writer.add(name, pair[position])
    return paths | {"output": folder / "features.zarr.zip"}


OPTIONS = {
    "rendering": "standard",
    "model": "tiny",
    "random_seed": 3,
    "vv_blocks": 2,
    "neighbours": 4,
    "kernel_sigma": 0.5,
    "kernel_units": "data",
    "alpha": 0.3,
    "resolution": SIZE,
}


def make(paths, streams=("vv", "plain"), explicit=None, **changes):
    explicit = "vv" in streams if explicit is None else explicit
    provenance = {"config": "test"}
    make_features(**paths, options=OPTIONS | changes, streams=streams, explicit=explicit, provenance=provenance)


@pytest.fixture
def scans():
    rng = np.random.default_rng(7)
    return {"bent/000": draw_scan(rng, 23, True), "good/001": draw_scan(rng, 31, True)}


def test_the_store_holds_what_the_method_defines(tmp_path, scans):
    paths = write_stores(tmp_path, scans)
    make(paths)
    weights = oracle.weights_of(load_clip("tiny", 2, random_seed=3).model)

    def naive(image):
        image = image / 255 if image.ndim == 3 else np.repeat(image[..., None] / 255, 3, axis=-1)
        return oracle.encode_image(image.transpose(2, 0, 1), weights, heads=2, vv_blocks=2, mean=MEAN, std=STD)

    with stores.read(paths["output"], "features") as store:
        assert store.scans == list(scans)
        expected = {"model": "tiny", "dim": 10, "grid": GRID, "streams": ["vv", "plain"]}
        assert {key: store.attributes[key] for key in expected} == expected
        assert store.attributes["provenance"]["config"] == "test"
        for name, (cloud, rendered) in scans.items():
            found = store.load(name, store.arrays(name))
            views = [naive(image) for image in rendered["images"]]
            rgb = naive(cloud["rgb"])
            for feature in ("global", "patches_vv", "patches_plain"):
                for array, wanted in (
                    (found.pop(feature), np.array([view[feature] for view in views])),
                    (found.pop(f"rgb_{feature}"), rgb[feature]),
                ):
                    assert array.dtype == np.float16
                    np.testing.assert_allclose(array.astype(float), wanted, atol=6e-4)
                    np.testing.assert_allclose(np.linalg.norm(array.astype(float), axis=-1), 1, atol=1e-3)
            neighbours, distances = naive_neighbours(cloud["points"], 4)
            kernel = np.exp(-(distances**2) / (2 * 0.5**2))
            kernel /= kernel.sum(1, keepdims=True)
            np.testing.assert_array_equal(found["neighbours"], neighbours)
            np.testing.assert_allclose(found["weights"], kernel, rtol=1e-5)
            # Norms belong to the features as stored.
            patches = store.load(name, ["patches_vv"])["patches_vv"].astype(float)
            column, row = rendered["pixels"].astype(int).transpose(2, 0, 1)
            fused = naive_fused(
                {
                    "patches": patches,
                    "patch_index": row * GRID // SIZE * GRID + column * GRID // SIZE,
                    "visible": rendered["visible"],
                    "neighbours": neighbours,
                    "weights": kernel,
                },
                0.3,
            )
            np.testing.assert_allclose(found.pop("norms"), np.linalg.norm(fused, axis=1), atol=1e-5)
            assert {key: array.dtype for key, array in found.items()} == {"neighbours": np.int32, "weights": np.float32}


def test_only_the_streams_asked_for_are_kept(tmp_path, scans):
    scans = {name: ({"points": cloud["points"]}, rendered) for name, (cloud, rendered) in scans.items()}
    paths = write_stores(tmp_path, scans)
    for streams, arrays in (
        (["plain"], ["global", "patches_plain"]),
        (["vv"], ["global", "neighbours", "norms", "patches_vv", "weights"]),
    ):
        make(paths, streams)
        with stores.read(paths["output"], "features") as store:
            assert store.attributes["streams"] == streams
            assert store.arrays("bent/000") == arrays


def test_the_same_seed_gives_the_same_bytes(tmp_path, scans):
    paths = write_stores(tmp_path, scans)
    make(paths)
    first = paths["output"].read_bytes()
    make(paths)
    assert paths["output"].read_bytes() == first
    make(paths, random_seed=4)
    assert paths["output"].read_bytes() != first


@pytest.mark.parametrize("kernel_units", ["data", "spacing"])
def test_kernel_units_reach_the_weights(tmp_path, scans, kernel_units):
    paths = write_stores(tmp_path, scans)
    make(paths, ["vv"], kernel_units=kernel_units, kernel_sigma=0.7)
    points = scans["good/001"][0]["points"]
    _, distances = naive_neighbours(points, 4)
    width = 0.7 * (distances.mean() if kernel_units == "spacing" else 1)
    kernel = np.exp(-(distances**2) / (2 * width**2))
    with stores.read(paths["output"], "features") as store:
        found = store.load("good/001", ["weights"])["weights"]
    np.testing.assert_allclose(found, kernel / kernel.sum(1, keepdims=True), rtol=1e-5)


def spoil(scans, scan, part, name, value):
    pair = [dict(arrays) for arrays in scans[scan]]
    pair[part][name] = value(pair[part][name])
    return scans | {scan: tuple(pair)}


@pytest.mark.parametrize(
    ("part", "name", "value", "told"),
    [
        (1, "images", lambda a: a[:, :28, :28], r"renders are \(28, 28\) pixels, resolution is 42"),
        (0, "points", lambda a: a[:-1], "30 points in the cloud, 31 in its renders"),
        (1, "visible", lambda a: a & (np.arange(31) != 4), "seen in no view"),
        (0, "rgb", lambda a: a[:28], r"rgb is \(28, 42, 3\), expected \(42, 42, 3\)"),
    ],
)
def test_stores_that_do_not_fit_are_refused_by_scan(tmp_path, scans, part, name, value, told):
    paths = write_stores(tmp_path, spoil(scans, "good/001", part, name, value))
    with pytest.raises(InputError, match=told) as caught:
        make(paths)
    assert "good/001" in str(caught.value)
    assert not paths["output"].exists()


def test_too_few_points_name_the_scan(tmp_path, scans):
    paths = write_stores(tmp_path, scans)
    with pytest.raises(InputError, match=r"scan 'bent/000'.*neighbours is 23.*only 23 points"):
        make(paths, neighbours=23)
    make(paths, ["plain"], neighbours=23)  # the explicit branch alone needs neighbours


def test_stores_of_different_scans_are_refused(tmp_path, scans):
    paths = write_stores(tmp_path, scans)
    other = write_stores(tmp_path / "other", {"good/001": scans["good/001"]})
    with pytest.raises(InputError, match="its scans are not those of"):
        make(paths | {"renders": other["renders"]})
    with pytest.raises(InputError, match="at least one of"):
        make(paths, [])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_gives_the_same_store(tmp_path, scans, monkeypatch):
    gpu = write_stores(tmp_path / "gpu", scans)
    make(gpu)
    monkeypatch.setattr("pointad_core.features.pick_device", lambda: torch.device("cpu"))
    cpu = write_stores(tmp_path / "cpu", scans)
    make(cpu)
    with stores.read(gpu["output"], "features") as a, stores.read(cpu["output"], "features") as b:
        for scan in a.scans:
            first, second = (store.load(scan, store.arrays(scan)) for store in (a, b))
            for name in first:
                np.testing.assert_allclose(first[name].astype(float), second[name].astype(float), atol=2e-3)
