"""Heavy libraries, imported in less time: Open3D and open_clip without those of their parts that nothing here uses.

While a library is imported, something else stands in `sys.modules` under the name of such a part, and is taken away
again afterwards: the part can then be imported as ever. A part or a library that was imported before is left as it is.
Each function is called where the library is used, and the first time before anything else imports it.
"""

import gc
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType


class _Later(ModuleType):
    """Stands for a module of functions: each is there, and imports the module when it is called."""

    def __getattr__(self, name: str) -> Callable[..., object]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: getattr(import_module(self.__name__), name)(*args, **kwargs)


@contextmanager
def _in_place_of(parts: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """These modules stand under their names, None for one that looks as if it were not installed; afterwards neither
    they nor what was imported beneath them does. Meanwhile no garbage is searched for, since an import leaves none: a
    seventh of torch's time. Ctrl-C waits for the end: torch, stopped in its C++, ends the process with a core dump."""
    collecting = gc.isenabled()
    gc.disable()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    parts = {name: module for name, module in parts.items() if name not in sys.modules}
    sys.modules.update(parts)  # type: ignore[arg-type]
    try:
        yield
    finally:
        beneath = tuple(f"{name}." for name in parts)
        for name in [name for name in sys.modules if name in parts or name.startswith(beneath)]:
            del sys.modules[name]
        if collecting:
            gc.enable()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _load(library: str, parts: Mapping[str, ModuleType | None]) -> ModuleType:
    """A library, imported with these in place of its parts unless it is there already."""
    if library not in sys.modules:
        with _in_place_of(parts):
            import_module(library)
    return import_module(library)


def import_torch() -> ModuleType:
    """torch, whole: its parts import one another in a circle that is only closed in torch's own order."""
    return _load("torch", {})


def import_open3d() -> ModuleType:
    """open3d, in half of the time: without what draws its geometries with plotly and dash, a web server."""
    name = "open3d.visualization.draw_plotly"
    return _load("open3d", {name: _Later(name)})


def import_open_clip() -> ModuleType:
    """open_clip, without what would cost more than a second of imports.

    It takes photographs' transforms and one layer from torchvision, and towers of kinds that `clip.models_index`
    refuses from timm and transformers. Most of their time is torch._dynamo for torchvision's detection operators; and
    torchvision's wheel on PyPI, built for CUDA, cannot be imported beside a CPU-only PyTorch at all. So torchvision
    and torchvision.ops are there without having been run, which is enough to find the few modules beneath them, and
    timm and transformers look as if they were not installed, which open_clip provides for. What talks to a hub of
    models is imported when it is called.
    """
    parts: dict[str, ModuleType | None] = {"timm": None, "transformers": None}
    parts |= {name: _Later(name) for name in ("huggingface_hub", "open_clip.push_to_hf_hub")}
    with ExitStack() as stack:
        if {"open_clip", "torchvision"}.isdisjoint(sys.modules):
            for name in ("torchvision", "torchvision.ops"):
                if spec := find_spec(name):
                    stack.enter_context(_in_place_of({name: module_from_spec(spec)}))
        return _load("open_clip", parts)
