"""CLIP for PointAD: any ViT that open_clip can build, with V-V attention and learnable prompts beside it.

Image side (Sec. 3.4 and its AnomalyCLIP ancestry). One pass through the tower gives two streams of local
features. `plain` is CLIP's own: ln_post(z_L) @ proj of the patch tokens. `vv` is a second residual stream that
starts at z_{L-m} and adds, in each of the last m blocks, that block's attention with queries and keys replaced
by values, read from the *original* stream:

    y = z_{L-m} + sum_{l > L-m} proj_l(VV_l(LN1_l(z_{l-1}))),    VV = softmax(v v^T / sqrt(head width)) v

and ends in ln_post(y) @ proj. It has no MLP; the class token takes part in it. The global feature is
ln_post(z_L[CLS]) @ proj for both. Nothing of the model is changed: the blocks' weights are only read.

Text side. `encode_prompts` is CLIP's text tower on token embeddings, with the deep text prompts of AnomalyCLIP:
at the input of blocks 2, 3, ... the tokens after the start token are overwritten.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from pointad_core.clip.models_index import check_deep_blocks

STREAMS = ("vv", "plain")


@dataclass(eq=False)
class Clip:
    """A frozen CLIP. Sizes: S = `resolution`, P = `grid`**2 patches, d = `dim`, dt = `text_width`."""

    name: str
    model: Any  # open_clip's CLIP or CustomTextCLIP
    tokenizer: Any
    vv_blocks: int
    mean: torch.Tensor
    std: torch.Tensor
    precision: torch.dtype = torch.float32  # of the matrix products in the vision tower's blocks

    def __post_init__(self) -> None:
        self.visual = self.model.visual
        # Models of OpenAI's form have the text tower's parts on the model itself.
        self.text = getattr(self.model, "text", self.model)
        self.resolution = int(self.visual.image_size[0])
        self.grid = int(self.visual.grid_size[0])  # patches a side
        self.dim = int(self.visual.output_dim)  # width of the space that images and texts share
        self.text_width = int(self.text.token_embedding.weight.shape[1])
        self.text_blocks = len(self.text.transformer.resblocks)
        self.context_length = int(self.model.context_length)

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def encode_images(self, images: torch.Tensor, streams: Sequence[str] = STREAMS) -> dict[str, torch.Tensor]:
        """Global and local features of images (Sec. 3.4).

        images: float32 [B, 3, S, S] in 0..1; the model's own mean and deviation are applied here.
        Returns float32, L2-normalised: "global" [B, d] and, for each stream asked for, "patches_vv" or
        "patches_plain" [B, P, d], patches in row-major order. Raises ValueError for another shape or stream.
        """
        size = self.resolution
        if images.shape[1:] != (3, size, size):
            raise ValueError(f"images are {list(images.shape)}, expected [B, 3, {size}, {size}]")
        if unknown := set(streams) - set(STREAMS):
            raise ValueError(f"unknown streams {sorted(unknown)}, allowed are {list(STREAMS)}")
        return self.encode_tokens(self.embed_patches(images), streams)

    def embed_patches(self, images: torch.Tensor) -> torch.Tensor:
        """Tokens [B, 1 + P, C] before the first block, of images as in `encode_images`; the class token first."""
        return self.visual._embeds((images.to(self.device) - self.mean) / self.std)

    def encode_tokens(
        self, z: torch.Tensor, streams: Sequence[str] = STREAMS, start: int = 0
    ) -> dict[str, torch.Tensor]:
        """The blocks of `encode_images` from number `start` on, which is no V-V block's successor; z: float32
        [B, 1 + p, C], what comes before that block, of all patches or some."""
        y = z
        blocks = self.visual.transformer.resblocks
        first = len(blocks) - self.vv_blocks
        # Of a lower precision are the products alone: the sums of the residual streams, and the normalisations of what
        # is summed up, stay in float32, as the embedding of the patches and the last projection do.
        with torch.autocast(z.device.type, self.precision, enabled=self.precision != torch.float32):
            for index, block in enumerate(blocks[start:], start):
                if index == first:
                    y = z
                z, vv = _vision_block(block, z, with_vv="vv" in streams and index >= first)
                if vv is not None:
                    y = y + vv
        features = {"global": self._project(z[:, 0])}
        if "vv" in streams:
            features["patches_vv"] = self._project(y[:, 1:])
        if "plain" in streams:
            features["patches_plain"] = self._project(z[:, 1:])
        return features

    def _project(self, tokens: torch.Tensor) -> torch.Tensor:
        return F.normalize((self.visual.ln_post(tokens) @ self.visual.proj).float(), dim=-1)

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        """Token ids int64 [m, context length]: start token, text, end token, padding."""
        return self.tokenizer(list(texts)).to(self.device)

    def end_positions(self, tokens: torch.Tensor) -> torch.Tensor:
        """Position of the end token, whose output is the text's feature: int64 [m]."""
        prefix = "text_" if self.text is self.model else ""
        if getattr(self.text, f"{prefix}pool_type") == "eos":
            return (tokens == getattr(self.text, f"{prefix}eos_id")).int().argmax(dim=-1)
        return tokens.argmax(dim=-1)

    def embed_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token embeddings [m, context length, dt], without positions."""
        return self.text.token_embedding(tokens)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """L2-normalised features float32 [m, d] of plain texts, by the model's own text tower."""
        return F.normalize(self.model.encode_text(self.tokenize(texts)).float(), dim=-1)

    def encode_prompts(
        self, embeddings: torch.Tensor, ends: torch.Tensor, deep: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Features of prompts given as token embeddings, with deep text prompts.

        embeddings: float32 [m, L <= context length, dt], without positions (`embed_tokens`, with learnable
        context put in); ends: int64 [m], position of the end token (`end_positions`); deep: float32 [b, t, dt]
        or None. Before block i+2 (1-based) the tokens at positions 1..t are overwritten by deep[i], the same for
        all prompts; block 1 gets none. Returns float32 [m, d], L2-normalised, differentiable with respect to
        `embeddings` and `deep`. Raises InputError if the tower has fewer than b+1 blocks.
        """
        text = self.text
        n_deep = 0 if deep is None else len(deep)
        check_deep_blocks(self.name, n_deep, self.text_blocks)
        # Under a causal mask no token sees what follows it: all after the last end token can go, exactly.
        length = int(ends.max()) + 1
        x = embeddings[:, :length] + text.positional_embedding[:length]
        mask = text.attn_mask[:length, :length]
        batch_first = text.transformer.batch_first
        for index, block in enumerate(text.transformer.resblocks):
            if deep is not None and 1 <= index <= n_deep:
                inserted = deep[index - 1].expand(len(x), -1, -1)
                x = torch.cat([x[:, :1], inserted, x[:, 1 + inserted.shape[1] :]], dim=1)
            x = block(x, attn_mask=mask) if batch_first else block(x.transpose(0, 1), attn_mask=mask).transpose(0, 1)
        x = text.ln_final(x)[torch.arange(len(x), device=x.device), ends]
        x = text.text_projection(x) if isinstance(text.text_projection, nn.Linear) else x @ text.text_projection
        return F.normalize(x.float(), dim=-1)


def _vision_block(block: Any, z: torch.Tensor, with_vv: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """One residual block on [B, N, C], and what it adds to the V-V stream (None where that is not asked for).

    Written out, so that both attentions share the normalised input and the values.
    """
    attention = block.attn
    batch, length, width = z.shape
    qkv = F.linear(block.ln_1(z), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = qkv.view(batch, length, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)

    def attend(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        mixed = F.scaled_dot_product_attention(queries, keys, v)
        return block.ls_1(attention.out_proj(mixed.transpose(1, 2).reshape(batch, length, width)))

    out = z + attend(q, k)
    out = out + block.ls_2(block.mlp(block.ln_2(out)))
    return out, attend(v, v) if with_vv else None


# Renders and photographs in batches -----------------------------------------------------------------------------------


def batch_size(clip: Clip, free_bytes: int | None = None) -> int:
    """Images that go through the tower at once.

    On a GPU: as many as fit in half of the free memory, by the activations of one block, at least 1 and at most
    64. On the CPU: 1; the tokens of one image fill the cores already, and its activations stay in the cache.
    """
    if clip.device.type != "cuda":
        return 1
    if free_bytes is None:
        free_bytes = torch.cuda.mem_get_info(clip.device)[0]
    # A block holds for each token and unit of width, counted generously: both streams (2), the normalised input (1),
    # q, k, v (3), attention's output before and after its projection (2), the MLP's hidden layer before, within and
    # after its activation (12), temporaries (4). Fused attention keeps no square of tokens.
    floats = 24 * (clip.grid**2 + 1) * clip.visual.transformer.width + 3 * 3 * clip.resolution**2
    return int(min(max(free_bytes // 2 // (4 * floats), 1), 64))


def encode(clip: Clip, images: np.ndarray, streams: Sequence[str], batch: int) -> dict[str, torch.Tensor]:
    """Features of 8-bit images, as the store keeps them.

    images: uint8 [B, S, S] (grey) or [B, S, S, 3] (RGB). Returns float16 on the model's device, L2-normalised:
    "global" [B, d], "patches_<stream>" [B, P, d].
    """
    return next(encode_each(clip, [images], streams, batch))


@torch.inference_mode()
def encode_each(
    clip: Clip, arrays: Iterable[np.ndarray], streams: Sequence[str], batch: int
) -> Iterator[dict[str, torch.Tensor]]:
    """What `encode` gives of each of some arrays of images, in their order; a batch is filled with images of several.

    An array is asked for when a batch has room for it, and its features come as soon as its last image is through.
    """
    due: deque[int] = deque()  # images of the arrays whose features are still to come
    parts: list[dict[str, torch.Tensor]] = []  # features that are there, of the first of them
    for images in _fill_batches(clip.device, arrays, due, batch):
        parts.append({name: feature.half() for name, feature in clip.encode_images(images, streams).items()})
        while due and sum(len(part["global"]) for part in parts) >= due[0]:
            count = due.popleft()
            found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
            yield {name: feature[:count] for name, feature in found.items()}
            parts = [{name: feature[count:] for name, feature in found.items()}]


def _fill_batches(
    device: torch.device, arrays: Iterable[np.ndarray], due: deque[int], batch: int
) -> Iterator[torch.Tensor]:
    """Images float32 [b <= batch, 3, S, S] in 0..1 on a device, of one array after the other, whose lengths go to
    `due`; only the last batch is not full."""
    held: list[torch.Tensor] = []
    room = batch
    for array in arrays:
        due.append(len(array))
        # From memory that stays in place a GPU fetches by itself, while what went before is computed.
        images = torch.from_numpy(array)
        images = images.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else images
        while len(images):
            part = images[:room].float() / 255
            held.append(part.permute(0, 3, 1, 2) if part.ndim == 4 else part[:, None].expand(-1, 3, -1, -1))
            images, room = images[room:], room - len(part)
            if not room:
                yield torch.cat(held) if len(held) > 1 else held[0]
                held, room = [], batch
    if held:
        yield torch.cat(held) if len(held) > 1 else held[0]
