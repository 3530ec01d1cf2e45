"""open_clip with this package's models, and without what it imports and this package never uses.

open_clip takes photographs' transforms and one layer from torchvision, and towers of kinds that `models_index` refuses
from timm and transformers. That would cost every job more than a second of imports, the most of it torch._dynamo for
torchvision's detection operators; and torchvision's wheel on PyPI, built for CUDA, cannot be imported beside a CPU-only
PyTorch at all. So while open_clip is imported, torchvision and torchvision.ops are there without having been run, which
is enough to find the few modules beneath them, and timm and transformers look as if they were not installed, which
open_clip provides for. Afterwards all three can be imported as ever; one that was imported before is left as it is.
"""

import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType

from pointad_core.clip.models_index import MODELS


def import_open_clip() -> ModuleType:
    """open_clip. To be called where it is used: it costs a third of a second."""
    absent = {"torchvision", "timm", "transformers"} - sys.modules.keys()
    try:
        for name in absent - {"torchvision"}:
            sys.modules[name] = None  # type: ignore[assignment]
        for name in ("torchvision", "torchvision.ops") if "torchvision" in absent else ():
            if spec := find_spec(name):
                sys.modules[name] = module_from_spec(spec)
        import open_clip
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in absent]:
            del sys.modules[name]
    # open_clip registers by scanning the folder; once is enough.
    if not {config.stem for config in MODELS.glob("*.json")} <= set(open_clip.list_models()):
        open_clip.add_model_config(MODELS)
    return open_clip
