"""What tests of several systems share: one scan with the paper's formulas in float64, written the slow and obvious way,
and the stages prompts and scores on a toy category."""

import numpy as np
import torch
from toy import ALPHA, GRID, N_VIEWS, SIZE, fused_features, scan_arrays, unit

from pointad_core.methods.aggregation import fused_norms
from pointad_core.methods.registry import SYSTEMS, plain
from pointad_core.methods.segmentation import Aggregation, Sample
from pointad_core.methods.targets import make_targets
from pointad_core.stages.prompts import make_prompts
from pointad_core.stages.scores import make_scores

TAU = 0.07
CPU = torch.device("cpu")
MODEL = {"model": "pointad-pocket", "random_seed": 111, "vv_blocks": 1, "resolution": 336}


def values(terms):
    """The terms of a loss, computed."""
    return {name: term() for name, term in terms.items()}


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


def mean_over_views(maps, pixels, visible):
    """Each point's mean of maps [S, S], one a view, at its pixels [K, n, 2], over the views that see it [K, n]."""
    scores = []
    for point in range(visible.shape[1]):
        seen = np.flatnonzero(visible[:, point])
        places = pixels[:, point]
        scores.append(sum(maps[k][places[k][1], places[k][0]] for k in seen) / len(seen))
    return torch.stack(scores)


class Case:
    """One scan as arrays, as a `Sample` and with text embeddings; alpha: of G-aggregation."""

    def __init__(self, seed, defective=True, alpha=ALPHA):
        rng = np.random.default_rng(seed)
        self.alpha = alpha
        self.cloud, self.renders, self.features, self.prepared = scan_arrays(rng, defective, 16, True, False)
        f = self.features
        pixels = torch.from_numpy(self.renders["pixels"])
        cells = pixels.long() * GRID // SIZE
        patches, visible = torch.from_numpy(f["patches_vv"]), torch.from_numpy(self.renders["visible"])
        index = (cells[..., 1] * GRID + cells[..., 0]).int()
        around = [torch.from_numpy(self.prepared[name]) for name in ("neighbours", "weights")]
        norms = fused_norms(patches, index, visible, *around, alpha)
        aggregation = Aggregation(index, *around, norms, alpha)
        self.sample = Sample(torch.from_numpy(f["global"]), patches, pixels, visible, SIZE, aggregation)
        labels, masks = self.cloud["labels"], self.renders["masks"] > 0
        self.targets = make_targets(self.sample, torch.from_numpy(labels), torch.from_numpy(masks), defective)
        self.embeddings = {
            layer: torch.from_numpy(unit(rng.normal(size=(2, 16)))).requires_grad_()
            for layer in ("rendering", "geometry")
        }

    def float_embeddings(self):
        """The same as the systems take them, leaves of their own."""
        return {layer: part.detach().float().requires_grad_() for layer, part in self.embeddings.items()}

    def naive_scores(self):
        """S_a and T_a in float64, a feature or a pixel per point."""
        r, g = self.embeddings["rendering"], self.embeddings["geometry"]
        patches = torch.from_numpy(self.features["patches_vv"].astype(float))
        maps = [bilinear(softmax_abnormal(view, r).view(GRID, GRID), SIZE) for view in patches]
        visible = self.renders["visible"]
        implicit = mean_over_views(maps, self.renders["pixels"], visible)
        fused = fused_features(
            patches.numpy(),
            self.renders["pixels"],
            visible,
            self.prepared["neighbours"],
            self.prepared["weights"].astype(float),
            self.alpha,
        )
        return maps, implicit, softmax_abnormal(torch.from_numpy(unit(fused)), g)

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


def random_scan(seed, n=200, dim=8):
    """A `Sample` in which nothing means anything, labels of its points and masks of its renders."""
    rng = torch.Generator().manual_seed(seed)
    sample = Sample(
        torch.rand(N_VIEWS, dim, generator=rng),
        torch.rand(N_VIEWS, GRID**2, dim, generator=rng),
        torch.randint(0, SIZE, (N_VIEWS, n, 2), generator=rng).short(),
        torch.rand(N_VIEWS, n, generator=rng) < 0.7,
        SIZE,
        None,
    )
    masks = torch.rand(N_VIEWS, SIZE, SIZE, generator=rng) < 0.2
    masks[1] = False
    return sample, (torch.rand(n, generator=rng) < 0.2), masks


def learn(system, inputs, output, options, display=None, seed=3, model=MODEL, provenance=None):
    """Prompts of a system (a name or an entry) on a category's stores by stage; their file and the curve's."""
    entry, curve = SYSTEMS[system] if isinstance(system, str) else system, output.with_suffix(".csv")
    make_prompts(plain(entry), inputs, output, curve, options, model, display, seed, provenance or {})
    return output, curve


def score(system, prompts, categories, output, options=None, model=MODEL, provenance=None):
    """Scores of a system (as above) for categories like `Toy.entry`; their file."""
    entry = SYSTEMS[system] if isinstance(system, str) else system
    make_scores(plain(entry), prompts, categories, output, options or {}, model, provenance or {})
    return output
