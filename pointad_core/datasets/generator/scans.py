"""Generator of small data sets in exactly the three published layouts, so that the workflow runs without downloads.

The scans go through the same readers as real data. Each has a seed of its own, made of the data set's seed, its
category and its index: more scans append, and the same seed gives the same bytes.
"""

import io
import json
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from pointad_core.datasets.generator import catalogue
from pointad_core.datasets.generator.camera import Camera, Picture, cell_index, sample_surface, take_picture
from pointad_core.datasets.generator.defects import add_defect
from pointad_core.datasets.generator.shapes import Random, Shape, make_shape
from pointad_core.datasets.scans import GOOD, TEST, TRAIN
from pointad_core.storage import jobs
from pointad_core.storage.files import replacing
from pointad_core.storage.shards import WHOLE, holds


def generate_category(
    root: str | os.PathLike[str],
    layout: str,
    category: str,
    scans: Sequence[int],
    seed: int,
    shard: str = WHOLE,
    split: str = TEST,
) -> None:
    """Write the raw files of a category (`catalogue.generated_files`) under the data set's folder `root`.

    layout: "mvtec3d", "eyecandies" or "real3d"; scans: numbers of the scans, from 0 on, every second one defective, or
    none of the split `train`; those of a shard, or all. Other scans of the split and shard, which an earlier run with
    more scans has left, are deleted: a reader takes every scan that is there. Raises InputError for a category or
    layout that cannot be generated. A file that exists under its name is whole.
    """
    root = Path(root)
    defects = catalogue.generated_defects(layout, category, max(scans) + 1, split)
    files = list(catalogue.generated_scans(layout, category, max(scans) + 1, split).values())
    written = {root / path for index in scans for path in files[index].values()}
    for found in (root / category).rglob("*"):
        name = catalogue.generated_name(layout, found.relative_to(root / category).as_posix(), split)
        if name is not None and holds(shard, name) and found not in written and found.is_file():
            found.unlink()
    extra = catalogue.generated_extra(layout, category)
    for role, path in extra.items() if 0 in scans and split == TEST else ():
        write(root / path, EXTRA[role](category, scan_random(seed, category, 0, role)))
    make = real3d_prototype if (layout, split) == ("real3d", TRAIN) else SCANS[layout]
    use = "scan" if split == TEST else split
    for index in jobs.progress(scans, f"generate {category}"):
        places = {role: path for role, path in files[index].items() if path not in extra.values()}
        contents = make(category, defects[index], scan_random(seed, category, index, use)) if places else {}
        for role, path in places.items():
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


def as_file(save: Callable[..., Any], *args: Any, **options: Any) -> bytes:
    """What a library writes that takes a file first."""
    buffer = io.BytesIO()
    save(buffer, *args, **options)
    return buffer.getvalue()


def png(pixels: np.ndarray) -> bytes:
    """Pixels u1[H,W], u1[H,W,3] or u2[H,W] as a PNG file."""
    return as_file(Image.fromarray(pixels).save, "png", compress_level=1)


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


def mvtec3d_scan(category: str, defect: str, rng: Random) -> dict[str, bytes]:
    """Files xyz, rgb and gt of an organised scan with a tilted background plane and missing pixels."""
    unit, side = MVTEC_UNIT[category], (MVTEC_SIDE, MVTEC_SIDE)
    camera = Camera(np.radians(rng.uniform(75, 79)), MVTEC_DISTANCE / unit, MVTEC_FOCAL, side)
    shape = make_scanned(category, defect, -camera.axes[2], rng)
    picture = take_picture(shape, camera, (0.025, 0.025, 0.028))

    noise = np.where(picture.on_shape, 5e-5, 2.5e-4).astype(np.float32)
    depth = picture.depth * np.float32(unit) + noise * rng.standard_normal(side, np.float32)
    # The published files are rounded to a tenth of a millimetre as well.
    points = np.round((camera.rays() @ camera.axes.T.astype(np.float32)) * depth[..., None], 4).astype(np.float32)
    points[missing(shape, picture, camera, rng)] = 0

    brightness = light(picture, ((-0.5, 0.3, 1, 0.55), (0.6, -0.2, 1, 0.35)), 0.12)
    rgb = picture.colour * brightness[..., None] + 0.008 * rng.standard_normal((*side, 3), np.float32)
    # Each kind of defect has a grey value of its own, and tiffs a row a strip, as the published files have.
    gt = picture.defect * np.uint8(0 if defect == GOOD else 255 - catalogue.KINDS.index(defect))
    tiff = {"photometric": "rgb", "rowsperstrip": 1, "metadata": None, "software": "pointad_core"}
    return {"xyz": as_file(tifffile.imwrite, points, **tiff), "rgb": png(to_bytes(rgb)), "gt": png(gt)}


def missing(shape: Shape, picture: Picture, camera: Camera, rng: Random) -> np.ndarray:
    """bool[H,W]: pixels without a point: much of the dark background, a few on the object, its shadow and its edges."""
    gone = rng.random(picture.depth.shape, np.float32) < np.where(picture.on_shape, 0.012, 0.42)
    x, y, z = (picture.places[..., axis] for axis in range(3))
    flat = shape.height.reshape(-1)
    # The projector stands to the right: what is behind something higher than its rays is not lit.
    for way in (0.06, 0.12, 0.2, 0.3, 0.4):
        gone |= flat[cell_index(x + np.float32(way), y)] > z + np.float32(0.02 + 2.2 * way)
    grazing = (picture.normals @ -camera.axes[2].astype(np.float32)) < 0.2
    return gone | (grazing & (rng.random(picture.depth.shape, np.float32) < 0.7))


def mvtec3d_calibration(category: str, rng: Random) -> bytes:
    """The camera of all scans of a category; its keys are those of the published file."""
    focus = 0.0103431
    pitch = focus / MVTEC_FOCAL
    content = {"camera_type": "area_scan_division", "focus": focus, "kappa": 0.0, "sx": pitch, "sy": pitch}
    content |= {"cx": MVTEC_SIDE / 2, "cy": MVTEC_SIDE / 2, "image_width": MVTEC_SIDE, "image_height": MVTEC_SIDE}
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
    side: (x, y, 0.9, 0.85) for side, x, y in (("bottom", 0, -1), ("right", 1, 0), ("top", 0, 1), ("left", -1, 0))
}
EYECANDIES_MASKS = {"bumps": "bump contamination", "dents": "dent hole", "colors": "stain", "normals": "crack cut"}
"""Which kinds of defects each of the four masks shows."""


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
    files["pose.txt"] = as_file(np.savetxt, EYECANDIES_POSE)

    mask = picture.defect.astype(np.uint8) * 255
    for name, kinds in EYECANDIES_MASKS.items():
        files[f"{name}_mask.png"] = png(mask if defect in kinds.split() else np.zeros_like(mask))
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
    return {"pcd": pcd(points), "gt": as_file(np.savetxt, np.c_[points, labels], "%.6f %.6f %.6f %d")}


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


def real3d_prototype(category: str, defect: str, rng: Random) -> dict[str, bytes]:
    """File pcd of a good object as the scanner sees it from all sides: both of its scans, put together."""
    shape = make_scanned(category, defect, np.array([0.0, 0.0, 1.0]), rng)
    top, _ = sample_surface(shape, 26_000, rng)
    bottom, _ = sample_surface(shape, 22_000, rng)
    points = np.concatenate([top, bottom * (1, 1, 0)])
    points += 0.0008 * rng.standard_normal(points.shape)
    return {"pcd": pcd((points @ small_turn(rng).T * REAL3D_UNIT).astype(np.float32))}


SCANS = {"mvtec3d": mvtec3d_scan, "eyecandies": eyecandies_scan, "real3d": real3d_scan}
EXTRA = {"calibration": mvtec3d_calibration, "template": real3d_template}
