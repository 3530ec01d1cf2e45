"""Scans as the systems read them: what comes from which store, and stores that do not belong together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import ALPHA, SIZE, STAGES, write_toy

from pointad_core.errors import InputError
from pointad_core.methods.aggregation import patch_indices
from pointad_core.methods.registry import SYSTEMS, System
from pointad_core.methods.segmentation import PointSample
from pointad_core.stages.samples import open_samples
from pointad_core.storage import stores


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("toy"), n_scans=3)


def load(path, stage, scan):
    with stores.read(path, stage) as store:
        return store.load(scan, store.arrays(scan))


@pytest.mark.parametrize("stream", ["vv", "plain"])
@pytest.mark.parametrize("aggregates", [True, False])
def test_a_sample_has_what_the_stores_hold(toy, tmp_path, stream, aggregates):
    arrays = {stage: load(path, stage, "bent/000") for stage, path in toy.paths.items()}
    arrays["features"]["patches_plain"] = arrays["features"]["patches_plain"][:, ::-1]  # the toy has one for both
    other = replace(toy, features=tmp_path / "features.zarr.zip")
    with (
        stores.read(toy.features, "features") as old,
        stores.write(other.features, "features", {}, {"dim": 128, "grid": 4}) as new,
    ):
        for scan in old.scans:
            new.add(scan, arrays["features"])
    with open_samples(other.paths, System("own.py", stream, aggregates=aggregates)) as reader:
        assert reader.scans == ["bent/000", "good/001", "bent/002"]
        sample = reader.sample("bent/000")
        np.testing.assert_array_equal(reader.masks("bent/000"), arrays["renders"]["masks"] > 0)
        whole, patches = reader.rgb("bent/000")
    for found, wanted in (
        (sample.views, arrays["features"]["global"]),
        (sample.patches, arrays["features"][f"patches_{stream}"]),
        (sample.pixels, arrays["renders"]["pixels"]),
        (sample.visible, arrays["renders"]["visible"]),
        (whole, arrays["features"]["rgb_global"]),
        (patches, arrays["features"][f"rgb_patches_{stream}"]),
    ):
        assert found.numpy().dtype == wanted.dtype
        np.testing.assert_array_equal(found.numpy(), wanted)
    assert sample.resolution == SIZE
    assert (sample.aggregation is not None) == aggregates
    if aggregates:
        assert sample.aggregation.alpha == ALPHA
        for name in ("neighbours", "weights", "norms"):
            np.testing.assert_array_equal(getattr(sample.aggregation, name).numpy(), arrays["aggregation"][name])
        assert torch.equal(sample.aggregation.patch_index, patch_indices(sample.pixels, SIZE, 4).int())


def test_alpha_is_that_of_the_store(toy, tmp_path):
    path = tmp_path / "aggregation.zarr.zip"
    with (
        stores.read(toy.aggregation, "aggregation") as old,
        stores.write(path, "aggregation", {}, {"alpha": 0.9}) as new,
    ):
        for scan in old.scans:
            new.add(scan, old.load(scan, old.arrays(scan)))
    with open_samples({**toy.paths, "aggregation": path}, SYSTEMS["pointad_plus"]) as reader:
        assert reader.sample("good/001").aggregation.alpha == 0.9


@pytest.mark.parametrize(
    ("system", "stages"),
    [("cheraghian", STAGES[:1]), ("pointad", STAGES[:3]), ("pointad_plus", STAGES)],
)
def test_a_system_reads_its_own_stages_alone(toy, tmp_path, system, stages):
    """Stores of the others may be missing, or be no stores at all."""
    other = tmp_path / "none"
    with open_samples(
        {stage: toy.paths[stage] if stage in stages else other for stage in STAGES}, SYSTEMS[system]
    ) as r:
        assert tuple(r.stores) == stages
        assert isinstance(r.sample("bent/000"), PointSample) == (system == "cheraghian")
        assert (r.rgb("bent/000") is None) == (system == "cheraghian")
    for stage in stages[1:]:
        for lacking in ({}, {stage: None}, {stage: []}):
            paths = {own: toy.paths[own] for own in stages if own != stage} | lacking
            with (
                pytest.raises(InputError, match=f"toy_clouds.zarr.zip: the {stage} of this category are missing"),
                open_samples(paths, SYSTEMS[system]),
            ):
                pass


@pytest.mark.parametrize("stage", STAGES[1:])
def test_stores_of_other_scans_are_refused(toy, tmp_path, stage):
    other = write_toy(tmp_path, "other", n_scans=4)
    paths = toy.paths | {stage: other.paths[stage]}
    with (
        pytest.raises(InputError, match=rf"other_{stage}.zarr.zip: its scans are not those of .*toy_clouds.zarr.zip"),
        open_samples(paths, SYSTEMS["pointad_plus"]),
    ):
        pass


def test_features_of_other_renders_are_refused_by_scan(toy, tmp_path):
    other = write_toy(tmp_path, "other", n_scans=3, views=2)
    with (
        open_samples(toy.paths | {"renders": other.renders}, SYSTEMS["pointad"]) as reader,
        pytest.raises(
            InputError, match=r"toy_features.*: scan 'bent/000' has features of 3 renders, .*other_renders.* 2;"
        ),
    ):
        reader.sample("bent/000")


def test_an_aggregation_of_another_cloud_is_refused_by_scan(toy, tmp_path):
    other = write_toy(tmp_path, "other", n_scans=3, organised=False)
    with (
        open_samples(toy.paths | {"aggregation": other.aggregation}, SYSTEMS["pointad_plus"]) as reader,
        pytest.raises(
            InputError, match=r"other_aggregation.*: scan 'bent/000' has 300 points, .*toy_renders.* has 350;"
        ),
    ):
        reader.sample("bent/000")


def test_text_embeddings_must_fit_the_features(toy):
    pair, wide, weights = torch.zeros(2, 128), torch.zeros(2, 64), torch.zeros(7, 5)
    with open_samples(toy.paths, SYSTEMS["pointad_plus"]) as reader:
        reader.check_dimensions({"rendering": pair, "geometry": pair, "own": weights}, "here")
        with pytest.raises(InputError, match=r"here: text embeddings have \[64\] dimensions, .*toy_features.* has 128"):
            reader.check_dimensions({"rendering": pair, "geometry": wide}, "here")
    with open_samples({"clouds": toy.clouds}, SYSTEMS["cheraghian"]) as reader:
        reader.check_dimensions({"text": wide, "rendering": wide}, "here")


def test_a_scan_without_a_photograph(tmp_path):
    toy = write_toy(tmp_path, rgb=False, n_scans=1)
    with open_samples(toy.paths, SYSTEMS["pointad"]) as reader:
        assert reader.rgb("bent/000") is None
