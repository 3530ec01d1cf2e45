"""PointCLIP V2 and V2_a: the way from patches to points against a loop, prompts, and gradients of the losses."""

import numpy as np
import pytest
import torch

from pointad_core import methods
from pointad_core.clip import load_clip
from pointad_core.methods import Settings
from pointad_core.methods.pointclip_v2 import average
from pointad_core.prompts import Prompts, make_prompts
from tests.test_methods import CPU, TAU, Case, bilinear, dice
from tests.toy import GRID, N_VIEWS, SIZE, write_toy

MODEL = {"model": "pointad-pocket", "random_seed": 1, "vv_blocks": 1, "alpha": 0.5}


def naive_average(patch_map):
    """Mean over rows -2..3 and columns -2..3 around each patch; beyond the border its outermost value."""
    side = len(patch_map)
    rows = []
    for row in range(side):
        for column in range(side):
            values = [
                patch_map[min(max(row + i, 0), side - 1), min(max(column + j, 0), side - 1)]
                for i in range(-2, 4)
                for j in range(-2, 4)
            ]
            rows.append(sum(values) / 36)
    return torch.stack(rows).view(side, side)


def naive_maps(case, g):
    """Each view's map [S, S] from two channels of averaged logits, float64."""
    maps = []
    for view in torch.from_numpy(case.features["patches_vv"].astype(float)):
        normal, abnormal = (naive_average((view @ text / TAU).view(GRID, GRID)) for text in g)
        maps.append(bilinear(torch.softmax(torch.stack([normal, abnormal]), 0)[1], SIZE))
    return maps


def naive_points(case, maps):
    scores = []
    for point in range(case.renders["visible"].shape[1]):
        seen = np.flatnonzero(case.renders["visible"][:, point])
        places = case.renders["pixels"][:, point]
        scores.append(sum(maps[k][places[k][1], places[k][0]] for k in seen) / len(seen))
    return torch.stack(scores)


@pytest.mark.parametrize("side", [2, 5, 24])
def test_average(side):
    maps = torch.rand(3, side * side, dtype=torch.float64, generator=torch.Generator().manual_seed(side))
    got = average(maps)
    for k in range(3):
        torch.testing.assert_close(got[k].view(side, side), naive_average(maps[k].view(side, side)))


@pytest.mark.parametrize("system", ["pointclip_v2", "pointclip_v2_a"])
def test_point_scores(system):
    case = Case(11)
    g = case.embeddings["rendering"].detach()
    got = methods.load(system).point_scores({"rendering": g.float()}, case.sample.on(CPU), Settings())
    np.testing.assert_allclose(got.numpy(), naive_points(case, naive_maps(case, g)).numpy(), atol=1e-5)


def test_local_losses_and_gradients():
    case = Case(12)
    g = case.embeddings["rendering"]
    state = {"rendering": g.detach().float().requires_grad_()}
    terms = methods.load("pointclip_v2_a").loss_terms(state, case.sample.on(CPU), case.targets, Settings())
    maps = naive_maps(case, g)
    y = torch.from_numpy(case.cloud["labels"].astype(float))
    points = naive_points(case, maps)
    wanted = {"local_3d": dice(1 - points, 1 - y) + dice(points, y), "local_2d": torch.zeros(())}
    for p, t in zip(maps, torch.from_numpy(case.renders["masks"].astype(float)), strict=True):
        hot = t.clamp(1e-5, 1 - 1e-5)
        pt = p * hot + (1 - p) * (1 - hot) + 1e-5
        focal = (-((1 - pt) ** 2) * pt.log()).mean()
        wanted["local_2d"] = wanted["local_2d"] + (focal + dice(1 - p, 1 - t) + dice(p, t)) / N_VIEWS
    for name, value in wanted.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=2e-5), name
        (got,) = torch.autograd.grad(terms[name], [state["rendering"]], retain_graph=True)
        (naive,) = torch.autograd.grad(value, [g], retain_graph=True)
        torch.testing.assert_close(got.double(), naive, rtol=1e-4, atol=1e-5)
    # The global terms are PointAD's: renders as a whole have no patches to average.
    others = methods.load("pointad").loss_terms(state, case.sample.on(CPU), case.targets, Settings())
    for name in ("global_3d", "global_2d"):
        assert torch.equal(terms[name], others[name])
        assert list(terms) == list(others)


@pytest.mark.parametrize("system", ["pointclip_v2", "pointclip_v2_a"])
def test_texts_name_the_category(system):
    assert methods.load(system).templates("cable gland") == {
        "rendering": ("point cloud of a big cable gland", "point cloud of a big damaged cable gland")
    }


def test_context_comes_before_the_texts_and_no_deep_tokens_do():
    clip = load_clip("pointad-pocket", 1, random_seed=1)
    method = methods.load("pointclip_v2_a")
    settings = Settings(deep_blocks=0)
    prompts = Prompts.draw(clip, method.templates("bagel"), settings, torch.Generator().manual_seed(0))
    tensors = prompts.tensors()
    assert tensors["rendering.context_normal"].shape == (12, clip.text_width)
    assert tensors["rendering.deep"].numel() == 0
    tokens = clip.tokenize(method.templates("bagel")["rendering"])
    embedded = clip.embed_tokens(tokens)
    whole = torch.stack(
        [
            torch.cat([text[:1], tensors[f"rendering.context_{kind}"], text[1:-12]])
            for text, kind in zip(embedded, ("normal", "abnormal"), strict=True)
        ]
    )
    wanted = clip.encode_prompts(whole, clip.end_positions(tokens) + 12)
    torch.testing.assert_close(tensors["rendering.embeddings"], wanted, rtol=0, atol=1e-6)


def test_training_lowers_the_loss(tmp_path):
    toy = write_toy(tmp_path, n_scans=4)
    make_prompts(
        "pointclip_v2_a", toy.clouds, toy.renders, toy.features, tmp_path / "p.safetensors", tmp_path / "p.csv",
        {"epochs": 6, "batch_size": 2, "deep_blocks": 0}, MODEL, "toy", 1, {},
    )  # fmt: skip
    totals = [float(line.rsplit(",", 1)[1]) for line in (tmp_path / "p.csv").read_text().splitlines()[1:]]
    assert len(totals) == 12
    assert sum(totals[-2:]) < sum(totals[:2])
