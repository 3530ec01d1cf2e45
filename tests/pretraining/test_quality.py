"""What the shipped weights of the small CLIP can do, on families that they were not trained on."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

import pointad_core
from pointad_core.clip.loading import load_clip
from pointad_core.errors import InputError
from pointad_core.storage import jobs, stores
from pretraining import quality, views

WEIGHTS = Path(pointad_core.__file__).with_name("clip") / "models/pointad-pocket-shapes.safetensors"


@pytest.fixture(scope="module")
def lot(tmp_path_factory):
    jobs.use(1, gpus=0)
    path = tmp_path_factory.mktemp("quality") / "held_out.zarr.zip"
    views.make_lot(path, 2, views.HELD_OUT, 0, 9, {"seed": 2})
    return path


def test_shipped_weights_find_defects_on_unseen_families(lot, tmp_path):
    output = tmp_path / "quality.csv"
    quality.make_quality(WEIGHTS, lot, output)
    with open(output) as file:
        trained, drawn = csv.DictReader(file)
    assert (trained["weights"], drawn["weights"]) == ("trained", "random")
    for stream in ("vv", "plain"):
        assert float(trained[f"{stream}_pixel"]) > float(drawn[f"{stream}_pixel"]) + 5, (trained, drawn)


def test_shipped_weights_load_by_their_tag():
    assert WEIGHTS.stat().st_size < 24_000_000
    by_tag = load_clip("pointad-pocket", 1, pretrained="shapes")
    by_file = load_clip("pointad-pocket", 1, checkpoint=WEIGHTS)
    for name, value in by_tag.model.state_dict().items():
        assert torch.equal(value, by_file.model.state_dict()[name]), name
    with pytest.raises(InputError, match=r"has no pretrained weights 'shape', close names are \['shapes'\]"):
        load_clip("pointad-pocket", 1, pretrained="shape")


def test_words_of_the_two_states_lie_apart():
    """Whatever the wording, the name and the template: what is said to be damaged is nearer to what else is."""
    clip = load_clip("pointad-pocket", 1, pretrained="shapes")
    normal = clip.encode_text(["object.", "A photo of a normal bagel", "a flawless thing", "an intact widget"])
    damaged = clip.encode_text(
        ["damaged object.", "A photo of an anomalous bagel", "a broken thing", "a faulty widget"]
    )
    assert (normal @ normal.T).min() > (normal @ damaged.T).max()
    assert (damaged @ damaged.T).min() > (normal @ damaged.T).max()


def test_a_thing_depends_on_its_number_alone(tmp_path):
    """Lots of other sizes hold the same things, and families take turns."""
    families = ("gear", "leaf")
    views.make_lot(tmp_path / "all.zarr.zip", 5, families, 0, 3, {})
    views.make_lot(tmp_path / "last.zarr.zip", 5, families, 2, 1, {})
    with (
        stores.read(tmp_path / "all.zarr.zip", "pretraining views") as first,
        stores.read(tmp_path / "last.zarr.zip", "pretraining views") as second,
    ):
        assert [first.scan_attributes(scan)["family"] for scan in first.scans] == ["gear", "leaf", "gear"]
        assert second.scans == first.scans[2:]
        names = first.arrays(second.scans[0])
        assert names == second.arrays(second.scans[0])
        ours, theirs = (reader.load(second.scans[0], names) for reader in (first, second))
        assert all((ours[name] == theirs[name]).all() for name in names)
        assert ours["images"].shape == (views.VIEWS, 336, 336)


def test_masks_lie_on_the_object_and_good_things_have_none(lot):
    with stores.read(lot, "pretraining views") as reader:
        kinds = [reader.scan_attributes(scan)["kinds"] for scan in reader.scans]
        assert any(kind == ["good"] for kind in kinds)
        assert any(kind != ["good"] for kind in kinds)
        for scan, kind in zip(reader.scans, kinds, strict=True):
            arrays = reader.load(scan, ["images", "masks"])
            masks = np.unpackbits(arrays["masks"], axis=1).reshape(arrays["images"].shape).astype(bool)
            if kind == ["good"]:
                assert not masks.any()
            elif kind != ["stain"]:
                assert masks.any()
            # A mask is resampled by itself: at a border, as of a chipped edge, it may reach a pixel beyond the object.
            if masks.any():
                assert (arrays["images"][masks] < 255).mean() > 0.9
