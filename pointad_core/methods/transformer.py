"""The transformer's blocks that Point-MAE and DINO are made of, under the names of their published weights."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from pointad_core.errors import InputError


class Block(nn.Module):
    """A residual block on tokens float [b, t, width]: attention, then a network of two layers, each after its norm."""

    def __init__(self, width: int, heads: int, qkv_bias: bool, epsilon: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, epsilon), nn.LayerNorm(width, epsilon)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width, bias=qkv_bias), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        parts = self.attn["qkv"](self.norm1(tokens)).unflatten(2, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        tokens = tokens + self.attn["proj"](mixed.transpose(1, 2).flatten(2))
        return tokens + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(tokens))))


@torch.no_grad()
def draw(network: nn.Module, generator: torch.Generator) -> None:
    """Weights before any training: normal, of the variance that keeps a signal's size, and biases of 0.

    Point-MAE itself starts with a deviation of 0.02; what such a network sees of a cloud is lost in its norms.
    """
    for part in network.modules():
        if isinstance(part, (nn.Linear, nn.Conv1d)):
            part.weight.normal_(0, part.weight[0].numel() ** -0.5, generator=generator)
            if part.bias is not None:
                part.bias.zero_()


def fill(
    network: nn.Module, tensors: Mapping[str, torch.Tensor], origin: object, what: str, spare: Sequence[str] = ()
) -> None:
    """Put weights into a network; spare: beginnings of names in the file that belong to parts we do not have.

    Raises InputError that names the file (`origin`) and the first tensor that is missing, too many, of another shape
    or not finite.
    """
    own = network.state_dict()
    for name, part in own.items():
        expected = tuple(part.shape)
        if name not in tensors:
            raise InputError(f"{origin}: not the weights of {what}; {name!r} is missing, expected {expected}")
        if (found := tuple(tensors[name].shape)) != expected:
            raise InputError(f"{origin}: not the weights of {what}; {name!r} is {found}, expected {expected}")
        if not tensors[name].isfinite().all():
            raise InputError(f"{origin}: not the weights of {what}; {name!r} is not finite")
    for name in sorted(tensors.keys() - own.keys()):
        if not name.startswith(tuple(spare)):
            raise InputError(f"{origin}: not the weights of {what}; it has {name!r}, which no part of it is called")
    network.load_state_dict({name: tensors[name] for name in own})
