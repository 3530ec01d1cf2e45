"""A transformer's block in naive float64, token by token and head by head, and weights to try it with."""

import math

import torch


def noisy(network, seed=0):
    """Weights and statistics as after some training, all of them different."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, part in network.state_dict().items():
            if name.endswith("running_var"):
                part.uniform_(0.5, 2, generator=rng)
            elif part.is_floating_point():
                part.normal_(0.1, 0.2, generator=rng)
    return network.eval().requires_grad_(False)


def naive_norm(norm, x):
    mean = x.mean()
    return (x - mean) / (((x - mean) ** 2).mean() + norm.eps).sqrt() * norm.weight.double() + norm.bias.double()


def naive_block(block, tokens):
    """Each token and each head by itself."""
    heads, width = block.heads, tokens.shape[1]
    size = width // heads
    normed = [naive_norm(block.norm1, token) for token in tokens]
    qkv = [block.attn["qkv"].double()(token) for token in normed]
    mixed = torch.zeros_like(tokens)
    for head in range(heads):
        q, k, v = (
            torch.stack([x[part * width + head * size : part * width + (head + 1) * size] for x in qkv])
            for part in range(3)
        )
        for i in range(len(tokens)):
            weights = torch.tensor([math.exp(float(q[i] @ k[j]) / math.sqrt(size)) for j in range(len(tokens))])
            mixed[i, head * size : (head + 1) * size] = (weights[:, None].double() * v).sum(0) / weights.sum().double()
    tokens = tokens + torch.stack([block.attn["proj"].double()(x) for x in mixed])
    hidden = [block.mlp["fc1"].double()(naive_norm(block.norm2, token)) for token in tokens]
    bent = [x * 0.5 * (1 + torch.erf(x / math.sqrt(2))) for x in hidden]
    return tokens + torch.stack([block.mlp["fc2"].double()(x) for x in bent])
