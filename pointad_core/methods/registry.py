"""The systems by their names in the config; light, for the workflow reads it while it is parsed.

A method, a row of the tables, is a system with its settings. A system is one module (`interface` says what it offers)
and one entry here; a user's own stands in the config's `systems`, its module in a file of theirs.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pointad_core.errors import InputError
from pointad_core.methods.interface import Comparing, Learning, Scoring, Unsupervised

RENDERING = {"global_3d": 1.0, "local_3d": 1.0, "global_2d": 1.0, "local_2d": 1.0}
"""The terms of L^r_hybrid, which teach the rendering prompts; all weights are 1 in the paper."""

STORED = ("3d", "m3d")
"""Maps that the scores stage keeps of every system that has them; others are computed where a figure asks for them."""


@dataclass(frozen=True)
class System:
    """What the workflow and the stages must know of a system before they load its module."""

    module: str  # its module in this package ("methods.pointad"), or the path of a Python file
    stream: Literal["vv", "plain"] | None
    """Patch features that it reads: those of V-V attention or CLIP's own; None for a system that reads clouds alone,
    neither renders nor features."""
    label: str = ""  # name in the tables; where it is empty the method's own
    trained: bool = True  # learns on an auxiliary category
    aggregates: bool = False  # reads what G-aggregation needs (neighbours, kernel weights, norms)
    class_names: bool = False  # names the category in its text: training and scoring are told its display name
    renderers: Sequence[str] = ("splat", "open3d", "splat_depth")  # whose images it can read
    rgb: bool = True  # takes RGB in where there is some, and so has rows in the tables of M3D
    cross_dataset: bool = True  # has rows in the cross-dataset tables; never so without training
    losses: Mapping[str, float] = field(default_factory=dict)  # terms of its loss with their default weights
    teaching: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Losses by what they teach; at least one of each must have a weight, or it stays at its start."""
    unsupervised: bool = False
    """Learns each tested category from the good scans of its own train split, and no other. It reads clouds alone, with
    their photographs, is not `trained` on an auxiliary category, and stands in Table 5, not in Tables 1-4."""
    batch: bool = False
    """Scores a scan by the other test scans of its category, without their labels: batch zero-shot. It scores in the
    workflow alone, not one scan by itself, reads features, and is never ranked among systems that see one scan."""
    files: Sequence[str] = ()  # keys of an unsupervised method that name files, such as a network's weights

    @property
    def compared_across(self) -> bool:
        """Has rows in the cross-dataset tables."""
        return self.trained and self.cross_dataset


# What systems learn by: the terms of their loss, and which of them teach what.
_RENDERED: dict[str, Any] = {"losses": RENDERING, "teaching": {"the prompts": tuple(RENDERING)}}
_LAYERED: dict[str, Any] = {
    "losses": {**RENDERING, "geometry": 1.0, "cross": 1.0},
    "teaching": {"the rendering prompts": (*RENDERING, "cross"), "the geometry prompts": ("geometry", "cross")},
}
_ANOMALYCLIP: dict[str, Any] = {
    "losses": {"global_2d": 1.0, "local_2d": 4.0},  # as in its published implementation
    "teaching": {"the prompts": ("global_2d", "local_2d")},
}
_CHERAGHIAN: dict[str, Any] = {
    "losses": {"points": 1.0, "alignment": 1.0},
    "teaching": {"the network of the texts": ("alignment",)},
}
# What they read.
_CLOUDS: dict[str, Any] = {"stream": None, "renderers": (), "rgb": False, "cross_dataset": False}
_UNSUPERVISED: dict[str, Any] = {"stream": None, "trained": False, "unsupervised": True, "renderers": ()}
_MUTUAL: dict[str, Any] = {"stream": "vv", "batch": True}
_REALISTIC: dict[str, Any] = {"stream": "plain", "class_names": True, "renderers": ("realistic",)}

SYSTEMS: dict[str, System] = {
    "clip_rendering": System(
        "methods.clip_rendering", "plain", label="CLIP + Rendering", trained=False, class_names=True
    ),
    "cheraghian": System("methods.cheraghian", label="Cheraghian", class_names=True, **_CLOUDS, **_CHERAGHIAN),
    "pointclip_v2": System("methods.pointclip_v2", label="PointCLIP V2", trained=False, **_REALISTIC),
    "pointclip_v2_a": System("methods.pointclip_v2_a", label="PointCLIP V2_a", **_REALISTIC, **_RENDERED),
    "anomalyclip": System("methods.anomalyclip", "vv", label="AnomalyCLIP", renderers=("depth",), **_ANOMALYCLIP),
    "pointad_coop": System("methods.pointad_coop", "vv", label="PointAD-CoOp", class_names=True, **_RENDERED),
    "pointad": System("methods.pointad", "vv", label="PointAD", **_RENDERED),
    "pointad_plus_coop": System(
        "methods.pointad_plus_coop", "vv", label="PointAD+-CoOp", aggregates=True, class_names=True, **_LAYERED
    ),
    "pointad_plus": System("methods.pointad_plus", "vv", label="PointAD+", aggregates=True, **_LAYERED),
    "mutual": System("methods.mutual", label="Mutual scoring", trained=False, **_MUTUAL),
    "pointad_plus_mutual": System(
        "methods.pointad_plus_mutual", label="PointAD+ with mutual scoring", aggregates=True, **_MUTUAL, **_LAYERED
    ),
    "btf": System("methods.btf", label="BTF", files=("network",), **_UNSUPERVISED),
    "sdm": System("methods.sdm", label="SDM", files=("network",), **_UNSUPERVISED),
    "m3dm": System("methods.m3dm", label="M3DM", files=("network", "point_mae", "fusion"), **_UNSUPERVISED),
}
"""In the order of the paper's tables; after them what came after the paper, and those of Table 5 alone at the end."""


def systems_of(config: Mapping[str, Any]) -> dict[str, System]:
    """All systems that a config can name: those above, and its own."""
    own = config.get("systems", {})
    return SYSTEMS | {name: System(**{**own[name], "module": os.path.expanduser(own[name]["module"])}) for name in own}


def plain(system: System) -> dict[str, Any]:
    """What results depend on of an entry, as plain values that a workflow can hand on and compare."""
    names = ["module", "stream", "trained", "aggregates", "class_names", "rgb", "losses"]
    # Keys that all others' results are older than.
    names += [name for name in ("unsupervised", "batch") if getattr(system, name)]
    return {name: value for name, value in asdict(system).items() if name in names}


def load(system: System) -> Any:
    """A system's module, an `interface.Scoring`, where it is trained an `interface.Learning`, or an
    `interface.Unsupervised`, and `interface.Comparing` as well where it is one of a batch; a user's file is run once a
    process. Raises InputError where that is missing, or lacks a function of these."""
    if not system.module.endswith(".py"):
        return importlib.import_module(f"pointad_core.{system.module}")
    path = Path(system.module).resolve()
    if not path.is_file():
        raise InputError(f"{system.module}: no such module of a system")
    module, offered = _run(path), Unsupervised if system.unsupervised else Learning if system.trained else Scoring
    wanted = [offered, *([Comparing] if system.batch else [])]
    names = [name for protocol in wanted for name in dir(protocol) if not name.startswith("_")]
    if missing := [name for name in names if not callable(getattr(module, name, None))]:
        raise InputError(f"{system.module}: lacks the functions {', '.join(missing)} (see methods/interface.py)")
    return module


@cache
def _run(path: Path) -> ModuleType:
    """A user's file as a module; it can import modules beside it."""
    name = f"pointad_system_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
