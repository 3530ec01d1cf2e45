"""Make `import torchvision` work beside a PyTorch that cannot load torchvision's compiled operators.

open_clip imports torchvision. The wheel of torchvision on PyPI is built for CUDA; beside a CPU-only PyTorch its
library of operators does not load, and the import then fails with "operator torchvision::nms does not exist",
because two operators of that library are given a shape function in Python at import. Nothing here uses them:
declaring them, without a kernel, is enough. Where the library loads, nothing is done.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

# A library's operators vanish with the object, so it lives as long as the module.
_library: torch.library.Library | None = None


def _operators_load() -> bool:
    """Load torchvision's compiled operators as it would itself, without importing it."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True  # not installed: the import that follows says so best
    for folder in spec.submodule_search_locations:
        for name in ("_C.so", "_C.pyd"):
            if (path := Path(folder) / name).exists():
                try:
                    torch.ops.load_library(str(path))
                except (ImportError, OSError):
                    continue
                return True
    return False


def prepare_torchvision() -> None:
    """Declare the operators that torchvision would miss at its import; call before the first import of it.

    Harmless to call again, after torchvision's import, and where its operators are whole.
    """
    global _library
    if _library is not None or "torchvision" in sys.modules or _operators_load():
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)
    _library = library
