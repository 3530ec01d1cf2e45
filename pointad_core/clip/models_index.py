"""Which models there are, and which have the streams and prompts of `tower` (Sec. 3.4), by their descriptions alone.

A description is open_clip's (embed_dim, vision_cfg, text_cfg). Needs the standard library only, so that a config can be
checked before anything is imported or built.
"""

import ast
import json
import os
import struct
import zipfile
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pointad_core.errors import InputError

MODELS = Path(__file__).parent / "models"
"""This package's own models: descriptions, weights, vocabularies."""


OPENAI_NUMBERS = {"input_resolution", "context_length", "vocab_size"}
"""These stand beside the weights in OpenAI's own archives alone."""


QUICK = "-quickgelu"
"""What the name of a model ends in that exists with GELU as well."""


def model_files() -> dict[str, Path]:
    """Descriptions by model: this package's, and open_clip's where it is installed."""
    spec = find_spec("open_clip")
    folders = [Path(folder) / "model_configs" for folder in (spec and spec.submodule_search_locations) or ()]
    return {path.stem: path for folder in (*folders, MODELS) for path in folder.glob("*.json")}


def bundled_weights(model: str) -> dict[str | None, Path]:
    """Weights of a model that come with this package, by their tag."""
    return {path.stem.removeprefix(f"{model}-"): path for path in MODELS.glob(f"{model}-*.safetensors")}


def open_clip_tags(model: str) -> list[str]:
    """Tags of the weights that open_clip can download for a model, read from its source: it imports torch itself."""
    spec = find_spec("open_clip")
    sources = [Path(folder) / "pretrained.py" for folder in (spec and spec.submodule_search_locations) or ()]
    plain = model.removesuffix(QUICK)
    tables: dict[str, ast.expr] = {}
    entries: dict[str, ast.expr] = {}
    for node in (node for path in sources for node in ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            tables[node.targets[0].id] = node.value
            if isinstance(node.value, ast.Dict) and node.targets[0].id == "_PRETRAINED":
                named = zip(node.value.keys, node.value.values, strict=True)
                entries = {str(key.value): value for key, value in named if isinstance(key, ast.Constant)}
    found = entries.get(model, entries.get(plain))
    table = tables.get(found.id) if isinstance(found, ast.Name) else found
    tags = table.keywords if isinstance(table, ast.Call) else []
    if model not in entries:
        # Under the name with QuickGELU there are those that were trained with it.
        quick = [
            {word.arg for word in tag.value.keywords} if isinstance(tag.value, ast.Call) else set() for tag in tags
        ]
        tags = [tag for tag, words in zip(tags, quick, strict=True) if "quick_gelu" in words]
    return [str(tag.arg) for tag in tags]


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


def quick_gelu_of(checkpoint: str | os.PathLike[str]) -> bool | None:
    """Whether a file of weights says that they need QuickGELU; None for one that says nothing or cannot be read.

    OpenAI's own archives, and what was saved of them as it was, do by three numbers that stand beside their weights. A
    safetensors file can have `quick_gelu` among its metadata. open_clip's models, as hubs publish them, have a
    description beside their weights.
    """
    path = Path(checkpoint)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = b"".join(archive.read(name) for name in archive.namelist() if name.endswith("/data.pkl"))
            if all(name.encode() in names for name in OPENAI_NUMBERS):
                return True
        elif path.suffix == ".safetensors":
            with open(path, "rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(min(length, path.stat().st_size)))
            said = header.get("__metadata__", {}).get("quick_gelu")
            if said is not None:
                return {"true": True, "false": False}[said.lower()]
            if header.keys() >= OPENAI_NUMBERS:
                return True
        if (beside := path.with_name("open_clip_config.json")).is_file():
            return bool(json.loads(beside.read_text())["model_cfg"].get("quick_gelu", False))
    except (OSError, ValueError, KeyError, AttributeError, struct.error, zipfile.BadZipFile):
        return None  # What cannot be read is for the reader of weights to say.
    return None


def choose_quick_gelu(
    model: str, config: Mapping[str, Any], given: bool | None, said: bool | None, origin: str, models: Collection[str]
) -> bool:
    """Whether a model is to be built with QuickGELU.

    config: its description; given: the config's key; said: what the weights say of themselves, None where nothing;
    origin: the weights in messages; models: the names of all. Raises InputError where two of them contradict one
    another, and where a model that exists both ways leaves it open.
    """
    named = config.get("quick_gelu", False)
    twin = f"{model.removesuffix(QUICK)}{'' if named else QUICK}"
    for what, wanted in (("the key `quick_gelu`", given), (origin, said)):
        if named and wanted is False:
            told = f"but {what} says that the weights were not trained with it; use {twin!r}"
            raise InputError(f"model {model!r} is with QuickGELU, {told}")
    if given is not None and said is not None and given != said:
        raise InputError(f"quick_gelu is {str(given).lower()}, but {origin} says that it is {str(said).lower()}")
    if named or said is not None:
        return bool(named or said)
    if given is None and twin in models:
        raise InputError(
            f"{origin} does not say whether these weights of {model!r} were trained with QuickGELU, as OpenAI's were, "
            "or with GELU; set `quick_gelu: true` or `quick_gelu: false`"
        )
    return bool(given)


def check_deep_blocks(model: str, deep_blocks: int, layers: int) -> None:
    """Refuse, with InputError, deep prompts in more blocks than a text tower of so many layers has after its first."""
    if deep_blocks >= layers:
        allowed = f"the text tower of {model!r} has {layers} blocks: at most {layers - 1} can be given deep prompts"
        raise InputError(f"deep_blocks is {deep_blocks}, but {allowed}")
