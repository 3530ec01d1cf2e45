"""Scores of points and clouds against the formulas of Sec. 3.6.2, in float64, from the stores' arrays."""

from dataclasses import replace
from pathlib import Path

import cases
import numpy as np
import pytest
import torch
from cases import MODEL, TAU
from scipy.ndimage import gaussian_filter
from toy import ALPHA, GRID, N_VIEWS, SIZE, fused_features, unit, write_toy

from pointad_core.clip.loading import load_clip
from pointad_core.errors import InputError
from pointad_core.stages.aggregation import make_aggregation
from pointad_core.storage import stores
from pointad_core.storage.prompt_files import write_prompts

DIM = 128
TOY_SYSTEM = Path(__file__).parents[1] / "systems" / "toy_system.py"


def p_abnormal(features, g):
    """P(g_a, f): softmax over the two classes."""
    e = np.exp(features @ g.T / TAU)
    return e[..., 1] / e.sum(-1)


def up(patch_probabilities):
    """Bilinear, half-pixel centres."""
    maps = torch.from_numpy(patch_probabilities).reshape(-1, 1, GRID, GRID)
    return torch.nn.functional.interpolate(maps, SIZE, mode="bilinear")[:, 0].numpy()


def smooth(image):
    """4 pixels at 336."""
    return gaussian_filter(image, 4 * SIZE / 336, mode="reflect")


def naive(scan, g, system, alpha=ALPHA):
    """S (or 0.5 S + 0.5 T) of each point and the mean of P(g_a, f_k); scan: arrays by stage."""
    render, features, prepared = scan["renders"], scan["features"], scan["aggregation"]
    stream = "plain" if system == "clip_rendering" else "vv"
    patches = features[f"patches_{stream}"].astype(float)
    maps = up(p_abnormal(patches, g["rendering"]))
    visible = render["visible"]
    points = np.zeros(visible.shape[1])
    for k in range(N_VIEWS):
        column, row = render["pixels"][k].T
        points += maps[k][row, column] * visible[k]
    points /= visible.sum(0)
    if system == "pointad_plus":
        weights = prepared["weights"].astype(float)
        fused = fused_features(patches, render["pixels"], visible, prepared["neighbours"], weights, alpha)
        points = 0.5 * points + 0.5 * p_abnormal(unit(fused), g["geometry"])
    return points, p_abnormal(features["global"].astype(float), g["rendering"]).mean()


def load_all(path, kind, scan):
    with stores.read(path, kind) as reader:
        return reader.load(scan, reader.arrays(scan))


def load_scan(toy, scan):
    return {stage: load_all(path, stage, scan) for stage, path in toy.paths.items()}


def make(tmp_path, system, toys, model=MODEL, **options):
    """Random text embeddings in a prompts file (or the model's own for the untrained system), and the scores."""
    rng = np.random.default_rng(5)
    g = {layer: unit(rng.normal(size=(2, DIM))).astype(np.float32) for layer in ("rendering", "geometry")}
    prompts = None
    if system != "clip_rendering":
        prompts = tmp_path / "prompts.safetensors"
        write_prompts(prompts, {f"{layer}.embeddings": torch.from_numpy(x) for layer, x in g.items()}, {})
    output, categories = tmp_path / "scores.zarr.zip", [toy.entry for toy in toys]
    cases.score(system, prompts, categories, output, options, model, {"code": "abc"})
    return output, {layer: x.astype(float) for layer, x in g.items()}


@pytest.fixture(scope="module")
def organised(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("organised"), "cable gland", n_scans=2)


@pytest.fixture(scope="module")
def unorganised(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("unorganised"), "shell", seed=1, n_scans=2, organised=False)


@pytest.mark.parametrize("system", ["clip_rendering", "pointad", "pointad_plus"])
def test_organised_clouds(system, organised, tmp_path):
    output, g = make(tmp_path, system, [organised])
    if system == "clip_rendering":
        texts = ["A photo of a normal cable gland", "A photo of an anomalous cable gland"]
        g["rendering"] = load_clip("pointad-pocket", 1, random_seed=111).encode_text(texts).numpy().astype(float)
    with stores.read(output, "scores") as reader:
        assert reader.scans == ["cable gland/bent/000", "cable gland/good/001"]
        for name in reader.scans:
            scan = name.removeprefix("cable gland/")
            arrays_of = load_scan(organised, scan)
            cloud, features = arrays_of["clouds"], arrays_of["features"]
            points, probability = naive(arrays_of, g, system)
            image, photograph = np.zeros((2, SIZE, SIZE))
            stream = "plain" if system == "clip_rendering" else "vv"
            whole = up(p_abnormal(features[f"rgb_patches_{stream}"].astype(float), g["rendering"]))[0]
            for point, pixel in enumerate(cloud["grid"]):
                row, column = divmod(int(pixel), SIZE)
                image[row, column] = points[point]
                photograph[row, column] = whole[row, column]
            a_m = smooth(image)
            fused = smooth(0.5 * a_m + 0.5 * smooth(photograph))
            p_rgb = p_abnormal(features["rgb_global"].astype(float), g["rendering"])
            arrays, attributes = load_all(output, "scores", name), reader.scan_attributes(name)
            assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
            assert set(arrays) == {"map_3d", "map_m3d"}
            np.testing.assert_allclose(arrays["map_3d"], a_m, atol=1e-5)
            np.testing.assert_allclose(arrays["map_m3d"], fused, atol=1e-5)
            assert attributes["object_3d"] == pytest.approx(0.5 * probability + 0.5 * a_m.max(), abs=1e-5)
            assert attributes["object_m3d"] == pytest.approx(
                0.5 * (0.5 * p_rgb + 0.5 * probability) + 0.5 * fused.max(), abs=1e-5
            )
            assert attributes["global_3d"] == pytest.approx(probability, abs=1e-5)
            assert attributes["maximum_m3d"] == pytest.approx(fused.max(), abs=1e-5)
            branches = {"implicit_3d", "explicit_3d", "implicit_m3d", "explicit_m3d"}
            assert branches & attributes.keys() == (branches if system == "pointad_plus" else set())
            assert (attributes["category"], attributes["scan"]) == ("cable gland", scan)
            assert attributes["defective"] is scan.startswith("bent")


def test_without_rgb_there_is_no_m3d(tmp_path):
    output, _ = make(tmp_path, "pointad", [write_toy(tmp_path, "peach", rgb=False, n_scans=1)])
    with stores.read(output, "scores") as reader:
        assert reader.arrays("peach/bent/000") == ["map_3d"]
        assert "object_m3d" not in reader.scan_attributes("peach/bent/000")


def test_unorganised_clouds_are_smoothed_in_space_and_carried_to_all_points(unorganised, tmp_path):
    output, g = make(tmp_path, "pointad_plus", [unorganised])
    with stores.read(output, "scores") as reader:
        for name in reader.scans:
            scan = name.removeprefix("shell/")
            arrays_of = load_scan(unorganised, scan)
            cloud = arrays_of["clouds"]
            points, probability = naive(arrays_of, g, "pointad_plus")
            x = cloud["points"].astype(float)
            sigma = 4 * np.ptp(x, axis=0).max() * 1.4 / 336
            weights = np.exp(-((x[:, None] - x) ** 2).sum(-1) / 2 / sigma**2)
            a_m = weights @ points / weights.sum(1)
            arrays = load_all(output, "scores", name)
            assert set(arrays) == {"points_3d", "original_3d"}
            np.testing.assert_allclose(arrays["points_3d"], a_m, atol=0.02)
            assert np.abs(arrays["points_3d"] - a_m).mean() < 0.003
            np.testing.assert_array_equal(arrays["original_3d"], arrays["points_3d"][cloud["nearest"]])
            score = 0.5 * probability + 0.5 * arrays["points_3d"].max()
            assert reader.scan_attributes(name)["object_3d"] == pytest.approx(score, abs=1e-5)


def test_several_categories_in_one_store_and_the_same_bytes_again(organised, unorganised, tmp_path):
    outputs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        outputs.append(make(tmp_path / name, "pointad_plus", [organised, unorganised])[0])
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    with stores.read(outputs[0], "scores") as reader:
        assert [scan.split("/")[0] for scan in reader.scans] == ["cable gland"] * 2 + ["shell"] * 2
        assert reader.attributes["provenance"]["code"] == "abc"


def test_scores_of_categories_put_together_are_those_of_one_job(organised, unorganised, tmp_path):
    parts = []
    for name, toys in (("whole", [unorganised, organised]), ("a", [unorganised]), ("b", [organised])):
        (tmp_path / name).mkdir()
        parts.append(make(tmp_path / name, "pointad_plus", toys)[0])
    stores.join(parts[1:], tmp_path / "joined.zarr.zip", "scores")
    assert (tmp_path / "joined.zarr.zip").read_bytes() == parts[0].read_bytes()


def test_the_width_of_the_filter_is_an_option(organised, tmp_path):
    output, g = make(tmp_path, "pointad", [organised], smoothing_sigma=0)
    arrays = load_scan(organised, "bent/000")
    cloud, (points, _) = arrays["clouds"], naive(arrays, g, "pointad")
    got = load_all(output, "scores", "cable gland/bent/000")["map_3d"].ravel()
    np.testing.assert_allclose(got[cloud["grid"]], points, atol=1e-5)
    assert np.count_nonzero(got) == len(points)


def test_trained_prompts_need_no_model(organised, tmp_path):
    make(tmp_path, "pointad", [organised], model={**MODEL, "model": "no such model"})
    with pytest.raises(InputError, match="no such model"):
        make(tmp_path, "clip_rendering", [organised], model={**MODEL, "model": "no such model"})


def test_bad_input_is_refused(organised, tmp_path):
    narrow = write_toy(tmp_path, "narrow", dim=64, n_scans=1)
    with pytest.raises(InputError, match=r"text embeddings have \[128\] dimensions, .*narrow_features.* has 64"):
        make(tmp_path, "pointad", [narrow])
    assert not (tmp_path / "scores.zarr.zip").exists()
    with pytest.raises(InputError, match="its prompts are missing"):
        cases.score("pointad", None, [organised.entry], tmp_path / "s")
    other = write_toy(tmp_path, "other", seed=9, n_scans=2, organised=False)
    with pytest.raises(InputError, match="make the aggregation again"):
        make(tmp_path, "pointad_plus", [replace(organised, aggregation=other.aggregation)])


def test_prompts_of_another_system_are_refused_by_their_file(organised, tmp_path):
    make(tmp_path, "pointad", [organised])
    (tmp_path / "scores.zarr.zip").unlink()
    path = tmp_path / "prompts.safetensors"
    write_prompts(path, {"rendering.embeddings": torch.zeros(2, DIM)}, {})
    told = r"prompts\.safetensors: has no prompts of the layers \['geometry'\], only \['rendering.embeddings'\]"
    with pytest.raises(InputError, match=told):
        cases.score("pointad_plus", path, [organised.entry], tmp_path / "scores.zarr.zip")
    assert list(tmp_path.iterdir()) == [path]


def test_features_that_are_not_finite_are_refused(tmp_path):
    toy = write_toy(tmp_path, "peach", n_scans=1)
    arrays = load_all(toy.features, "features", "bent/000")
    arrays["patches_vv"][:] = np.nan
    attributes = {"model": "pointad-pocket", "dim": DIM, "grid": GRID, "streams": ["vv", "plain"]}
    with stores.write(toy.features, "features", {}, attributes) as writer:
        writer.add("bent/000", arrays)
    with pytest.raises(InputError, match=r"peach_features.zarr.zip: scan 'bent/000': its scores are not finite"):
        make(tmp_path, "pointad", [toy])


def test_another_alpha_changes_norms_and_scores_and_leaves_the_features(organised, tmp_path):
    """What is not encoded anew is not touched: only the aggregation is made again."""
    before = organised.features.read_bytes()
    maps, norms = {}, {}
    for alpha in (0.2, 0.9):
        folder = tmp_path / str(alpha)
        folder.mkdir()
        other = replace(organised, aggregation=folder / "aggregation.zarr.zip")
        inputs = {stage: path for stage, path in other.paths.items() if stage != "aggregation"}
        options = {"neighbours": 4, "kernel_sigma": 1.0, "kernel_units": "data", "alpha": alpha}
        make_aggregation(**inputs, output=other.aggregation, options=options, provenance={})
        output, g = make(folder, "pointad_plus", [other], smoothing_sigma=0)
        arrays = load_scan(other, "bent/000")
        prepared, patches = arrays["aggregation"], arrays["features"]["patches_vv"].astype(float)
        fused = fused_features(
            patches,
            arrays["renders"]["pixels"],
            arrays["renders"]["visible"],
            prepared["neighbours"],
            prepared["weights"].astype(float),
            alpha,
        )
        np.testing.assert_allclose(prepared["norms"], np.linalg.norm(fused, axis=1), atol=1e-5)
        points, _ = naive(arrays, g, "pointad_plus", alpha)
        maps[alpha] = load_all(output, "scores", "cable gland/bent/000")["map_3d"].ravel()[arrays["clouds"]["grid"]]
        np.testing.assert_allclose(maps[alpha], points, atol=1e-5)
        norms[alpha] = prepared["norms"]
    assert np.abs(norms[0.2] - norms[0.9]).max() > 0.01
    assert np.abs(maps[0.2] - maps[0.9]).max() > 0.01
    assert organised.features.read_bytes() == before


def test_weights_of_losses_are_no_matter_of_scores(organised, tmp_path):
    """A whole entry of the config's methods can be given."""
    (tmp_path / "a").mkdir()
    plain, _ = make(tmp_path, "pointad", [organised])
    weighted, _ = make(tmp_path / "a", "pointad", [organised], loss_weights={"local_2d": 0.5}, epochs=2)
    assert plain.read_bytes() == weighted.read_bytes()
