"""Weights from a local file, without running anything the file says.

Three kinds of file are read: safetensors; what torch.save wrote (through torch's restricted unpickler,
`weights_only=True`); and TorchScript archives, the form in which OpenAI published CLIP. torch.load refuses the
last kind under `weights_only`, and torch.jit.load is deprecated and runs the archive's code, so the tensors are
taken out of the archive here, by an unpickler that knows tensors and nothing else. Safetensors may hold large
matrices in 8 bits, as `narrow` writes them.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from pointad_core.errors import InputError

_STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class _Module:
    """Stands for any class of a TorchScript archive; its attributes are what was stored."""


def _rebuild_tensor(storage: torch.Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> torch.Tensor:
    return storage.as_strided(size, stride, offset)


class _ArchiveUnpickler(pickle.Unpickler):
    """Reads `data.pkl` of a TorchScript archive; every global but those of tensors and modules is refused."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(archive.open(f"{root}/data.pkl"))
        self._archive = archive
        self._root = root
        self._loaded: dict[str, torch.Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch.jit._pickle":
            # Typed lists and dicts: their plain content is enough.
            return lambda content, *_: content
        raise pickle.UnpicklingError(f"it refers to {module}.{name}")

    def persistent_load(self, pid: Any) -> torch.Tensor:
        _, dtype, key, *_ = pid
        if key not in self._loaded:
            content = bytearray(self._archive.read(f"{self._root}/data/{key}"))
            self._loaded[key] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return self._loaded[key]


def _tensors_of(module: _Module, prefix: str = "") -> dict[str, torch.Tensor]:
    """Parameters and buffers of a module tree, under the names they have in a state dict."""
    tensors: dict[str, torch.Tensor] = {}
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor):
            tensors[prefix + name] = value
        elif isinstance(value, _Module):
            tensors |= _tensors_of(value, f"{prefix}{name}.")
    return tensors


def _archive_root(path: Path) -> str | None:
    """The folder that a TorchScript archive has its content in; None for any other file."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    roots = [name.removesuffix("/constants.pkl") for name in names if name.endswith("/constants.pkl")]
    return roots[0] if roots and f"{roots[0]}/data.pkl" in names else None


def read_checkpoint(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensors of a checkpoint by name, on the CPU, as they are stored.

    Takes a state dict as it is, one under the key "state_dict" of a training checkpoint, and drops the prefix
    "module." of a distributed run. Raises InputError for a file that is missing, that is none of the kinds
    above, or that holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    content: Any
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content = load_file(path)
        elif root := _archive_root(path):
            with zipfile.ZipFile(path) as archive:
                content = _tensors_of(_ArchiveUnpickler(archive, root).load())
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise whatever a damaged file leads them to
        reason = str(error).split("\n")[0]
        raise InputError(
            f"{path}: not a checkpoint that can be read safely, expected safetensors, a state dict saved by torch, "
            f"or a TorchScript archive ({type(error).__name__}: {reason})"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected a state dict, found {type(content).__name__}")
    for name, value in content.items():
        if not (isinstance(name, str) and isinstance(value, torch.Tensor)):
            raise InputError(
                f"{path}: {name!r} is of type {type(value).__name__}, a state dict holds tensors by name only"
            )
    if all(name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): value for name, value in content.items()}
    return widen(content)


_SCALE = ".scale"
"""What the name of a matrix's scales ends in, beside the matrix in 8 bits."""


def narrow(tensors: Mapping[str, torch.Tensor], names: Collection[str]) -> dict[str, torch.Tensor]:
    """A state in less space: these matrices [r, c] as int8 with a scale per row, all else as float16.

    A weight is rounded by at most half of 1/127 of its row's largest.
    """
    small: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        value = value.detach().cpu().float()
        if name in names:
            scale = (value.abs().amax(1, keepdim=True) / 127).clamp(min=torch.finfo(torch.float32).tiny)
            small[name] = (value / scale).round().to(torch.int8)
            small[name + _SCALE] = scale
        else:
            small[name] = value.half().contiguous()
    return small


def widen(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state that `narrow` took: matrices with scales beside them as float32, all else as it is."""
    return {
        name: value.float() * tensors[name + _SCALE] if name + _SCALE in tensors else value
        for name, value in tensors.items()
        if not (name.endswith(_SCALE) and name.removesuffix(_SCALE) in tensors)
    }


def is_openai_archive(tensors: dict[str, torch.Tensor]) -> bool:
    """Whether these tensors come from one of OpenAI's own archives, which alone carry these three numbers."""
    return {"input_resolution", "context_length", "vocab_size"} <= tensors.keys()
