"""Which of open_clip's models have the streams and prompts of `tower` (Sec. 3.4), by their descriptions alone.

Light, like `models_index`: neither torch nor open_clip is imported.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pointad_core.errors import InputError


def close_names(name: str, known: Iterable[str]) -> str:
    """What an error says of a name that is not known."""
    known = list(known)
    lower = {entry.lower(): entry for entry in known}
    close = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=5, cutoff=0.5)]
    if close:
        return f"close names are {close}"
    return f"known are {known}" if len(known) <= 30 else "open_clip.list_models() lists what it can build"


def check_model(model: str, config: Mapping[str, Any], vv_blocks: int, resolution: int | None = None) -> None:
    """Refuse, with InputError, a description that the streams are not defined for, or options that do not fit it."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    custom = ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc")
    reason = None
    if vision.get("timm_model_name"):
        reason = f"its image tower is timm's {vision['timm_model_name']}"
    elif isinstance(vision.get("layers", 12), list):
        reason = "its image tower is a ResNet"
    elif vision.get("attentional_pool") or vision.get("pool_type", "tok") != "tok":
        reason = "its image tower does not pool by the class token"
    elif any(tower.get("block_type") == "custom" or any(map(tower.get, custom)) for tower in (vision, text)):
        reason = "its attention blocks are not CLIP's"
    elif text.get("hf_model_name"):
        reason = f"its text tower is {text['hf_model_name']}"
    elif (
        text.get("embed_cls") or text.get("no_causal_mask") or text.get("pool_type", "argmax") not in ("argmax", "eos")
    ):
        reason = "its text tower does not end in the end token's output under a causal mask"
    elif text.get("proj_type", "linear") == "none":
        reason = "its text tower has no projection"
    if reason:
        raise InputError(f"model {model!r} cannot be used: {reason}; a ViT with CLIP's own text tower is needed")
    depth = vision.get("layers", 12)
    if not 1 <= vv_blocks < depth:
        raise InputError(f"vv_blocks is {vv_blocks}, model {model!r} with {depth} blocks allows 1 to {depth - 1}")
    size = vision.get("image_size", 224)
    if resolution is not None and size not in (resolution, [resolution, resolution]):
        raise InputError(f"resolution is {resolution}, but model {model!r} takes images of {size} pixels")


def check_deep_blocks(model: str, deep_blocks: int, layers: int) -> None:
    """Refuse, with InputError, deep prompts in more blocks than a text tower of so many layers has after its first."""
    if deep_blocks >= layers:
        raise InputError(
            f"deep_blocks is {deep_blocks}, but the text tower of {model!r} has {layers} blocks: "
            f"at most {layers - 1} can be given deep prompts"
        )
