"""Scans as the systems read them: one after the other from the stores of a category (Sec. 3.3)."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pointad_core.errors import InputError
from pointad_core.methods.interface import CloudSample, Encoded, OfScan, Settings, State
from pointad_core.methods.registry import System
from pointad_core.methods.segmentation import PointSample, Sample, make_sample
from pointad_core.storage import stores
from pointad_core.storage.stores import Paths, StoreReader

Photograph = tuple[torch.Tensor, torch.Tensor]
"""Global [d] and patch features [P, d]."""


@dataclass(frozen=True)
class SampleReader:
    """The open stores of one category, by stage, as far as a system reads them."""

    stores: Mapping[str, StoreReader]
    stream: str | None
    incidence: bool = False
    """Whether samples come with the angles at which views meet the surface."""

    @property
    def clouds(self) -> StoreReader:
        return self.stores["clouds"]

    @property
    def scans(self) -> list[str]:
        return self.clouds.scans

    def masks(self, scan: str) -> np.ndarray:
        """bool [K, S, S], the ground truth of the scan's renders."""
        return self.stores["renders"].load(scan, ["masks"])["masks"] > 0

    def sample(self, scan: str) -> Sample | PointSample:
        """The scan as a system with this stream of patch features sees it, in the stores' precision."""
        if self.stream is None:
            return PointSample(torch.from_numpy(self.clouds.load(scan, ["points"])["points"]))
        renders, features = self.stores["renders"], self.stores["features"]
        pixels, visible = renders.load(scan, ["pixels", "visible"]).values()
        views, patches = features.load(scan, ["global", f"patches_{self.stream}"]).values()
        n_views, n = visible.shape
        if len(views) != n_views:
            told = f"features of {len(views)} renders, {renders.path} has {n_views}; make the features again"
            raise InputError(f"{features.path}: scan {scan!r} has {told}")
        prepared, alpha = None, 0.0
        if store := self.stores.get("aggregation"):
            prepared, alpha = store.load(scan, ["neighbours", "weights", "norms"]), float(store.attributes["alpha"])
            if (found := len(prepared["norms"])) != n:
                told = f"{found} points, {renders.path} has {n}; make the aggregation again"
                raise InputError(f"{store.path}: scan {scan!r} has {told}")
        resolution = int(renders.attributes["resolution"])
        angles = self._incidence(scan) if self.incidence else None
        return make_sample(views, patches, pixels, visible, resolution, prepared, alpha, angles)

    def _incidence(self, scan: str) -> np.ndarray:
        # By its name, like a system's: what is scored otherwise does not depend on its code.
        module = importlib.import_module("pointad_core.rendering.incidence")
        about, cloud = self.stores["renders"].attributes, self.clouds.load(scan, ["points", "normals"])
        cosines: np.ndarray = module.incidence(cloud["points"], cloud["normals"], about["views"], about["renderer"])
        return cosines

    def rgb(self, scan: str) -> Photograph | None:
        """Features of the scan's photograph, or None for a scan without one."""
        return None if self.stream is None else load_photograph(self.stores["features"], scan, self.stream)

    def encoded(self) -> Mapping[str, Encoded]:
        """All scans of the category as a system sees them that compares them, by name."""
        assert self.stream is not None
        return EncodedScans(self.stores.get("references", self.stores["features"]), self.stream)

    def cloud(self, scan: str) -> CloudSample:
        """The scan as an unsupervised system sees it."""
        return CloudSamples(self.clouds, [scan])[0]

    def check_dimensions(self, state: State | OfScan, origin: object) -> None:
        """Refuse text embeddings that do not fit the features; origin: where they come from, for the message. Those
        that are a scan's own are made of its features, and refuse others."""
        if (features := self.stores.get("features")) and not callable(state):
            dim, layers = int(features.attributes["dim"]), state.keys() & {"rendering", "geometry"}
            if found := sorted({state[layer].shape[1] for layer in layers} - {dim}):
                raise InputError(f"{origin}: text embeddings have {found} dimensions, {features.path} has {dim}")


def load_photograph(features: StoreReader, scan: str, stream: str) -> Photograph | None:
    """Features of a scan's photograph in a store of features, or None for a scan without one."""
    if "rgb_global" not in features.arrays(scan):
        return None
    view, patches = features.load(scan, ["rgb_global", f"rgb_patches_{stream}"]).values()
    return torch.from_numpy(view), torch.from_numpy(patches)


class EncodedScans(Mapping[str, Encoded]):
    """Scans of an open store of features, each read when it is asked for."""

    def __init__(self, store: StoreReader, stream: str) -> None:
        self._store, self._stream = store, stream

    def __len__(self) -> int:
        return len(self._store.scans)

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.scans)

    def __getitem__(self, scan: str) -> Encoded:
        views, patches = self._store.load(scan, ["global", f"patches_{self._stream}"]).values()
        photograph = load_photograph(self._store, scan, self._stream)
        return Encoded(torch.from_numpy(views), torch.from_numpy(patches), photograph)


class CloudSamples(Sequence[CloudSample]):
    """Scans of an open store of clouds as unsupervised systems see them, each read when it is asked for."""

    def __init__(self, store: StoreReader, scans: Sequence[str]) -> None:
        self._store, self._scans = store, scans

    def __len__(self) -> int:
        return len(self._scans)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return CloudSamples(self._store, self._scans[index])
        scan, about = self._scans[index], self._store.attributes
        names = [name for name in ("points", "grid", "rgb") if name in self._store.arrays(scan)]
        return cloud_sample(self._store.load(scan, names), int(about["resolution"]))


def cloud_sample(cloud: Mapping[str, np.ndarray], resolution: int) -> CloudSample:
    """A cloud as unsupervised systems see it; cloud: arrays of `make_cloud`, of which those of an organised one have
    a grid."""
    # Clouds keep the layout's unit: metres of organised scans, millimetres of point clouds.
    metre = 1.0 if "grid" in cloud else 1000.0
    return CloudSample(cloud["points"], metre, cloud.get("grid"), resolution, cloud.get("rgb"))


@contextmanager
def open_samples(
    paths: Mapping[str, Paths], system: System, settings: Settings | None = None
) -> Iterator[SampleReader]:
    """Open the stores of a category, or of its shards; InputError where they are not of the same scans.

    paths: by stage ("clouds", "renders", "features", "aggregation"); what the system does not read may be missing.
    Where these are of a part of the category, "references" are the features of all of it, for a system that compares
    its scans.
    settings: of the method that scores the samples, which may weigh views; None for training, where all weigh the same.
    """
    stages = ["clouds"]
    if system.stream is not None:
        stages += ["renders", "features", *(["aggregation"] if system.aggregates else [])]
    with ExitStack() as stack:
        opened: dict[str, StoreReader] = {}
        for stage in stages:
            if not paths.get(stage):
                raise InputError(f"{opened['clouds'].path}: the {stage} of this category are missing")
            store = opened[stage] = stack.enter_context(stores.read(paths[stage], stage))
            if sorted(store.scans) != sorted(opened["clouds"].scans):
                raise InputError(f"{store.path}: its scans are not those of {opened['clouds'].path}; make it again")
        if references := paths.get("references"):
            opened["references"] = stack.enter_context(stores.read(references, "features"))
        yield SampleReader(opened, system.stream, settings is not None and settings.view_weights == "incidence")
