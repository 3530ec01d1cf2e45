"""Numbers that the vision tower's blocks multiply matrices of, by the names of the config."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from pointad_core.errors import InputError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
AUTO = "auto"
"""bfloat16 on a processor with units that multiply matrices of it, float32 on any other."""


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """What `name`, one of `PRECISIONS` or `AUTO`, is on a device.

    Units for bfloat16 have CPUs with AMX and NVIDIA's GPUs since Ampere. AVX-512's instructions for it are not enough:
    with them alone the small model takes longer than in float32.

    Whether the device computes in it is not tried out (`check_precision`). Raises InputError for another name.
    """
    if name == AUTO:
        return torch.bfloat16 if _has_units(device) else torch.float32
    if name not in PRECISIONS:
        raise InputError(f"precision is {name!r}, allowed are {', '.join([*PRECISIONS, AUTO])}")
    return PRECISIONS[name]


def precision_of(model: Mapping[str, Any], device: torch.device) -> str:
    """Name of the numbers that a model, an entry of the config's `features`, computes in on a device."""
    return precision_name(choose_precision(model.get("precision", "float32"), device))


def precision_name(kind: torch.dtype) -> str:
    """The config's name of a type of numbers."""
    return next(name for name, known in PRECISIONS.items() if known == kind)


def _has_units(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16"))


def check_precision(kind: torch.dtype, device: torch.device) -> None:
    """InputError where a device does not compute with such numbers."""
    if kind == torch.float32:
        return
    told = f"precision is {precision_name(kind)!r}, in which this {device.type} does not compute"
    values = torch.ones(1, 2, 8, device=device)
    try:
        with torch.autocast(device.type, kind):
            values = functional.linear(values, torch.ones(8, 8, device=device))
            found = functional.scaled_dot_product_attention(values, values, values)
    except RuntimeError as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{told}: {reason}") from error
    # Where it is not known, autocast only warns, and computes on in float32.
    if found.dtype != kind:
        raise InputError(told)
