"""A scan of one's own: read, cleaned of what is no point of the part, and turned and scaled for a detector.

Nothing is left out without a word: `Scan.notes` says what was, and how it can be had otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pointad_core.clouds.outliers import find_stray
from pointad_core.datasets.images import PHOTOGRAPHS, open_image, to_rgb
from pointad_core.datasets.scans import Organised, Unorganised
from pointad_core.errors import InputError
from pointad_core.formats import registry
from pointad_core.formats.missing import check_missing
from pointad_core.formats.unit import find_unit, metres_of
from pointad_core.predict.background import find_background
from pointad_core.predict.orientation import Facing

MOST = 8_000_000
"""Points of a scan at most: of more, none could be told apart in the views."""
FEWEST = 30
"""Points of a scan at least: of fewer, no surface can be drawn."""
COARSE = 500
"""Points below which the map says little."""
FARTHEST = 1e30
"""Size of a coordinate at most: squares of larger ones are too large for numbers of 8 bytes, or they are for 4."""
SEED = 111


@dataclass(frozen=True)
class Wanted:
    """What may be said of scans; the defaults find it."""

    unit: str | None = None
    facing: str | np.ndarray = "auto"
    """As `orientation.parse` gives it."""
    background: str = "auto"
    """"auto", "remove" or "none"."""
    stray: str = "remove"
    """"remove" or "keep"."""
    rgb: bool = True
    """Take a photograph in where there is one."""
    intrinsics: tuple[float, float, float, float] | None = None
    """fx, fy, cx, cy of depth images."""
    point_size: int | None = None
    """Side of a point's square when drawn, in window pixels; None for one that closes the gaps between points."""


@dataclass(frozen=True)
class Scan:
    """A scan of N points as it stands in its file, [N] being [H, W] of an organised one.

    points: f8 [N,3]; valid: bool [N], those that are not missing; kept: bool [N], those that are scored; colours: u1
    [N,3] in the file; photograph: u1 [H,W,3]; labels: bool [N]; unit: name in `formats.unit.UNITS`, None where it
    could not be found.
    """

    path: Path
    points: np.ndarray
    valid: np.ndarray
    kept: np.ndarray
    colours: np.ndarray | None
    photograph: np.ndarray | None
    labels: np.ndarray | None
    unit: str | None
    notes: tuple[str, ...]

    @property
    def organised(self) -> bool:
        """Whether the points lie on a grid."""
        return self.points.ndim == 3

    @property
    def grid(self) -> np.ndarray | None:
        """Points f8[H,W,3] of an organised scan, NaN where none is scored; None of any other."""
        return np.where(self.kept[..., None], self.points, np.nan) if self.organised else None

    @property
    def extent(self) -> float:
        """Longest side of the box of the points that are scored, in the file's unit."""
        return float(np.ptp(self.points[self.kept], axis=0).max())


def read_scan(path: Path, photograph: Path | None = None, wanted: Wanted | None = None) -> Scan:
    """Read a scan and find what of it is scored; InputError for what cannot be read or scored, naming the file."""
    wanted = wanted or Wanted()
    options = {"unit": wanted.unit, "intrinsics": wanted.intrinsics}
    reading = registry.read(path, **{key: value for key, value in options.items() if value is not None})
    points = reading.points
    if points.size > 3 * MOST:
        raise InputError(f"{path}: {points.size // 3} points, at most {MOST} are looked at; thin the scan first")
    missing = check_missing(path, points)
    notes = [*reading.notes, *missing.notes]
    valid = missing.valid
    if (farthest := float(np.abs(points[valid]).max())) > FARTHEST:
        raise InputError(f"{path}: a coordinate is {farthest:.3g} in size, at most {FARTHEST:g} can be; is it damaged?")
    kept = valid.copy()
    stray = np.zeros_like(valid)
    stray[valid] = find_stray(points[valid])
    if stray.any():
        count, told = int(stray.sum()), "were left out; --stray keep keeps them"
        if wanted.stray == "keep":
            told = "make the part small in its views"
        else:
            kept &= ~stray
        notes.append(f"{count} stray point{'s' * (count > 1)} far from the rest {told}")
    check_surface(points[kept], path)
    unit, about_unit = unit_of(reading.unit, points[kept])
    notes.append(about_unit)
    metres = metres_of(unit) if unit else None
    background, note = find_background(points, kept, metres, wanted.background, SEED, path)
    if note:
        kept &= ~background
        notes.append(note)
    check_surface(points[kept], path)
    if np.count_nonzero(kept) < COARSE:
        notes.append(f"only {np.count_nonzero(kept)} points: the map is coarse, and defects between them are not seen")
    image = None
    if wanted.rgb and points.ndim == 3:
        image, note = find_photograph(photograph, reading.colours, valid)
        notes += [note] if note else []
    elif wanted.rgb and photograph is not None:
        notes.append(f"the photograph {photograph} was left out: points in no order have no pixels that it could be of")
    return Scan(path, points, valid, kept, reading.colours, image, reading.labels, unit, tuple(filter(None, notes)))


def check_surface(points: np.ndarray, path: Path) -> None:
    """InputError for points [n,3] that make no surface."""
    if len(points) < FEWEST:
        raise InputError(f"{path}: {len(points)} point{'s' * (len(points) != 1)}, at least {FEWEST} are needed")
    if not np.ptp(points, axis=0).any():
        raise InputError(f"{path}: all {len(points)} points lie in one place")
    centred = points - points.mean(axis=0)
    widths = np.sqrt(np.clip(np.linalg.eigvalsh(centred.T @ centred), 0, None))
    if widths[1] <= 1e-6 * widths[2]:
        raise InputError(f"{path}: all {len(points)} points lie on one line")


def unit_of(said: str | None, points: np.ndarray) -> tuple[str | None, str]:
    """The unit of points [n,3], said by the file or the caller or else found from their size, and what a log says."""
    if said is not None:
        return said, ""
    try:
        return find_unit(float(np.linalg.norm(np.ptp(points, axis=0))))
    except InputError as error:
        # Scores do not depend on the unit: it is only said beside lengths.
        return None, f"unit unknown: {error}"


def find_photograph(path: Path | None, colours: np.ndarray | None, valid: np.ndarray) -> tuple[np.ndarray | None, str]:
    """The photograph u1[H,W,3] of a scan's pixels, from its own file or the colours in the scan's, and a note."""
    if path is None:
        # Scanners without a camera write one colour for all.
        if colours is None or not np.ptp(colours[valid], axis=0).any():
            return None, ""
        return colours, "its own colours are its photograph (--no-rgb leaves them out)"
    image, wide = open_image(path, PHOTOGRAPHS)
    height, width = valid.shape
    if image.size != (width, height):
        told = f"{image.width} x {image.height} pixels, the scan {width} x {height}"
        return None, f"the photograph {path} was left out: it has {told}"
    return to_rgb(path, image, wide), f"with the photograph {path} (--no-rgb leaves it out)"


def spacing(points: np.ndarray) -> float:
    """Median distance from one of points [n,3] to the nearest other, in units of their longest extent along their
    principal axes, which turn with them."""
    from scipy.spatial import KDTree

    from pointad_core.clouds.subsets import random_subset

    some = points[random_subset(len(points), 2000).numpy()]
    distances, _ = KDTree(points).query(some, k=2)
    centred = points - points.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    return float(np.median(distances[:, 1]) / np.ptp(centred @ axes, axis=0).max())


def prepare(scan: Scan, facing: Facing, tilt: float, extent: float) -> Organised | Unorganised:
    """A scan as a detector takes it: its front where views with this tilt (degrees) have theirs, and scaled by a power
    of ten to a size near `extent`, so that no unit plays a part; inches become millimetres before."""
    from pointad_core.rendering.views import rotations

    front = rotations([[tilt, 0.0, 0.0]])[0].numpy()
    turn = front.T @ facing.frame
    # A right angle's cosine is 0 but for its last digit, by which a scan that need not turn would.
    nearest = np.rint(turn)
    turn = nearest if np.allclose(turn, nearest, atol=1e-9) else turn
    metric = 25.4 if scan.unit == "inch" else 1.0
    scale = metric * 10.0 ** round(np.log10(extent / (scan.extent * metric)))
    # Missing ones may be infinite, which cannot be turned.
    points, kept = np.where(scan.kept[..., None], scan.points, 0.0), scan.points[scan.kept]
    if not np.array_equal(turn, np.eye(3)):
        points = (points - (kept.min(axis=0) + kept.max(axis=0)) / 2) @ turn.T
    if scale != 1:
        points = points * scale
    if not scan.organised:
        return Unorganised(points[scan.kept], None)
    image = scan.photograph
    if image is not None:
        image = np.where((scan.valid & ~scan.kept)[..., None], 0, image).astype(np.uint8)
    return Organised(np.where(scan.kept[..., None], points, 0.0), scan.kept, image, None)
