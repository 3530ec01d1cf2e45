"""Experts: what an unsupervised system learns of good scans, stored, and scored with by the scores stage."""

import numpy as np
import pytest
import torch

from pointad_core.detector import Detector
from pointad_core.errors import InputError
from pointad_core.methods.registry import SYSTEMS, System, load, plain
from pointad_core.stages.experts import make_expert
from pointad_core.stages.scores import make_scores
from pointad_core.storage import stores
from pointad_core.storage.prompt_files import read_prompts, read_provenance
from tests.good_scans import colours, dome

MODULE = '''
"""Good scans' mean number of points, as a system of one's own."""
import numpy as np
import torch
from pointad_core.errors import InputError
from pointad_core.methods.interface import Scored


def learn(scans, options, model, seed, device):
    assert [len(scan.points) for scan in scans] == [len(scans[index].points) for index in range(len(scans))]
    assert {scan.metre for scan in scans[1:]} <= {scan.metre for scan in scans}
    if options.get("refuse"):
        raise InputError("nothing to learn")
    return {"mean": torch.tensor([float(np.mean([len(scan.points) for scan in scans])), float(seed), scans[0].metre])}


def restore(tensors, options, model, device):
    if "mean" not in tensors:
        raise InputError("is another system's")
    return float(tensors["mean"][0])


def score(state, sample, options):
    value = abs(len(sample.points) - state) + options.get("add", 0)
    shape = (len(sample.points),) if sample.grid is None else (sample.resolution, sample.resolution)
    found = {"3d": Scored(np.full(shape, value, np.float32), value)}
    if sample.photograph is not None:
        found["rgb"] = Scored(sample.photograph[..., 0].astype(np.float32), float(sample.photograph.max()))
    return found
'''
SIZE = 8


@pytest.fixture
def system(tmp_path):
    (tmp_path / "counting.py").write_text(MODULE)
    return plain(System(str(tmp_path / "counting.py"), None, trained=False, unsupervised=True))


def write_clouds(path, scans, organised=True, rgb=True):
    """A store of clouds: by the scan's name how many points it has, and whether it is defective."""
    rng = np.random.default_rng()
    about = {"category": "bolt", "organised": organised, "resolution": SIZE}
    with stores.write(path, "clouds", {}, about) as writer:
        for name, (n, defective) in scans.items():
            arrays = {"points": rng.random((n, 3)).astype(np.float32)}
            if organised:
                arrays["grid"] = np.arange(n, dtype=np.int32)
            else:
                arrays["nearest"] = rng.integers(0, n, 3 * n).astype(np.int32)
            if organised and rgb:
                arrays["rgb"] = rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
            writer.add(name, arrays, {"defective": defective})
    return path


def learn(system, clouds, output, **options):
    make_expert(system, clouds, output, options, None, 7, {"code": "abc"})


def score(system, clouds, expert, output, **options):
    entry = {"name": "bolt", "display": "bolt", "clouds": str(clouds), "expert": str(expert)}
    make_scores(system, None, [entry], output, options, None, {"code": "abc"})


def test_good_scans_alone_are_learnt_and_the_file_says_so(system, tmp_path, caplog):
    scans = {"good/000": (10, False), "good/001": (20, False), "bent/000": (60, True), "unlabelled/0": (50, None)}
    clouds = write_clouds(tmp_path / "c.zarr.zip", scans)
    learn(system, clouds, tmp_path / "e.safetensors")
    assert read_prompts(tmp_path / "e.safetensors")["mean"].tolist() == [15, 7, 1]
    about = read_provenance(tmp_path / "e.safetensors")
    assert (about["category"], about["scans"], about["seed"], about["code"]) == ("bolt", 2, 7, "abc")
    assert "2 of 4 scans of the train split are not known to be good" in caplog.text
    before = (tmp_path / "e.safetensors").read_bytes()
    learn(system, clouds, tmp_path / "e.safetensors")
    assert (tmp_path / "e.safetensors").read_bytes() == before


def test_shards_are_learnt_as_one(system, tmp_path):
    parts = [write_clouds(tmp_path / f"{n}.zarr.zip", {f"good/{n}": (n, False)}, False) for n in (10, 30)]
    learn(system, parts, tmp_path / "e.safetensors")
    assert read_prompts(tmp_path / "e.safetensors")["mean"].tolist() == [20, 7, 1000]


def test_a_category_without_good_scans_is_refused(system, tmp_path):
    clouds = write_clouds(tmp_path / "c.zarr.zip", {"bent/000": (10, True)})
    with pytest.raises(InputError, match=r"c\.zarr\.zip: category 'bolt' has no good scan to learn from"):
        learn(system, clouds, tmp_path / "e.safetensors")
    clouds = write_clouds(tmp_path / "c.zarr.zip", {"good/000": (10, False)})
    with pytest.raises(InputError, match=r"c\.zarr\.zip: nothing to learn"):
        learn(system, clouds, tmp_path / "e.safetensors", refuse=True)
    assert not (tmp_path / "e.safetensors").exists()


def test_organised_scans_have_maps(system, tmp_path):
    clouds = write_clouds(tmp_path / "c.zarr.zip", {"good/000": (10, False), "bent/000": (16, True)})
    learn(system, clouds, tmp_path / "e.safetensors")
    score(system, clouds, tmp_path / "e.safetensors", tmp_path / "s.zarr.zip", add=0.5)
    with stores.read(tmp_path / "s.zarr.zip", "scores") as found, stores.read(clouds, "clouds") as read:
        assert found.scans == ["bolt/good/000", "bolt/bent/000"]
        arrays = found.load("bolt/bent/000", ["map_3d", "map_rgb"])
        assert found.arrays("bolt/bent/000") == ["map_3d", "map_rgb"]
        np.testing.assert_array_equal(arrays["map_3d"], np.full((SIZE, SIZE), 6.5))
        np.testing.assert_array_equal(arrays["map_rgb"], read.load("bent/000", ["rgb"])["rgb"][..., 0])
        about = found.scan_attributes("bolt/bent/000")
        assert (about["object_3d"], about["defective"], about["scan"]) == (6.5, True, "bent/000")


def test_clouds_have_scores_of_their_points_and_of_the_original_ones(system, tmp_path):
    clouds = write_clouds(tmp_path / "c.zarr.zip", {"good/000": (10, False), "bulge/0": (16, True)}, organised=False)
    learn(system, clouds, tmp_path / "e.safetensors")
    score(system, clouds, tmp_path / "e.safetensors", tmp_path / "s.zarr.zip")
    with stores.read(tmp_path / "s.zarr.zip", "scores") as found:
        arrays = found.load("bolt/bulge/0", found.arrays("bolt/bulge/0"))
        assert {name: array.shape for name, array in arrays.items()} == {"points_3d": (16,), "original_3d": (48,)}


def test_what_cannot_be_used_is_named(system, tmp_path):
    clouds = write_clouds(tmp_path / "c.zarr.zip", {"good/000": (10, False)})
    learn(system, clouds, tmp_path / "e.safetensors")
    with pytest.raises(InputError, match=r"c\.zarr\.zip: scan 'good/000': its scores are not finite"):
        score(system, clouds, tmp_path / "e.safetensors", tmp_path / "s.zarr.zip", add=np.inf)
    from pointad_core.storage.prompt_files import write_prompts

    write_prompts(tmp_path / "other.safetensors", {"x": torch.zeros(2)}, {})
    with pytest.raises(InputError, match=r"other\.safetensors: is another system's"):
        score(system, clouds, tmp_path / "other.safetensors", tmp_path / "s.zarr.zip")
    assert not (tmp_path / "s.zarr.zip").exists()


def test_a_detector_says_what_such_a_file_is(system, tmp_path):
    clouds = write_clouds(tmp_path / "c.zarr.zip", {"good/000": (10, False)})
    make_expert(system, clouds, tmp_path / "e.safetensors", {}, None, 7, {"system": system})
    with pytest.raises(InputError, match=r"e\.safetensors: holds what an unsupervised system has learnt of 'bolt'"):
        Detector.load(tmp_path / "e.safetensors")


SMALL = {
    "sdm": {
        **{"side": 56, "patch_points": 60, "overlap": 2, "width": 16, "epochs": 1, "batch_size": 16},
        **{"learning_rate": 1e-3, "training_patches": 20, "network": None},
    },
    "m3dm": {
        **{"groups": 32, "group_points": 8, "coreset": 0.1, "mlp_ratio": 0.1, "epochs": 1, "batch_size": 256},
        **{"learning_rate": 0.003, "network": None, "point_mae": None, "fusion": None},
    },
}


@pytest.mark.parametrize("name", SMALL)
def test_stored_experts_score_as_those_in_memory(name, tmp_path, monkeypatch):
    """Both files, of good scans and of what was learnt, keep all that a scan is scored with."""
    entry = SYSTEMS[name]
    module = load(entry)
    monkeypatch.setattr(module, "load_tower", lambda *_: colours)
    good, tested = [dome(0), dome(1)], dome(5, bump=True)
    for file, scans in (("good", good), ("tested", [tested])):
        about = {"category": "bolt", "organised": True, "resolution": tested.resolution}
        with stores.write(tmp_path / f"{file}.zarr.zip", "clouds", {}, about) as writer:
            for index, scan in enumerate(scans):
                arrays = {"points": scan.points, "grid": scan.grid, "rgb": scan.photograph}
                writer.add(f"good/{index}", arrays, {"defective": False})
    learn(plain(entry), tmp_path / "good.zarr.zip", tmp_path / "e.safetensors", **SMALL[name])
    options = SMALL[name] | {"smoothing_sigma": 6}
    output = tmp_path / "s.zarr.zip"
    score(plain(entry), tmp_path / "tested.zarr.zip", tmp_path / "e.safetensors", output, **options)
    device = torch.device("cpu")
    state = module.restore(module.learn(good, SMALL[name], None, 7, device), options, None, device)
    with stores.read(output, "scores") as store:
        (scan,) = store.scans
        for modality, wanted in module.score(state, tested, options).items():
            found = store.load(scan, [f"map_{modality}"])[f"map_{modality}"]
            np.testing.assert_array_equal(found, wanted.points)
            assert store.scan_attributes(scan)[f"object_{modality}"] == wanted.object
