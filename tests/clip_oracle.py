"""A small CLIP for tests, and CLIP's towers in naive float64 numpy, head by head, written from the method's text."""

import copy
import json

import numpy as np
import torch
from scipy.special import erf

TINY = {
    "embed_dim": 10,
    "vision_cfg": {"image_size": 42, "patch_size": 14, "width": 16, "layers": 4, "head_width": 8, "mlp_ratio": 2.0},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 12, "heads": 3, "layers": 4, "mlp_ratio": 2.0},
}

TEXTS = ["object.", "damaged object.", "a photo of a normal bagel with a rather long description of its surface"]


def register(folder, name="tiny", vision=None, text=None, **changes):
    """Add a variant of TINY to open_clip's models and return its name."""
    from pointad_core.clip.loading import import_models

    config = copy.deepcopy(TINY) | changes
    config["vision_cfg"] |= vision or {}
    config["text_cfg"] |= text or {}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    import_models().add_model_config(path)
    return name


def draw_images(seed, n=2, size=42):
    return np.random.default_rng(seed).random((n, 3, size, size), dtype=np.float32)


def shake(clip, seed):
    """Move every weight off its initial value, so that biases, norms and layer scales take part."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in clip.model.parameters():
        parameter.data += 0.3 * parameter.data.std(correction=0) * torch.randn(parameter.shape, generator=generator)
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return clip


def weights_of(model):
    return {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}


def normalise(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def layer_norm(x, w, name):
    if f"{name}.weight" not in w:
        return x
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x, quick):
    return x / (1 + np.exp(-1.702 * x)) if quick else x * 0.5 * (1 + erf(x / np.sqrt(2)))


def attention(h, w, name, heads, values_only=False, causal=False):
    """Multi-head attention of one sequence [N, C]; with `values_only` queries and keys are the values."""
    width = h.shape[1]
    q, k, v = (
        h @ w[f"{name}.in_proj_weight"][i * width : (i + 1) * width].T
        + w[f"{name}.in_proj_bias"][i * width : (i + 1) * width]
        for i in range(3)
    )
    if values_only:
        q, k = v, v
    out = np.zeros_like(h)
    size = width // heads
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for i in range(len(h)):
            last = i + 1 if causal else len(h)
            logits = np.array([q[i, part] @ k[j, part] for j in range(last)]) / np.sqrt(size)
            share = np.exp(logits - logits.max())
            share /= share.sum()
            out[i, part] = share @ v[:last, part]
    return out @ w[f"{name}.out_proj.weight"].T + w[f"{name}.out_proj.bias"]


def scaled(x, w, name):
    return x * w[f"{name}.gamma"] if f"{name}.gamma" in w else x


def block(z, w, name, heads, quick, causal=False):
    normed = layer_norm(z, w, f"{name}.ln_1")
    z = z + scaled(attention(normed, w, f"{name}.attn", heads, causal=causal), w, f"{name}.ls_1")
    hidden = layer_norm(z, w, f"{name}.ln_2") @ w[f"{name}.mlp.c_fc.weight"].T + w[f"{name}.mlp.c_fc.bias"]
    out = gelu(hidden, quick) @ w[f"{name}.mlp.c_proj.weight"].T + w[f"{name}.mlp.c_proj.bias"]
    return z + scaled(out, w, f"{name}.ls_2")


def encode_image(image, w, heads, vv_blocks, mean, std, quick=False):
    """image [3, S, S] in 0..1 -> global [d], patches_vv [P, d], patches_plain [P, d]."""
    image = (image - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    kernel = w["visual.conv1.weight"]
    size = kernel.shape[-1]
    tokens = [w["visual.class_embedding"]]
    for row in range(0, image.shape[1] - size + 1, size):
        for column in range(0, image.shape[2] - size + 1, size):
            patch = image[:, row : row + size, column : column + size]
            tokens.append((kernel * patch).sum((1, 2, 3)))
    z = layer_norm(np.array(tokens) + w["visual.positional_embedding"], w, "visual.ln_pre")
    depth = 1 + max(int(name.split(".")[3]) for name in w if name.startswith("visual.transformer.resblocks."))
    states = [z]
    for index in range(depth):
        states.append(block(states[-1], w, f"visual.transformer.resblocks.{index}", heads, quick))
    y = states[depth - vv_blocks]
    for index in range(depth - vv_blocks, depth):
        name = f"visual.transformer.resblocks.{index}"
        normed = layer_norm(states[index], w, f"{name}.ln_1")
        y = y + scaled(attention(normed, w, f"{name}.attn", heads, values_only=True), w, f"{name}.ls_1")

    def project(x):
        return normalise(layer_norm(x, w, "visual.ln_post") @ w["visual.proj"])

    return {
        "global": project(states[-1][0]),
        "patches_vv": project(y[1:]),
        "patches_plain": project(states[-1][1:]),
    }


def encode_prompt(embeddings, end, deep, w, heads, quick=False, prefix=""):
    """Token embeddings [L, dt] of one prompt, deep [b, t, dt] -> feature [d]."""
    x = embeddings + w[f"{prefix}positional_embedding"]
    start = f"{prefix}transformer.resblocks."
    depth = 1 + max(int(name.removeprefix(start).split(".")[0]) for name in w if name.startswith(start))
    for index in range(depth):
        if 1 <= index <= len(deep):
            x = x.copy()
            x[1 : 1 + deep.shape[1]] = deep[index - 1]
        x = block(x, w, f"{start}{index}", heads, quick, causal=True)
    return normalise(layer_norm(x, w, f"{prefix}ln_final")[end] @ w[f"{prefix}text_projection"])
