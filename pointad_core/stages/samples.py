"""Scans as the systems read them: one after the other from the stores of a category."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from pointad_core.errors import InputError
from pointad_core.methods.registry import System
from pointad_core.methods.segmentation import PointSample, Sample, make_sample
from pointad_core.storage import stores
from pointad_core.storage.stores import Paths, StoreReader


@dataclass(frozen=True)
class SampleReader:
    """The open stores of one category, by stage, as far as a system reads them."""

    stores: Mapping[str, StoreReader]
    stream: str | None

    @property
    def clouds(self) -> StoreReader:
        return self.stores["clouds"]

    @property
    def scans(self) -> list[str]:
        return self.clouds.scans

    def cloud(self, scan: str, *names: str) -> dict[str, np.ndarray]:
        """Arrays of the scan's cloud."""
        return self.clouds.load(scan, names)

    def masks(self, scan: str) -> np.ndarray:
        """bool [K, S, S], the ground truth of the scan's renders."""
        return self.stores["renders"].load(scan, ["masks"])["masks"] > 0

    def sample(self, scan: str) -> Sample | PointSample:
        """The scan as a system with this stream of patch features sees it, in the stores' precision."""
        if self.stream is None:
            return PointSample(torch.from_numpy(self.cloud(scan, "points")["points"]))
        renders, features = self.stores["renders"], self.stores["features"]
        maps = renders.load(scan, ["pixels", "visible"])
        encoded = features.load(scan, ["global", f"patches_{self.stream}"])
        if len(maps["pixels"]) != len(encoded["global"]):
            raise InputError(
                f"{features.path}: scan {scan!r} has features of {len(encoded['global'])} renders, {renders.path} has "
                f"{len(maps['pixels'])}; make the features again"
            )
        prepared, alpha = None, 0.0
        if "aggregation" in self.stores:
            store = self.stores["aggregation"]
            prepared, alpha = store.load(scan, ["neighbours", "weights", "norms"]), float(store.attributes["alpha"])
            if len(prepared["norms"]) != maps["pixels"].shape[1]:
                raise InputError(
                    f"{store.path}: scan {scan!r} has {len(prepared['norms'])} points, {renders.path} has "
                    f"{maps['pixels'].shape[1]}; make the aggregation again"
                )
        resolution = int(renders.attributes["resolution"])
        return make_sample(
            encoded["global"],
            encoded[f"patches_{self.stream}"],
            maps["pixels"],
            maps["visible"],
            resolution,
            prepared,
            alpha,
        )

    def rgb(self, scan: str) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Global [d] and patch features [P, d] of the scan's photograph, or None for a scan without one."""
        names = ["rgb_global", f"rgb_patches_{self.stream}"]
        if self.stream is None or names[0] not in self.stores["features"].arrays(scan):
            return None
        arrays = self.stores["features"].load(scan, names)
        return torch.from_numpy(arrays[names[0]]), torch.from_numpy(arrays[names[1]])

    def check_dimensions(self, state: Mapping[str, torch.Tensor], origin: object) -> None:
        """Refuse text embeddings that do not fit the features; origin: where they come from, for the message."""
        if self.stream is None:
            return
        features = self.stores["features"]
        dim = int(features.attributes["dim"])
        embeddings = [part for name, part in state.items() if name in ("rendering", "geometry")]
        if found := sorted({part.shape[1] for part in embeddings} - {dim}):
            raise InputError(f"{origin}: text embeddings have {found} dimensions, {features.path} has {dim}")


@contextmanager
def open_samples(paths: Mapping[str, Paths], system: System) -> Iterator[SampleReader]:
    """Open the stores of a category, or of its shards; InputError where they are not of the same scans.

    paths: by stage, "clouds", "renders", "features" and "aggregation"; those that the system does not read may be
    missing.
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
        yield SampleReader(opened, system.stream)
