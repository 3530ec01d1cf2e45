"""How a scan of one's own is turned before the views: its main side to the front, or its longest axis to turn about.

A frame is a matrix f8[3,3] whose rows are a scan's right, up and front, as unit vectors of its own axes: front is where
the viewer stands. Nothing is known of a file's axes, so that what is not said is found from the surface: a scan of
which no point of view shows what its back shows too is closed, and looked at from all round; any other is one sheet,
whose front is its origin, where that shows all of it as a camera does, or else the side that shows most of it. Which of
a sheet's two sides that is, its bulge says: things are mostly seen from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from pointad_core.errors import InputError

AXES = {"x": (1, 0, 0), "-x": (-1, 0, 0), "y": (0, 1, 0), "-y": (0, -1, 0), "z": (0, 0, 1), "-z": (0, 0, -1)}
LOOKED_AT = 20000
"""Points that the side is found from."""
WINDOW = 256
CLOSED = 0.4
"""Share of the points that the same point of view shows from its back as well, below which a scan is closed."""
SEEN_BY_CAMERA = 0.97
"""Share of the points that the origin shows where it is taken for the camera."""
ALONG_AXES = np.cos(np.radians(3))
"""A camera's axes this near to the file's are the file's."""
MISFIT = 0.01
"""Mean distance, in sides of the grid, of the pixels from where a camera would show their points."""
FEWEST = 100
"""Points below which a surface cannot be told closed or open."""


@dataclass(frozen=True)
class Facing:
    """frame: rows right, up, front; around: look from all round; note: what was chosen, and why."""

    frame: np.ndarray
    around: bool
    note: str


def parse(word: str) -> str | np.ndarray:
    """What `--facing` says: "auto", "camera", "around", or a direction f8[3] of length 1; InputError otherwise."""
    if word in ("auto", "camera", "around"):
        return word
    try:
        direction = np.array(AXES.get(word) or [float(part) for part in word.split(",")], dtype=np.float64)
    except ValueError:
        direction = np.zeros(0)
    length = float(np.linalg.norm(direction)) if direction.shape == (3,) else 0.0
    if not (np.isfinite(length) and length > 0):
        known = ", ".join(AXES)
        raise InputError(f"--facing is {word!r}, expected auto, camera, around, {known} or three numbers such as 0,1,1")
    return direction / length


def face(points: np.ndarray, grid: np.ndarray | None, asked: str | np.ndarray = "auto") -> Facing:
    """Where a scan's front is.

    points: f8[n,3], those that count; grid: f8[H,W,3], NaN where a point is missing, of an organised scan; asked: as
    `parse` gives it.
    """
    if isinstance(asked, np.ndarray):
        direction = ",".join(f"{number:.3g}" for number in asked)
        return Facing(frame_of(asked), False, f"its front is {direction}, as was asked")
    if asked == "around":
        return Facing(principal_frame(points), True, "looked at from all round, as was asked")
    if grid is not None and (frame := camera_frame(grid)) is not None:
        what = "as was asked" if asked == "camera" else "as for every organised scan"
        return Facing(frame, False, f"its front is its camera's side, {what}")
    if asked == "camera":
        towards = -(points.min(axis=0) + points.max(axis=0)) / 2
        if np.linalg.norm(towards) <= np.ptp(points, axis=0).max() / 2:
            raise InputError("--facing camera: the scan lies about its origin, where no camera can have stood")
        return Facing(frame_of(towards / np.linalg.norm(towards)), False, "its front is its origin, the camera")
    return find_front(points)


def frame_of(front: np.ndarray) -> np.ndarray:
    """The frame of a front direction: up is z where that is level, and for a front along z what files have there: y
    where it looks at us, -y, as in a camera's image, where it looks away."""
    front = np.asarray(front, dtype=np.float64)
    up = np.array((0, 0, 1.0)) if abs(front[2]) < 0.7 else np.array((0, 1.0 if front[2] > 0 else -1.0, 0))
    right = np.cross(up, front)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(front, right), front])


def principal_frame(points: np.ndarray) -> np.ndarray:
    """Right along the longest axis, front along the shortest; the longer tail of each lies in its direction, so that
    the frame turns with the points."""
    centred = points - points.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    frame = axes.T[::-1].copy()
    for row in (0, 2):
        frame[row] *= 1 if ((centred @ frame[row]) ** 3).sum() >= 0 else -1
    frame[1] = np.cross(frame[2], frame[0])
    return frame


def level_frame(points: np.ndarray, front: np.ndarray) -> np.ndarray:
    """The frame of a front direction in which the scan lies level: its longest axis across the view to the right."""
    flat = points - points.mean(axis=0)
    flat = flat - np.outer(flat @ front, front)
    _, axes = np.linalg.eigh(flat.T @ flat)
    right = axes[:, 2] * (1 if ((flat @ axes[:, 2]) ** 3).sum() >= 0 else -1)
    return np.stack([right, np.cross(front, right), front])


def camera_frame(grid: np.ndarray) -> np.ndarray | None:
    """The frame of an organised scan's camera, from its points f8[H,W,3]; None for a grid too empty to tell.

    Along the file's axes, as nearly all files have it, by how points go along columns and rows; else as the camera is
    fitted that shows each point at its pixel. A frame of a left-handed file mirrors, as its image does.
    """
    across, down = (np.diff(grid, axis=axis).reshape(-1, 3) for axis in (1, 0))
    across, down = (steps[np.isfinite(steps).all(axis=1)] for steps in (across, down))
    if len(across) < FEWEST or len(down) < FEWEST:
        return None
    fitted = fit_camera(grid)
    if fitted is not None and np.abs(fitted).max(axis=1).min() < ALONG_AXES:
        return fitted
    right, up = (snap(np.median(steps, axis=0) / (np.ptp(steps, axis=0).max() or 1)) for steps in (across, -down))
    axis = np.cross(right, up)
    if not axis.any():
        return None
    points = grid[np.isfinite(grid).all(axis=2)]
    depths = points @ axis
    # With perspective, the camera stands at the origin.
    side = -np.sign(np.median(depths)) if _has_perspective(grid, right, axis) else bulge(points, axis)
    front = axis * side
    return np.stack([right, up, front])


def fit_camera(grid: np.ndarray) -> np.ndarray | None:
    """The frame of the pinhole camera, or of the parallel rays, that show the points f8[H,W,3] at their pixels, by
    direct linear transformation (Hartley & Zisserman, 7.1); None where none does, and for points on a plane, which
    many cameras show alike."""
    from pointad_core.clouds.subsets import random_subset

    rows, columns = np.nonzero(np.isfinite(grid).all(axis=2))
    some = random_subset(len(rows), LOOKED_AT).numpy()
    points = grid[rows[some], columns[some]]
    centre, size = points.mean(axis=0), float(np.ptp(points, axis=0).max())
    pixels = np.stack([columns[some], rows[some]], axis=1) / max(grid.shape[:2]) - 0.5
    if size == 0:
        return None
    placed = np.column_stack([(points - centre) / size, np.ones(len(points))])
    spread = np.linalg.svd(placed[:, :3], compute_uv=False)
    if spread[2] < 0.01 * spread[0]:
        return None

    parallel, *_ = np.linalg.lstsq(placed, pixels, rcond=None)
    misfit_parallel = float(np.sqrt(np.mean((placed @ parallel - pixels) ** 2)))
    zeros = np.zeros_like(placed)
    equations = np.concatenate(
        [np.hstack([placed, zeros, -pixels[:, :1] * placed]), np.hstack([zeros, placed, -pixels[:, 1:] * placed])]
    )
    projection = np.linalg.eigh(equations.T @ equations)[1][:, 0].reshape(3, 4)
    shown = placed @ projection.T
    if shown[:, 2].mean() < 0:
        projection, shown = -projection, -shown
    in_front = bool((shown[:, 2] > 0).all())
    misfit = float(np.sqrt(np.mean((shown[:, :2] / shown[:, 2:] - pixels) ** 2))) if in_front else np.inf
    if min(misfit, misfit_parallel) > MISFIT:
        return None
    if misfit < 0.5 * misfit_parallel:
        right, down, away = decompose(projection[:, :3])
        return np.stack([right, -down, -away])
    right, down = (direction / np.linalg.norm(direction) for direction in parallel[:3].T)
    up = -(down - right * (down @ right))
    up /= np.linalg.norm(up)
    # Parallel rays are the same from both sides; a left-handed file cannot be told from the other side.
    axis = np.cross(right, up)
    return np.stack([right, up, axis * bulge(points, axis)])


def decompose(matrix: np.ndarray) -> np.ndarray:
    """The rotation, or mirrored one, f8[3,3] of a camera's matrix K R [3,3], K upper triangular with a positive
    diagonal: rows right, down and away."""
    q, r = np.linalg.qr(matrix[::-1].T)
    signs = np.sign(np.diag(r))
    return (q * signs).T[::-1]


def snap(direction: np.ndarray) -> np.ndarray:
    """The axis, up or down, that a direction is nearest to."""
    axis = np.zeros(3)
    axis[np.abs(direction).argmax()] = np.sign(direction[np.abs(direction).argmax()])
    return axis


def _has_perspective(grid: np.ndarray, right: np.ndarray, axis: np.ndarray) -> bool:
    """Whether columns are rays from the origin, and not parallel: x / z goes with the column better than x does."""
    columns = np.broadcast_to(np.arange(grid.shape[1], dtype=np.float64), grid.shape[:2])
    x, z = grid @ right, grid @ axis
    known = np.isfinite(x) & np.isfinite(z)
    x, z, columns = x[known], z[known], columns[known]
    if z.min() * z.max() <= 0:
        return False

    def misfit(values: np.ndarray) -> float:
        residual = values - np.polyval(np.polyfit(columns, values, 1), columns)
        return float(residual.std() / (values.std() or 1))

    return misfit(x / z) < misfit(x)


def bulge(points: np.ndarray, axis: np.ndarray) -> int:
    """1 where the middle of points [n,3] lies further along an axis than the rim, -1 where less far."""
    centred = points - points.mean(axis=0)
    heights = centred @ axis
    squares = (centred**2).sum(axis=1) - heights**2
    return -1 if np.sum((heights - heights.mean()) * (squares - squares.mean())) > 0 else 1


def directions(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Candidate directions f8[k,3], one of each pair: along, between and amid the principal axes of the points, those
    of the normals, and the file's own axes."""
    ways = np.array([way for way in product((-1, 0, 1), repeat=3) if way > (0, 0, 0)], dtype=np.float64)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    _, of_normals = np.linalg.eigh(normals.T.astype(np.float64) @ normals)
    return np.concatenate([np.eye(3), of_normals.T, ways @ principal_frame(points)])


def find_front(points: np.ndarray) -> Facing:
    """The front of points [n,3] in no order: see the module."""
    if len(points) < FEWEST:
        frame = principal_frame(points)
        return Facing(frame, False, f"its front is its flattest side: {len(points)} points are too few to tell more")
    import torch

    from pointad_core.clouds.normals import estimate_normals
    from pointad_core.clouds.subsets import random_subset
    from pointad_core.rendering import visibility
    from pointad_core.rendering.views import project

    sample = points[random_subset(len(points), LOOKED_AT).numpy()]
    extent = float(np.ptp(sample, axis=0).max())
    sample = (sample - sample.mean(axis=0)) / extent
    normals = estimate_normals(sample, 0.2, 20)
    ways = directions(sample, normals)
    # From where a camera would have seen the scan, if its origin is the camera's.
    origin = -(points.min(axis=0) + points.max(axis=0)) / 2
    distance = float(np.linalg.norm(origin))
    ways = np.concatenate([ways, [origin / distance if distance else ways[0]]])
    # A view's frame may have any roll: only who hides whom matters.
    frames = np.stack([frame_of(side * way) for side in (1, -1) for way in ways])
    places = torch.from_numpy(sample)
    size = visibility.square_size(places, 2, WINDOW)
    shown = np.concatenate(
        [visibility.soft(project(places, torch.from_numpy(frame[None]), WINDOW), size).numpy() for frame in frames]
    )
    before, behind = np.split(shown, 2)
    through = (before & behind).mean(axis=1)
    if through.max() < CLOSED:
        said = f"it is closed ({through.max():.0%} of it is seen from two opposite sides), so it is looked at all round"
        return Facing(principal_frame(points), True, said)
    if extent < distance < 100 * extent and before[-1].mean() > SEEN_BY_CAMERA:
        front = ways[-1]
        return Facing(frame_of(front), False, "its front is its origin, from where all of it is seen as by a camera")
    # The area that a direction shows: each point's share of the surface, as it is inclined.
    area = ((before | behind) * np.abs(normals @ ways.T).T).mean(axis=1)
    way = ways[area.argmax()]
    front = bulge(sample, way) * way
    told = ",".join(f"{number:.2f}" for number in np.round(front, 2) + 0.0)
    return Facing(level_frame(points, front), False, f"its front is {told}, the side that shows most of its surface")
