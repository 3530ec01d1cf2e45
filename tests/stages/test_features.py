"""The features store against naive float64 towers."""

import clip_oracle as oracle
import numpy as np
import pytest
import torch

from pointad_core.clip.loading import load_clip
from pointad_core.clip.tower import encode_each
from pointad_core.errors import InputError
from pointad_core.stages.features import make_features
from pointad_core.storage import stores

SIZE = 42
GRID = 3
N_VIEWS = 3
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory):
    oracle.register(tmp_path_factory.mktemp("models"))


def random_scan(rng, n, rgb):
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
    "streams": ["plain", "vv"],
    "resolution": SIZE,
}


def make(paths, **changes):
    make_features(**paths, options=OPTIONS | changes, provenance={"config": "test"})


@pytest.fixture
def scans():
    rng = np.random.default_rng(7)
    return {"bent/000": random_scan(rng, 23, True), "good/001": random_scan(rng, 31, True)}


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
            assert not found


def test_only_the_streams_asked_for_are_kept(tmp_path, scans):
    scans = {name: ({"points": cloud["points"]}, rendered) for name, (cloud, rendered) in scans.items()}
    paths = write_stores(tmp_path, scans)
    for streams, arrays in ((["plain"], ["global", "patches_plain"]), (["vv"], ["global", "patches_vv"])):
        make(paths, streams=streams)
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


def test_stores_of_different_scans_are_refused(tmp_path, scans):
    paths = write_stores(tmp_path, scans)
    other = write_stores(tmp_path / "other", {"good/001": scans["good/001"]})
    with pytest.raises(InputError, match="its scans are not those of"):
        make(paths | {"renders": other["renders"]})
    with pytest.raises(InputError, match="at least one of"):
        make(paths, streams=[])


@pytest.mark.parametrize(("precision", "spoil_at"), [("float32", 2), ("float16", 2), ("float16", 3)])
def test_features_that_overflow_are_refused_by_scan(tmp_path, scans, monkeypatch, precision, spoil_at):
    """Of renders, and of a photograph."""
    paths = write_stores(tmp_path, scans)

    def overflow(*arguments):
        for number, features in enumerate(encode_each(*arguments)):
            spoilt = features["patches_vv"].clone()
            spoilt[-1, 0, 0] = np.inf if number == spoil_at else 0
            yield features | {"patches_vv": spoilt}

    monkeypatch.setattr("pointad_core.stages.features.encode_each", overflow)
    if precision == "float32":  # what a sound model gives is not looked through
        make(paths, precision=precision)
    else:
        with pytest.raises(
            InputError, match="'good/001': features are not finite in precision 'float16'; take another"
        ):
            make(paths, precision=precision)
        assert not paths["output"].exists()


def test_the_precision_is_the_options(tmp_path, scans):
    found = {}
    for precision in ("float32", "bfloat16"):
        paths = write_stores(tmp_path / precision, scans)
        make(paths, precision=precision)
        with stores.read(paths["output"], "features") as store:
            found[precision] = store.load("bent/000", ["global"])["global"].astype(float)
    apart = np.abs(found["bfloat16"] - found["float32"]).max()
    assert 0 < apart < 0.02


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_gives_the_same_store(tmp_path, scans, monkeypatch):
    gpu = write_stores(tmp_path / "gpu", scans)
    make(gpu)
    monkeypatch.setattr("pointad_core.storage.jobs.pick_device", lambda: torch.device("cpu"))
    cpu = write_stores(tmp_path / "cpu", scans)
    make(cpu)
    with stores.read(gpu["output"], "features") as a, stores.read(cpu["output"], "features") as b:
        for scan in a.scans:
            first, second = (store.load(scan, store.arrays(scan)) for store in (a, b))
            for name in first:
                np.testing.assert_allclose(first[name].astype(float), second[name].astype(float), atol=2e-3)
