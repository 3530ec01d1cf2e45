"""Units by their names, and by the size of a scan."""

import pytest

from pointad_core.errors import InputError
from pointad_core.formats.unit import UNITS, find_unit, metres_of


@pytest.mark.parametrize(
    ("extent", "unit", "size"),
    [
        (0.1, "m", "100 mm"),
        (1.5, "m", "1.5 m"),
        (85.3, "mm", "85.3 mm"),
        (2500, "mm", "2.5 m"),
        (85300, "um", "85.3 mm"),
    ],
)
def test_a_scan_is_as_large_as_a_part(extent, unit, size):
    found, words = find_unit(extent)
    assert found == unit
    assert f"unit taken as {unit}" in words
    assert f"makes {size}" in words
    assert 0.003 <= extent * UNITS[found] <= 3


@pytest.mark.parametrize("extent", [0, 1e-6, 1e9, float("nan"), float("inf")])
def test_no_sensible_size(extent):
    with pytest.raises(InputError, match=r"no sensible size of a part in m, mm or um .* give the unit"):
        find_unit(extent)


def test_names():
    assert metres_of("inch") == 0.0254
    with pytest.raises(InputError, match="unit 'yard' is unknown; known are m, cm, mm, um, inch"):
        metres_of("yard")
