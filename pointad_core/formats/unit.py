"""Units of length by their names, and which one a scan's size speaks for."""

from pointad_core.errors import InputError

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "um": 1e-6, "inch": 0.0254}
"""Metres of each."""

LARGEST = 3.0
"""Metres across that a scanned part has at most, where a unit is found from its size."""
SMALLEST = 0.003


def find_unit(extent: float) -> tuple[str, str]:
    """The unit, of "m", "mm" and "um", in which a scan of this extent is 3 mm to 3 m across, and a line that says so.

    extent: the diagonal of the points' box in the file's unit. Centimetres and inches cannot be told from the others,
    so that the line asks for the unit where it is one of these. Raises InputError for an extent that is 0, infinite
    or sensible in none.
    """
    for unit in ("m", "mm", "um"):
        size = extent * UNITS[unit]
        if SMALLEST <= size <= LARGEST:
            return unit, (
                f"unit taken as {unit}, for the scan is {extent:.4g} across, which makes {describe(size)}; "
                f"give the unit if it is another ({', '.join(UNITS)})"
            )
    raise InputError(
        f"the scan is {extent:.4g} across, no sensible size of a part in m, mm or um ({describe(SMALLEST)} to "
        f"{describe(LARGEST)}); give the unit ({', '.join(UNITS)})"
    )


def describe(metres: float) -> str:
    """A length in the unit that one would say it in: "85.3 mm", "1.2 m"."""
    return f"{metres:.3g} m" if metres >= 1 else f"{metres * 1000:.3g} mm"


def metres_of(unit: str | float) -> float:
    """Metres of a unit, by its name or said themselves; InputError for a name that is none."""
    if not isinstance(unit, str):
        return unit
    if unit not in UNITS:
        raise InputError(f"unit {unit!r} is unknown; known are {', '.join(UNITS)}")
    return UNITS[unit]
