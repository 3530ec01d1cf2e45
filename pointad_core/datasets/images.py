"""Images as the layouts have them, with errors that name the file."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from pointad_core.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

# No other decoder, whatever a file says it is: Pillow's for EPS would run it through Ghostscript.
LOSSLESS = ("PNG", "BMP")
PHOTOGRAPHS = (*LOSSLESS, "JPEG")
GREY_16 = ("I;16", "I")
"""Pillow's names for grey of 16 bits."""
UPRIGHT = 1
"""Exif's orientation of a photograph that is shown as it is stored."""


def open_image(path: Path, formats: tuple[str, ...]) -> "tuple[Image, bool]":
    """An image file, decoded, and whether it has 16 bits a colour, which Pillow cuts down to 8.

    InputError where it cannot be decoded, or is of another format.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=formats) as image:
            # What stands in the file is told by its parts alone, and before they are decoded.
            wide = image.mode in ("RGB", "RGBA", "LA") and any(";16" in str(part) for part in image.tile)
            image.load()
            return image, wide
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable image ({error})") from error


def read_image(path: Path) -> np.ndarray:
    """Pixels of a png as they stand in it, [H,W] or [H,W,C]; InputError where it cannot be decoded."""
    return np.array(open_image(path, ("PNG",))[0])


def read_rgb(path: Path, shape: tuple[int, int], of: Path) -> np.ndarray:
    """Colours u1[H,W,3] of a photograph that must have the size of the scan it belongs to, as of `to_rgb`."""
    image, wide = open_image(path, PHOTOGRAPHS)
    check_size(path, image.size, shape, of)
    return to_rgb(path, image, wide)


def to_rgb(path: Path, image: "Image", wide: bool) -> np.ndarray:
    """Colours u1[H,W,3] of a photograph as `open_image` gives it.

    Grey and palette images as they are shown, opacity left out; of 16 bits a colour the upper 8. Raises InputError for
    any other image.
    """
    if (orientation := image.getexif().get(0x0112, UPRIGHT)) != UPRIGHT:
        raise InputError(f"{path}: its Exif data turn it (orientation {orientation}); save it upright, as the scan is")
    if image.mode not in ("L", "LA", "P", "RGB", "RGBA", *GREY_16):
        raise InputError(f"{path}: an image of mode {image.mode}, expected RGB, grey or a palette")
    if image.mode in GREY_16:
        pixels = np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    else:
        pixels = np.array(image.convert("RGBA"))[..., :3]
    if wide or image.mode in GREY_16:
        # Cameras of 10 or 12 bits store their values as they are: of these nothing would be left.
        if pixels.max() < 16:
            raise InputError(f"{path}: 16 bits a colour, but no value above 4095; scale it to 8 bits")
        logger.info("%s: 16 bits a colour, of which the upper 8 are read", path)
    return pixels


def read_mask(path: Path, shape: tuple[int, int], of: Path) -> np.ndarray:
    """Ground truth bool[H,W]: every value above 0, anything but black, is a defect, each kind having its own.

    A palette's colours count, as they are shown, and not their numbers, which follow no rule. Raises InputError where
    the image has another size than the scan, where it does not tell good from defective, and where it looks inverted.
    """
    image, wide = open_image(path, LOSSLESS)
    check_size(path, image.size, shape, of)
    if wide:
        raise InputError(f"{path}: 16 bits a colour; expected a mask in grey, with a palette, or with 8 bits a colour")
    pixels = np.array(image)
    if image.mode == "P":
        pixels = pixels != find_black(path, pixels, np.array(image.getpalette() or [], np.uint8).reshape(-1, 3))
    if pixels.ndim == 3:
        # The last of two or four channels is opacity.
        opacity = pixels[..., -1] if pixels.shape[2] in (2, 4) else np.zeros(1)
        pixels = pixels[..., : 1 if pixels.shape[2] == 2 else 3].max(axis=2)
        if np.ptp(pixels) == 0 and np.ptp(opacity) > 0:
            raise InputError(f"{path}: all its pixels have one colour and differ in opacity alone; save it in grey")
    mask = pixels > 0
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if mask.mean() > 0.5 and border.mean() > 0.5:
        raise InputError(
            f"{path}: {mask.mean():.0%} of its pixels and most of its border are above 0, which stands for defective; "
            "expected a defect on black, is the mask inverted?"
        )
    return mask


def shrink(image: np.ndarray, resolution: int, kernel: Literal["bilinear", "bicubic"]) -> np.ndarray:
    """An image u1[H,W] or u1[H,W,3] at S x S pixels, antialiased, as torchvision resizes Pillow's images."""
    from PIL import Image

    kernels = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    return np.asarray(Image.fromarray(image).resize((resolution, resolution), kernels[kernel]))


def find_black(path: Path, indices: np.ndarray, palette: np.ndarray) -> int:
    """Number of the palette's colour [n,3] that is shown black, of those that an image [H,W] uses.

    InputError where none is, or several are: what is good cannot be told then.
    """
    colours = {int(index): tuple(palette[index : index + 1].ravel().tolist()) for index in np.unique(indices)}
    black = [index for index, colour in colours.items() if colour == (0, 0, 0)]
    if len(black) != 1:
        shown = ", ".join(f"{index} {colour}" for index, colour in list(colours.items())[:4])
        raise InputError(
            f"{path}: has the palette's colours {shown}, of which {len(black)} are black; expected one that is, for "
            "what is good, or a mask in grey"
        )
    return black[0]


def check_size(path: Path, size: tuple[int, int], shape: tuple[int, int], of: Path) -> None:
    if size != shape[::-1]:
        raise InputError(f"{path}: {size[0]} x {size[1]} pixels, but {of} has {shape[1]} x {shape[0]}")


def describe(pixels: np.ndarray) -> str:
    return f"array of shape {pixels.shape} and type {pixels.dtype}"
