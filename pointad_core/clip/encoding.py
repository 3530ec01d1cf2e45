"""Renders and photographs through the tower, in batches: 8-bit images to features (Sec. 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pointad_core.clip.tower import Clip


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


@torch.inference_mode()
def encode(clip: Clip, images: np.ndarray, streams: Sequence[str], batch: int) -> dict[str, torch.Tensor]:
    """Features of 8-bit images, as the store keeps them.

    images: uint8 [B, S, S] (grey) or [B, S, S, 3] (RGB). Returns float16 on the model's device, L2-normalised:
    "global" [B, d], "patches_<stream>" [B, P, d].
    """
    parts: dict[str, list[torch.Tensor]] = {}
    for start in range(0, len(images), batch):
        part = torch.from_numpy(images[start : start + batch]).to(clip.device).float() / 255
        part = part.permute(0, 3, 1, 2) if part.ndim == 4 else part[:, None].expand(-1, 3, -1, -1)
        for name, feature in clip.encode_images(part, streams).items():
            parts.setdefault(name, []).append(feature.half())
    return {name: torch.cat(features) for name, features in parts.items()}
