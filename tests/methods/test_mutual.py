"""Both systems that score a scan by the others of its category, through the scores stage, against loops in float64."""

from dataclasses import replace

import cases
import numpy as np
import pytest
import torch
from cases import CPU, mean_over_views
from mutual_oracle import naive
from scipy.ndimage import gaussian_filter
from toy import GRID, N_VIEWS, SIZE, unit, write_toy

from pointad_core.detector import Detector
from pointad_core.errors import InputError
from pointad_core.methods import mutual
from pointad_core.methods.comparison import compared_scans
from pointad_core.methods.interface import Encoded, Settings
from pointad_core.methods.registry import SYSTEMS, System, load, plain
from pointad_core.predict.training import find_system
from pointad_core.storage import stores
from pointad_core.storage.prompt_files import write_prompts
from pointad_core.storage.shards import holds

DIM = 16


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mutual")
    organised = write_toy(folder, "bagel", dim=DIM, n_scans=5)
    return {"organised": organised, "points": write_toy(folder, "star", dim=DIM, n_scans=5, organised=False)}


@pytest.fixture
def prompts(tmp_path):
    """A prompts file of PointAD+ with random embeddings, as if `pointad_plus_mutual` had learnt it."""
    rng = np.random.default_rng(5)
    g = {layer: unit(rng.normal(size=(2, DIM))).astype(np.float32) for layer in ("rendering", "geometry")}
    path = tmp_path / "prompts.safetensors"
    tensors = {f"{layer}.embeddings": torch.from_numpy(x) for layer, x in g.items()}
    write_prompts(path, tensors, {"system": plain(SYSTEMS["pointad_plus_mutual"])})
    return path, g


def read_all(path, kind):
    with stores.read(path, kind) as reader:
        return {scan: reader.load(scan, reader.arrays(scan)) for scan in reader.scans}


def features_of(toy):
    """As `test_comparison.naive` takes them; photographs of those that have one."""
    found = {}
    for scan, arrays in read_all(toy.features, "features").items():
        parts = {"views": arrays["patches_vv"]}
        if "rgb_patches_vv" in arrays:
            parts["photograph"] = arrays["rgb_patches_vv"][None]
        found[scan] = {part: torch.from_numpy(values.astype(np.float32)) for part, values in parts.items()}
    return found


def ranged(values, own, target):
    """Each of `values`, which are among `own`, as the quantile of the target that it is there; patches that are each
    other's nearest have equal scores, and the middle of their ranks."""
    own, target = np.sort(np.ravel(own)), np.sort(np.ravel(target))
    rank = np.mean([np.searchsorted(own, values, "left"), np.searchsorted(own, values, "right") - 1], axis=0)
    return np.interp(rank / (len(own) - 1), np.linspace(0, 1, len(target)), target)


def up(patch_scores):
    maps = torch.from_numpy(patch_scores).reshape(-1, 1, GRID, GRID)
    return torch.nn.functional.interpolate(maps, SIZE, mode="bilinear")[:, 0].numpy()


def smooth(image):
    return gaussian_filter(image, 4 * SIZE / 336, mode="reflect")


def naive_patches(toy, sizes, share, every_view):
    """Mutual scores of the views' patches [K, P], and of the photograph's [1, P], by part and scan."""
    scans = features_of(toy)
    return {
        part: {
            scan: naive(scans, scan, [other for other in scans if other != scan], sizes, share, part, every_view)
            for scan in scans
        }
        for part in next(iter(scans.values()))
    }


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("organised", {"neighbourhoods": [1, 3], "lowest_share": 0.5}),
        ("organised", {"neighbourhoods": [1], "compared_views": "all"}),
        ("points", {}),
    ],
)
def test_scores_are_those_of_loops(toys, tmp_path, kind, options):
    toy = toys[kind]
    output = cases.score("mutual", None, [toy.entry], tmp_path / "s.zarr.zip", options)
    sizes, share = options.get("neighbourhoods", [1, 3, 5]), options.get("lowest_share", 0.3)
    patches = naive_patches(toy, sizes, share, options.get("compared_views") == "all")
    clouds, renders = read_all(toy.clouds, "clouds"), read_all(toy.renders, "renders")
    with stores.read(output, "scores") as scores:
        for scan, cloud in clouds.items():
            maps = up(patches["views"][scan])
            points = mean_over_views(torch.from_numpy(maps), renders[scan]["pixels"], renders[scan]["visible"]).numpy()
            found, about = scores.load(f"{toy.name}/{scan}", scores.arrays(f"{toy.name}/{scan}")), None
            about = scores.scan_attributes(f"{toy.name}/{scan}")
            if kind == "points":
                # The filter in space is held elsewhere; that these are the scores that it was given, here.
                assert np.corrcoef(found["points_3d"], points)[0, 1] > 0.5
                assert about["object_3d"] == pytest.approx(found["points_3d"].max())
                assert "object_m3d" not in about
                continue
            image, photograph = np.zeros((2, SIZE * SIZE))
            image[cloud["grid"]] = points
            map_3d = smooth(image.reshape(SIZE, SIZE))
            np.testing.assert_allclose(found["map_3d"], map_3d, atol=1e-5)
            own, views = (np.stack(list(patches[part].values())) for part in ("photograph", "views"))
            of_photograph = ranged(patches["photograph"][scan], own, views)
            photograph[cloud["grid"]] = up(of_photograph)[0].ravel()[cloud["grid"]]
            map_m3d = smooth(0.5 * map_3d + 0.5 * smooth(photograph.reshape(SIZE, SIZE)))
            np.testing.assert_allclose(found["map_m3d"], map_m3d, atol=1e-5)
            assert about["object_3d"] == pytest.approx(map_3d.max(), abs=1e-5)
            assert about["object_m3d"] == pytest.approx(map_m3d.max(), abs=1e-5)


def test_it_is_a_third_branch_of_pointad_plus(toys, prompts, tmp_path):
    toy, (path, g) = toys["organised"], prompts
    options = {"neighbourhoods": [1]}
    plus = read_all(cases.score("pointad_plus", path, [toy.entry], tmp_path / "plus.zarr.zip"), "scores")
    output = cases.score("pointad_plus_mutual", path, [toy.entry], tmp_path / "both.zarr.zip", options)
    patches, features = naive_patches(toy, [1], 0.3, False)["views"], read_all(toy.features, "features")
    clouds, renders = read_all(toy.clouds, "clouds"), read_all(toy.renders, "renders")
    e = g["rendering"].astype(float)
    logits = {scan: f["patches_vv"].astype(float) @ (e[1] - e[0]) / 0.07 for scan, f in features.items()}
    said = {scan: 1 / (1 + np.exp(-of_scan)) for scan, of_scan in logits.items()}
    own, target = (np.stack(list(values.values())) for values in (patches, said))
    for scan, arrays in read_all(output, "scores").items():
        name = scan.removeprefix("bagel/")
        maps = up(ranged(patches[name], own, target))
        image = np.zeros(SIZE * SIZE)
        points = mean_over_views(torch.from_numpy(maps), renders[name]["pixels"], renders[name]["visible"])
        image[clouds[name]["grid"]] = points.numpy()
        # The mean of three branches, of which PointAD+'s own mean stands for two.
        expected = 2 / 3 * plus[scan]["map_3d"] + smooth(image.reshape(SIZE, SIZE)) / 3
        np.testing.assert_allclose(arrays["map_3d"], expected, atol=2e-5)
    with stores.read(output, "scores") as scores:
        about = scores.scan_attributes(scan)
        parts = [about[f"{branch}_3d"] for branch in ("implicit", "explicit", "mutual")]
        assert np.mean(parts) == pytest.approx(about["maximum_3d"], abs=1e-4)
        assert about["object_3d"] == pytest.approx(0.5 * about["global_3d"] + 0.5 * about["maximum_3d"])


@pytest.mark.parametrize("system", ["mutual", "pointad_plus_mutual"])
@pytest.mark.parametrize("references", [None, 2])
def test_shards_give_the_scores_of_the_whole(toys, prompts, tmp_path, monkeypatch, system, references):
    """A job of a shard has the features of the whole category beside the stores of its own scans."""
    monkeypatch.setattr(mutual, "RANGED", 2)
    toy, path = toys["organised"], prompts[0] if system == "pointad_plus_mutual" else None
    options = {"neighbourhoods": [1, 3], "references": references}
    whole = read_all(cases.score(system, path, [toy.entry], tmp_path / "whole.zarr.zip", options), "scores")
    again = {}
    for shard in "01":
        entry = {"name": toy.name, "display": toy.name, "references": [str(toy.features)]}
        for stage, store in toy.paths.items():
            entry[stage] = str(tmp_path / f"{shard}_{stage}.zarr.zip")
            with (
                stores.read(store, stage) as reader,
                stores.write(entry[stage], stage, {}, reader.attributes) as writer,
            ):
                for scan in filter(lambda name: holds(shard, name), reader.scans):
                    writer.add(scan, reader.load(scan, reader.arrays(scan)), reader.scan_attributes(scan))
        again |= read_all(cases.score(system, path, [entry], tmp_path / f"{shard}.zarr.zip", options), "scores")
    assert again.keys() == whole.keys()
    for scan, arrays in whole.items():
        assert all(np.array_equal(again[scan][name], values) for name, values in arrays.items())


def test_the_same_scans_give_the_same_bytes(toys, tmp_path):
    one, again = (cases.score("mutual", None, [toys["organised"].entry], tmp_path / f"{n}.zarr.zip") for n in "ab")
    assert one.read_bytes() == again.read_bytes()


def test_a_category_of_one_scan_is_refused(tmp_path):
    toy = write_toy(tmp_path, "single", dim=DIM, n_scans=1)
    told = r"single_features\.zarr\.zip: scan 'bent/000': it is scored by other scans of its category, .* 2 or more"
    with pytest.raises(InputError, match=told):
        cases.score("mutual", None, [toy.entry], tmp_path / "s.zarr.zip")


def test_one_scan_by_itself_is_refused(prompts):
    with pytest.raises(
        InputError, match="scores a scan by the other scans of its category, and not one scan by itself"
    ):
        Detector.load(prompts[0])
    with pytest.raises(InputError, match="system 'pointad_plus_mutual' does not learn"):
        find_system("pointad_plus_mutual")


def test_a_photograph_without_a_range_is_refused(monkeypatch):
    monkeypatch.setattr(mutual, "RANGED", 1)
    rng = torch.Generator().manual_seed(0)

    def scan(photograph):
        patches = torch.rand(N_VIEWS, GRID**2, DIM, generator=rng)
        return Encoded(patches[:, 0], patches, (patches[0, 0], patches[0]) if photograph else None)

    names = compared_scans([f"scan{number}" for number in range(4)], None)
    scans = {name: scan(number > 0) for number, name in enumerate(names)}
    with pytest.raises(InputError, match="has a photograph, and none of the 1 scans that give its range"):
        list(mutual.compare({}, scans, list(scans), Settings(), CPU))


def test_a_system_of_ones_own_needs_the_function(tmp_path):
    path = tmp_path / "own.py"
    functions = ("restore", "point_scores", "global_score", "object_score")
    path.write_text("".join(f"def {name}(*_): ...\n" for name in functions))
    entry = System(str(path), "vv", trained=False)
    assert load(entry)
    with pytest.raises(InputError, match="lacks the functions compare"):
        load(replace(entry, batch=True))


def test_the_setting_travels_with_the_entry():
    assert plain(SYSTEMS["mutual"])["batch"] is True
    assert "batch" not in plain(SYSTEMS["pointad_plus"])
