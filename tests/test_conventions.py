"""The conventions of the paper's published code, all at once: what `config/paper.yaml` asks for, from raw scans to
object scores, against `published_oracle`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import published_oracle as published
import pytest
import torch
import yaml
from clip_oracle import encode_prompt, weights_of
from raw_files import plane_and_ball
from scipy.ndimage import gaussian_filter

from pointad_core.clip.loading import load_model
from pointad_core.clouds.cloud import make_cloud
from pointad_core.datasets.scans import Organised
from pointad_core.methods import pointad, pointad_plus
from pointad_core.methods.aggregation import prepare
from pointad_core.methods.interface import Settings
from pointad_core.methods.registry import SYSTEMS
from pointad_core.methods.scoring import ask, score_scan
from pointad_core.methods.segmentation import make_sample
from pointad_core.methods.targets import make_targets
from pointad_core.methods.training import train_step
from pointad_core.rendering import splat
from workflow import checks, plan

CPU = torch.device("cpu")
SIZE, GRID, DIM = 40, 5, 128
MODEL = {"model": "pointad-pocket", "random_seed": 5, "vv_blocks": 1, "resolution": 336}
VIEWS = {"tilt": 180, "x": [-45, 50], "y": [-40]}
ANGLES = [[180, -45, 0], [180, 50, 0], [180, 0, -40]]
DEFECTIVE = (True, False, True)


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    paper: dict[str, Any] = yaml.safe_load((Path(__file__).parents[1] / "config/paper.yaml").read_text())
    checks.complete(paper)
    return paper


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def raw_scan(seed: int, defective: bool) -> Organised:
    """A ball on a plane; a defect of odd shape on it reaches over its border and over missing points."""
    points, rgb, _, ball = plane_and_ball(98, seed=seed)
    rows, columns = np.mgrid[:98, :98]
    mask = defective & (np.abs(rows - 50 - 5 * np.sin(columns / 3)) < 8) & (columns > 46) & (columns < 82)
    assert not defective or (mask & ~ball).any()
    return Organised(points.astype(np.float64), (points != 0).any(2), rgb, mask)


@pytest.fixture(scope="module")
def scans(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Three scans as the stages make them for the paper's config, small."""
    clouds = {**plan.cloud_options(config, "mvtec3d"), "resolution": SIZE, "scene": "plane"}
    render = plan.render_options(config, "standard", "mvtec3d", "bagel")
    # Windows and points in the proportions of the config's to a resolution of 336.
    small = {"point_size": 7, "window": 124, "masks": {"point_size": render["masks"]["point_size"], "window": 130}}
    render |= {"resolution": SIZE, "views": VIEWS, **small}
    made = []
    for seed, defective in enumerate(DEFECTIVE):
        raw, rng = raw_scan(seed, defective), np.random.default_rng(seed)
        cloud = make_cloud(raw, clouds, Path("scan"))
        whole = make_cloud(raw, {**clouds, "resolution": 100}, Path("scan"))  # padded, every pixel its own
        patches = unit(rng.normal(size=(len(ANGLES), GRID**2, DIM)) + 0.5).astype(np.float16)
        views = unit(rng.normal(size=(len(ANGLES), DIM))).astype(np.float16)
        photograph = (
            unit(rng.normal(size=DIM)).astype(np.float16),
            unit(rng.normal(size=(GRID**2, DIM))).astype(np.float16),
        )
        made.append({"raw": raw, "cloud": cloud, "renders": splat.render(cloud, render), "photograph": photograph})
        made[-1] |= {"whole": whole, "views": views, "patches": patches}
    return made


def test_pictures(scans: list[dict[str, Any]]) -> None:
    for scan in scans:
        raw, cloud = scan["raw"], scan["cloud"]
        kept = np.zeros(SIZE**2, bool)
        kept[cloud["grid"]] = True
        # The nearest pixel, from the top left, decides where a point is.
        places = np.arange(SIZE) * 100 // SIZE
        valid = published.pad(raw.valid)[np.ix_(places, places)].ravel()
        assert 200 < kept.sum() < valid.sum() / 2
        assert not (kept & ~valid).any()
        np.testing.assert_allclose(
            cloud["points"], published.pad(raw.points)[np.ix_(places, places)].reshape(-1, 3)[kept], rtol=1e-6
        )
        share = published.resize(255 * published.pad(raw.mask), SIZE, published.triangle)
        assert (np.abs(share - 127.5) > 1).all()
        np.testing.assert_array_equal(cloud["mask"], share > 127.5)
        np.testing.assert_array_equal(cloud["labels"], cloud["mask"].ravel()[kept])
        # Of the background what had a point is black before the photograph is reduced, and nothing else.
        removed = published.pad(raw.valid)
        removed.ravel()[scan["whole"]["grid"]] = False
        black = np.where(removed[..., None], 0, published.pad(raw.rgb))
        rgb = published.resize(black, SIZE, published.cubic)
        assert np.abs(cloud["rgb"] - rgb).max() < 1.5
        assert cloud["rgb"].reshape(-1, 3)[~kept & ~valid].any()


def test_views(scans: list[dict[str, Any]]) -> None:
    for scan in scans:
        points, labels, renders = scan["cloud"]["points"], scan["cloud"]["labels"], scan["renders"]
        seen = [published.see(points, angles, 124, SIZE) for angles in ANGLES]
        visible = np.array([flags for _, flags in seen])
        np.testing.assert_array_equal(renders.pixels, [pixels for pixels, _ in seen])
        # Points that no view shows take the flags of the nearest shown one in space: theirs take the next index's.
        shown = np.flatnonzero(visible.any(0))
        hidden = np.flatnonzero(~visible.any(0))
        for point in hidden:
            nearest = shown[((points[shown].astype(float) - points[point]) ** 2).sum(1).argmin()]
            visible[:, point] = visible[:, nearest]
        assert len(hidden) == renders.unseen > 0
        np.testing.assert_array_equal(renders.visible, visible)
        for view, angles in enumerate(ANGLES):
            truth = published.draw_truth(points, labels, angles, 6, 130, SIZE)
            sure = np.abs(truth - 127.5) > 2
            np.testing.assert_array_equal(renders.masks[view][sure], truth[sure] > 127.5)
            # With the size and the window of the image they are others.
            other = published.draw_truth(points, labels, angles, 7, 124, SIZE)
            assert not labels.any() or ((truth > 127.5) != (other > 127.5)).any()


def make_batch(scans: list[dict[str, Any]]) -> dict[str, Any]:
    """The scans as the oracle takes them."""
    stack = {name: [scan[name].astype(np.float64) for scan in scans] for name in ("views", "patches")}
    stack |= {"mask": [scan["cloud"]["mask"] for scan in scans], "masks": [scan["renders"].masks for scan in scans]}
    batch: dict[str, Any] = {name: torch.from_numpy(np.stack(arrays)) for name, arrays in stack.items()}
    batch |= {name: [getattr(scan["renders"], name) for scan in scans] for name in ("pixels", "visible")}
    return batch | {"grid": [scan["cloud"]["grid"] for scan in scans], "defective": torch.tensor(DEFECTIVE)}


def test_a_step_of_training(config: dict[str, Any], scans: list[dict[str, Any]]) -> None:
    entry = SYSTEMS["pointad_plus"]
    settings = Settings.of({**plan.training_options(config, "pointad_plus"), "deep_blocks": 3}, entry.losses)
    clip = load_model(MODEL, CPU)
    learner = pointad_plus.first_weights("", settings, MODEL, torch.Generator().manual_seed(1), CPU)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.mul_(30)  # so that they, and their rounding, matter

    # Deep tokens are rounded on their way in.
    weights = weights_of(clip.model)
    for layer, pair in learner.pairs.items():
        deep = pair.deep.detach().numpy().astype(np.float16).astype(np.float64)
        for index, text in enumerate(pair.texts):
            tokens = clip.tokenize([" ".join(["X"] * 12) + " " + text])
            prompt = clip.embed_tokens(tokens)[0].double().numpy()
            prompt[1:13] = pair.context[index].detach().double().numpy()
            heads = clip.text.transformer.resblocks[0].attn.num_heads
            end, found = int(clip.end_positions(tokens)[0]), learner.state()[layer][index].detach().numpy()
            np.testing.assert_allclose(found, encode_prompt(prompt, end, deep, weights, heads), atol=2e-6)
            exact = encode_prompt(prompt, end, pair.deep.detach().double().numpy(), weights, heads)
            assert np.abs(found - exact).max() > 5e-6

    examples, options = [], {"neighbours": 10, "kernel_sigma": 1.0, "kernel_units": "data", "alpha": 0.5}
    for scan, defective in zip(scans, DEFECTIVE, strict=True):
        cloud, renders = scan["cloud"], scan["renders"]
        places = renders.pixels, renders.visible
        prepared = prepare(cloud["points"], *places, torch.from_numpy(scan["patches"]), SIZE, options)
        sample = make_sample(scan["views"], scan["patches"], *places, SIZE, prepared, 0.5)
        truth = (torch.from_numpy(array) for array in (cloud["labels"], renders.masks > 0))
        mask = torch.from_numpy(cloud["mask"]) if settings.dice == "pixels" else None
        examples.append((sample, make_targets(sample, *truth, defective, mask)))
    still = torch.optim.SGD(learner.parameters(), lr=0)
    row = train_step(pointad_plus, learner, still, examples, len(examples), settings, CPU)
    gradients = [part.grad for part in learner.parameters()]

    state = learner.state()
    leaves = {layer: part.detach().double().requires_grad_() for layer, part in state.items()}
    batch = make_batch(scans)
    _, wanted = published.losses(batch, leaves["rendering"])
    wanted["cross"] = published.cross(leaves["geometry"], leaves["rendering"])
    for name, term in wanted.items():
        assert row[name] == pytest.approx(term.item(), rel=2e-5), name
    # Dice of the explicit scores, on the same grid: the empty pixels have neither probability.
    explicit = torch.zeros(len(scans), 2, SIZE**2, dtype=torch.float64)
    for number, (sample, _) in enumerate(examples):
        single = {layer: part.float() for layer, part in leaves.items()}
        scores = pointad_plus.explicit_scores(single, sample.on(CPU), settings).double()
        explicit[number, :, torch.from_numpy(scans[number]["cloud"]["grid"]).long()] = torch.stack([1 - scores, scores])
    whole = batch["mask"].flatten(1).double()
    wanted["geometry"] = published.dice(explicit[:, 1], whole) + published.dice(explicit[:, 0], 1 - whole)
    assert row["geometry"] == pytest.approx(wanted["geometry"].item(), rel=2e-5)

    total = torch.stack(list(wanted.values())).sum()
    by_state = torch.autograd.grad(total, list(leaves.values()))
    expected = torch.autograd.grad(
        [state[layer] for layer in leaves], learner.parameters(), [g.float() for g in by_state]
    )
    for found, gradient in zip(gradients, expected, strict=True):
        assert gradient.abs().max() > 1e-4
        torch.testing.assert_close(found, gradient, rtol=1e-3, atol=1e-5)

    # Every convention counts: undone one at a time, its term is another.
    undone = {"global_3d": {"global_3d": "logit_mean"}, "cross": {"cross_loss": "softmax"}}
    for name, change in undone.items():
        other = train_step(pointad_plus, learner, still, examples, len(examples), replace(settings, **change), CPU)
        assert other[name] != pytest.approx(row[name], rel=1e-3)
    for sample, targets in examples:
        examples[0] = sample, replace(targets, points=replace(targets.points, empty=(0, 0)))
        break
    other = train_step(pointad_plus, learner, still, examples, len(examples), settings, CPU)
    for name in ("local_3d", "geometry"):
        assert other[name] != pytest.approx(row[name], rel=1e-3)


def test_scores_with_a_photograph(config: dict[str, Any], scans: list[dict[str, Any]]) -> None:
    settings = Settings.of(plan.scoring_options(config, "pointad"))
    rng = np.random.default_rng(7)
    g = torch.from_numpy(unit(rng.normal(size=(2, DIM))))
    points, _ = published.losses(make_batch(scans), g)
    for number, scan in enumerate(scans):
        renders = scan["renders"]
        sample = make_sample(scan["views"], scan["patches"], renders.pixels, renders.visible, SIZE, None, 0.0).on(CPU)
        photograph = tuple(torch.from_numpy(part) for part in scan["photograph"])
        answers = ask(pointad, {"rendering": g.float()}, sample, SIZE, settings, photograph)
        found, objects = score_scan(answers, pointad, scan["cloud"], SIZE, settings)

        def smooth(image: np.ndarray) -> np.ndarray:
            return gaussian_filter(image, 4 * SIZE / 336, mode="reflect")

        view, patches = (part.double() for part in photograph)
        a_m = smooth(points[number, 1].numpy().reshape(SIZE, SIZE))
        patch_map = torch.softmax(patches @ g.T / published.TAU, -1)[:, 1].view(GRID, GRID)
        rgb = smooth(published.upsample(patch_map, SIZE).numpy())  # all of it, also where no point is
        fused = smooth((a_m + rgb) / 2)
        p_3d, p_rgb = (
            torch.softmax(v @ g.T / published.TAU, -1)[..., 1].mean().item() for v in (sample.views.double(), view)
        )
        np.testing.assert_allclose(found["map_3d"], a_m, atol=2e-6)
        np.testing.assert_allclose(found["map_m3d"], fused, atol=2e-6)
        # The published score of both is twice as large, which ranks alike.
        score = fused.max() + (p_rgb + p_3d) / 2
        assert objects == pytest.approx({"object_3d": 0.5 * p_3d + 0.5 * a_m.max(), "object_m3d": score / 2}, abs=2e-6)
