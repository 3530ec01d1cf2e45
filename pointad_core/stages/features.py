"""Stage features: CLIP's view of every render and photograph, in the precision that later stages see (Sec. 3.4)."""

import logging
from collections.abc import Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pointad_core.clip.loading import load_model
from pointad_core.clip.precision import precision_name
from pointad_core.clip.tower import STREAMS, batch_size, encode_each
from pointad_core.errors import InputError
from pointad_core.storage import jobs, stores

logger = logging.getLogger(__name__)


def _check_scan(cloud: Mapping[str, np.ndarray], rendered: Mapping[str, np.ndarray], resolution: int) -> None:
    """Refuse what cannot be encoded before any time is spent on it."""
    n, visible, rgb_shape = len(cloud["points"]), rendered["visible"], (resolution, resolution, 3)
    if "rgb" in cloud and cloud["rgb"].shape != rgb_shape:
        raise InputError(f"rgb is {cloud['rgb'].shape}, expected {rgb_shape}; make the clouds again")
    if rendered["images"].shape[1:] != (resolution, resolution):
        raise InputError(f"renders are {rendered['images'].shape[1:]} pixels, resolution is {resolution}")
    if visible.shape[1] != n:
        raise InputError(f"{n} points in the cloud, {visible.shape[1]} in its renders; redo both")
    if not visible.any(axis=0).all():
        raise InputError("some points are seen in no view; make the renders again")


def make_features(
    *,
    clouds: str | Path,
    renders: str | Path,
    output: str | Path,
    options: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> None:
    """Encode the renders of one category and write its features store, a scan at a time in memory, and a few on a GPU.

    clouds, renders: stores of the same scans. options: an entry of the config's `features` (model; one of pretrained,
    checkpoint, random_seed; vv_blocks; precision; streams, the patch features to keep, "vv", "plain" or both) and
    `resolution`. Runs on the GPU where there is one.

    Arrays of a scan, L2-normalised float16: global [K, d], patches_<stream> [K, P, d]; with RGB rgb_global [d],
    rgb_patches_<stream> [P, d]. Raises InputError for stores that do not belong together and what `load_model` refuses.
    """
    streams = [stream for stream in STREAMS if stream in options["streams"]]
    if not streams:
        raise InputError(f"streams: choose at least one of {list(STREAMS)}")
    with stores.read(clouds, "clouds") as cloud_store, stores.read(renders, "renders") as render_store:
        if cloud_store.scans != render_store.scans:
            raise InputError(f"{renders}: its scans are not those of {clouds}; make it again")
        clip = load_model(options, jobs.pick_device())
        batch = batch_size(clip)
        precision = precision_name(clip.precision)
        logger.info("model %s on %s in %s, %d image(s) at a time", clip.name, clip.device, precision, batch)
        attributes = {"model": clip.name, "dim": clip.dim, "grid": clip.grid, "streams": streams}
        made = {**provenance, "device": clip.device.type, "precision": precision}
        with stores.write(output, "features", made, attributes) as writer:

            def load(scan: str) -> list[np.ndarray]:
                names = [name for name in ("points", "rgb") if name in cloud_store.arrays(scan)]
                cloud, rendered = cloud_store.load(scan, names), render_store.load(scan, ["images", "visible"])
                try:
                    _check_scan(cloud, rendered, clip.resolution)
                except InputError as error:
                    raise InputError(f"{renders}: scan {scan!r}: {error}") from error
                return [rendered["images"], *([cloud["rgb"][None]] if "rgb" in cloud else [])]

            def add(scan: str, found: list[dict[str, torch.Tensor]]) -> None:
                whole, *photographs = ({name: part.cpu().numpy() for name, part in parts.items()} for parts in found)
                arrays = whole | {f"rgb_{name}": part[0] for rgb in photographs for name, part in rgb.items()}
                if clip.precision != torch.float32 and not all(np.isfinite(part).all() for part in arrays.values()):
                    told = f"features are not finite in precision {precision!r}; take another"
                    raise InputError(f"{renders}: scan {scan!r}: {told}")
                writer.add(scan, arrays)

            # Scans are read and written in threads while others are encoded, and share batches where these are large.
            images = chain.from_iterable(jobs.ahead(load, cloud_store.scans))
            encoded = encode_each(clip, images, streams, batch)
            with jobs.behind(add) as hand_over:
                for scan in jobs.progress(cloud_store.scans, f"features {Path(output).name}"):
                    hand_over(scan, list(islice(encoded, 2 if "rgb" in cloud_store.arrays(scan) else 1)))
