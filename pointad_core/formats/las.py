"""LAS and LAZ, by the packages laspy and lazrs (`pip install pointad_core[las]`)."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.errors import InputError
from pointad_core.formats.colours import join_colours
from pointad_core.formats.columns import RGB, as_labels, canonical
from pointad_core.formats.reading import Reading, load, seems

RECORD_SIZE = 54
"""Bytes of a variable length record at least."""


def read(path: Path, unit: str | None = None, **_: Any) -> Reading:
    """Points of a las or laz in double, as large as they may be; colours, and labels of a dimension with that name.

    Raises InputError for what is none, is damaged, or has coordinates that did not fit when it was written.
    """
    try:
        import laspy
    except ImportError:
        raise InputError(f"{path}: las and laz take packages more: pip install 'pointad_core[las]'") from None
    content, notes = load(path)
    if not content.startswith(b"LASF"):
        raise InputError(f"{path}: not a las or laz{seems(content)}")
    # The package would read as many records as a damaged header says, beyond the end of the file.
    (n_records,) = struct.unpack_from("<I", content.ljust(104, b"\0"), 100)
    if n_records * RECORD_SIZE > len(content):
        raise InputError(f"{path}: the header says {n_records} records, but it has {len(content)} bytes")
    try:
        with laspy.open(io.BytesIO(content), read_evlrs=False) as file:
            header = file.header
            # Compressed, a point takes more than a hundredth of a byte.
            least = header.point_count * (0.01 if header.are_points_compressed else header.point_format.size)
            if least > len(content):
                raise InputError(
                    f"{path}: the header says {header.point_count} points, but it has {len(content)} bytes"
                )
            las = file.read()
    except InputError:
        raise
    except BaseException as error:
        # A damaged file may end in an error of the unpacker's own kind, which is no Exception.
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise InputError(f"{path}: not a readable las or laz ({' '.join(str(error).split())})") from None
    if len(las.points) == 0:
        raise InputError(f"{path}: no points")
    if len(las.points) != header.point_count:
        raise InputError(f"{path}: the header says {header.point_count} points, but {len(las.points)} follow")
    limits = np.iinfo(np.int32)
    for name in "XYZ":
        stuck = np.count_nonzero(np.isin(las[name], (limits.min, limits.max)))
        if stuck:
            raise InputError(
                f"{path}: {name.lower()} of {stuck} points did not fit into the file when it was written, which has "
                "an offset or a scale that is too small"
            )
    points = np.stack([np.asarray(las[name], np.float64) for name in "xyz"], axis=1)
    names = {canonical(name): name for name in las.point_format.dimension_names}
    colours = join_colours(path, [np.asarray(las[names[name]]) for name in RGB]) if names.keys() >= set(RGB) else None
    labels = None
    if "label" in names:
        labels = as_labels(path, np.asarray(las[names["label"]]), lambda row: f"label of point {row}")
    return Reading(points, colours if colours is not None and colours.any() else None, labels, unit, notes)
