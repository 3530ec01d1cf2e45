"""Which models there are, and open_clip's description of each (embed_dim, vision_cfg, text_cfg), without any of them.

Needs the standard library only, so that a config can be checked before anything is imported or built.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MODELS = Path(__file__).parent / "models"
"""This package's own models: descriptions, weights, vocabularies."""


def model_files() -> dict[str, Path]:
    """Descriptions by model: this package's, and open_clip's, which are none where open_clip is not installed."""
    spec = find_spec("open_clip")
    folders = [Path(folder) / "model_configs" for folder in (spec and spec.submodule_search_locations) or ()]
    return {path.stem: path for folder in (*folders, MODELS) for path in folder.glob("*.json")}


def describe(model: str) -> dict[str, Any] | None:
    """A model's description, as open_clip.get_model_config gives it; None for a model that is not in `model_files`.

    What a description leaves out has open_clip's default: 12 layers (both towers), an image_size of 224.
    """
    path = model_files().get(model)
    return json.loads(path.read_text()) if path else None
