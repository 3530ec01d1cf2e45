"""Generator of small data sets in exactly the three published layouts, so that the workflow runs without downloads.

The scans go through the same readers as real data. Each has a seed of its own, made of the data set's seed, its
category and its index: more scans append, and the same seed gives the same bytes.
"""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pointad_core.datasets.generator.camera import (
    Camera,
    Picture,
    cell_index,
    interpolate,
    surface_normals,
    take_picture,
)
from pointad_core.datasets.generator.catalogue import (
    KINDS,
    generated_defects,
    generated_extra,
    generated_name,
    generated_scans,
)
from pointad_core.datasets.generator.defects import add_defect
from pointad_core.datasets.generator.shapes import CELL, CELLS, EXTENT, Random, Shape, make_shape
from pointad_core.datasets.scans import GOOD
from pointad_core.storage import jobs
from pointad_core.storage.files import replacing
from pointad_core.storage.shards import WHOLE, holds


def generate_category(
    root: str | os.PathLike[str], layout: str, category: str, scans: Sequence[int], seed: int, shard: str = WHOLE
) -> None:
    """Write the raw files of a category (`catalogue.generated_files`) under the data set's folder `root`.

    layout: "mvtec3d", "eyecandies" or "real3d"; scans: numbers of the scans, from 0 on, every second one defective;
    those of a shard, or all. Other scans of the shard, which an earlier run with more scans has left, are deleted: a
    reader takes every scan that is there. Raises InputError for a category or layout that cannot be generated. A file
    that exists under its name is whole.
    """
    root = Path(root)
    defects = generated_defects(layout, category, max(scans) + 1)
    files = list(generated_scans(layout, category, max(scans) + 1).values())
    written = {root / path for index in scans for path in files[index].values()}
    for found in (root / category).rglob("*"):
        name = generated_name(layout, found.relative_to(root / category).as_posix())
        if name is not None and holds(shard, name) and found not in written and found.is_file():
            found.unlink()
    for role, path in generated_extra(layout, category).items() if 0 in scans else ():
        write(root / path, EXTRA[role](category, scan_random(seed, category, 0, role)))
    for index in jobs.progress(scans, f"generate {category}"):
        rng = scan_random(seed, category, index, "scan")
        contents = SCANS[layout](category, defects[index], rng)
        for role, path in files[index].items():
            write(root / path, contents[role])


def scan_random(seed: int, category: str, index: int, use: str) -> Random:
    """Generator of one scan, independent of every other one's."""
    return np.random.default_rng([seed, zlib.crc32(category.encode()), index, zlib.crc32(use.encode())])


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def make_scanned(category: str, defect: str, toward: np.ndarray, rng: Random) -> Shape:
    shape = make_shape(category, rng)
    if defect != GOOD:
        add_defect(shape, defect, toward, rng)
    return shape


def png(pixels: np.ndarray) -> bytes:
    """Pixels u1[H,W], u1[H,W,3] or u2[H,W] as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Intensities of 0..1 as u1."""
    return np.clip(values * 255 + 0.5, 0, 255).astype(np.uint8)


def light(picture: Picture, lamps: Iterable[tuple[float, float, float, float]], ambient: float) -> np.ndarray:
    """Brightness f4[H,W] of a matt surface under lamps (x, y, z, strength) far away."""
    total = np.full(picture.depth.shape, ambient, np.float32)
    for x, y, z, strength in lamps:
        direction = np.array([x, y, z]) / np.linalg.norm([x, y, z])
        total += strength * np.maximum(picture.normals @ direction.astype(np.float32), 0)
    return total


# MVTec 3D-AD ---------------------------------------------------------------------------------------------------------

MVTEC_SIDE = 400
MVTEC_DISTANCE = 0.66
"""Metres from the camera to the ground; a picture shows about 14 cm of it."""

MVTEC_FOCAL = MVTEC_SIDE / 0.14 * MVTEC_DISTANCE
MVTEC_UNIT = {"bagel": 0.050, "cable_gland": 0.042, "carrot": 0.052, "cookie": 0.050}
"""Metres that the unit of a shape stands for."""

MVTEC_GREYS = {kind: 255 - index for index, kind in enumerate(KINDS)}
"""The grey value of each kind of defect in the ground truth, as in the published files."""


def mvtec3d_scan(category: str, defect: str, rng: Random) -> dict[str, bytes]:
    """Files xyz, rgb and gt of an organised scan with a tilted background plane and missing pixels."""
    unit = MVTEC_UNIT[category]
    side = (MVTEC_SIDE, MVTEC_SIDE)
    camera = Camera(np.radians(rng.uniform(75, 79)), MVTEC_DISTANCE / unit, MVTEC_FOCAL, side)
    shape = make_scanned(category, defect, -camera.axes[2], rng)
    picture = take_picture(shape, camera, (0.025, 0.025, 0.028))

    noise = np.where(picture.on_shape, 5e-5, 2.5e-4).astype(np.float32)
    depth = picture.depth * np.float32(unit) + noise * rng.standard_normal(side, np.float32)
    frame = (camera.rays() @ camera.axes.T.astype(np.float32)) * depth[..., None]
    # The published files are rounded to a tenth of a millimetre as well.
    points = np.round(frame, 4).astype(np.float32)
    points[missing(shape, picture, camera, rng)] = 0

    lamps = ((-0.5, 0.3, 1, 0.55), (0.6, -0.2, 1, 0.35))
    rgb = picture.colour * light(picture, lamps, 0.12)[..., None]
    rgb = rgb + 0.008 * rng.standard_normal((*side, 3), np.float32)
    gt = np.where(picture.defect, MVTEC_GREYS.get(defect, 0), 0).astype(np.uint8)
    return {"xyz": tiff(points), "rgb": png(to_bytes(rgb)), "gt": png(gt)}


def missing(shape: Shape, picture: Picture, camera: Camera, rng: Random) -> np.ndarray:
    """bool[H,W]: pixels without a point: much of the dark background, a few on the object, its shadow and its edges."""
    chance = np.where(picture.on_shape, 0.012, 0.42)
    gone = rng.random(picture.depth.shape, np.float32) < chance
    x, y, z = (picture.places[..., axis] for axis in range(3))
    flat = shape.height.reshape(-1)
    # The projector stands to the right: what is behind something higher than its rays is not lit.
    for way in (0.06, 0.12, 0.2, 0.3, 0.4):
        gone |= flat[cell_index(x + np.float32(way), y)] > z + np.float32(0.02 + 2.2 * way)
    grazing = (picture.normals @ -camera.axes[2].astype(np.float32)) < 0.2
    return gone | (grazing & (rng.random(picture.depth.shape, np.float32) < 0.7))


def tiff(points: np.ndarray) -> bytes:
    """Points f4[H,W,3] as an uncompressed tiff with one row a strip, as the published files are."""
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, points, photometric="rgb", rowsperstrip=1, metadata=None, software="pointad_core")
    return buffer.getvalue()


def mvtec3d_calibration(category: str, rng: Random) -> bytes:
    """The camera of all scans of a category; its keys are those of the published file."""
    focus = 0.0103431
    pitch = focus / MVTEC_FOCAL
    content = {
        "camera_type": "area_scan_division",
        "focus": focus,
        "kappa": 0.0,
        "sx": pitch,
        "sy": pitch,
        "cx": MVTEC_SIDE / 2,
        "cy": MVTEC_SIDE / 2,
        "image_width": MVTEC_SIDE,
        "image_height": MVTEC_SIDE,
    }
    return (json.dumps(content, indent=2) + "\n").encode()


# Eyecandies ----------------------------------------------------------------------------------------------------------

EYECANDIES_SIDE = 512
EYECANDIES_FOCAL = 711.11
EYECANDIES_UNIT = 0.55
EYECANDIES_DISTANCE = 2.2
"""Metres; the candy, about a metre across as in the published data, then fills the picture."""

# Turned by 45 degrees about x, the camera's frame becomes the one from which the view set turns back by 45.
_HALF = np.sqrt(0.5)
EYECANDIES_POSE = np.array([[1, 0, 0, 0], [0, _HALF, -_HALF, 0.4], [0, _HALF, _HALF, -0.3], [0, 0, 0, 1]])

EYECANDIES_LAMPS = {
    "bottom": (0.0, -1.0, 0.9, 0.85),
    "right": (1.0, 0.0, 0.9, 0.85),
    "top": (0.0, 1.0, 0.9, 0.85),
    "left": (-1.0, 0.0, 0.9, 0.85),
}
EYECANDIES_MASKS = {
    "bump": "bumps",
    "contamination": "bumps",
    "dent": "dents",
    "hole": "dents",
    "crack": "normals",
    "cut": "normals",
    "stain": "colors",
}
"""Which of the four masks shows a kind of defect."""


def eyecandies_scan(category: str, defect: str, rng: Random) -> dict[str, bytes]:
    """The 17 files of a sample: six images, depth, normals, pose, masks and metadata."""
    side = (EYECANDIES_SIDE, EYECANDIES_SIDE)
    pitch = np.radians(rng.uniform(43, 47))
    camera = Camera(pitch, EYECANDIES_DISTANCE / EYECANDIES_UNIT, EYECANDIES_FOCAL, side)
    shape = make_scanned(category, defect, -camera.axes[2], rng)
    picture = take_picture(shape, camera, (0.55, 0.54, 0.53))

    spots = list(EYECANDIES_LAMPS.values())
    everything = light(picture, [(*lamp[:3], 0.3 * lamp[3]) for lamp in spots], 0.15)
    lights = [everything, *(light(picture, [lamp], 0.06) for lamp in spots), light(picture, [(0, 0, 1, 0.3)], 0.55)]
    files = {f"image_{index}.png": png(to_bytes(picture.colour * lit[..., None])) for index, lit in enumerate(lights)}

    depth = picture.depth.astype(np.float64) * EYECANDIES_UNIT
    low, high = float(depth.min()), float(depth.max())
    files["depth.png"] = png(np.round((depth - low) / (high - low) * 65535).astype(np.uint16))
    files["info_depth.yaml"] = f"normalization:\n  max: {high!r}\n  min: {low!r}\n".encode()
    files["normals.png"] = png(to_bytes((picture.normals @ camera.axes.T.astype(np.float32)) * (1, -1, -1) / 2 + 0.5))
    files["pose.txt"] = "".join(" ".join(f"{number:.18e}" for number in row) + "\n" for row in EYECANDIES_POSE).encode()

    empty = np.zeros(side, np.uint8)
    mask = picture.defect.astype(np.uint8) * 255
    for kind in ("bumps", "dents", "colors", "normals"):
        files[f"{kind}_mask.png"] = png(mask if EYECANDIES_MASKS.get(defect) == kind else empty)
    files["mask.png"] = png(mask)
    files["metadata.yaml"] = f"anomalous: {int(defect != GOOD)}\n".encode()
    files["obj_params.yaml"] = f"pitch: {float(np.degrees(pitch))!r}\ndefect: {defect}\n".encode()
    return files


# Real3D-AD -----------------------------------------------------------------------------------------------------------

REAL3D_UNIT = 15.0
"""Millimetres that the unit of a shape stands for."""


def real3d_scan(category: str, defect: str, rng: Random) -> dict[str, bytes]:
    """Files pcd and, for a defect, gt of a scan from one side, the scanner looking along z."""
    shape = make_scanned(category, defect, np.array([0.0, 0.0, 1.0]), rng)
    points, labels = sample_surface(shape, int(rng.integers(22_000, 30_000)), rng)
    points += 0.0008 * rng.standard_normal(points.shape)
    points = (points @ small_turn(rng).T * REAL3D_UNIT).astype(np.float32)
    rows = "".join(
        f"{x:.6f} {y:.6f} {z:.6f} {label}\n"
        for (x, y, z), label in zip(points.tolist(), labels.astype(int).tolist(), strict=True)
    )
    return {"pcd": pcd(points), "gt": rows.encode()}


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


def small_turn(rng: Random) -> np.ndarray:
    """A rotation f8[3,3] by up to eight degrees about x and y."""
    (cos_a, cos_b), (sin_a, sin_b) = (function(np.radians(rng.uniform(-8, 8, 2))) for function in (np.cos, np.sin))
    about_x = np.array([[1, 0, 0], [0, cos_a, -sin_a], [0, sin_a, cos_a]])
    about_y = np.array([[cos_b, 0, sin_b], [0, 1, 0], [-sin_b, 0, cos_b]])
    return about_x @ about_y


def pcd(points: np.ndarray) -> bytes:
    """Points f4[n,3] as a binary pcd file."""
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        f"WIDTH {len(points)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(points)}\nDATA binary\n"
    )
    return header.encode() + points.astype("<f4").tobytes()


def real3d_template(category: str, rng: Random) -> bytes:
    """A prototype without defect, closed by its flat underside."""
    shape = make_shape(category, rng)
    top, _ = sample_surface(shape, 5000, rng)
    bottom, _ = sample_surface(shape, 3000, rng)
    return pcd((np.concatenate([top, bottom * (1, 1, 0)]) * REAL3D_UNIT).astype(np.float32))


SCANS: dict[str, Callable[[str, str, Random], dict[str, bytes]]] = {
    "mvtec3d": mvtec3d_scan,
    "eyecandies": eyecandies_scan,
    "real3d": real3d_scan,
}
EXTRA: dict[str, Callable[[str, Random], bytes]] = {"calibration": mvtec3d_calibration, "template": real3d_template}
