"""Which models there are, and which have the streams and prompts of `tower` (Sec. 3.4), by their descriptions alone.

A description is open_clip's (embed_dim, vision_cfg, text_cfg). Needs the standard library only, so that a config can be
checked before anything is imported or built.
"""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pointad_core.errors import InputError

MODELS = Path(__file__).parent / "models"
"""This package's own models: descriptions, weights, vocabularies."""


def model_files() -> dict[str, Path]:
    """Descriptions by model: this package's, and open_clip's where it is installed."""
    spec = find_spec("open_clip")
    folders = [Path(folder) / "model_configs" for folder in (spec and spec.submodule_search_locations) or ()]
    return {path.stem: path for folder in (*folders, MODELS) for path in folder.glob("*.json")}


def bundled_weights(model: str) -> dict[str | None, Path]:
    """Weights of a model that come with this package, by their tag."""
    return {path.stem.removeprefix(f"{model}-"): path for path in MODELS.glob(f"{model}-*.safetensors")}


def describe(model: str) -> dict[str, Any] | None:
    """A model's description, as open_clip.get_model_config gives it; None for a model that is not in `model_files`."""
    path = model_files().get(model)
    return json.loads(path.read_text()) if path else None


def check_model(model: str, config: Mapping[str, Any], vv_blocks: int, resolution: int | None = None) -> None:
    """Refuse, with InputError, a description that the streams are not defined for, or options that do not fit it."""
    # What a description leaves out has open_clip's defaults.
    vision = {"layers": 12, "image_size": 224, "pool_type": "tok", **config["vision_cfg"]}
    text = {"pool_type": "argmax", "proj_type": "linear", **config["text_cfg"]}
    custom = ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc")
    own_blocks = any(tower.get("block_type") == "custom" or any(map(tower.get, custom)) for tower in (vision, text))
    other_end = text.get("embed_cls") or text.get("no_causal_mask") or text["pool_type"] not in ("argmax", "eos")
    refused = {
        f"image tower is timm's {vision.get('timm_model_name')}": vision.get("timm_model_name"),
        "image tower is a ResNet": isinstance(vision["layers"], list),
        "image tower does not pool by the class token": vision.get("attentional_pool") or vision["pool_type"] != "tok",
        "attention blocks are not CLIP's": own_blocks,
        f"text tower is {text.get('hf_model_name')}": text.get("hf_model_name"),
        "text tower does not end in the end token's output under a causal mask": other_end,
        "text tower has no projection": text["proj_type"] == "none",
    }
    for reason, holds in refused.items():
        if holds:
            raise InputError(
                f"model {model!r} cannot be used: its {reason}; a ViT with CLIP's own text tower is needed"
            )
    depth, size = vision["layers"], vision["image_size"]
    if not 1 <= vv_blocks < depth:
        raise InputError(f"vv_blocks is {vv_blocks}, model {model!r} with {depth} blocks allows 1 to {depth - 1}")
    if resolution is not None and size not in (resolution, [resolution, resolution]):
        raise InputError(f"resolution is {resolution}, but model {model!r} takes images of {size} pixels")


def check_deep_blocks(model: str, deep_blocks: int, layers: int) -> None:
    """Refuse, with InputError, deep prompts in more blocks than a text tower of so many layers has after its first."""
    if deep_blocks >= layers:
        allowed = f"the text tower of {model!r} has {layers} blocks: at most {layers - 1} can be given deep prompts"
        raise InputError(f"deep_blocks is {deep_blocks}, but {allowed}")
