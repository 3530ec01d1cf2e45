"""The aggregation store against brute force, and what of it depends on which option."""

import numpy as np
import pytest
import torch
from aggregation_oracle import naive_fused, naive_neighbours

from pointad_core.errors import InputError
from pointad_core.stages.aggregation import make_aggregation
from pointad_core.storage import stores

SIZE, GRID, N_VIEWS, DIM = 42, 3, 3, 10
OPTIONS = {"neighbours": 4, "kernel_sigma": 0.5, "kernel_units": "data", "alpha": 0.3}
ATTRIBUTES = {"clouds": {}, "renders": {"resolution": SIZE}, "features": {"grid": GRID}}


def random_scan(rng, n):
    """Arrays of a scan by stage."""
    visible = rng.random((N_VIEWS, n)) < 0.6
    visible[0] = True
    patches = rng.normal(size=(N_VIEWS, GRID**2, DIM))
    return {
        "clouds": {"points": rng.normal(size=(n, 3)).astype(np.float32)},
        "renders": {"pixels": rng.integers(SIZE, size=(N_VIEWS, n, 2)).astype(np.int16), "visible": visible},
        "features": {"patches_vv": (patches / np.linalg.norm(patches, axis=-1, keepdims=True)).astype(np.float16)},
    }


def write_stores(folder, scans):
    paths = {stage: folder / f"{stage}.zarr.zip" for stage in ATTRIBUTES}
    for stage, path in paths.items():
        with stores.write(path, stage, {}, ATTRIBUTES[stage]) as writer:
            for name, arrays in scans.items():
                writer.add(name, arrays[stage])
    return paths | {"output": folder / "aggregation.zarr.zip"}


def make(paths, **changes):
    make_aggregation(**paths, options=OPTIONS | changes, provenance={"config": "test"})


def load(paths, scan):
    with stores.read(paths["output"], "aggregation") as store:
        return store.load(scan, store.arrays(scan))


@pytest.fixture
def scans():
    rng = np.random.default_rng(7)
    return {"bent/000": random_scan(rng, 23), "good/001": random_scan(rng, 31)}


def naive_norms(scan, neighbours, kernel, alpha):
    """||q^|| of the features as stored."""
    column, row = scan["renders"]["pixels"].astype(int).transpose(2, 0, 1)
    cloud = {
        "patches": scan["features"]["patches_vv"].astype(float),
        "patch_index": row * GRID // SIZE * GRID + column * GRID // SIZE,
        "visible": scan["renders"]["visible"],
        "neighbours": neighbours,
        "weights": kernel,
    }
    return np.linalg.norm(naive_fused(cloud, alpha), axis=1)


def naive_kernel(distances, width):
    kernel = np.exp(-(distances**2) / (2 * width**2))
    return kernel / kernel.sum(1, keepdims=True)


def test_the_store_holds_what_the_method_defines(tmp_path, scans):
    paths = write_stores(tmp_path, scans)
    make(paths)
    with stores.read(paths["output"], "aggregation") as store:
        assert store.scans == list(scans)
        assert store.attributes["alpha"] == 0.3
        assert store.attributes["provenance"]["config"] == "test"
    for name, scan in scans.items():
        found = load(paths, name)
        neighbours, distances = naive_neighbours(scan["clouds"]["points"], 4)
        kernel = naive_kernel(distances, 0.5)
        np.testing.assert_array_equal(found["neighbours"], neighbours)
        np.testing.assert_allclose(found["weights"], kernel, rtol=1e-5)
        np.testing.assert_allclose(found["norms"], naive_norms(scan, neighbours, kernel, 0.3), atol=1e-5)
        types = {"neighbours": np.int32, "weights": np.float32, "norms": np.float32}
        assert {key: array.dtype for key, array in found.items()} == types


@pytest.mark.parametrize("kernel_units", ["data", "spacing"])
def test_kernel_units_reach_the_weights(tmp_path, scans, kernel_units):
    paths = write_stores(tmp_path, scans)
    make(paths, kernel_units=kernel_units, kernel_sigma=0.7)
    _, distances = naive_neighbours(scans["good/001"]["clouds"]["points"], 4)
    width = 0.7 * (distances.mean() if kernel_units == "spacing" else 1)
    np.testing.assert_allclose(load(paths, "good/001")["weights"], naive_kernel(distances, width), rtol=1e-5)


def test_another_alpha_gives_other_norms_and_nothing_else(tmp_path, scans):
    """And touches none of the stores that it reads."""
    paths = write_stores(tmp_path, scans)
    make(paths)
    before = {name: path.read_bytes() for name, path in paths.items()}
    old = load(paths, "good/001")
    make(paths, alpha=0.8)
    changed = {name for name, path in paths.items() if path.read_bytes() != before[name]}
    assert changed == {"output"}
    found = load(paths, "good/001")
    for name in ("neighbours", "weights"):
        np.testing.assert_array_equal(found[name], old[name])
    wanted = naive_norms(scans["good/001"], old["neighbours"], old["weights"], 0.8)
    np.testing.assert_allclose(found["norms"], wanted, atol=1e-5)
    assert np.abs(found["norms"] - old["norms"]).max() > 0.01
    with stores.read(paths["output"], "aggregation") as store:
        assert store.attributes["alpha"] == 0.8


def test_the_same_options_give_the_same_bytes(tmp_path, scans):
    paths = write_stores(tmp_path, scans)
    make(paths)
    first = paths["output"].read_bytes()
    make(paths)
    assert paths["output"].read_bytes() == first
    make(paths, neighbours=5)
    assert load(paths, "bent/000")["neighbours"].shape == (23, 5)


def test_too_few_points_name_the_scan(tmp_path, scans):
    paths = write_stores(tmp_path, scans)
    with pytest.raises(InputError, match=r"clouds.zarr.zip: scan 'bent/000'.*neighbours is 23.*only 23 points"):
        make(paths, neighbours=23)
    assert not paths["output"].exists()
    make(paths, neighbours=22)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kernel_units": "metres"}, "scan 'bent/000': kernel_units is 'metres'"),
        ({"kernel_sigma": 0}, "scan 'bent/000': kernel_sigma is 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path, scans, change, told):
    paths = write_stores(tmp_path, scans)
    with pytest.raises(InputError, match=told):
        make(paths, **change)
    assert not paths["output"].exists()


@pytest.mark.parametrize("stage", ["renders", "features"])
def test_stores_of_different_scans_are_refused(tmp_path, scans, stage):
    paths = write_stores(tmp_path, scans)
    other = write_stores(tmp_path / "other", {"good/001": scans["good/001"]})
    with pytest.raises(InputError, match=rf"other/{stage}.zarr.zip: its scans are not those of .*clouds.zarr.zip"):
        make(paths | {stage: other[stage]})
    assert not paths["output"].exists()


def test_renders_of_another_cloud_are_refused_by_scan(tmp_path, scans):
    scans["good/001"]["clouds"]["points"] = scans["good/001"]["clouds"]["points"][:-1]
    paths = write_stores(tmp_path, scans)
    with pytest.raises(InputError, match="scan 'good/001': 30 points in the cloud, 31 in its renders; redo both"):
        make(paths)
    assert not paths["output"].exists()


def test_features_of_other_renders_are_refused_by_scan(tmp_path, scans):
    scans["good/001"]["features"]["patches_vv"] = scans["good/001"]["features"]["patches_vv"][[0, 1, 2, 2]]
    paths = write_stores(tmp_path, scans)
    with pytest.raises(InputError, match=r"features.zarr.zip: scan 'good/001' has features of 4 renders, .* has 3"):
        make(paths)
    assert not paths["output"].exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_gives_the_same_store(tmp_path, scans, monkeypatch):
    gpu = write_stores(tmp_path / "gpu", scans)
    make(gpu)
    monkeypatch.setattr("pointad_core.storage.jobs.pick_device", lambda: torch.device("cpu"))
    cpu = write_stores(tmp_path / "cpu", scans)
    make(cpu)
    for scan in scans:
        first, second = load(gpu, scan), load(cpu, scan)
        for name in first:
            np.testing.assert_allclose(first[name], second[name], atol=1e-5)
