"""Views of a cloud (Sec. 3.3): the camera that sees it turned by a view's angles, and what a renderer makes of it.

The camera is the default one of Open3D's legacy visualizer in closed form, so that a render needs no GL and a
point's pixel is known exactly: it looks along -z at the middle of the axis-aligned box of the *rotated* cloud,
with a field of view of 60 degrees, from so far away that the box's longest edge E spans 1 / (2 * 0.7) of the
window's width at the middle of the box. Lengths are in units of E: renders do not depend on the scale of the data.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from pointad_core.errors import InputError

Cloud = Mapping[str, np.ndarray]
"""Arrays of n points, of which a renderer takes what it needs: points and unit normals f4[n,3], labels [n], nonzero is
anomalous, absent in a scan that nobody labelled, and of an organised scan grid i4[n], flat pixels."""

ZOOM = 0.7
HALF_ANGLE = math.radians(60) / 2
EYE = ZOOM / math.tan(HALF_ANGLE)
"""Distance of the eye from the middle of the box, in units of E."""
STEPS = (1 << 22) - 1
"""Steps of a point's nearness as a 22-bit integer: one is E / 4,194,303, finer than float32 coordinates tell apart."""


def find_anomalous(cloud: Cloud, device: torch.device | str) -> torch.Tensor:
    """Which points bool[n] of a cloud are labelled anomalous; without labels none is."""
    if "labels" not in cloud:
        return torch.zeros(len(cloud["points"]), dtype=torch.bool, device=device)
    return torch.as_tensor(cloud["labels"], device=device) != 0


def rotations(angles: Sequence[Sequence[float]]) -> torch.Tensor:
    """Rotation matrices f8[K,3,3] of rows [tilt, x, y] in degrees: the tilt about x, the turn about x, that about y."""
    tilt, x, y = torch.tensor(angles, dtype=torch.float64).deg2rad().unbind(-1)
    return _about("y", y) @ _about("x", x) @ _about("x", tilt)


def _about(axis: str, angle: torch.Tensor) -> torch.Tensor:
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    entries = {"x": [one, zero, zero, zero, c, -s, zero, s, c], "y": [c, zero, s, zero, one, zero, -s, zero, c]}
    return torch.stack(entries[axis], -1).reshape(-1, 3, 3)


@dataclass(frozen=True)
class Renders:
    """What a renderer makes of a cloud of n points: K views, their ground truth and the point-pixel maps.

    images: u1[K,S,S], grey; the background is white, that of depth images black
    masks: u1[K,S,S], 1 where the view shows anomalous points; without labels nowhere
    pixels: i2[K,n,2], (column, row) of each point, clipped to the image
    visible: bool[K,n]; a point that no view shows has the flags of its nearest shown neighbour
    unseen: number of such points
    """

    images: np.ndarray
    masks: np.ndarray
    pixels: np.ndarray
    visible: np.ndarray
    unseen: int


@dataclass(frozen=True)
class Projection:
    """A cloud before the cameras of K views.

    points: f8[K,3,n], the rotated points about the middle of their box, in units of E; larger z is nearer
    columns, rows: f8[K,n], window pixels; a pixel's centre has whole coordinates, row 0 is at the top
    window: width and height of the square window in pixels
    """

    points: torch.Tensor
    columns: torch.Tensor
    rows: torch.Tensor
    window: int

    @cached_property
    def inside(self) -> torch.Tensor:
        """bool[K,n]: the point lies in the frame. GL draws no part of a point that does not."""
        low, high = -0.5, self.window - 0.5
        return (self.columns > low) & (self.columns <= high) & (self.rows > low) & (self.rows <= high)

    @cached_property
    def levels(self) -> torch.Tensor:
        """i4[K,n]: nearness in whole steps, 0 at the back of a cube of edge E about the box, larger is nearer."""
        return ((self.points[:, 2] + 0.5) * STEPS).clamp(0, STEPS).to(torch.int32)

    def pixels(self, resolution: int) -> torch.Tensor:
        """i8[K,n,2]: (column, row) in an image of this resolution, truncated, and clipped for points out of frame."""
        scaled = torch.stack([self.columns, self.rows], -1) * (resolution / self.window)
        return scaled.to(torch.int64).clamp(0, resolution - 1)


def bounds(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coordinates f8[3,n] of points [n,3], and the corners f8[3,1] of their axis-aligned box.

    Raises InputError for an empty cloud and a coordinate that is not finite.
    """
    if points.shape[0] == 0:
        raise InputError("the cloud has no points")
    axes = points.to(torch.float64).T.contiguous()
    low, high = axes.amin(1, keepdim=True), axes.amax(1, keepdim=True)
    if not torch.isfinite(high - low).all():
        raise InputError("the cloud has coordinates that are not finite")
    return axes, low, high


def box(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As `bounds`, of a cloud with an extent: points that all coincide are an InputError as well."""
    axes, low, high = bounds(points)
    if torch.equal(low, high):
        raise InputError("all points of the cloud coincide")
    return axes, low, high


def project(points: torch.Tensor, rotations: torch.Tensor, window: int) -> Projection:
    """Rotate points [n,3] by rotations f8[K,3,3] and project them into a window of `window` pixels a side.

    The cloud turns about its centroid; as the camera follows the box of the rotated cloud, any other centre
    gives the same picture. Computed in float64, so that the pixel of a point does not depend on rounding.
    Raises InputError as `box` does.
    """
    axes, low, high = box(points)
    # The middle of the box instead of the mean: it does not depend on the order of the points.
    turned = rotations @ (axes - (low + high) / 2)
    low, high = turned.amin(2, keepdim=True), turned.amax(2, keepdim=True)
    turned.sub_((low + high) / 2).div_((high - low).amax(1, keepdim=True))
    scale = window / 2 / math.tan(HALF_ANGLE) / (EYE - turned[:, 2])
    centre = window / 2 - 0.5
    return Projection(turned, centre + turned[:, 0] * scale, centre - turned[:, 1] * scale, window)


def footprint(pixels: float, window: int) -> float:
    """The length, in units of E, that so many window pixels cover at the middle of the box."""
    return pixels * 2 * ZOOM / window
