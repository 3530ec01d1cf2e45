"""Photographs and masks in every form that people save them, written byte by byte or by Pillow."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raw_files import png, write

from pointad_core.datasets.images import read_mask, read_rgb
from pointad_core.errors import InputError

SHAPE = (20, 30)
OF = Path("000.tiff")
DEFECT = np.zeros(SHAPE, bool)
DEFECT[5:9, 7:20] = True
GREY = (np.arange(600).reshape(SHAPE) % 251).astype(np.uint8)


def mask_of(tmp_path, content, name="mask.png"):
    return read_mask(write(tmp_path / name, content), SHAPE, OF)


def picture_of(tmp_path, content, name="rgb.png"):
    return read_rgb(write(tmp_path / name, content), SHAPE, OF)


def numbered(good, defect):
    return np.where(DEFECT, defect, good).astype(np.uint8)


def saved(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


# The colours that label tools give to the first numbers, as in Pascal VOC, and the order in which editors have two.
VOC = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)
WHITE_FIRST = np.array([(255, 255, 255), (0, 0, 0)], np.uint8)
TWO_BLACKS = np.array([(0, 0, 0), (0, 0, 0), (9, 9, 9)], np.uint8)
NO_BLACK = np.array([(255, 255, 255), (200, 0, 0)], np.uint8)


@pytest.mark.parametrize(
    "content",
    [
        png(numbered(0, 1)),
        png(numbered(0, 253)),
        png(DEFECT),
        # The defect's value stands in the lower or in the upper byte alone.
        png(numbered(0, 1).astype(np.uint16)),
        png(numbered(0, 1).astype(np.uint16) << 8),
        png(np.stack([numbered(0, 7), numbered(255, 255)], axis=2)),
        png(np.stack([numbered(0, 0), numbered(0, 7), numbered(0, 0)], axis=2)),
        png(np.stack([numbered(0, 0), numbered(0, 7), numbered(0, 0), numbered(255, 9)], axis=2)),
        png(numbered(0, 2), VOC),
        png(numbered(1, 0), WHITE_FIRST),
        png(numbered(0, 1), VOC[:1]),
    ],
    ids=[
        *("1", "253", "1-bit", "low byte", "high byte", "grey and alpha", "RGB", "RGBA"),
        *("VOC palette", "white first", "short palette"),
    ],
)
def test_anything_but_black_is_a_defect(tmp_path, content):
    np.testing.assert_array_equal(mask_of(tmp_path, content), DEFECT)


def test_masks_of_bitmaps(tmp_path):
    for image in (Image.fromarray(DEFECT), Image.fromarray(numbered(0, 200))):
        np.testing.assert_array_equal(mask_of(tmp_path, saved(image, "BMP"), "mask.bmp"), DEFECT)


def test_a_mask_without_a_defect_is_black(tmp_path):
    assert not mask_of(tmp_path, png(numbered(0, 0))).any()
    assert not mask_of(tmp_path, png(numbered(0, 0), VOC)).any()
    assert not mask_of(tmp_path, png(numbered(1, 1), WHITE_FIRST)).any()


def test_a_defect_on_most_of_the_picture_is_none_inverted(tmp_path):
    inside = np.zeros(SHAPE, np.uint8)
    inside[1:-1, 1:-1] = 255
    assert mask_of(tmp_path, png(inside)).mean() > 0.8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(numbered(255, 0)), r"91% of its pixels and most of its border are above 0.*is the mask inverted\?"),
        (png(numbered(0, 1), WHITE_FIRST), "is the mask inverted"),
        (png(np.stack([numbered(255, 0), numbered(255, 255)], axis=2)), "is the mask inverted"),
        (png(np.stack([numbered(0, 0), numbered(0, 255)], axis=2)), "differ in opacity alone"),
        (png(np.stack([*[numbered(255, 255)] * 3, numbered(0, 200)], axis=2)), "differ in opacity alone"),
        (png(numbered(0, 1), NO_BLACK), r"colours 0 \(255, 255, 255\), 1 \(200, 0, 0\), of which 0 are black"),
        (png(numbered(0, 1), TWO_BLACKS), "of which 2 are black"),
        (png(np.stack([numbered(0, 1)] * 3, axis=2).astype(np.uint16)), "16 bits a colour"),
        (png(np.stack([numbered(0, 1)] * 2, axis=2).astype(np.uint16)), "16 bits a colour"),
        (saved(Image.fromarray(numbered(0, 255)), "JPEG"), "not a readable image"),
        (png(GREY[:10]), "30 x 10 pixels, but 000.tiff has 30 x 20"),
    ],
)
def test_masks_that_could_mean_two_things_are_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as error:
        mask_of(tmp_path, content)
    assert str(tmp_path / "mask.png") in str(error.value)


RGB = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)
GREYS = np.repeat(GREY[..., None], 3, axis=2)
ALPHA = np.full((*SHAPE, 1), 7, np.uint8)
COLOURS = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(RGB), RGB),
        (png(np.concatenate([RGB, ALPHA], axis=2)), RGB),
        (png(GREY), GREYS),
        (png(np.concatenate([GREY[..., None], ALPHA], axis=2)), GREYS),
        (png(GREY, COLOURS), COLOURS[GREY]),
        (png(GREY.astype(np.uint16) << 8 | 99), GREYS),
        (png(RGB.astype(np.uint16) << 8 | 99), RGB),
        (saved(Image.fromarray(RGB), "BMP"), RGB),
    ],
    ids=["RGB", "RGBA", "grey", "grey and alpha", "palette", "16-bit grey", "16-bit RGB", "bitmap"],
)
def test_photographs_are_read_as_they_are_shown(tmp_path, content, expected):
    found = picture_of(tmp_path, content)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def test_a_palette_with_opacity_is_read(tmp_path):
    image = Image.fromarray(GREY).convert("P")
    content = saved(image, "PNG", transparency=bytes(range(256)))
    np.testing.assert_array_equal(picture_of(tmp_path, content), GREYS)


def test_photographs_of_cameras_are_read(tmp_path):
    smooth = np.stack([np.tile(np.arange(30, dtype=np.uint8) * 4, (20, 1))] * 3, axis=2)
    found = picture_of(tmp_path, saved(Image.fromarray(smooth), "JPEG", quality=95), "rgb.jpg")
    assert np.abs(found.astype(int) - smooth).max() <= 4


def turned():
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[0x0112] = 3
    return saved(image, "JPEG", exif=exif)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(GREY.astype(np.uint16)), "16 bits a colour, but no value above 4095"),
        (png(RGB.astype(np.uint16) << 4), "16 bits a colour, but no value above 4095"),
        (png(DEFECT), "an image of mode 1"),
        (saved(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "an image of mode CMYK"),
        (turned(), r"its Exif data turn it \(orientation 3\)"),
        (saved(Image.fromarray(RGB), "GIF"), "not a readable image"),
    ],
)
def test_other_photographs_are_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as error:
        picture_of(tmp_path, content)
    assert str(tmp_path / "rgb.png") in str(error.value)
