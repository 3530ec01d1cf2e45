"""PointCLIP V2 and V2_a: the way from patches to points against a loop, prompts, and gradients of the losses."""

import numpy as np
import pytest
import torch
from cases import CPU, TAU, Case, bilinear, dice, learn, mean_over_views, values
from toy import GRID, N_VIEWS, SIZE, write_toy

from pointad_core.clip.loading import load_clip
from pointad_core.methods import pointad, pointclip_v2, pointclip_v2_a
from pointad_core.methods.interface import Settings
from pointad_core.methods.pointclip_v2 import average

MODEL = {"model": "pointad-pocket", "random_seed": 1, "vv_blocks": 1}


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
    return mean_over_views(maps, case.renders["pixels"], case.renders["visible"])


@pytest.mark.parametrize("side", [2, 5, 24])
def test_average(side):
    maps = torch.rand(3, side * side, dtype=torch.float64, generator=torch.Generator().manual_seed(side))
    got = average(maps)
    for k in range(3):
        torch.testing.assert_close(got[k].view(side, side), naive_average(maps[k].view(side, side)))


@pytest.mark.parametrize("system", [pointclip_v2, pointclip_v2_a])
def test_point_scores(system):
    case = Case(11)
    g = case.embeddings["rendering"].detach()
    got = system.point_scores({"rendering": g.float()}, case.sample.on(CPU), Settings())
    np.testing.assert_allclose(got.numpy(), naive_points(case, naive_maps(case, g)).numpy(), atol=1e-5)


def test_local_losses_and_gradients():
    case = Case(12)
    g = case.embeddings["rendering"]
    state = {"rendering": g.detach().float().requires_grad_()}
    terms = values(pointclip_v2_a.loss_terms(state, case.sample.on(CPU), case.targets, Settings()))
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
    others = values(pointad.loss_terms(state, case.sample.on(CPU), case.targets, Settings()))
    for name in ("global_3d", "global_2d"):
        assert torch.equal(terms[name], others[name])
        assert list(terms) == list(others)


@pytest.mark.parametrize("system", [pointclip_v2, pointclip_v2_a])
def test_texts_name_the_category(system):
    assert system.templates("cable gland") == {
        "rendering": ("point cloud of a big cable gland", "point cloud of a big damaged cable gland")
    }


def test_context_comes_before_the_texts_and_no_deep_tokens_do():
    clip = load_clip("pointad-pocket", 1, random_seed=1)
    settings = Settings(deep_blocks=0)
    prompts = pointclip_v2_a.first_weights("bagel", settings, MODEL, torch.Generator().manual_seed(0), CPU)
    tensors = prompts.tensors()
    assert tensors["rendering.context_normal"].shape == (12, clip.text_width)
    assert tensors["rendering.deep"].numel() == 0
    tokens = clip.tokenize(pointclip_v2_a.templates("bagel")["rendering"])
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
    options = {"epochs": 6, "batch_size": 2, "deep_blocks": 0}
    _, curve = learn("pointclip_v2_a", toy.paths, tmp_path / "p.safetensors", options, "toy", 1, MODEL)
    totals = [float(line.rsplit(",", 1)[1]) for line in curve.read_text().splitlines()[1:]]
    assert len(totals) == 12
    assert sum(totals[-2:]) < sum(totals[:2])
