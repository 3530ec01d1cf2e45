"""Generator of small data sets in the published layouts, so that the workflow runs without downloads.

The scans go through the same readers as real data. Each has a seed of its own, made of the data set's seed, its
category and its index: more scans append, and the same seed gives the same bytes.
"""

import json
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tifffile

from pointad_core.datasets.generator import catalogue
from pointad_core.datasets.generator.camera import Camera, Picture, cell_index, take_picture
from pointad_core.datasets.generator.defects import make_scanned
from pointad_core.datasets.generator.files import as_file, png, write
from pointad_core.datasets.generator.point_clouds import (
    anomaly_shapenet_scan,
    mulsen_ad_scan,
    mulsen_ad_table,
    real3d_prototype,
    real3d_scan,
    real3d_template,
)
from pointad_core.datasets.generator.shapes import Random, Shape
from pointad_core.datasets.scans import GOOD, TEST, TRAIN
from pointad_core.storage import jobs
from pointad_core.storage.shards import WHOLE, holds


def generate_category(
    root: str | os.PathLike[str],
    layout: str,
    category: str,
    scans: Sequence[int],
    seed: int,
    shard: str = WHOLE,
    split: str = TEST,
    count: int | None = None,
) -> None:
    """Write the raw files of a category (`catalogue.generated_files`) under the data set's folder `root`.

    layout: one of `catalogue.CATEGORIES`; scans: numbers of the scans, from 0 on, every second one defective, or none
    of the split `train`; those of a shard, or all; count: scans of the whole split, which a shard with the first one
    must be told where a layout has tables of them. Other scans of the split and shard, which an earlier run with more
    scans has left, are deleted: a reader takes every scan that is there. Raises InputError for a category or layout
    that cannot be generated. A file that exists under its name is whole.
    """
    root = Path(root)
    count = max(scans) + 1 if count is None else count
    defects = catalogue.generated_defects(layout, category, count, split)
    files = list(catalogue.generated_scans(layout, category, count, split).values())
    written = {root / path for index in scans for path in files[index].values()}
    for found in (root / category).rglob("*"):
        name = catalogue.generated_name(layout, found.relative_to(root / category).as_posix(), split)
        if name is not None and holds(shard, name) and found not in written and found.is_file():
            found.unlink()
    extra = catalogue.generated_extra(layout, category, count)
    if 0 in scans and split == TEST:
        for found in set(root.glob(catalogue.table_of(category, "*"))) - {root / path for path in extra.values()}:
            found.unlink()
        for role, path in extra.items():
            write(root / path, make_extra(layout, category, role, seed, defects))
    make = real3d_prototype if (layout, split) == ("real3d", TRAIN) else SCANS[layout]
    use = "scan" if split == TEST else split
    for index in jobs.progress(scans, f"generate {category}"):
        places = {role: path for role, path in files[index].items() if path not in extra.values()}
        contents = make(category, defects[index], scan_random(seed, category, index, use)) if places else {}
        for role, path in places.items():
            write(root / path, contents[role])


def make_extra(layout: str, category: str, role: str, seed: int, defects: Sequence[str]) -> bytes:
    """Content of a file of `catalogue.generated_extra`, of a test split with these defects."""
    if layout == "mulsen_ad":
        kinds = [kind for kind in defects if catalogue.WORDS[layout][kind] == role]
        return mulsen_ad_table(len(kinds), kinds[0] != GOOD, kinds[0] not in (GOOD, "stain"))
    return EXTRA[role](category, scan_random(seed, category, 0, role))


def scan_random(seed: int, category: str, index: int, use: str) -> Random:
    """Generator of one scan, independent of every other one's."""
    return np.random.default_rng([seed, zlib.crc32(category.encode()), index, zlib.crc32(use.encode())])


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


SCANS = {
    "mvtec3d": mvtec3d_scan,
    "eyecandies": eyecandies_scan,
    "real3d": real3d_scan,
    "anomaly_shapenet": anomaly_shapenet_scan,
    "mulsen_ad": mulsen_ad_scan,
}
EXTRA = {"calibration": mvtec3d_calibration, "template": real3d_template}
