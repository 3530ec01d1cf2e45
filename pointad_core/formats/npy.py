"""NPY and NPZ: NumPy's arrays, [N,3] or organised [H,W,3]; nothing in them is executed."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.errors import InputError
from pointad_core.formats.colours import join_colours
from pointad_core.formats.columns import as_labels
from pointad_core.formats.reading import LARGEST_UNZIPPED, Reading, load, seems, shorten
from pointad_core.formats.unit import metres_of

POINTS = ("points", "xyz", "pts", "pc", "cloud", "positions", "vertices", "coords")
COLOURS = ("colours", "colors", "rgb", "colour", "color")
LABELS = ("labels", "label", "gt", "mask", "ground_truth")
"""Names of arrays in an npz."""

MOST_COLUMNS = 16
"""Numbers of a point in a row: with more, the array is a depth image, or [3,N]."""


def read(path: Path, unit: str | None = None, key: str | None = None, **_: Any) -> Reading:
    """Points of an array [N,3], [H,W,3], or of the first three of N rows of more columns.

    unit: what its numbers count, which an array of integers cannot do without; key: name of the points in an npz,
    which else are the only array, or called points or xyz (and colours and labels as one would call them).

    Raises InputError for another shape or type, rows of more than 16 columns, objects, and an npz with several arrays
    of which none is so called.
    """
    content, notes = load(path)
    if content.startswith(b"\x93NUMPY"):
        array, colours, labels = as_array(path, path.name, content), None, None
    elif content.startswith(b"PK"):
        array, colours, labels = read_npz(path, content, key)
    else:
        raise InputError(f"{path}: not an npy or npz{seems(content)}")
    if array.ndim == 2 and MOST_COLUMNS >= array.shape[1] > 3:
        notes += (f"{array.shape[1] - 3} further columns are not read",)
        array = array[:, :3]
    if array.ndim not in (2, 3) or array.shape[-1] != 3 or array.size == 0 or array.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: array of shape {array.shape} and type {array.dtype}, expected numbers [N,3] or [H,W,3]"
        )
    if array.dtype.kind != "f":
        if unit is None:
            raise InputError(f"{path}: its numbers are integers ({array.dtype}); give the unit that they count")
        metres_of(unit)
    shape = array.shape[:-1]
    if colours is not None:
        if colours.shape != array.shape:
            raise InputError(f"{path}: colours of shape {colours.shape} for points of shape {array.shape}")
        flat = colours.reshape(-1, 3)
        colours = join_colours(path, [flat[:, at] for at in range(3)]).reshape(array.shape)
    if labels is not None:
        if labels.shape != shape:
            raise InputError(f"{path}: labels of shape {labels.shape} for points of shape {array.shape}")
        labels = as_labels(path, labels.ravel() * 1, lambda row: f"label of point {row}").reshape(shape)
    with np.errstate(invalid="ignore"):
        return Reading(np.ascontiguousarray(array, np.float64), colours, labels, unit, notes)


def as_array(path: Path, name: str, content: bytes) -> np.ndarray:
    """An array, whose header must not announce more than there is."""
    try:
        file = io.BytesIO(content)
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = header(file)
        announced = int(np.prod(shape, dtype=object)) * kind.itemsize
        left = len(content) - file.tell()
        if announced > left:
            raise InputError(f"{path}: {shorten(name)} announces {announced} bytes, but has {left}")
        return np.load(io.BytesIO(content), allow_pickle=False)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: {shorten(name)} is no readable array ({' '.join(str(error).split())})") from None


def read_npz(path: Path, content: bytes, key: str | None) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Points, colours and labels of an npz."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {
                info.filename.removesuffix(".npy"): info
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
            found = ", ".join(members) or "none"
            if not members:
                raise InputError(f"{path}: a zip archive without arrays, not an npz")
            names = {name.lower(): name for name in members}
            if key is not None and key not in members:
                raise InputError(f"{path}: has no array {shorten(key)}; it has {found}")
            chosen = key or next((names[name] for name in POINTS if name in names), None)
            if chosen is None and len(members) == 1:
                chosen = next(iter(members))
            if chosen is None:
                raise InputError(
                    f"{path}: which array holds the points? It has {found}; call it points or name the key"
                )
            wanted = {"points": chosen}
            wanted |= {
                role: names[name]
                for role, known in (("colours", COLOURS), ("labels", LABELS))
                for name in known
                if name in names and names[name] != chosen
            }
            size = sum(members[name].file_size for name in wanted.values())
            if size > LARGEST_UNZIPPED:
                raise InputError(f"{path}: unzips to {size >> 20} MiB, more than {LARGEST_UNZIPPED >> 20}")
            arrays = {role: as_array(path, name, archive.read(members[name])) for role, name in wanted.items()}
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: not a whole npz ({' '.join(str(error).split())})") from None
    return arrays["points"], arrays.get("colours"), arrays.get("labels")
