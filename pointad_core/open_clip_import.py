"""open_clip without torchvision, timm and transformers, which it imports and this package never uses.

open_clip takes photographs' transforms and a layer of ResNets from torchvision, and towers of other kinds from timm
and transformers. Importing those costs a job three seconds, six times what open_clip itself costs; and torchvision's
wheel on PyPI, built for CUDA, cannot be imported beside a CPU-only PyTorch at all. Here images are tensors already,
and `clip` refuses such towers. So while open_clip is imported, torchvision's names lead to stand-ins, which say so
when something calls one, and the other two look as if they were not installed, which open_clip provides for.

Afterwards all three can be imported as ever. One that was imported before is left to open_clip as it is, and so is
open_clip itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

STOOD_IN_FOR = "torchvision"
LEFT_OUT = ("timm", "transformers")


class _StandIn(type):
    """A class in place of whatever stands under this name: it can be named and derived from, never called."""

    def __getattr__(cls, name: str) -> _StandIn:
        return _stand_in(cls.__name__, name)

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        raise RuntimeError(f"{cls.__name__} is needed, but open_clip was imported without it ({__name__})")


def _stand_in(parent: str, name: str) -> _StandIn:
    # Python asks for names of its own, and must hear that they are not there.
    if name.startswith("__"):
        raise AttributeError(name)
    return _StandIn(f"{parent}.{name}", (), {})


class _Module(ModuleType):
    def __getattr__(self, name: str) -> _StandIn:
        return _stand_in(self.__name__, name)


class _Finder(MetaPathFinder, Loader):
    """Finds stand-ins for modules of torchvision and refuses those that are left out."""

    def __init__(self) -> None:
        self._packages = {STOOD_IN_FOR, *LEFT_OUT} - sys.modules.keys()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package = fullname.partition(".")[0]
        if package not in self._packages:
            return None
        if package in LEFT_OUT:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: a stand-in has no code."""


def import_open_clip() -> ModuleType:
    """open_clip, imported without what this package never uses of it, or as it is where it was imported before."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        import open_clip
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, _Module)]:
            del sys.modules[name]
    return open_clip
