"""Files of trained prompts (Sec. 3.4), or of a trained network's weights: tensors by name, with what made them."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load, save

from pointad_core.errors import InputError
from pointad_core.storage import files


def write_prompts(
    path: str | os.PathLike[str], tensors: dict[str, torch.Tensor], provenance: Mapping[str, Any]
) -> None:
    """Write a prompts file, whole or not at all; the same content gives the same bytes.

    tensors: of prompts "<layer>.context_normal", ".context_abnormal" [E, dt], ".deep" [b, t, dt], ".embeddings"
    [2, d]; provenance: goes into the file's metadata as one JSON string under that name.
    """
    # One entry only: safetensors writes several in no fixed order. It keeps no checksum either.
    metadata = {"provenance": json.dumps({"checksum": files.BLANK_SEAL, **provenance}, sort_keys=True)}
    with files.replacing(path) as place:
        # Written here and not by the library, whose errors would hide a full disk.
        place.write_bytes(files.seal(save(tensors, metadata=metadata)))


def write_curve(path: str | os.PathLike[str], rows: Sequence[Mapping[str, float]]) -> None:
    """Write the losses of a training as CSV, a row a step, whole or not at all."""
    with files.replacing(path) as place, open(place, "w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({key: value if isinstance(value, int) else f"{value:.7g}" for key, value in row.items()})


def read_prompts(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """All tensors of a prompts file, by name; InputError for a file that is missing or damaged."""
    return load(_read(path))


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What made a prompts file, as JSON gives it back; InputError for a file that is missing or damaged."""
    _read(path)
    with safe_open(path, framework="pt") as file:
        provenance: dict[str, Any] = json.loads(file.metadata()["provenance"])
    del provenance["checksum"]
    return provenance


def _read(path: str | os.PathLike[str]) -> bytes:
    """The file's bytes, as they were written."""
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such prompts")
    if not files.is_sealed(content := Path(path).read_bytes()):
        what = "the prompts are damaged, or are none (not as they were written)"
        raise InputError(f"{path}: {what}; where a run made them, delete the file and run it again")
    return content
