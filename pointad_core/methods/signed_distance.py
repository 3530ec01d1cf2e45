"""SDM's 3-D expert: a PointNet that turns a local patch into a code, and the signed distance to the patch's surface.

The encoder is the same small network for each point (3-64-128-1024 channels), their maximum, and two layers more
(512-128), with batch normalisation and ReLU throughout. The distance at a place is a function of the code and the
place: both widened to 512 channels, brought together, and eight layers of 512. It is learnt from points alone:
a place near the surface, moved by its distance against the distance's gradient, must arrive at the nearest point.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from pointad_core.methods.local_patches import normalise_patches

NEAR = 0.65  # share of the patches of a step whose queries are drawn with half the spread
TENTH = 10  # the spread around a point reaches to a tenth of its patch: to the 50th neighbour of 500 points
HIDDEN = 7  # layers after both inputs have come together, and before the distance


class Expert(nn.Module):
    """The encoder and the distance; widths: of the encoder, (64, 128, 1024, 512, 128) in SDM, `width` 512."""

    def __init__(self, widths: tuple[int, ...], width: int) -> None:
        super().__init__()
        points, rest = (3, *widths[:3]), widths[2:]
        self.points = nn.Sequential(*(layer for sizes in pairwise(points) for layer in _encoder_layer(*sizes)))
        self.whole = nn.Sequential(*(layer for sizes in pairwise(rest) for layer in _encoder_layer(*sizes)))
        self.code, self.place = nn.Linear(widths[-1], width), nn.Linear(3, width)
        self.joint = nn.Linear(2 * width, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(HIDDEN))
        self.distance = nn.Linear(width, 1)

    def encode(self, patches: torch.Tensor) -> torch.Tensor:
        """Codes float [m, c] of normalised patches float [m, s, 3]."""
        each = self.points(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
        return self.whole(each.amax(1))

    def signed_distance(self, codes: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Signed distances float [m, q] at places float [m, q, 3] of the patches with codes float [m, c]."""
        code = F.relu(self.code(codes))[:, None].expand(-1, places.shape[1], -1)
        inner = F.relu(self.joint(torch.cat([F.relu(self.place(places)), code], dim=2)))
        for layer in self.hidden:
            inner = F.relu(layer(inner))
        return self.distance(inner)[..., 0]


def _encoder_layer(before: int, after: int) -> list[nn.Module]:
    return [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]


@torch.no_grad()
def first_expert(widths: tuple[int, ...], width: int, generator: torch.Generator) -> Expert:
    """An expert before training; its distance starts out as that to a sphere, which makes signs agree."""
    expert = Expert(widths, width)
    for layer in expert.modules():
        if isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.uniform_(-bound, bound, generator=generator)
    for layer in (expert.joint, *expert.hidden):
        layer.weight.normal_(0, math.sqrt(2 / width), generator=generator)
        layer.bias.zero_()
    expert.distance.weight.normal_(2 * math.sqrt(math.pi / width), 1e-6, generator=generator)
    expert.distance.bias.fill_(-0.5)
    return expert


def draw_queries(patches: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Places near patches' surfaces, one about each point, and the nearest points of the patch to them.

    patches: normalised, float [m, s, 3]. Both [m, s, 3]. A place is off its point by a normal deviate with the spread
    of the distance that a tenth of the patch lies within, or with half of it for NEAR of the patches.
    """
    rank = max(1, patches.shape[1] // TENTH)
    spread = torch.cdist(patches, patches).kthvalue(rank + 1, dim=2).values[..., None]
    share = torch.rand(len(patches), 1, 1, generator=generator, device=generator.device).to(patches.device)
    noise = torch.randn(patches.shape, generator=generator, device=generator.device).to(patches.device)
    places = patches + torch.where(share < NEAR, 0.5, 1.0) * spread * noise
    nearest = torch.cdist(places, patches).argmin(2)
    return places, patches.gather(1, nearest[..., None].expand(-1, -1, 3))


def pull(expert: Expert, codes: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Places float [m, q, 3] moved onto the surface: against the unit gradient of the distance, by the distance."""
    places = places.detach().requires_grad_()
    distance = expert.signed_distance(codes, places)
    (gradient,) = torch.autograd.grad(distance.sum(), places, create_graph=True)
    unit = gradient / (gradient.square().sum(2, keepdim=True) + 1e-12).sqrt()
    return places - distance[..., None] * unit


def pull_loss(expert: Expert, patches: torch.Tensor, places: torch.Tensor, nearest: torch.Tensor) -> torch.Tensor:
    """Mean distance between the places once pulled and the points nearest to them."""
    return (pull(expert, expert.encode(patches), places) - nearest).norm(dim=2).mean()


def train_expert(
    expert: Expert,
    patches: torch.Tensor,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
) -> Iterator[tuple[int, float]]:
    """Train in place by Adam on patches float [m, s, 3], normalised here; gives epoch (from 1) and loss of each step.

    Queries are drawn anew in each step. SDM keeps 20 places about each point, of which an epoch takes one: for the 361
    scans of a category that would be some 20 GB. Batches are as even as can be, for batch normalisation needs two.
    """
    optimizer = torch.optim.Adam(expert.parameters(), lr=learning_rate)
    expert.train()
    n_batches = max(1, len(patches) // max(2, batch_size))
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(patches), generator=generator, device=generator.device).to(patches.device)
        for batch in order.tensor_split(n_batches):
            part = normalise_patches(patches[batch])
            loss = pull_loss(expert, part, *draw_queries(part, generator))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield epoch, loss.item()
    expert.eval()
