"""The stage prompts: training on a toy category, what is written of it, and what is refused."""

import csv
import json
import logging
from dataclasses import replace

import cases
import numpy as np
import pytest
import torch
from safetensors import safe_open
from toy import STAGES, write_toy

from pointad_core.clip.loading import load_clip
from pointad_core.errors import InputError
from pointad_core.methods.interface import Settings
from pointad_core.methods.prompts import PromptLearner
from pointad_core.methods.registry import SYSTEMS, plain
from pointad_core.storage import stores
from pointad_core.storage.prompt_files import read_prompts


@pytest.fixture(scope="module")
def clip():
    return load_clip("pointad-pocket", 1, random_seed=111)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("toy"))


def make(toy, folder, system="pointad", seed=3, **options):
    options = {"epochs": 3, "deep_blocks": 3, **options}
    return cases.learn(
        system, toy.paths, folder / "prompts.safetensors", options, seed=seed, provenance={"code": "abc"}
    )


@pytest.mark.parametrize("system", ["pointad", "pointad_plus"])
def test_training_learns_a_separable_toy_and_writes_it_down(toy, tmp_path, system, clip):
    output, curve = make(toy, tmp_path, system, epochs=12)
    with open(curve) as file:
        rows = list(csv.DictReader(file))
    terms = ["global_3d", "local_3d", "global_2d", "local_2d"]
    terms += ["geometry", "cross"] if system == "pointad_plus" else []
    assert list(rows[0]) == ["epoch", "step", *terms, "total"]
    assert [(row["epoch"], row["step"]) for row in rows[:3]] == [("1", "1"), ("1", "2"), ("2", "3")]
    assert len(rows) == 12 * 2  # 6 scans in batches of 4 and 2
    total = [float(row["total"]) for row in rows]
    np.testing.assert_allclose(total, [sum(float(row[term]) for term in terms) for row in rows], rtol=1e-5)
    assert np.mean(total[-2:]) < 0.8 * np.mean(total[:2])

    layers = ["rendering", "geometry"] if system == "pointad_plus" else ["rendering"]
    with safe_open(output, framework="np") as file:
        shapes = {name: file.get_tensor(name).shape for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    width, dim = clip.text_width, clip.dim
    assert shapes == {
        f"{layer}.{name}": shape
        for layer in layers
        for name, shape in {
            "context_normal": (12, width),
            "context_abnormal": (12, width),
            "deep": (3, 4, width),
            "embeddings": (2, dim),
        }.items()
    }
    provenance = json.loads(metadata["provenance"])
    assert provenance["code"] == "abc"
    assert (provenance["category"], provenance["seed"], provenance["settings"]["epochs"]) == ("toy", 3, 12)
    assert provenance["texts"]["rendering"] == ["object.", "damaged object."]
    assert provenance["system"] == plain(SYSTEMS[system])
    assert provenance["settings"]["loss_weights"] == dict.fromkeys(terms, 1)

    tensors = read_prompts(output)
    for layer in layers:
        torch.testing.assert_close(tensors[f"{layer}.embeddings"].norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("organised", [True, False])
def test_dice_over_all_pixels_reads_the_masks_of_organised_scans(tmp_path, organised):
    toy = write_toy(tmp_path, organised=organised, n_scans=2)
    rows = []
    for dice in ("points", "pixels"):
        (tmp_path / dice).mkdir()
        _, curve = make(toy, tmp_path / dice, "pointad_plus", epochs=1, dice=dice)
        with open(curve, newline="") as file:
            rows.append(next(csv.DictReader(file)))
    # More than half of the toy's pixels have no point: neither class has a probability there.
    changed = {name for name in rows[0] if abs(float(rows[0][name]) - float(rows[1][name])) > 0.1}
    assert changed == ({"local_3d", "geometry", "total"} if organised else set())


def test_the_same_seed_gives_the_same_bytes(toy, tmp_path):
    files = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        (tmp_path / name).mkdir()
        files.append([path.read_bytes() for path in make(toy, tmp_path / name, "pointad_plus", seed, epochs=1)])
    assert files[0] == files[1]
    assert files[0][0] != files[2][0]
    assert files[0][1] != files[2][1]


def test_stored_embeddings_are_those_of_the_stored_tokens(toy, tmp_path, clip):
    output, _ = make(toy, tmp_path, epochs=1)
    with safe_open(output, framework="pt") as file:
        parts = {name: file.get_tensor(f"rendering.{name}") for name in ("context_normal", "context_abnormal", "deep")}
    pair = PromptLearner.first(clip, ("object.", "damaged object."), Settings(deep_blocks=3), torch.Generator())
    pair.context = torch.stack([parts["context_normal"], parts["context_abnormal"]])
    pair.deep = parts["deep"]
    torch.testing.assert_close(pair.embeddings(), read_prompts(output)["rendering.embeddings"])


def test_a_category_without_defects_is_refused_and_nothing_is_written(tmp_path):
    toy = write_toy(tmp_path, "peach", defective=(False, False))
    with pytest.raises(InputError, match="category 'peach' has no defective scan"):
        make(toy, tmp_path)
    assert not list(tmp_path.glob("prompts*"))


def test_a_category_without_good_scans_is_warned_about(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        make(write_toy(tmp_path, "peach", defective=(True, True)), tmp_path, epochs=1)
    assert any("peach has no good scan" in message for message in caplog.messages)


def without_labels(toy, *scans):
    """Take the labels of some scans of a category away."""
    for stage, gone in (("clouds", ("labels", "mask")), ("renders", ("masks",))):
        path = toy.paths[stage]
        before = path.rename(path.with_suffix(".before"))
        with (
            stores.read(before, stage) as read,
            stores.write(path, stage, read.attributes["provenance"], read.attributes) as writer,
        ):
            for scan in read.scans:
                bare = scan in scans
                arrays = read.load(scan, [name for name in read.arrays(scan) if not (bare and name in gone)])
                about = read.scan_attributes(scan)
                writer.add(scan, arrays, {**about, "defective": None} if bare and stage == "clouds" else about)


def test_scans_without_labels_are_left_out_of_training(tmp_path, caplog):
    curves = []
    for name, defective in (("more", (True, False, True)), ("less", (True, False))):
        (tmp_path / name).mkdir()
        toy = write_toy(tmp_path / name, "peach", n_scans=len(defective), defective=defective)
        if name == "more":
            with stores.read(toy.clouds, "clouds") as store:
                last = store.scans[-1]
            without_labels(toy, last)
        with caplog.at_level(logging.WARNING):
            curves.append(make(toy, tmp_path / name, epochs=1)[1].read_text())
    assert "category peach: 1 of 3 scans have no labels and are left out" in caplog.messages
    assert curves[0] == curves[1]


def test_a_category_without_labels_is_refused(tmp_path):
    toy = write_toy(tmp_path, "peach", n_scans=2)
    with stores.read(toy.clouds, "clouds") as store:
        scans = store.scans
    without_labels(toy, *scans)
    with pytest.raises(InputError, match="no defective scan to train prompts on; 2 of its 2 scans have no labels"):
        make(toy, tmp_path)


def test_features_of_another_model_are_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"model 'pointad-pocket': text embeddings have \[128\] dimensions, .*toy_features.* has 64"
    ):
        make(write_toy(tmp_path, dim=64, n_scans=2), tmp_path)


def test_stores_of_other_scans_are_refused(tmp_path, toy):
    other = write_toy(tmp_path, "other", n_scans=4)
    with pytest.raises(InputError, match="its scans are not those of"):
        make(replace(toy, renders=other.renders), tmp_path)


def test_the_curve_has_the_losses_that_have_a_weight_and_their_weighted_sum(toy, tmp_path):
    _, curve = make(toy, tmp_path, epochs=1, loss_weights={"local_2d": 0, "global_3d": 2.5})
    with open(curve) as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "step", "global_3d", "local_3d", "global_2d", "total"]
    for row in rows:
        wanted = 2.5 * float(row["global_3d"]) + float(row["local_3d"]) + float(row["global_2d"])
        assert float(row["total"]) == pytest.approx(wanted, rel=1e-5)


def test_the_file_says_how_its_scans_were_prepared(toy, tmp_path):
    """By stage, as far as the system reads them: what it takes to prepare one more like them."""
    paths = {}
    for stage, path in toy.paths.items():
        paths[stage] = tmp_path / f"{stage}.zarr.zip"
        with stores.read(path, stage) as reader:
            own = {
                key: value for key, value in reader.attributes.items() if key in ("resolution", "dim", "grid", "alpha")
            }
            if stage == "clouds":
                own |= {key: reader.attributes[key] for key in ("dataset", "category", "layout", "organised")}
            with stores.write(paths[stage], stage, {"options": {"of": stage}, "layout": "mvtec3d"}, own) as writer:
                for scan in reader.scans:
                    writer.add(scan, reader.load(scan, reader.arrays(scan)), reader.scan_attributes(scan))
    for system, stages in (("pointad", STAGES[:3]), ("pointad_plus", STAGES)):
        output, _ = cases.learn(system, paths, tmp_path / "p.safetensors", {"epochs": 1, "deep_blocks": 3})
        with safe_open(output, framework="np") as file:
            provenance = json.loads(file.metadata()["provenance"])
        with stores.read(paths["clouds"], "clouds") as clouds:
            extents = [np.ptp(clouds.load(scan, ["points"])["points"], axis=0).max() for scan in clouds.scans]
        made = provenance["inputs"]
        assert made.pop("extent") == pytest.approx(np.median(extents), rel=5e-3)
        assert made == {**{stage: {"of": stage} for stage in stages}, "layout": "mvtec3d"}


def test_losses_that_leave_something_at_its_start_are_refused_and_nothing_is_written(toy, tmp_path):
    with pytest.raises(InputError, match="leave a part of what scores at its start"):
        make(toy, tmp_path, "pointad_plus", loss_weights={"geometry": 0, "cross": 0})
    with pytest.raises(InputError, match=r"loss_weights has \['geometry'\]"):
        make(toy, tmp_path, "pointad", loss_weights={"geometry": 1})
    with pytest.raises(InputError, match="loss_weights: all are 0"):
        make(toy, tmp_path, loss_weights=dict.fromkeys(SYSTEMS["pointad"].losses, 0))
    assert not list(tmp_path.iterdir())


def test_systems_that_learn_nothing_are_refused(toy, tmp_path):
    for system in ("clip_rendering", replace(SYSTEMS["pointad"], losses={})):
        with pytest.raises(InputError, match="has no losses in its entry; there is nothing to learn by"):
            cases.learn(system, toy.paths, tmp_path / "p.safetensors", {}, display="toy")
    assert not list(tmp_path.iterdir())
