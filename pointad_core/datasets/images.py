"""Images as the layouts have them, with errors that name the file."""

from pathlib import Path

import numpy as np

from pointad_core.errors import InputError


def read_image(path: Path) -> np.ndarray:
    """Pixels of an image file as they stand in it, [H,W] or [H,W,C]; InputError where it cannot be decoded."""
    from PIL import Image

    try:
        # No other decoder, whatever the file says it is: Pillow's for EPS would run it through Ghostscript.
        with Image.open(path, formats=("PNG",)) as image:
            return np.array(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable image ({error})") from error


def read_rgb(path: Path, shape: tuple[int, int], of: Path) -> np.ndarray:
    """Colours u1[H,W,3] of an 8-bit image that must have the size of the scan it belongs to."""
    pixels = read_image(path)
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.dtype != np.uint8:
        raise InputError(f"{path}: {describe(pixels)}, expected 8-bit RGB")
    check_size(path, pixels, shape, of)
    return np.ascontiguousarray(pixels[..., :3])


def read_mask(path: Path, shape: tuple[int, int], of: Path) -> np.ndarray:
    """Ground truth bool[H,W]: every grey value above 0 is a defect, each kind of defect having its own."""
    pixels = read_image(path)
    if pixels.ndim == 3:
        # The last of two or four channels is opacity.
        pixels = pixels[..., : 1 if pixels.shape[2] == 2 else 3].max(axis=2)
    check_size(path, pixels, shape, of)
    return pixels > 0


def check_size(path: Path, pixels: np.ndarray, shape: tuple[int, int], of: Path) -> None:
    if pixels.shape[:2] != shape:
        height, width = pixels.shape[:2]
        raise InputError(f"{path}: {width} x {height} pixels, but {of} has {shape[1]} x {shape[0]}")


def describe(pixels: np.ndarray) -> str:
    return f"array of shape {pixels.shape} and type {pixels.dtype}"
