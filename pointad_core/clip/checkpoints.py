"""Weights from a local file, without running anything the file says.

Three kinds of file are read: safetensors; what torch.save wrote (through torch's restricted unpickler,
`weights_only=True`); and TorchScript archives, the form in which OpenAI published CLIP. torch.load refuses the
last kind under `weights_only`, and torch.jit.load is deprecated and runs the archive's code, so the tensors are
taken out of the archive here, by an unpickler that knows tensors and nothing else. Safetensors may hold large
matrices in 8 bits, as `narrow` writes them.
"""

import pickle
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file

from pointad_core.errors import InputError

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
_GLOBALS: dict[str, Any] = {
    "collections.OrderedDict": dict,
    "torch._utils._rebuild_tensor_v2": lambda data, offset, size, stride, *_: data.as_strided(size, stride, offset),
    # A type stands there as what holds it: "torch.FloatStorage" and the like.
    **{torch.empty(0, dtype=dtype).type().replace("Tensor", "Storage"): dtype for dtype in _FLOATS + _WHOLE},
}


class _ArchiveUnpickler(pickle.Unpickler):
    """Reads `data.pkl` of a TorchScript archive; every global but those of tensors and modules is refused."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(archive.open(f"{root}/data.pkl"))
        self._archive = archive
        self._root = root
        self._loaded: dict[str, torch.Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        if path.startswith("__torch__."):
            return SimpleNamespace  # a module, whatever its class: what was stored are its attributes
        if module == "torch.jit._pickle":
            return lambda content, *_: content  # of typed lists and dicts the plain content is enough
        if path not in _GLOBALS:
            raise pickle.UnpicklingError(f"it refers to {path}")
        return _GLOBALS[path]

    def persistent_load(self, pid: Any) -> torch.Tensor:
        _, dtype, key, *_ = pid
        if key not in self._loaded:
            content = bytearray(self._archive.read(f"{self._root}/data/{key}"))
            self._loaded[key] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return self._loaded[key]


def _tensors_of(module: SimpleNamespace, prefix: str = "") -> dict[str, torch.Tensor]:
    """Parameters and buffers of a module tree, under the names they have in a state dict."""
    tensors: dict[str, torch.Tensor] = {}
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor):
            tensors[prefix + name] = value
        elif isinstance(value, SimpleNamespace):
            tensors |= _tensors_of(value, f"{prefix}{name}.")
    return tensors


def _read_archive(path: Path) -> dict[str, torch.Tensor] | None:
    """Tensors of a TorchScript archive; None for any other file."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        roots = [name.removesuffix("/constants.pkl") for name in names if name.endswith("/constants.pkl")]
        if not roots or f"{roots[0]}/data.pkl" not in names:
            return None
        return _tensors_of(_ArchiveUnpickler(archive, roots[0]).load())


def read_checkpoint(path: str | Path, within: Collection[str] = ()) -> dict[str, torch.Tensor]:
    """Tensors of a checkpoint by name, on the CPU, as they are stored.

    Takes a state dict as it is, one under the key "state_dict" of a training checkpoint or under a key of `within`, and
    drops the prefix "module." of a distributed run. Raises InputError for a file that is missing, that is none of the
    kinds above, or that holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    content: Any
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        elif (content := _read_archive(path)) is None:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise whatever a damaged file leads them to
        reason = str(error).split("\n")[0]
        raise InputError(
            f"{path}: not a checkpoint that can be read safely, expected safetensors, a state dict saved by torch, "
            f"or a TorchScript archive ({type(error).__name__}: {reason})"
        ) from error
    for key in ("state_dict", *within):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected a state dict, found {type(content).__name__}")
    for name, value in content.items():
        if not (isinstance(name, str) and isinstance(value, torch.Tensor)):
            told = f"{name!r} is of type {type(value).__name__}, a state dict holds tensors by name only"
            raise InputError(f"{path}: {told}")
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
