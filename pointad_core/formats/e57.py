"""E57: scanners' files of one or several scans, by the package e57 (`pip install pointad_core[e57]`)."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from pointad_core.errors import InputError
from pointad_core.formats.reading import Reading, load, seems


def read(path: Path, unit: str | None = None, **_: Any) -> Reading:
    """Points of all scans of an e57 in their common frame, in metres as the standard says, in double.

    Points that the file itself marks as invalid are left out. Raises InputError for what is no e57, or damaged.
    """
    try:
        import e57
    except ImportError:
        raise InputError(f"{path}: e57 takes a package more: pip install 'pointad_core[e57]'") from None
    content, notes = load(path)
    if notes:
        raise InputError(f"{path}: an e57 cannot be read gzipped; unpack it first")
    if not content.startswith(b"ASTM-E57"):
        raise InputError(f"{path}: not an e57{seems(content)}")
    try:
        scans = e57.read_points(str(path))
        xml = e57.raw_xml(str(path))
    except BaseException as error:
        # A damaged file may end in an error of the package's own kind, which is no Exception.
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise InputError(f"{path}: not a readable e57 ({' '.join(str(error).split())})") from None
    points = np.asarray(scans.points, np.float64).reshape(-1, 3)
    if len(points) == 0:
        raise InputError(f"{path}: no points, or none that is valid")
    xml = xml.decode("utf-8", "replace") if isinstance(xml, bytes) else xml
    counts = [int(count) for count in re.findall(r"<points\b[^>]*\brecordCount=\"(\d+)\"", xml)]
    if len(counts) > 1:
        notes += (f"{len(counts)} scans in their common frame",)
    if sum(counts) > len(points):
        notes += (f"{sum(counts) - len(points)} of {sum(counts)} points are marked as invalid and left out",)
    colours = np.asarray(scans.color)
    # Where not all scans have colours, the package gives none.
    has_colours = colours.shape == points.shape
    return Reading(points, np.round(colours * 255).astype(np.uint8) if has_colours else None, None, unit or "m", notes)
