"""Surfaces as points, with formulas of their own: what scans of one's own look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import raw_files

Random = np.random.Generator


def turn(rng: Random) -> np.ndarray:
    """A rotation f8[3,3] drawn at random."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def sphere(n: int, rng: Random) -> np.ndarray:
    points = rng.normal(size=(n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def box(n: int, sides: tuple[float, float, float], rng: Random) -> np.ndarray:
    """The surface of a box, evenly by area."""
    a, b, c = sides
    face = rng.choice(3, n, p=np.array([b * c, a * c, a * b]) / (a * b + b * c + a * c))
    points = rng.uniform(-0.5, 0.5, (n, 3))
    points[np.arange(n), face] = rng.choice([-0.5, 0.5], n)
    return points * sides


def tube(n: int, rng: Random, bump: float = 2.0) -> np.ndarray:
    """A closed tube of radius 20 along z from 0 to 60, with a bump at the side."""
    angle, z = rng.uniform(0, 2 * np.pi, n), rng.uniform(0, 60, n)
    radius = 20 + bump * np.exp(-((angle - 3) ** 2 / 0.05 + (z - 30) ** 2 / 20))
    points = np.c_[radius * np.cos(angle), radius * np.sin(angle), z]
    lids = rng.random(n) < 0.25
    points[lids, :2] *= np.sqrt(rng.random(lids.sum()))[:, None]
    points[lids, 2] = rng.choice([0.0, 60.0], lids.sum())
    return points


def dome(n: int, rng: Random) -> np.ndarray:
    """The upper half of a ball of radius 30, as seen from above."""
    flat = rng.uniform(-1, 1, (4 * n, 2))
    flat = flat[(flat**2).sum(1) < 0.95][:n]
    return 30 * np.c_[flat, np.sqrt(1 - (flat**2).sum(1))]


def camera_scan(side: int = 160, metres: float = 1.0) -> np.ndarray:
    """f4[side,side,3]: a ball before a plane, as a camera at the origin that looks along z sees them; y points down."""
    rows, columns = np.mgrid[:side, :side]
    rays = np.stack([(columns - side / 2) / side * 0.3, (rows - side / 2) / side * 0.3, np.ones((side, side))], axis=-1)
    # The plane z = 0.6; the ball of radius 0.04 about (0, 0, 0.57).
    along, centre = rays.copy(), np.array([0, 0, 0.57])
    a, b, c = (along**2).sum(-1), along @ centre, centre @ centre - 0.04**2
    under = b * b - a * c
    near = np.where(under > 0, (b - np.sqrt(np.maximum(under, 0))) / a, np.inf)
    return (rays * np.minimum(near, 0.6)[..., None] * metres).astype(np.float32)


def write_pcd(path: Path, points: np.ndarray) -> Path:
    return raw_files.write(path, raw_files.pcd(points, "binary"))


def write_ply(path: Path, points: np.ndarray) -> Path:
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n"
    header += "property double x\nproperty double y\nproperty double z\nend_header\n"
    return raw_files.write(path, header.encode() + points.astype("<f8").tobytes())
