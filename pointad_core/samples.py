"""Scans as the methods read them: one after the other from the stores of clouds, renders and features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from pointad_core import geometry, stores
from pointad_core.errors import InputError
from pointad_core.segmentation import Explicit, PointSample, Sample
from pointad_core.stores import Paths


@dataclass(frozen=True)
class SampleReader:
    """The open stores of one category."""

    clouds: stores.StoreReader
    _renders: stores.StoreReader | None
    _features: stores.StoreReader | None
    stream: str | None
    explicit: bool
    alpha: float

    @property
    def renders(self) -> stores.StoreReader:
        assert self._renders is not None
        return self._renders

    @property
    def features(self) -> stores.StoreReader:
        assert self._features is not None
        return self._features

    @property
    def scans(self) -> list[str]:
        return self.clouds.scans

    def cloud(self, scan: str, *names: str) -> dict[str, np.ndarray]:
        """Arrays of the scan's cloud."""
        return self.clouds.load(scan, names)

    def masks(self, scan: str) -> np.ndarray:
        """bool [K, S, S], the ground truth of the scan's renders."""
        return self.renders.load(scan, ["masks"])["masks"] > 0

    def sample(self, scan: str) -> Sample | PointSample:
        """The scan as a method with this stream of patch features sees it."""
        if self.stream is None:
            return PointSample(torch.from_numpy(self.cloud(scan, "points")["points"]))
        return self._rendered(scan)

    def _rendered(self, scan: str) -> Sample:
        """The scan's features, in the stores' precision, and its way from patches to points."""
        patches_name = f"patches_{self.stream}"
        maps = self.renders.load(scan, ["pixels", "visible"])
        features = self.features.load(scan, ["global", patches_name])
        resolution = int(self.renders.attributes["resolution"])
        pixels = torch.from_numpy(maps["pixels"])
        n_views, n_patches = features[patches_name].shape[:2]
        if len(pixels) != n_views:
            raise InputError(
                f"{self.features.path}: scan {scan!r} has features of {n_views} renders, {self.renders.path} has "
                f"{len(pixels)}; make the features again"
            )
        explicit = None
        if self.explicit:
            constants = self.features.load(scan, ["neighbours", "weights", "norms"])
            if len(constants["norms"]) != pixels.shape[1]:
                raise InputError(
                    f"{self.features.path}: scan {scan!r} has {len(constants['norms'])} points, {self.renders.path} "
                    f"has {pixels.shape[1]}; make the features again"
                )
            grid = round(n_patches**0.5)
            explicit = Explicit(
                patch_index=geometry.patch_indices(pixels, resolution, grid).int(),
                neighbours=torch.from_numpy(constants["neighbours"]),
                weights=torch.from_numpy(constants["weights"]),
                norms=torch.from_numpy(constants["norms"]),
                alpha=self.alpha,
            )
        return Sample(
            views=torch.from_numpy(features["global"]),
            patches=torch.from_numpy(features[patches_name]),
            pixels=pixels,
            visible=torch.from_numpy(maps["visible"]),
            resolution=resolution,
            explicit=explicit,
        )

    def rgb(self, scan: str) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Global [d] and patch features [P, d] of the scan's photograph, or None for a scan without one."""
        if self.stream is None:
            return None
        names = ["rgb_global", f"rgb_patches_{self.stream}"]
        if names[0] not in self.features.arrays(scan):
            return None
        arrays = self.features.load(scan, names)
        return torch.from_numpy(arrays[names[0]]), torch.from_numpy(arrays[names[1]])


@contextmanager
def open_samples(
    clouds: Paths, renders: Paths | None, features: Paths | None, stream: str | None, explicit: bool, alpha: float
) -> Iterator[SampleReader]:
    """Open the stores of a category, or of its shards; InputError where they are not of the same scans.

    stream: "vv" or "plain", the patch features to read; None to read clouds alone, renders and features being None;
    explicit: read what G-aggregation needs as well; alpha: the share of the neighbours with which the features'
    norms were computed.
    """
    with ExitStack() as stack:
        cloud_store = stack.enter_context(stores.read(clouds, "clouds"))
        others: list[stores.StoreReader | None] = [None, None]
        if stream is not None:
            for index, (path, kind) in enumerate(((renders, "renders"), (features, "features"))):
                if path is None:
                    raise InputError(f"{cloud_store.path}: the {kind} of this category are missing")
                store = others[index] = stack.enter_context(stores.read(path, kind))
                if sorted(store.scans) != sorted(cloud_store.scans):
                    raise InputError(f"{store.path}: its scans are not those of {cloud_store.path}; make it again")
        yield SampleReader(cloud_store, others[0], others[1], stream, explicit, alpha)
