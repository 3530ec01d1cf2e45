"""What a pinhole camera that looks down on a height field sees of it, and a scanner that gives points alone."""

from dataclasses import dataclass

import numpy as np

from pointad_core.datasets.generator.shapes import CELL, CELLS, EXTENT, Random, Shape


@dataclass(frozen=True)
class Camera:
    """A camera over the ground z = 0, in the units of a shape: x to the right, y away from it, z up.

    pitch: angle in radians by which it looks down; distance: to the point on the ground in the middle of its picture;
    focal: in pixels; shape: rows and columns of the picture. Its own frame has x to the right, y down, z ahead.
    """

    pitch: float
    distance: float
    focal: float
    shape: tuple[int, int]

    @property
    def axes(self) -> np.ndarray:
        """Its x, y and z axis as rows [3,3]."""
        sine, cosine = np.sin(self.pitch), np.cos(self.pitch)
        return np.array([[1, 0, 0], [0, -sine, -cosine], [0, cosine, -sine]])

    def rays(self) -> np.ndarray:
        """Directions f4[H,W,3] through the pixels, such that a multiple of one is the depth along the z axis."""
        height, width = self.shape
        x = ((np.arange(width) - width / 2) / self.focal)[None, :, None]
        y = ((np.arange(height) - height / 2) / self.focal)[:, None, None]
        right, down, ahead = self.axes
        return (ahead + x * right + y * down).astype(np.float32)


@dataclass(frozen=True)
class Picture:
    """What a camera sees: depth f4[H,W] along its axis, places f4[H,W,3], normals f4[H,W,3], colour f4[H,W,3]
    (unlit), on_shape bool[H,W] and defect bool[H,W]."""

    depth: np.ndarray
    places: np.ndarray
    normals: np.ndarray
    colour: np.ndarray
    on_shape: np.ndarray
    defect: np.ndarray


def cell_index(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Flat index of the cell nearest to each place; places off the grid count as its border, which is ground."""
    column, row = (np.clip(np.rint((at + EXTENT) / CELL), 0, CELLS - 1).astype(np.int32) for at in (x, y))
    return row * CELLS + column


def interpolate(field: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear values of a field [CELLS,CELLS] at places."""
    column, row = (np.clip((at + EXTENT) / CELL, 0, CELLS - 1.001) for at in (x, y))
    left, top = column.astype(np.int32), row.astype(np.int32)
    across, down = column - left, row - top
    flat, index = field.reshape(-1), top * CELLS + left
    upper = flat[index] + across * (flat[index + 1] - flat[index])
    lower = flat[index + CELLS] + across * (flat[index + CELLS + 1] - flat[index + CELLS])
    return upper + down * (lower - upper)


def surface_normals(height: np.ndarray) -> np.ndarray:
    """Upward normals f4[CELLS,CELLS,3] of a height field."""
    slope_y, slope_x = np.gradient(height, np.float32(CELL))
    normals = np.stack([-slope_x, -slope_y, np.ones_like(slope_x)], axis=2)
    return normals / np.sqrt((normals**2).sum(axis=2, keepdims=True))


def take_picture(shape: Shape, camera: Camera, ground: tuple[float, float, float]) -> Picture:
    """Follow each ray to the height field, or to the ground beside it, which has a colour of its own."""
    rays, start = camera.rays(), (-camera.distance * camera.axes[2]).astype(np.float32)
    depth = -start[2] / rays[..., 2]
    high_depth = (float(shape.height.max()) * 1.001 - start[2]) / rays[..., 2]

    # Only rays that come near the shape between its top and the ground are followed.
    rows, columns = np.nonzero(shape.inside)
    low = np.array([columns.min(), rows.min()]) * CELL - EXTENT - CELL
    high = np.array([columns.max(), rows.max()]) * CELL - EXTENT + CELL
    first = start[:2] + high_depth[..., None] * rays[..., :2]
    last = start[:2] + depth[..., None] * rays[..., :2]
    near = ((np.maximum(first, last) > low) & (np.minimum(first, last) < high)).all(axis=2)
    ray, before, end = rays[near], high_depth[near], depth[near]
    steps = max(4, int(np.ceil(float(np.abs(last - first)[near].max()) / (2.5 * CELL))))
    stride = (end - before) / steps

    # Walk down until the ray is below the surface; then halve the last stride.
    flat = shape.height.reshape(-1)
    above, below = before.copy(), end.copy()
    walking = np.arange(len(ray))
    for step in range(1, steps + 1):
        at = before[walking] + stride[walking] * step
        place = start + at[:, None] * ray[walking]
        under = place[:, 2] <= flat[cell_index(place[:, 0], place[:, 1])]
        below[walking[under]] = at[under]
        walking, at = walking[~under], at[~under]
        above[walking] = at
    hit = np.delete(np.arange(len(ray)), walking)
    above, below, direction = above[hit], below[hit], ray[hit]
    for _ in range(7):
        middle = (above + below) / 2
        place = start + middle[:, None] * direction
        under = place[:, 2] <= interpolate(shape.height, place[:, 0], place[:, 1])
        above, below = np.where(under, above, middle), np.where(under, middle, below)
    end[hit] = np.minimum(below, end[hit])
    depth[near] = end

    places = start + depth[..., None] * rays
    index = cell_index(places[..., 0], places[..., 1])
    on_shape = shape.inside.reshape(-1)[index] & (places[..., 2] > 0.01)
    colour = np.where(on_shape[..., None], shape.colour.reshape(-1, 3)[index], np.asarray(ground, np.float32))
    normals = surface_normals(shape.height).reshape(-1, 3)[index]
    # At a wall, the surface rises within one cell: what is seen of it is turned away from the ray nowhere.
    normals = np.where(on_shape[..., None], normals, np.array([0, 0, 1], np.float32))
    return Picture(depth, places, normals, colour, on_shape, shape.defect.reshape(-1)[index] & on_shape)


def sample_surface(shape: Shape, count: int, rng: Random) -> tuple[np.ndarray, np.ndarray]:
    """Points f8[count,3] spread evenly over a shape's surface, z pointing away from the scanner, and labels bool."""
    inside = np.flatnonzero(shape.inside)
    # A cell's share of the surface; walls at the rim, of no extent seen from above, count a few times a flat cell.
    steepness = 1 / np.maximum(surface_normals(shape.height)[..., 2].reshape(-1)[inside], 0.2)
    sums = np.cumsum(steepness)
    # Even steps through the sum, shifted as one: spread like a scanner's points, not clumped like random ones.
    chosen = inside[np.searchsorted(sums, (np.arange(count) + rng.random()) / count * sums[-1])]
    x = (chosen % CELLS + rng.uniform(-0.5, 0.5, count)) * CELL - EXTENT
    y = (chosen // CELLS + rng.uniform(-0.5, 0.5, count)) * CELL - EXTENT
    height = interpolate(shape.height, x, y)
    return np.stack([x, y, -height], axis=1), shape.defect.reshape(-1)[chosen]
