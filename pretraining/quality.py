"""How well the small CLIP finds defects on things of families that it was not trained on, with nothing learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pointad_core.clip.loading import load_clip
from pointad_core.clip.tower import STREAMS, Clip
from pointad_core.evaluation import metrics
from pointad_core.methods import pointad
from pointad_core.methods.segmentation import anomaly_logits, upsample
from pointad_core.storage import jobs, stores
from pretraining.tokens import MODEL, VV_BLOCKS, rendered_damage
from pretraining.training import TEMPERATURE, write_rows


def measure(clip: Clip, lot: stores.StoreReader) -> dict[str, float]:
    """Percentages over all views of a lot's things, with the words that the learned prompts begin from.

    Of both streams of local features, on the pixels that show an object: AUROC of pixels and AUPRO ("vv_pixel",
    "vv_aupro", ...); AUROC of views by the global feature and by the map's maximum ("view", "vv_view").
    """
    texts = clip.encode_text(pointad.templates("")["rendering"])
    maps: dict[str, list[np.ndarray]] = {stream: [] for stream in STREAMS}
    masks, shown, views = [], [], []
    for scan in jobs.progress(lot.scans, "quality", "thing"):
        arrays = lot.load(scan, ["images", "masks"])
        images = arrays["images"]
        side = images.shape[1]
        with torch.inference_mode():
            pixels = torch.from_numpy(images).to(clip.device).float() / 255
            features = clip.encode_images(pixels[:, None].expand(-1, 3, -1, -1))
            for stream in STREAMS:
                logits = anomaly_logits(features[f"patches_{stream}"], texts, TEMPERATURE)
                maps[stream] += list(upsample(torch.sigmoid(logits), side).cpu().numpy())
            views += torch.sigmoid(anomaly_logits(features["global"], texts, TEMPERATURE)).tolist()
        masks += list(rendered_damage(arrays["masks"], lot.scan_attributes(scan)["kinds"], side))
        shown += list(images < 255)
    damaged = np.array([mask.any() for mask in masks])
    truth = np.concatenate([mask[where] for mask, where in zip(masks, shown, strict=True)]).astype(bool)
    result = {"view": metrics.object_metrics(np.array(views), damaged)[0]}
    for stream in STREAMS:
        scores = np.concatenate([found[where] for found, where in zip(maps[stream], shown, strict=True)])
        largest = np.array([found[where].max() for found, where in zip(maps[stream], shown, strict=True)])
        result[f"{stream}_view"] = metrics.object_metrics(largest, damaged)[0]
        result[f"{stream}_pixel"] = metrics.curve_area(scores[~truth], scores[truth])
        result[f"{stream}_aupro"] = metrics.aupro(maps[stream], masks, shown)
    return {name: 100 * value for name, value in result.items()}


def make_quality(weights: str | Path, held_out: str | Path, output: str | Path) -> None:
    """Write what `measure` finds, beside the same of random weights, as CSV."""
    device = jobs.pick_device()
    clips = {
        "trained": load_clip(MODEL, VV_BLOCKS, checkpoint=weights, device=device),
        "random": load_clip(MODEL, VV_BLOCKS, random_seed=0, device=device),
    }
    with stores.read(held_out, "pretraining views") as lot:
        rows = [
            {"weights": name, **{key: f"{value:.2f}" for key, value in measure(clip, lot).items()}}
            for name, clip in clips.items()
        ]
    write_rows(output, rows)
