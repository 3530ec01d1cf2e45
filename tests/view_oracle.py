"""The turn of a view, a point at a time, with trigonometry from the definition, in Python floats."""

import math


def turn_point(point, tilt, x, y):
    """Rotate by the tilt about x, then about x, then about y."""
    px, py, pz = (float(value) for value in point)
    for angle in (math.radians(tilt), math.radians(x)):
        py, pz = py * math.cos(angle) - pz * math.sin(angle), py * math.sin(angle) + pz * math.cos(angle)
    angle = math.radians(y)
    return px * math.cos(angle) + pz * math.sin(angle), py, -px * math.sin(angle) + pz * math.cos(angle)
