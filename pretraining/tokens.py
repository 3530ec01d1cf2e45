"""Views as the frozen lower blocks of the small CLIP's image tower see them, computed once for every training.

Each view is mirrored, lightened or darkened at random before.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pointad_core.clip.loading import load_clip
from pointad_core.clip.tower import Clip
from pointad_core.storage import jobs, stores
from pretraining import teacher

MODEL = "pointad-pocket"
VV_BLOCKS = 1
"""Blocks of V-V attention with which the model is trained, and is to be used."""

FROZEN = 6
"""Lower blocks of the image tower that stay as the teacher has them."""


def make_tokens(
    views: str | Path, wheel: str | Path, output: str | Path, seed: int, provenance: Mapping[str, Any]
) -> None:
    """Write the tokens of a lot of views as a store.

    Arrays of a thing with V views and P patches: tokens f2[V,1+P,C], the class token first; damage f4[V,P], the damaged
    share of each patch; object u1[V,P], 1 where a patch shows the object. Attributes: family, kinds.
    """
    clip = load_clip(MODEL, VV_BLOCKS, random_seed=0, device=jobs.pick_device())
    teacher.fill(clip, wheel)
    with (
        stores.read(views, "pretraining views") as lot,
        stores.write(output, "pretraining tokens", provenance) as writer,
    ):
        for scan in jobs.progress(lot.scans, "tokens", "thing"):
            about = lot.scan_attributes(scan)
            rng = np.random.default_rng([seed, zlib.crc32(scan.encode())])
            seen = [varied(*view, rng) for view in views_of(lot, scan)]
            images, damage, shown = (np.stack(part) for part in zip(*seen, strict=True))
            tokens = torch.cat([lower_tokens(clip, torch.from_numpy(image).expand(1, 3, -1, -1)) for image in images])
            arrays = {
                "tokens": tokens.half().cpu().numpy(),
                "damage": np.stack([patch_means(mask, clip.grid) for mask in damage]),
                "object": np.stack([patch_means(part, clip.grid) > 0 for part in shown]).astype(np.uint8),
            }
            writer.add(scan, arrays, dict(about))


def views_of(lot: stores.StoreReader, scan: str) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A thing's views f4[S,S]: image in 0..1, and 1 where it is damaged and where the object is, 0 elsewhere."""
    arrays = lot.load(scan, ["images", "masks"])
    images = arrays["images"]
    damage = rendered_damage(arrays["masks"], lot.scan_attributes(scan)["kinds"], images.shape[1])
    return [
        (image.astype(np.float32) / 255, mask.astype(np.float32), (image < 255).astype(np.float32))
        for image, mask in zip(images, damage, strict=True)
    ]


def varied(
    image: np.ndarray, mask: np.ndarray, shown: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A view mirrored, lightened or darkened at random."""
    if rng.random() < 0.5:
        image, mask, shown = image[:, ::-1], mask[:, ::-1], shown[:, ::-1]
    if rng.random() < 0.5:
        # Darker or lighter, and of more or less contrast; white stays white.
        ink = np.clip((1 - image) * np.float32(rng.uniform(0.75, 1.3)), 0, 1)
        image = 1 - ink ** np.float32(rng.uniform(0.8, 1.25))
    return image, mask, shown


@torch.inference_mode()
def lower_tokens(clip: Clip, images: torch.Tensor) -> torch.Tensor:
    """Tokens [B,1+P,C] after the frozen blocks, of images as in `Clip.encode_images`."""
    tokens = clip.embed_patches(images)
    for block in clip.visual.transformer.resblocks[:FROZEN]:
        tokens = block(tokens)
    return tokens


def rendered_damage(bits: np.ndarray, kinds: Sequence[str], side: int) -> np.ndarray:
    """Ground truth u1[...,S,S] of renders from its bits [...,S*S/8]: what of a thing's defects geometry can show.

    A stain changes the colour alone, of which a render shows nothing.
    """
    damage = np.unpackbits(bits, axis=-1).reshape(*bits.shape[:-1], side, side)
    return np.zeros_like(damage) if list(kinds) == ["stain"] else damage


def patch_means(array: np.ndarray, grid: int) -> np.ndarray:
    """Means f4[P] of an array f4[S,S] over the patches."""
    step = array.shape[0] // grid
    return array.reshape(grid, step, grid, step).mean(axis=(1, 3), dtype=np.float32).reshape(-1)
