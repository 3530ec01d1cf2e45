"""The stage: what it stores of each renderer, and what it leaves where a scan cannot be drawn."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from pointad_core.errors import InputError
from pointad_core.rendering import registry
from pointad_core.stages.renders import make_renders
from pointad_core.storage import stores

OPTIONS = {
    "resolution": 42,
    "views": {"tilt": 180, "x": [-45, 0, 15], "y": [-30]},
    "point_size": 6,
    "visibility": "soft",
    "window": 128,
}


def options(name="splat"):
    """As the workflow's params: the entry of the renderer as plain values."""
    return {**OPTIONS, "renderer": {"name": name, **asdict(registry.RENDERERS[name])}}


def draw_cloud(seed=0, n=1500):
    """A ball, whose top is anomalous, on a grid."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    grid = np.sort(rng.choice(42 * 42, n, replace=False)).astype(np.int32)
    return {"points": points, "normals": points, "labels": (points[:, 2] < -0.6).astype(np.uint8), "grid": grid}


def write_clouds(path, clouds, organised=True):
    attributes = {"dataset": "mvtec3d", "category": "bagel", "organised": organised}
    with stores.write(path, "clouds", {}, attributes) as writer:
        for name, cloud in clouds.items():
            writer.add(name, cloud, {"defective": bool(cloud["labels"].any()) if "labels" in cloud else None})


@pytest.mark.parametrize("name", ["splat", "depth", "realistic"])
def test_a_scan_without_labels_has_no_masks_and_looks_like_a_good_one(tmp_path, name):
    good, bare = draw_cloud(1) | {"labels": np.zeros(1500, np.uint8)}, draw_cloud(1)
    del bare["labels"]
    write_clouds(tmp_path / "clouds.zip", {"good/000": good, "scans/000": bare})
    make_renders(tmp_path / "clouds.zip", tmp_path / "renders.zip", options(name), {})
    with stores.read(tmp_path / "renders.zip", "renders") as store:
        assert store.arrays("good/000") == ["images", "masks", "pixels", "visible"]
        assert store.arrays("scans/000") == ["images", "pixels", "visible"]
        names = store.arrays("scans/000")
        one, other = store.load("good/000", names), store.load("scans/000", names)
        assert all(np.array_equal(one[key], other[key]) for key in names)


@pytest.mark.parametrize("organised", [True, False])
@pytest.mark.parametrize("name", ["splat", "depth", "realistic"])
def test_the_stage_stores_every_scan(name, organised, tmp_path, monkeypatch):
    clouds = {"bent/000": draw_cloud(0), "good/001": draw_cloud(1, 900)}
    clouds["good/001"]["labels"][:] = 0
    if not organised:
        clouds = {scan: {key: cloud[key] for key in ("points", "normals", "labels")} for scan, cloud in clouds.items()}
    write_clouds(tmp_path / "clouds.zarr.zip", clouds, organised)
    chosen, module = options(name), registry.load(f"rendering.{name}")
    # All that counts of the renderer comes with the options.
    monkeypatch.setattr(registry, "RENDERERS", {})
    make_renders(tmp_path / "clouds.zarr.zip", tmp_path / "renders.zarr.zip", chosen, {"seed": 3})
    with stores.read(tmp_path / "renders.zarr.zip", "renders") as reader:
        assert reader.scans == list(clouds)
        own = {
            "splat": {"point_size": 6, "visibility": "soft", "window": 128},
            "depth": {"point_size": 6, "window": 128},
            "realistic": {},
        }[name]
        wanted = {"dataset": "mvtec3d", "category": "bagel", "resolution": 42, "renderer": name, **own}
        assert {key: reader.attributes[key] for key in wanted} == wanted
        assert {*OPTIONS} & {*reader.attributes} == {"resolution", "views", *own}
        angles = {
            "splat": [[180, -45, 0], [180, 0, 0], [180, 15, 0], [180, 0, -30]],
            "depth": [[180, 0, 0]],
            "realistic": module.angles(OPTIONS["views"]),
        }[name]
        assert reader.attributes["views"] == angles
        assert reader.attributes["provenance"]["seed"] == 3
        for scan, cloud in clouds.items():
            expected = module.render(cloud, chosen)
            loaded = reader.load(scan, ["images", "masks", "pixels", "visible"])
            for array, values in loaded.items():
                wanted = getattr(expected, array)
                assert values.dtype == wanted.dtype
                if not torch.cuda.is_available():
                    np.testing.assert_array_equal(values, wanted)
            assert reader.scan_attributes(scan)["unseen"] == expected.unseen


def test_an_unknown_renderer_is_refused_and_nothing_is_left(tmp_path):
    write_clouds(tmp_path / "clouds.zarr.zip", {"good/000": draw_cloud()})
    sketch = {"name": "sketch", "module": "rendering.sketch", "shaded": True, "options": []}
    with pytest.raises(InputError, match=r"renderer: 'rendering\.sketch' is not one of rendering\.splat"):
        make_renders(tmp_path / "clouds.zarr.zip", tmp_path / "renders.zarr.zip", {**OPTIONS, "renderer": sketch}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["clouds.zarr.zip"]


def test_the_stage_repeats_to_the_byte(tmp_path):
    write_clouds(tmp_path / "clouds.zarr.zip", {"good/000": draw_cloud()})
    for name in ("a", "b"):
        make_renders(tmp_path / "clouds.zarr.zip", tmp_path / name, options(), {})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_scan_that_cannot_be_drawn_is_named_and_nothing_is_left(tmp_path):
    broken = draw_cloud(1)
    broken["points"][7, 1] = np.nan
    write_clouds(tmp_path / "clouds.zarr.zip", {"good/000": draw_cloud(), "good/001": broken})
    with pytest.raises(InputError, match=r"clouds\.zarr\.zip: scan good/001: .* not finite"):
        make_renders(tmp_path / "clouds.zarr.zip", tmp_path / "renders.zarr.zip", options(), {})
    assert [path.name for path in tmp_path.iterdir()] == ["clouds.zarr.zip"]
