"""Stage features: CLIP's view of every render, and what the explicit branch needs and never changes (Sec. 3.4).

For each scan the store gets the global and patch features of its renders, and of its RGB image where there is
one, L2-normalised and as float16; for the V-V stream also each point's neighbours, kernel weights and the norm of
its fused feature, so that training and scoring work on scalars (see `geometry`).

The float16 features are the ones that later stages see, so the norms are computed from them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pointad_core import stores
from pointad_core.clip import STREAMS, Clip, load_model
from pointad_core.errors import InputError
from pointad_core.geometry import fused_norms, kernel_weights, patch_indices
from pointad_core.jobs import pick_device, progress

logger = logging.getLogger(__name__)

_FLOATS_PER_TOKEN = 24
"""Float32 values that a block holds at once for each token and unit of width, counted generously: both streams
(2), normalised input (1), q, k, v (3), attention's output before and after its projection (2), the MLP's hidden
layer before, within and after its activation (12), temporaries (4). Fused attention keeps no square of tokens."""


def find_neighbours(points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest other points of every point, nearest first (N(x) of Sec. 3.4).

    points: float [n, 3]. Returns indices int32 [n, k] and distances float64 [n, k] in the points' units. A point
    is never its own neighbour, also where others coincide with it. Raises ValueError unless 1 <= k <= n - 1.
    """
    from scipy.spatial import KDTree

    n = len(points)
    if not 1 <= k <= n - 1:
        raise ValueError(f"{k} neighbours asked for, {n} points allow 1 to {n - 1}")
    distances, indices = KDTree(points.astype(np.float64)).query(points.astype(np.float64), k=k + 1)
    drop = indices == np.arange(n)[:, None]
    # Among many coinciding points a point may not find itself: then its farthest find is one too many.
    drop[~drop.any(axis=1), k] = True
    keep = ~drop
    return indices[keep].reshape(n, k).astype(np.int32), distances[keep].reshape(n, k)


def batch_size(clip: Clip, free_bytes: int | None = None) -> int:
    """Images that go through the tower at once.

    On a GPU: as many as fit in half of the free memory, by the activations of one block, at least 1 and at most
    64. On the CPU: 1; the tokens of one image fill the cores already, and its activations stay in the cache.
    """
    if clip.device.type != "cuda":
        return 1
    if free_bytes is None:
        free_bytes = torch.cuda.mem_get_info(clip.device)[0]
    tokens = clip.grid**2 + 1
    width = clip.visual.transformer.width
    image_bytes = 4 * (_FLOATS_PER_TOKEN * tokens * width + 3 * 3 * clip.resolution**2)
    return int(min(max(free_bytes // 2 // image_bytes, 1), 64))


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


def _explicit_branch(
    points: np.ndarray,
    pixels: np.ndarray,
    visible: np.ndarray,
    patches: torch.Tensor,
    clip: Clip,
    options: Mapping[str, Any],
) -> dict[str, np.ndarray]:
    """Neighbours, kernel weights and norms of the fused features of one scan."""
    neighbours, distances = find_neighbours(points, options["neighbours"])
    weights = kernel_weights(distances, options["kernel_sigma"], options["kernel_units"])
    device = clip.device
    norms = fused_norms(
        patches,
        patch_indices(torch.from_numpy(pixels).to(device), clip.resolution, clip.grid),
        torch.from_numpy(visible).to(device),
        torch.from_numpy(neighbours).to(device),
        torch.from_numpy(weights).to(device),
        options["alpha"],
    )
    return {"neighbours": neighbours, "weights": weights, "norms": norms.cpu().numpy()}


def _check_scan(
    where: str, cloud: Mapping[str, np.ndarray], rendered: Mapping[str, np.ndarray], resolution: int, n_neighbours: int
) -> None:
    """Refuse what cannot be encoded, with the scan's name, before any time is spent on it."""
    points = cloud["points"]
    rgb_shape = (resolution, resolution, 3)
    if "rgb" in cloud and cloud["rgb"].shape != rgb_shape:
        raise InputError(f"{where}: rgb is {cloud['rgb'].shape}, expected {rgb_shape}; make the clouds again")
    if rendered["images"].shape[1:] != (resolution, resolution):
        raise InputError(f"{where}: renders are {rendered['images'].shape[1:]} pixels, resolution is {resolution}")
    if rendered["visible"].shape[1] != len(points):
        raise InputError(
            f"{where}: {len(points)} points in the cloud, {rendered['visible'].shape[1]} in its renders; redo both"
        )
    if not rendered["visible"].any(axis=0).all():
        raise InputError(f"{where}: some points are seen in no view; make the renders again")
    if n_neighbours > len(points) - 1:
        raise InputError(f"{where}: neighbours is {n_neighbours}, but the cloud has only {len(points)} points")


def make_features(
    *,
    clouds: str | Path,
    renders: str | Path,
    output: str | Path,
    options: Mapping[str, Any],
    streams: Sequence[str],
    explicit: bool,
    provenance: Mapping[str, Any],
) -> None:
    """Encode the renders of one category and write its features store, scan by scan.

    clouds, renders: stores of the same scans. options: an entry of the config's `features` (model; one of
    pretrained, checkpoint, random_seed; vv_blocks, neighbours, kernel_sigma, kernel_units, alpha) and
    `resolution`. streams: which patch features to keep, "vv", "plain" or both; explicit: compute what the explicit
    branch reads, which takes "vv". Runs on the GPU where there is one.

    Arrays of a scan: global [K, d], patches_<stream> [K, P, d] float16; with RGB rgb_global [d],
    rgb_patches_<stream> [P, d]; neighbours int32 [n, k], weights float32 [n, k], norms float32 [n].
    Raises InputError for stores that do not belong together, a cloud with too few points, and whatever
    `load_model` refuses.
    """
    streams = [stream for stream in STREAMS if stream in streams]
    if not streams:
        raise InputError(f"streams: choose at least one of {list(STREAMS)}")
    if explicit and "vv" not in streams:
        raise InputError(f"streams: the explicit branch needs 'vv', found {streams}")
    with stores.read(clouds, "clouds") as cloud_store, stores.read(renders, "renders") as render_store:
        if cloud_store.scans != render_store.scans:
            raise InputError(f"{renders}: its scans are not those of {clouds}; make it again")
        clip = load_model(options, pick_device())
        batch = batch_size(clip)
        logger.info("model %s on %s, %d image(s) at a time", clip.name, clip.device, batch)
        attributes = {"model": clip.name, "dim": clip.dim, "grid": clip.grid, "streams": streams}
        with stores.write(output, "features", {**provenance, "device": clip.device.type}, attributes) as writer:
            for scan in progress(cloud_store.scans, f"features {Path(output).name}"):
                with_rgb = "rgb" in cloud_store.arrays(scan)
                cloud = cloud_store.load(scan, ["points", "rgb"] if with_rgb else ["points"])
                rendered = render_store.load(scan, ["images", "pixels", "visible"])
                n_neighbours = options["neighbours"] if explicit else 0
                _check_scan(f"{renders}: scan {scan!r}", cloud, rendered, clip.resolution, n_neighbours)
                features = encode(clip, rendered["images"], streams, batch)
                arrays = {name: feature.cpu().numpy() for name, feature in features.items()}
                if with_rgb:
                    rgb = encode(clip, cloud["rgb"][None], streams, batch)
                    arrays |= {f"rgb_{name}": feature[0].cpu().numpy() for name, feature in rgb.items()}
                if explicit:
                    arrays |= _explicit_branch(
                        cloud["points"],
                        rendered["pixels"],
                        rendered["visible"],
                        features["patches_vv"],
                        clip,
                        options,
                    )
                writer.add(scan, arrays)
