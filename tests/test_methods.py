"""The systems: what they read and say, and each loss term against the direct form of the paper."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from pointad_core import methods
from pointad_core.errors import InputError
from pointad_core.methods import LossWeights, Settings
from pointad_core.prompts import make_targets
from pointad_core.segmentation import Explicit, Sample, upsample
from tests.toy import GRID, N_VIEWS, SIZE, fused_features, scan_arrays, unit

TAU = 0.07


def softmax_abnormal(features, g):
    """P(g_a, f) as a softmax over two cosines: features [..., d], g [2, d] -> [...]."""
    cosines = features @ g.T / TAU
    e = (cosines - cosines.max(-1, keepdim=True).values).exp()
    return e[..., 1] / e.sum(-1)


def bilinear(patch_map, size):
    """Half-pixel-centred bilinear interpolation of [g, g], pixel by pixel, edges repeated."""
    grid = len(patch_map)
    rows = []
    for row in range(size):
        for column in range(size):
            y, x = ((i + 0.5) * grid / size - 0.5 for i in (row, column))
            y, x = (min(max(i, 0), grid - 1) for i in (y, x))
            top, left = int(y), int(x)
            bottom, right = min(top + 1, grid - 1), min(left + 1, grid - 1)
            v, u = y - top, x - left
            rows.append(
                (1 - v) * ((1 - u) * patch_map[top, left] + u * patch_map[top, right])
                + v * ((1 - u) * patch_map[bottom, left] + u * patch_map[bottom, right])
            )
    return torch.stack(rows).view(size, size)


def dice(p, t):
    return 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


class Case:
    """One scan as arrays, as a `Sample` and with text embeddings."""

    def __init__(self, seed, defective=True):
        rng = np.random.default_rng(seed)
        self.cloud, self.renders, self.features = scan_arrays(rng, defective, 16, True, False)
        f = self.features
        pixels = torch.from_numpy(self.renders["pixels"])
        cells = pixels.long() * GRID // SIZE
        self.sample = Sample(
            torch.from_numpy(f["global"]),
            torch.from_numpy(f["patches_vv"]),
            pixels,
            torch.from_numpy(self.renders["visible"]),
            SIZE,
            Explicit(
                (cells[..., 1] * GRID + cells[..., 0]).int(),
                *(torch.from_numpy(f[name]) for name in ("neighbours", "weights", "norms")),
                0.5,
            ),
        )
        labels, masks = self.cloud["labels"], self.renders["masks"] > 0
        self.targets = make_targets(self.sample, torch.from_numpy(labels), torch.from_numpy(masks), defective)
        self.embeddings = {
            layer: torch.from_numpy(unit(rng.normal(size=(2, 16)))).requires_grad_()
            for layer in ("rendering", "geometry")
        }

    def naive_scores(self):
        """S_a and T_a in float64, a feature or a pixel per point."""
        r, g = self.embeddings["rendering"], self.embeddings["geometry"]
        patches = torch.from_numpy(self.features["patches_vv"].astype(float))
        maps = [bilinear(softmax_abnormal(view, r).view(GRID, GRID), SIZE) for view in patches]
        visible = self.renders["visible"]
        implicit = []
        for point in range(visible.shape[1]):
            seen = np.flatnonzero(visible[:, point])
            columns_rows = self.renders["pixels"][:, point]
            implicit.append(sum(maps[k][columns_rows[k][1], columns_rows[k][0]] for k in seen) / len(seen))
        fused = fused_features(
            patches.numpy(),
            self.renders["pixels"],
            visible,
            self.features["neighbours"],
            self.features["weights"].astype(float),
            0.5,
        )
        return maps, torch.stack(implicit), softmax_abnormal(torch.from_numpy(unit(fused)), g)

    def naive_terms(self):
        """Every term of Eq. 6 for N = 1, float64, in two-channel form."""
        r, g = self.embeddings["rendering"], self.embeddings["geometry"]
        maps, implicit, explicit = self.naive_scores()
        views = softmax_abnormal(torch.from_numpy(self.features["global"].astype(float)), r)
        y = torch.from_numpy(self.cloud["labels"].astype(float))
        y_views = torch.from_numpy(self.renders["masks"].astype(float))
        local_2d = 0.0
        for p, t in zip(maps, y_views, strict=True):
            channels, one_hot = torch.stack([1 - p, p]), torch.stack([1 - t, t]).clamp(1e-5, 1 - 1e-5)
            pt = (channels * one_hot).sum(0) + 1e-5
            focal = (-((1 - pt) ** 2) * pt.log()).mean()
            local_2d = local_2d + (focal + dice(1 - p, 1 - t) + dice(p, t)) / N_VIEWS
        cosines = g @ r.T / TAU
        return {
            "global_3d": -torch.stack([1 - views.mean(), views.mean()])[int(y.max())].log(),
            "local_3d": dice(1 - implicit, 1 - y) + dice(implicit, y),
            "global_2d": -sum((p if t.max() else 1 - p).log() for p, t in zip(views, y_views, strict=True)) / N_VIEWS,
            "local_2d": local_2d,
            "geometry": dice(1 - explicit, 1 - y) + dice(explicit, y),
            "cross": -sum(
                torch.log_softmax(line, 0)[i]
                for line, i in ((cosines[1], 1), (cosines[:, 0], 0), (cosines[:, 1], 1), (cosines[0], 0))
            ),
        }


CPU = torch.device("cpu")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("defective", [True, False])
def test_loss_terms_and_gradients_are_those_of_the_direct_form(seed, defective):
    case = Case(seed, defective)
    float_embeddings = {k: v.detach().float().requires_grad_() for k, v in case.embeddings.items()}
    terms = methods.load_trained("pointad_plus").loss_terms(
        float_embeddings, case.sample.on(CPU), case.targets, Settings()
    )
    wanted = case.naive_terms()
    assert list(terms) == list(wanted)
    for name, term in terms.items():
        assert term.item() == pytest.approx(wanted[name].item(), rel=2e-5, abs=2e-6), name
        got = torch.autograd.grad(term, list(float_embeddings.values()), retain_graph=True, allow_unused=True)
        naive = torch.autograd.grad(wanted[name], list(case.embeddings.values()), retain_graph=True, allow_unused=True)
        for a, b in zip(got, naive, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                # Features of float16 have lengths within 0.05 % of 1; the gradients of both forms see the same.
                torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


def test_pointad_has_the_four_rendering_terms():
    case = Case(3)
    embeddings = {"rendering": case.embeddings["rendering"].detach().float()}
    terms = methods.load_trained("pointad").loss_terms(embeddings, case.sample.on(CPU), case.targets, Settings())
    assert list(terms) == ["global_3d", "local_3d", "global_2d", "local_2d"]


def test_logit_mean_and_ratio_are_options():
    case = Case(4)
    embeddings = {k: v.detach().float() for k, v in case.embeddings.items()}
    default, other = (
        methods.load_trained("pointad_plus").loss_terms(embeddings, case.sample.on(CPU), case.targets, settings)
        for settings in (Settings(), Settings.of({"global_3d": "logit_mean", "cross_loss": "ratio"}))
    )
    changed = {name for name in default if default[name] != other[name]}
    assert changed == {"global_3d", "cross"}


@pytest.mark.parametrize("seed", range(3))
def test_point_scores(seed):
    case = Case(seed)
    embeddings = {k: v.detach().float() for k, v in case.embeddings.items()}
    _, implicit, explicit = case.naive_scores()
    both = 0.5 * implicit + 0.5 * explicit
    wanted = {"clip_rendering": implicit, "pointad": implicit, "pointad_coop": implicit}
    wanted |= {"pointad_plus": both, "pointad_plus_coop": both}
    for system, naive in wanted.items():
        got = methods.load(system).point_scores(embeddings, case.sample.on(CPU), Settings())
        np.testing.assert_allclose(got.numpy(), naive.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(("grid", "size"), [(4, 28), (5, 33), (24, 336)])
def test_upsample_is_torchs_bilinear_interpolation(grid, size):
    maps = torch.rand(2, grid * grid, generator=torch.Generator().manual_seed(grid), dtype=torch.float64)
    wanted = torch.nn.functional.interpolate(maps.view(1, 2, grid, grid), size, mode="bilinear")[0]
    torch.testing.assert_close(upsample(maps, size), wanted, rtol=0, atol=1e-12)


def test_patches_that_are_no_square_are_refused():
    with pytest.raises(InputError, match="577 patches"):
        upsample(torch.zeros(1, 577), 336)


def test_texts():
    assert methods.load("clip_rendering").templates("cable gland")["rendering"] == (
        "A photo of a normal cable gland",
        "A photo of an anomalous cable gland",
    )
    assert methods.load("pointad").templates("rope") == {"rendering": ("object.", "damaged object.")}
    assert methods.load("pointad_plus").templates("rope") == {
        "rendering": ("object.", "damaged object."),
        "geometry": ("point cloud.", "damaged point cloud."),
    }


def test_unknown_and_untrained_systems_are_refused():
    with pytest.raises(InputError, match=r"'pointad\+', allowed are \[.*'clip_rendering', .*'pointad_plus'"):
        methods.find("pointad+")
    with pytest.raises(InputError, match="learns nothing"):
        methods.load_trained("clip_rendering")


def test_settings_of_a_config_entry():
    entry = {"system": "pointad", "label": "x", "epochs": 2, "betas": [0.9, 0.99], "loss_weights": {"cross": 0}}
    settings = Settings.of(entry)
    assert (settings.epochs, settings.betas, settings.batch_size) == (2, (0.9, 0.99), 4)
    assert settings.loss_weights == LossWeights(cross=0)
    with pytest.raises(InputError, match=r"loss_weights has \['focal'\]"):
        Settings.of({"loss_weights": {"focal": 1}})


def test_the_list_of_systems_needs_no_torch():
    """The workflow reads it while it is parsed."""
    code = "import sys, pointad_core.methods as m; assert m.SYSTEMS; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
